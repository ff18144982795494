//! Environment variables: each is the flag of its name, `--max-connections` for
//! `SMTP_MAX_CONNECTIONS`.
//!
//! clap's own `env` takes a variable as it is. Here blanks around a value are none of it, nothing
//! but blanks counts as not set, a mistake names the variable, and tests bring their own
//! environment.

use std::ffi::OsString;

use clap::{Arg, ArgMatches};

use super::arguments::{COMMAND, invalid_argument, value_name};
use super::given::Invalid;
use super::units::Count;

const PREFIX: &str = "SMTP_";

/// The port of the default listener: the one variable without a flag.
const PORT: &str = "SMTP_PORT";

/// The variables of a process.
#[derive(Debug, Clone, Default)]
pub struct Environment(Vec<(OsString, OsString)>);

impl Environment {
    pub fn of_this_process() -> Self {
        std::env::vars_os().collect()
    }

    /// Blanks and line ends around a value are none of it. One that is set to nothing is how many
    /// tools write one that isn't set.
    fn get(&self, variable: &str) -> Result<Option<&str>, Invalid> {
        let Some((_, value)) = self.0.iter().find(|(name, _)| name == variable) else {
            return Ok(None);
        };
        match value.to_str().map(str::trim) {
            Some(value) => Ok(Some(value).filter(|value| !value.is_empty())),
            None => Err(Invalid::new(variable, "is not UTF-8; set it again")),
        }
    }

    /// What to say at start of variables that mean nothing to us.
    pub fn warnings(&self) -> Vec<String> {
        let names = self.0.iter().filter_map(|(name, _)| name.to_str());
        let mut ours: Vec<&str> = names.filter(|name| name.starts_with(PREFIX)).collect();
        ours.sort_unstable();
        ours.dedup();
        let (mut warnings, mut strange) = (Vec::new(), Vec::new());
        for name in ours {
            let value = self.get(name).ok().flatten();
            if !known().any(|known| known == name) {
                match probably_meant(name) {
                    Some(known) => warnings.push(format!(
                        "{name} is not a variable of prixfixe; did you mean {known}?"
                    )),
                    None => strange.push(name),
                }
            } else if is_number(name) && value.is_some_and(is_service) {
                warnings.push(format!(
                    "{name} is ignored: an address of a service stands where a number belongs"
                ));
            }
        }
        // In a container image SMTP_LISTEN is set, and who sets SMTP_PORT does not know of it.
        if let (Ok(Some(_)), Ok(Some(listen))) = (self.get(PORT), self.get("SMTP_LISTEN"))
            && !listen.split(',').any(|address| address.trim() == "*")
        {
            warnings.push(format!(
                "{PORT} does nothing beside SMTP_LISTEN={listen}, which has its own ports"
            ));
        }
        if !strange.is_empty() {
            warnings.push(format!(
                "not variables of prixfixe: {}; `prixfixe serve --help` lists those that are",
                strange.join(", ")
            ));
        }
        warnings
    }
}

impl<N: Into<OsString>, V: Into<OsString>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        let variables = variables.into_iter();
        Self(
            variables
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}

/// What they say of options.
#[derive(Debug)]
pub(super) struct Variables {
    matches: ArgMatches,
    port: Option<String>,
}

impl Variables {
    pub(super) fn read(environment: &Environment) -> Result<Self, Invalid> {
        Self::read_some(environment, |_| true)
    }

    /// Reads that of one option alone.
    pub(super) fn read_one(id: &str, environment: &Environment) -> Result<Self, Invalid> {
        Self::read_some(environment, |arg| arg.get_id() == id)
    }

    fn read_some(
        environment: &Environment,
        is_wanted: impl Fn(&Arg) -> bool,
    ) -> Result<Self, Invalid> {
        let mut line = vec!["prixfixe".to_owned()];
        for arg in COMMAND.get_arguments().filter(|arg| is_wanted(arg)) {
            let Some(flag) = arg.get_long() else { continue };
            match environment.get(&variable_of(flag))? {
                Some(value) if is_counted(arg) && is_service(value) => {}
                Some(value) => line.push(format!("--{flag}={value}")),
                None => {}
            }
        }
        let matches = COMMAND.clone().try_get_matches_from(line);
        let matches = matches.map_err(|error| {
            let unknown = || Invalid::new("environment", error.kind());
            let Invalid { place, problem } = invalid_argument(&error).unwrap_or_else(unknown);
            Invalid::new(variable_of(place.trim_start_matches('-')), problem)
        })?;
        let port = environment.get(PORT)?.filter(|port| !is_service(port));
        Ok(Self {
            matches,
            port: port.map(str::to_owned),
        })
    }

    pub(super) fn matches(&self) -> &ArgMatches {
        &self.matches
    }

    /// That of the default listener.
    pub(super) fn port(&self) -> Result<Option<u16>, Invalid> {
        let Some(port) = &self.port else {
            return Ok(None);
        };
        let port = port.parse::<Count<0, 65_535>>();
        let port = port.map_err(|problem| Invalid::new(PORT, problem))?;
        Ok(u16::try_from(port.get()).ok())
    }
}

/// The name of a flag's variable. A list has the plural there, where one has come to be so.
pub(super) fn variable_of(flag: &str) -> String {
    match flag {
        "accept-domain" => "SMTP_ACCEPT_DOMAINS".to_owned(),
        _ => format!("{PREFIX}{}", flag.to_ascii_uppercase().replace('-', "_")),
    }
}

fn known() -> impl Iterator<Item = String> {
    let flags = COMMAND.get_arguments().filter_map(Arg::get_long);
    flags.map(variable_of).chain([PORT.to_owned()])
}

fn probably_meant(name: &str) -> Option<String> {
    // What an orchestrator sets for a service named `smtp` is like SMTP_PORT, and means something
    // else.
    if name.starts_with("SMTP_SERVICE_") || name.starts_with("SMTP_PORT_") {
        return None;
    }
    let likeness = |known: String| (strsim::jaro_winkler(&known[..], name), known);
    known()
        .map(likeness)
        .filter(|(likeness, _)| *likeness > 0.9)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known)
}

fn is_number(variable: &str) -> bool {
    let mut args = COMMAND.get_arguments().filter(|arg| is_counted(arg));
    let has_name = |arg: &Arg| arg.get_long().map(variable_of).as_deref() == Some(variable);
    variable == PORT || args.any(has_name)
}

fn is_counted(arg: &Arg) -> bool {
    matches!(value_name(arg), "N" | "BYTES" | "SECONDS")
}

/// What orchestrators set for a service of the name: `SMTP_PORT=tcp://10.0.0.7:25`.
fn is_service(value: &str) -> bool {
    value.contains("://")
}
