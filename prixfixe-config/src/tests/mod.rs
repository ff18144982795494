//! The configuration that files, variables and flags amount to together.

mod auth;
mod documentation;
mod errors;
mod file;
mod listeners;
mod precedence;
mod round_trip;
mod targets;
mod tls;
mod variables;

use std::io::Write;

use clap::{Args, FromArgMatches};

use super::arguments::{COMMAND, flag_of, invalid_argument, value_name};
use super::variables::variable_of;
use super::{Configuration, ConfigurationArguments, Environment};

/// What `serve` would run with. A file is made where its text isn't empty.
fn load(file: &str, variables: &[(&str, &str)], flags: &[&str]) -> Result<Configuration, String> {
    let mut handle = tempfile::NamedTempFile::new().unwrap();
    handle.write_all(file.as_bytes()).unwrap();
    let path = handle.path().to_str().unwrap().to_owned();
    let mut line = vec!["serve"];
    if !file.is_empty() {
        line.extend(["--config", &path]);
    }
    line.extend(flags);
    let command = ConfigurationArguments::augment_args(clap::Command::new("serve"));
    let matches = command.try_get_matches_from(line).map_err(|error| {
        let mistake = invalid_argument(&error);
        mistake.map_or_else(|| error.to_string(), |mistake| mistake.to_string())
    })?;
    let arguments = ConfigurationArguments::from_arg_matches(&matches).unwrap();
    let environment: Environment = variables.iter().copied().collect();
    Configuration::load_with(&arguments, &environment)
        .map_err(|error| error.to_string().replace(&path, "FILE"))
}

/// What is seen of an option in the printed configuration.
fn shown(configuration: &Configuration, id: &str) -> String {
    let table: toml::Table = configuration.to_toml().unwrap().parse().unwrap();
    let mut value = toml::Value::Table(table);
    let key = if id == "listen" { "listener" } else { id };
    for part in key.split('.') {
        match value.get(part) {
            Some(part) => value = part.clone(),
            None => return String::new(),
        }
    }
    value
        .to_string()
        .replace("[{ address = ", "[")
        .replace(" }, { address = ", ", ")
        .replace(" }]", "]")
}

/// A file, variables and flags, and what is wrong with them.
type Mistake = (
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static [&'static str],
    String,
);
