//! The command line: its subcommands. What `serve` and `check` take is in [`crate::config`].

use clap::{Parser, Subcommand};

use crate::bench;
use crate::config::{AdminArguments, ConfigurationArguments};
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
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(ConfigurationArguments),
    /// Print the configuration that `serve` would run with, as TOML.
    #[command(after_help = CHECK_EXAMPLES)]
    Check(ConfigurationArguments),
    /// Ask a running server whether it is ready.
    #[command(after_help = HEALTH_EXAMPLES)]
    Health(AdminArguments),
    /// Drive any SMTP server, and report throughput and latency.
    Bench(Box<bench::Arguments>),
}

impl Arguments {
    /// The arguments of this process. Asking for help or the version is an `Err` too, one that
    /// [`Error::report`] prints with success.
    pub(crate) fn read() -> Result<Self, Error> {
        Self::try_parse().map_err(Error::Arguments)
    }
}

const SERVE_EXAMPLES: &str = "\
Examples:
  prixfixe serve
      receives mail on localhost:2525 into the Maildir ./mail
  prixfixe serve --domain mx.example.com --listen 0.0.0.0:25 --accept-domain example.com --deliver maildir:/var/mail/in
      is the mail exchanger of example.com
  prixfixe serve --config prixfixe.toml --log-format json

A flag goes before its variable, a variable before the file. Sizes and times take units: 10MB, 10MiB, 5m, 1h30m.";

const CHECK_EXAMPLES: &str = "\
Examples:
  prixfixe check --config prixfixe.toml
      exits 0, or 2 with what is wrong
  SMTP_PORT=2600 prixfixe check > prixfixe.toml
      keeps what flags and variables amount to in a file";

const HEALTH_EXAMPLES: &str = "\
Examples:
  prixfixe health --admin 127.0.0.1:9125
      prints `ready` and exits 0, or exits 1 with the reason
  prixfixe health
      the same where SMTP_ADMIN is set, as for the server in the same container

It asks /readyz of the admin endpoints. A server on all addresses is asked on the loopback.";
