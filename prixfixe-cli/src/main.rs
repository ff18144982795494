//! The `prixfixe` command.

mod arguments;
mod error;
mod escape;

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
        Command::Serve => Ok(ExitCode::SUCCESS),
    }
}
