//! The `prixfixe` command, as a library: what its `main` calls, and what tests and fuzz targets of this project read.
//!
//! **It is no API.** Nothing here is promised from one version to the next.
//! To receive mail in a program, use `prixfixe-server`; to drive a server, use `prixfixe-bench`.
#![deny(missing_docs)]

mod admin;
mod arguments;
mod bench;
mod check;
mod config;
mod control;
mod error;
mod escape;
mod file_limit;
mod health;
mod logging;
mod privileges;
mod reload;
mod serve;
mod signals;
mod sockets;
mod systemd;

use std::fmt::Display;
use std::process::ExitCode;

use clap::CommandFactory;

pub use crate::config::{Configuration, ConfigurationArguments, Environment, Invalid, Mistakes};

use crate::arguments::{Arguments, Command};
use crate::error::{Error, print};

/// Does what the arguments of this process ask for; errors are said on standard error.
#[must_use]
pub fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => error.report(),
    }
}

fn shown(text: impl Display) -> Result<ExitCode, Error> {
    print(&text.to_string())?;
    Ok(ExitCode::SUCCESS)
}

fn run() -> Result<ExitCode, Error> {
    match Arguments::read()?.command {
        None => shown(Arguments::command().render_help()),
        Some(Command::Serve(arguments)) => serve::run(arguments),
        Some(Command::Check(arguments)) => check::run(&arguments),
        Some(Command::Health(arguments)) => health::run(&arguments),
        Some(Command::Bench(arguments)) => bench::run(&arguments),
        Some(Command::Version) => shown(Arguments::command().render_version()),
    }
}
