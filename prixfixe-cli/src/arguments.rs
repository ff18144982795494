//! The command line: its subcommands. What `serve` and `check` take is in [`prixfixe_config`].

use clap::{Parser, Subcommand};
use clap_complete::Shell;
use prixfixe_config::{AdminArguments, ConfigurationArguments};
use prixfixe_spooling::SpoolCommand;

use crate::error::Error;

/// A receive-only SMTP server: takes mail from the network and keeps it.
#[derive(Debug, Parser)]
#[command(name = "prixfixe", version, propagate_version = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
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
    /// Look into the spool, and act on its messages, also while the server runs.
    #[command(after_help = prixfixe_spooling::EXAMPLES)]
    Spool(SpoolCommand),
    /// Print a line for a file of users that may log in.
    #[command(after_help = PASSWORD_EXAMPLES)]
    Password {
        /// Name of the user
        name: String,
    },
    /// Drive any SMTP or LMTP server, and report throughput and latency.
    Bench(Box<prixfixe_bench::command::Arguments>),
    /// Print a shell completion script.
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// Shell to print the script for
        shell: Shell,
    },
    /// Print a manual page.
    #[command(after_help = MAN_EXAMPLES)]
    Man {
        /// Subcommand to describe; without it, the whole command
        subcommand: Option<String>,
    },
    /// Print the version.
    #[command(after_help = VERSION_EXAMPLES)]
    Version,
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
  prixfixe serve --domain mx.example.com --listen :25 --accept-domain example.com --deliver maildir:/var/mail/in
      receives the mail of example.com, as its MX
  prixfixe serve --config prixfixe.toml --log-format json

A flag overrides its variable, and a variable overrides the file. Sizes and times take units: 10MB, 10MiB, 5m, 1h30m.";

const CHECK_EXAMPLES: &str = "\
Examples:
  prixfixe check --config prixfixe.toml
      exits 0, or 2 with what is wrong
  SMTP_PORT=2600 prixfixe check > prixfixe.toml
      saves what flags and variables amount to as a file";

const PASSWORD_EXAMPLES: &str = "\
Examples:
  prixfixe password ann@example.com >> users
      asks for the password twice, on the terminal
  printf '%s\\n' \"$PASSWORD\" | prixfixe password ann@example.com >> users
      reads it from a line of standard input

The line has a SCRAM-SHA-256 verifier with 15,000 iterations, and not the password.";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  prixfixe completions bash > /etc/bash_completion.d/prixfixe
  prixfixe completions zsh > ~/.zfunc/_prixfixe";

const MAN_EXAMPLES: &str = "\
Examples:
  prixfixe man > prixfixe.1
  prixfixe man serve | man -l -";

const VERSION_EXAMPLES: &str = "\
Examples:
  prixfixe version
      prints the same as prixfixe --version";

const HEALTH_EXAMPLES: &str = "\
Examples:
  prixfixe health --admin 127.0.0.1:9125
      prints `ready` and exits 0, or exits 1 with the reason
  prixfixe health
      the same where SMTP_ADMIN is set, as for the server in the same container

It queries /readyz of the admin endpoints, on the loopback if the server listens on all addresses.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Arguments;

    /// Each subcommand with the words that call it. `help` is clap's own.
    fn subcommands(command: &clap::Command, name: &str) -> Vec<(String, clap::Command)> {
        let mut found = Vec::new();
        for inner in command.get_subcommands() {
            let name = format!("{name} {}", inner.get_name());
            if inner.get_name() != "help" {
                found.push((name.clone(), inner.clone()));
                found.extend(subcommands(inner, &name));
            }
        }
        found
    }

    fn all() -> Vec<(String, clap::Command)> {
        let mut command = Arguments::command();
        command.build();
        let all = subcommands(&command, "prixfixe");
        assert!(all.len() >= 4);
        all
    }

    #[test]
    fn every_subcommand_says_what_it_does_and_has_an_example() {
        for (name, mut command) in all() {
            assert!(command.get_about().is_some(), "{name}");
            for help in [command.render_help(), command.render_long_help()] {
                let help = help.to_string();
                let example = help.split_once("\nExamples:\n").map(|(_, example)| example);
                let line = format!("  {name}");
                let has_example =
                    example.is_some_and(|it| it.lines().any(|it| it.starts_with(&line)));
                assert!(has_example, "{name}: {help}");
            }
        }
    }

    #[test]
    fn every_argument_has_a_help_text_on_one_line() {
        for (name, mut command) in all() {
            let short = command.render_help().to_string();
            let long = command.render_long_help().to_string();
            // What clap says of its own `--help` differs between the two.
            let ours = command.get_arguments().filter(|it| it.get_id() != "help");
            for argument in ours.filter(|it| !it.is_hide_set()) {
                let id = argument.get_id();
                let help = argument
                    .get_help()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                assert!(!help.is_empty(), "{name} {id}");
                // clap puts a line end in place of some braces, and leaves others as they are.
                assert!(!help.contains(['\n', '{', '}']), "{name} {id}: {help}");
                for text in [&short, &long] {
                    let is_shown = text.lines().any(|line| line.contains(&help));
                    assert!(is_shown, "{name} {id}: {help}");
                }
            }
        }
    }

    #[test]
    fn no_line_of_a_short_help_is_broken() {
        for (name, mut command) in all() {
            let help = command.render_help().to_string();
            let options = help.split_once("\nOptions:\n").map(|(_, options)| options);
            let options = options.unwrap_or_else(|| panic!("{name} has options"));
            // A help text stands beside its option, or, for all of them, alone on the next line.
            let lines = options.lines().take_while(|line| !line.is_empty());
            let is_option: Vec<_> = lines
                .map(|line| line.trim_start().starts_with('-'))
                .collect();
            let is_broken = is_option.windows(2).any(|two| two == [false, false]);
            assert!(!is_broken, "{name}: {help}");
            let beside = is_option.windows(2).any(|two| two == [true, true]);
            let below = is_option.contains(&false);
            assert!(beside != below, "{name}: {help}");
        }
    }
}
