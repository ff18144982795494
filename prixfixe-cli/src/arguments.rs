//! The command line: its subcommands. What `serve` and `check` take is in [`crate::config`].

use clap::{Parser, Subcommand};

use crate::error::Error;

/// A receive-only SMTP server: takes mail from the network and keeps it.
#[derive(Debug, Parser)]
#[command(
    name = "prixfixe",
    version,
    propagate_version = true,
    subcommand_required = true
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Receive mail until SIGTERM or SIGINT.
    Serve,
}

impl Arguments {
    /// The arguments of this process. Asking for help or the version is an `Err` too, one that
    /// [`Error::report`] prints with success.
    pub(crate) fn read() -> Result<Self, Error> {
        Self::try_parse().map_err(Error::Arguments)
    }
}
