//! What ends the command: one line on stderr, and an exit status.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;

use crate::escape::Escaped;

/// Why the command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The command line is wrong, or asks for help or the version.
    #[error("{}", one_line(.0))]
    Arguments(clap::Error),
    /// A wrong argument that only its subcommand could find out: names the argument, and what mends it.
    #[error("{0}")]
    Usage(String),
    /// A failure while running: names what failed, and what mends it.
    #[error("{0}")]
    Failed(String),
    /// Standard output is gone or full.
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
}

impl Error {
    /// 2 for what its caller wrote, 1 for what happened while running.
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Arguments(error) if !error.use_stderr() => ExitCode::SUCCESS,
            Self::Arguments(_) | Self::Usage(_) => ExitCode::from(2),
            Self::Failed(_) | Self::Output(_) => ExitCode::FAILURE,
        }
    }

    /// Tells the user, and gives the exit status of the process.
    pub(crate) fn report(&self) -> ExitCode {
        match self {
            // Help and version go to stdout, in full and in colour where there is a terminal.
            Self::Arguments(error) if !error.use_stderr() => drop(error.print()),
            // A stderr that is closed is no reason to fail differently.
            _ => drop(writeln!(
                io::stderr().lock(),
                "prixfixe: {}",
                Escaped(&self.to_string())
            )),
        }
        self.exit_code()
    }
}

/// Writes to standard output. A reader that has seen enough (`prixfixe check | head`) is no error.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Output(error)),
        _ => Ok(()),
    }
}

/// Clap explains itself in paragraphs: the explanation and its tips, without the usage that follows.
fn one_line(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "no command given; `prixfixe --help` lists them".to_owned();
    }
    let text = error.render().to_string();
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .filter(|line| !line.is_empty())
        .collect();
    let line = lines.join("; ").replace(":; ", ": ");
    format!(
        "{}; try `--help`",
        line.strip_prefix("error: ").unwrap_or(&line)
    )
}
