//! The flags of `serve`, `check` and `health`, made from the table of options.

use std::path::PathBuf;

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::options::{self, Kind, Opt};

/// The flags as they were given, not yet understood: an error in one is reported like one in a variable or a file.
#[derive(Debug, Clone, Default)]
pub struct ConfigurationArguments {
    /// The configuration file.
    pub(crate) config: Option<PathBuf>,
    flags: Vec<(&'static Opt, Vec<String>)>,
}

impl ConfigurationArguments {
    fn read(matches: &ArgMatches, options: &[&'static Opt]) -> Result<Self, clap::Error> {
        let flags = options.iter().filter_map(|option| {
            let values = matches.get_many::<String>(option.flag?)?;
            Some((*option, values.cloned().collect()))
        });
        Ok(Self {
            config: matches.get_one("config").cloned(),
            flags: flags.collect(),
        })
    }

    /// What the command line says of an option.
    pub(crate) fn get(&self, option: &Opt) -> Option<&[String]> {
        self.flags
            .iter()
            .find(|(known, _)| *known == option)
            .map(|(_, values)| values.as_slice())
    }
}

/// Those that say where the admin endpoints are.
#[derive(Debug, Clone, Default)]
pub(crate) struct AdminArguments(pub(super) ConfigurationArguments);

impl Args for AdminArguments {
    fn augment_args(command: Command) -> Command {
        command.arg(config()).args(flag(&options::ADMIN))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for AdminArguments {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        ConfigurationArguments::read(matches, &[&options::ADMIN]).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for ConfigurationArguments {
    fn augment_args(command: Command) -> Command {
        command
            .arg(config())
            .args(options::ALL.iter().filter_map(|option| flag(option)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ConfigurationArguments {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Self::read(matches, options::ALL)
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
        .help("A TOML file; flags and variables go before what it says")
        .value_parser(ValueParser::path_buf())
}

fn flag(option: &Opt) -> Option<Arg> {
    let name = option.flag?;
    let arg = Arg::new(name)
        .long(name)
        .value_name(option.value)
        .help(help(option))
        .allow_negative_numbers(true);
    Some(match option.kind {
        Kind::Switch | Kind::InvertedSwitch => arg
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
        Kind::List => arg.action(ArgAction::Append),
        Kind::Text | Kind::Count | Kind::Quantity => arg,
    })
}

/// The variable and the default stand behind the text, as clap would put them.
fn help(option: &Opt) -> String {
    let mut help = option.help.to_owned();
    if let Some(variable) = option.variable {
        help.push_str(&format!(" [env: {variable}]"));
    }
    if let Some(default) = option.default {
        help.push_str(&format!(" [default: {default}]"));
    }
    help
}
