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
mod welcome;

use std::process::ExitCode;

pub use crate::config::{Configuration, ConfigurationArguments, Invalid};

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
        Command::Serve(arguments) => serve::run(arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Health(arguments) => health::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
    }
}
