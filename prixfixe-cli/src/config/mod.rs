//! The configuration of `serve` and `check`: what it holds, and where it comes from.
//!
//! Each section is one struct in a file of its own. serde reads it from the file and prints it, and clap
//! changes what flags say. Variables are read as if they were flags. So an option is a field, and its
//! name in clap is its key in the file. Defaults are those of the libraries.

mod accept;
pub(crate) mod address;
mod admin;
mod arguments;
mod auth;
mod delivery;
mod early_talker;
mod file;
mod given;
mod hints;
mod limits;
mod listeners;
mod log;
pub(crate) mod policy;
mod sockets;
mod sources;
pub(crate) mod targets;
#[cfg(test)]
mod tests;
mod tls;
pub(crate) mod units;
mod variables;
mod ways;
mod words;

use std::num::NonZeroUsize;

use clap::{ArgAction, FromArgMatches, ValueEnum};
use serde::{Deserialize, Serialize};

pub(crate) use self::accept::{BareLineEnds, OnFailure, Relay};
pub(crate) use self::address::{Scope, Target};
pub(crate) use self::admin::Admin;
pub use self::arguments::ConfigurationArguments;
pub(crate) use self::arguments::{AdminArguments, invalid_argument};
pub(crate) use self::auth::{Auth, Mode};
pub(crate) use self::delivery::Delivery;
pub use self::given::{Invalid, Mistakes};
pub(crate) use self::hints::hint_for_argument;
pub(crate) use self::listeners::{Dsn, Listener};
pub(crate) use self::log::{Log, LogFormat, LogLevel};
pub(crate) use self::sockets::Trusted;
pub(crate) use self::tls::Tls;
pub use self::variables::Environment;

use self::accept::Accept;
use self::file::File;
use self::limits::Limits;
use self::policy::Policy;
use self::sources::Sources;
use self::targets::{Route, Target as MailTarget};
use self::units::{Count, switch};
use self::variables::Variables;
use self::words::{Word, own_domain, read, user};

/// Everything that `serve` needs to know.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Configuration {
    /// Name of this server, in the greeting and in Received headers
    #[arg(id = "domain", long, value_name = "NAME", value_parser = own_domain)]
    #[serde(deserialize_with = "read::own_domain")]
    pub(crate) domain: String,
    /// Network back end; auto uses tokio, and falls back to raw
    #[arg(id = "transport", long, value_name = "auto|tokio|raw", value_parser = Word::<Transport>::default())]
    #[serde(deserialize_with = "read::word")]
    pub(crate) transport: Transport,
    /// Number of threads that serve connections
    #[arg(id = "threads", long, value_name = "N")]
    pub(crate) threads: Threads,
    /// Share the ports with another server of the same user that is about to stop
    #[arg(id = "reuse-port", long, value_name = "BOOLEAN", action = ArgAction::Set, value_parser = switch)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) reuse_port: bool,
    /// User to switch to after binding ports and reading keys
    #[arg(id = "user", long, value_name = "NAME", value_parser = user)]
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read::user"
    )]
    pub(crate) user: Option<String>,
    #[command(flatten)]
    pub(crate) limits: Limits,
    #[command(flatten)]
    pub(crate) tls: Tls,
    #[command(flatten)]
    pub(crate) auth: Auth,
    #[command(flatten)]
    pub(crate) accept: Accept,
    #[command(flatten)]
    pub(crate) policy: Policy,
    #[command(flatten)]
    pub(crate) delivery: Delivery,
    #[command(flatten)]
    #[serde(skip_serializing_if = "Admin::is_off")]
    pub(crate) admin: Admin,
    #[command(flatten)]
    pub(crate) log: Log,
    /// Empty until all sources are read: the file has none.
    #[arg(skip)]
    #[serde(rename = "listener", deserialize_with = "read::tables")]
    pub(crate) listeners: Vec<Listener>,
    #[arg(skip)]
    #[serde(
        rename = "target",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "read::tables"
    )]
    pub(crate) targets: Vec<MailTarget>,
    #[arg(skip)]
    #[serde(
        rename = "route",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "read::tables"
    )]
    pub(crate) routes: Vec<Route>,
}

type Threads = Count<1, 1024>;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    #[default]
    Auto,
    Tokio,
    Raw,
}

impl Default for Configuration {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self {
            domain: "localhost".to_owned(),
            transport: Transport::default(),
            threads: Count::nearest(cores),
            reuse_port: false,
            user: None,
            limits: Limits::default(),
            tls: Tls::default(),
            auth: Auth::default(),
            accept: Accept::default(),
            policy: Policy::default(),
            delivery: Delivery::default(),
            admin: Admin::default(),
            log: Log::default(),
            listeners: Vec::new(),
            targets: Vec::new(),
            routes: Vec::new(),
        }
    }
}

impl Configuration {
    /// The configuration that these arguments, the environment of this process and the file they name amount to.
    pub(crate) fn load(arguments: &ConfigurationArguments) -> Result<Self, Mistakes> {
        Self::load_with(arguments, &Environment::of_this_process())
    }

    /// The configuration that these arguments, such an environment and the file they name amount to.
    ///
    /// # Errors
    ///
    /// Each of the [`Mistakes`] names the flag, the variable, or the file with its line and key.
    pub fn load_with(
        arguments: &ConfigurationArguments,
        environment: &Environment,
    ) -> Result<Self, Mistakes> {
        let (file, mut configuration) = File::read(arguments.config.as_deref())?;
        let variables = Variables::read(environment)?;
        let sources = Sources {
            flags: &arguments.matches,
            variables: &variables,
            file: &file,
        };
        configuration.overlay(&sources)?;
        Ok(configuration)
    }

    /// A flag goes before a variable, a variable before the file.
    fn overlay(&mut self, sources: &Sources<'_>) -> Result<(), Invalid> {
        for matches in [sources.variables.matches(), sources.flags] {
            self.update_from_arg_matches(matches)
                .map_err(|error| taken(&error))?;
        }
        if let Some(domains) = sources.list("accept.domains", words::accepted_domain)? {
            self.accept.domains = domains;
        }
        self.limits.check(sources)?;
        self.policy.overlay(sources)?;
        self.delivery.complete(self.limits.max_message_size.get());
        self.tls.check(sources)?;
        self.check_targets(sources)?;
        self.auth.check(sources, self.tls.is_on())?;
        self.listeners =
            listeners::listeners(sources, &self.listeners, &self.auth, self.tls.is_on())?;
        self.check_relay(sources)
    }

    pub(crate) fn threads(&self) -> NonZeroUsize {
        NonZeroUsize::new(self.threads.size()).unwrap_or(NonZeroUsize::MIN)
    }

    /// What the listeners' addresses stand for, in their order.
    pub(crate) fn look_up_listeners(&self) -> Result<Vec<Target>, Invalid> {
        let look_up = |listener: &Listener| {
            let place = format!("listener {}", listener.address);
            listener
                .address
                .resolve()
                .map_err(|problem| Invalid { place, problem })
        };
        self.listeners.iter().map(look_up).collect()
    }

    /// A file that `--config` reads back to the same configuration.
    ///
    /// # Errors
    ///
    /// None: every configuration can be written.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }
}

/// Of values that clap has taken before.
fn taken(error: &clap::Error) -> Invalid {
    Invalid::new("command line", error.kind())
}

impl Admin {
    /// What these arguments, the environment of this process and the file they name say of it. Nothing else is looked at, but
    /// a mistake anywhere in the file is one.
    pub(crate) fn load(arguments: &AdminArguments) -> Result<Self, Mistakes> {
        let (_, configuration) = File::read(arguments.config.as_deref())?;
        let mut admin = configuration.admin;
        let variables = Variables::read_one("admin.listen", &Environment::of_this_process())?;
        for matches in [variables.matches(), &arguments.matches] {
            admin
                .update_from_arg_matches(matches)
                .map_err(|error| taken(&error))?;
        }
        Ok(admin)
    }
}
