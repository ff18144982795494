//! The `prixfixe` command.

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

use std::process::ExitCode;

use crate::arguments::{Arguments, Command};
use crate::error::Error;

fn main() -> ExitCode {
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
