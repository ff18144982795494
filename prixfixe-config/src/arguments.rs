//! The flags of `serve`, `check`, `health` and `spool`: those of [`Configuration`], with their
//! variables and defaults in the help.

use std::error::Error as _;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::LazyLock;

use clap::builder::ValueParser;
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use toml::{Table, Value};

use super::given::{Invalid, Problem};
use super::listeners::ListenArguments;
use super::variables::variable_of;
use super::{Admin, Configuration, Spool};

/// The flags as they were given: they are laid over what the file and the variables say.
#[derive(Debug, Clone, Default)]
pub struct ConfigurationArguments {
    /// The configuration file.
    pub config: Option<PathBuf>,
    pub(super) matches: ArgMatches,
}

/// Those of one section alone.
#[derive(Debug, Clone)]
pub struct SectionArguments<S> {
    pub(super) config: Option<PathBuf>,
    pub(super) matches: ArgMatches,
    section: PhantomData<S>,
}

/// Those that say where the admin endpoints are.
pub type AdminArguments = SectionArguments<Admin>;

/// Those that say where the spool is.
pub type SpoolArguments = SectionArguments<Spool>;

/// The command that has all flags, to look at.
pub(super) static COMMAND: LazyLock<Command> = LazyLock::new(|| flags(Command::new("prixfixe")));

/// Adds the flags of all options.
pub(super) fn flags(command: Command) -> Command {
    let command = ListenArguments::augment_args_for_update(command);
    Configuration::augment_args_for_update(command).mut_args(shaped)
}

/// The flag of an option, without its dashes.
pub(super) fn flag_of(id: &str) -> String {
    let known = COMMAND.get_arguments().find(|arg| arg.get_id() == id);
    known.and_then(Arg::get_long).unwrap_or(id).to_owned()
}

impl Args for ConfigurationArguments {
    fn augment_args(command: Command) -> Command {
        flags(command).arg(config()).mut_args(described)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ConfigurationArguments {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self {
            config: matches.get_one("config").cloned(),
            matches: matches.clone(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl<S: Args> Args for SectionArguments<S> {
    fn augment_args(command: Command) -> Command {
        let command = S::augment_args_for_update(command);
        command.mut_args(shaped).arg(config()).mut_args(described)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<S> FromArgMatches for SectionArguments<S> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self {
            config: matches.get_one("config").cloned(),
            matches: matches.clone(),
            section: PhantomData,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn config() -> Arg {
    Arg::new("config")
        .long("config")
        .value_name("FILE")
        .help("TOML file with options; flags and variables override it")
        .value_parser(ValueParser::path_buf())
}

/// What all flags of a kind have in common.
fn shaped(arg: Arg) -> Arg {
    let arg = arg.allow_negative_numbers(true).hide_possible_values(true);
    match value_name(&arg) {
        "BOOLEAN" => arg
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
        _ => arg,
    }
}

/// What stands for the value in the help.
pub(super) fn value_name(arg: &Arg) -> &str {
    let names = arg.get_value_names().unwrap_or_default();
    names.first().map_or("", |name| name.as_str())
}

/// The variable and the default stand behind the text, as clap would put them.
fn described(arg: Arg) -> Arg {
    let (Some(help), Some(flag)) = (arg.get_help(), arg.get_long()) else {
        return arg;
    };
    if flag == "config" {
        return arg;
    }
    let mut help = format!("{help} [env: {}]", variable_of(flag));
    if let Some(default) = default_of(arg.get_id().as_str()) {
        help.push_str(&format!(" [default: {default}]"));
    }
    arg.help(help)
}

/// As it is printed; for those that depend on something, in words.
pub(super) fn default_of(id: &str) -> Option<String> {
    static DEFAULTS: LazyLock<Table> =
        LazyLock::new(|| Table::try_from(Configuration::default()).unwrap_or_default());
    let words = match id {
        "listen" => "localhost:2525",
        "threads" => "number of cores",
        "limits.max-connections-per-client" => "half of max-connections",
        "auth.claim" => "email",
        "auth.max-failures" => "5",
        "auth.max-client-failures" => "50",
        "delivery.min-free" => "1.5 times max-message-size",
        "spool.stream" => "PRIXFIXE",
        "spool.replicas" => "3",
        "spool.partitions" => "1",
        "spool.max-size" => "10GiB",
        "spool.give-up-after" => "5d",
        "spool.retry" => "1m, 5m, 15m, 30m, 1h, 2h, 4h",
        _ => {
            let mut parts = id.split('.');
            let first = DEFAULTS.get(parts.next()?)?;
            return match parts.try_fold(first, |value, part| value.get(part))? {
                Value::String(text) => Some(text.clone()),
                Value::Integer(number) => Some(number.to_string()),
                // Off, or empty.
                _ => None,
            };
        }
    };
    Some(words.to_owned())
}

/// What one of our parsers says of a flag's value. Clap would say the same in a paragraph.
pub fn invalid_argument(error: &clap::Error) -> Option<Invalid> {
    let problem = error.source()?.downcast_ref::<Problem>()?;
    let usage = match error.get(ContextKind::InvalidArg)? {
        ContextValue::String(usage) => usage,
        _ => return None,
    };
    let flag = usage.split([' ', '=', '[']).next()?;
    Some(Invalid::new(flag, problem))
}
