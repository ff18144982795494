//! `prixfixe spool`: its arguments.

use clap::{Args, Subcommand};

use crate::protocol::Request;
use prixfixe_config::SpoolArguments;

/// The arguments of `prixfixe spool`.
#[derive(Debug, Args)]
pub struct SpoolCommand {
    #[command(subcommand)]
    pub(crate) action: Action,
}

/// What `prixfixe spool` is asked to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// List the messages, the oldest first, with totals by target.
    #[command(after_help = LIST)]
    List(Everything),
    /// Show a message: envelope, targets, attempts, and what each target said.
    #[command(after_help = SHOW)]
    Show(One),
    /// Write a message to standard output.
    #[command(after_help = EXPORT)]
    Export(Exported),
    /// Try messages now, failed ones too.
    #[command(after_help = RETRY)]
    Retry(Retried),
    /// Leave messages alone until they are released.
    #[command(after_help = HOLD)]
    Hold(Some),
    /// Go on with messages that are held.
    #[command(after_help = RELEASE)]
    Release(Some),
    /// Delete messages; nobody is told, and one under way may still be delivered.
    #[command(after_help = REMOVE)]
    Remove(Some),
}

#[derive(Debug, Args)]
pub(crate) struct Everything {
    #[command(flatten)]
    place: SpoolArguments,
    /// Print JSON, an object on each line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct One {
    // The first: it shapes all that are there before it.
    #[command(flatten)]
    place: SpoolArguments,
    /// Message, as `list` names it
    id: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Exported {
    // The first: it shapes all that are there before it.
    #[command(flatten)]
    place: SpoolArguments,
    /// Message, as `list` names it
    id: String,
}

#[derive(Debug, Args)]
pub(crate) struct Retried {
    // The first: it shapes all that are there before it.
    #[command(flatten)]
    place: SpoolArguments,
    /// Messages, as `list` names them
    #[arg(required_unless_present = "all", value_name = "ID")]
    ids: Vec<String>,
    /// Try all that wait
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    /// With --all: those for this target alone
    #[arg(long, value_name = "NAME", requires = "all")]
    target: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Some {
    // The first: it shapes all that are there before it.
    #[command(flatten)]
    place: SpoolArguments,
    /// Messages, as `list` names them
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How the answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Json,
}

impl Action {
    /// Where the spool is, what to ask of it, and how to print the answer.
    pub(crate) fn into_request(self) -> (SpoolArguments, Request, Form) {
        let form = |json| if json { Form::Json } else { Form::Text };
        match self {
            Self::List(it) => (it.place, Request::List, form(it.json)),
            Self::Show(it) => (it.place, Request::Show { id: it.id }, form(it.json)),
            Self::Export(it) => (it.place, Request::Export { id: it.id }, Form::Text),
            Self::Retry(it) => {
                let request = match it.all {
                    true => Request::RetryAll { target: it.target },
                    false => Request::Retry { ids: it.ids },
                };
                (it.place, request, form(it.json))
            }
            Self::Hold(it) => (it.place, Request::Hold { ids: it.ids }, form(it.json)),
            Self::Release(it) => (it.place, Request::Release { ids: it.ids }, form(it.json)),
            Self::Remove(it) => (it.place, Request::Remove { ids: it.ids }, form(it.json)),
        }
    }
}

/// Stands below the help of `prixfixe spool`.
pub const EXAMPLES: &str = "\
Examples:
  prixfixe spool list --config prixfixe.toml
  prixfixe spool retry --all --target relay --config prixfixe.toml
  prixfixe spool show 17-4128 --spool /var/spool/prixfixe

It works while the server runs, and while it does not. Run it as root or as the server's user.
The spool of a fleet is asked where it is, with the configuration's credentials; a message's id is its digest there.";

const LIST: &str = "\
Examples:
  prixfixe spool list --config prixfixe.toml
  prixfixe spool list --spool /var/spool/prixfixe --json
      one object on each line, for scripts";

const SHOW: &str = "\
Examples:
  prixfixe spool show 17-4128 --config prixfixe.toml";

const EXPORT: &str = "\
Examples:
  prixfixe spool export 17-4128 --config prixfixe.toml > message.eml";

const RETRY: &str = "\
Examples:
  prixfixe spool retry 17-4128 17-9004 --config prixfixe.toml
  prixfixe spool retry --all --target relay --config prixfixe.toml
      tries all that wait for this target, without waiting for their next attempts";

const HOLD: &str = "\
Examples:
  prixfixe spool hold 17-4128 --config prixfixe.toml";

const RELEASE: &str = "\
Examples:
  prixfixe spool release 17-4128 --config prixfixe.toml";

const REMOVE: &str = "\
Examples:
  prixfixe spool remove 17-4128 --config prixfixe.toml";
