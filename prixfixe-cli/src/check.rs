//! `prixfixe check`: the configuration that `serve` would run with.

use std::process::ExitCode;

use crate::config::{Configuration, ConfigurationArguments};
use crate::error::{Error, print};
use crate::privileges;

pub(crate) fn run(arguments: &ConfigurationArguments) -> Result<ExitCode, Error> {
    let configuration = Configuration::load(arguments)?;
    configuration.look_up_listeners()?;
    configuration
        .user
        .as_deref()
        .map(privileges::look_up)
        .transpose()?;
    configuration.admin.look_up()?;
    configuration.tls.load(&configuration.domain)?;
    let text = configuration
        .to_toml()
        .map_err(|error| Error::Failed(error.to_string()))?;
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}
