//! What is made from the description of the command line: help, completions, manual pages.

use std::fmt::Display;
use std::process::ExitCode;

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::arguments::Arguments;
use crate::error::{Error, print, print_bytes};

const NAME: &str = "prixfixe";

pub(crate) fn help() -> Result<ExitCode, Error> {
    shown(Arguments::command().render_help())
}

pub(crate) fn version() -> Result<ExitCode, Error> {
    shown(Arguments::command().render_version())
}

fn shown(text: impl Display) -> Result<ExitCode, Error> {
    print(&text.to_string())?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn completions(shell: Shell) -> Result<ExitCode, Error> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), NAME, &mut script);
    print_bytes(&script)?;
    Ok(ExitCode::SUCCESS)
}

/// `None`: the page of the whole command, which names its subcommands.
pub(crate) fn man(subcommand: Option<&str>) -> Result<ExitCode, Error> {
    let mut page = Vec::new();
    let man = Man::new(page_of(subcommand)?);
    man.render(&mut page).map_err(Error::Output)?;
    print_bytes(&page)?;
    Ok(ExitCode::SUCCESS)
}

fn page_of(subcommand: Option<&str>) -> Result<Command, Error> {
    let mut command = Arguments::command();
    command.build();
    let Some(name) = subcommand else {
        return Ok(command);
    };
    let unknown = || Error::NoSuchPage(name.to_owned());
    let page = command.find_subcommand(name).ok_or_else(unknown)?;
    Ok(page.clone())
}
