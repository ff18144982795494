//! The `prixfixe` command, as a library: what its `main` calls.
//!
//! **It is no API.** Nothing here is promised from one version to the next.
//! To receive mail in a program, use `prixfixe-server`; to drive a server, use `prixfixe-bench`.
#![deny(missing_docs)]

mod admin;
mod arguments;
mod auth;
mod check;
mod control;
mod destinations;
mod error;
mod file_limit;
mod health;
mod logging;
mod manual;
mod password;
mod policy;
mod privileges;
mod recipients;
mod reload;
mod serve;
mod signals;
mod sockets;
mod systemd;
mod targets;
mod temporary;
mod welcome;

use std::process::ExitCode;

use crate::arguments::{Arguments, Command};
use crate::error::Error;

/// Does what the arguments of this process ask for; errors are said on standard error.
#[must_use]
pub fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => error.report(),
    }
}

fn run() -> Result<ExitCode, Error> {
    match Arguments::read()?.command {
        None => manual::help(),
        Some(Command::Serve(arguments)) => serve::run(arguments),
        Some(Command::Check(arguments)) => check::run(&arguments),
        Some(Command::Health(arguments)) => health::run(&arguments),
        Some(Command::Spool(command)) => {
            prixfixe_spooling::run(command)?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Password { name }) => password::run(&name),
        Some(Command::Bench(arguments)) => Ok(prixfixe_bench::command::run(&arguments)?),
        Some(Command::Completions { shell }) => manual::completions(shell),
        Some(Command::Man { subcommand }) => manual::man(subcommand.as_deref()),
        Some(Command::Version) => manual::version(),
    }
}
