//! The configuration of the `prixfixe` command: what it holds, and where it comes from.
//!
//! For tools that read a configuration file, or check what they write.
//! A field is the key of that name, and `docs/CONFIGURATION.md` says what it does.
//! It follows the command: **what is public here changes with it**, from one version to the next.
//!
//! ```
//! use clap::{Args, Command, FromArgMatches};
//! use prixfixe_config::{Configuration, ConfigurationArguments, Environment};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let command = ConfigurationArguments::augment_args(Command::new("serve"));
//! let matches = command.try_get_matches_from(["serve", "--domain", "mx.example.com"])?;
//! let arguments = ConfigurationArguments::from_arg_matches(&matches)?;
//! let configuration = Configuration::load_with(&arguments, &Environment::default())?;
//! assert_eq!(configuration.domain, "mx.example.com");
//! # Ok(())
//! # }
//! ```
//!
//! Each section is one struct in a file of its own. serde reads it from the file and prints it, and
//! clap changes what flags say. Variables are read as if they were flags. So an option is a field,
//! and its name in clap is its key in the file. Defaults are those of the libraries.

mod accept;
pub mod address;
mod admin;
mod arguments;
mod auth;
mod changes;
mod delivery;
mod early_talker;
mod file;
mod given;
mod groups;
mod hints;
mod limits;
mod listeners;
mod log;
pub mod policy;
mod relay;
mod sockets;
mod sources;
pub mod spool;
pub mod targets;
#[cfg(test)]
mod tests;
mod tls;
pub mod units;
mod variables;
mod ways;
mod words;

use std::num::NonZeroUsize;

use clap::{ArgAction, FromArgMatches, ValueEnum};
use serde::{Deserialize, Serialize};

pub use self::accept::{BareLineEnds, OnFailure, Relay};
pub use self::address::{Scope, Target};
pub use self::admin::Admin;
pub use self::arguments::ConfigurationArguments;
pub use self::arguments::{AdminArguments, SpoolArguments, invalid_argument};
pub use self::auth::{Auth, Mode};
pub use self::changes::{Difference, differences};
pub use self::delivery::Delivery;
pub use self::given::{Invalid, Mistakes};
pub use self::groups::look_up_group;
pub use self::hints::hint_for_argument;
pub use self::listeners::{Dsn, Listener};
pub use self::log::{Log, LogFormat, LogLevel};
pub use self::sockets::Trusted;
pub use self::spool::Spool;
pub use self::tls::Tls;
pub use self::variables::Environment;

use self::accept::Accept;
use self::arguments::SectionArguments;
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
    pub domain: String,
    /// Network back end; auto uses tokio, and falls back to raw
    #[arg(id = "transport", long, value_name = "auto|tokio|raw", value_parser = Word::<Transport>::default())]
    #[serde(deserialize_with = "read::word")]
    pub transport: Transport,
    /// Number of threads that serve connections
    #[arg(id = "threads", long, value_name = "N")]
    pub threads: Threads,
    /// Share the ports with another server of the same user that is about to stop
    #[arg(id = "reuse-port", long, value_name = "BOOLEAN", action = ArgAction::Set, value_parser = switch)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub reuse_port: bool,
    /// User to switch to after binding ports and reading keys
    #[arg(id = "user", long, value_name = "NAME", value_parser = user)]
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read::user"
    )]
    pub user: Option<String>,
    #[command(flatten)]
    pub limits: Limits,
    #[command(flatten)]
    pub tls: Tls,
    #[command(flatten)]
    pub auth: Auth,
    #[command(flatten)]
    pub accept: Accept,
    #[command(flatten)]
    pub policy: Policy,
    #[command(flatten)]
    pub delivery: Delivery,
    #[command(flatten)]
    #[serde(skip_serializing_if = "Spool::is_off")]
    pub spool: Spool,
    #[command(flatten)]
    #[serde(skip_serializing_if = "Admin::is_off")]
    pub admin: Admin,
    #[command(flatten)]
    pub log: Log,
    /// Empty until all sources are read: the file has none.
    #[arg(skip)]
    #[serde(rename = "listener", deserialize_with = "read::tables")]
    pub listeners: Vec<Listener>,
    #[arg(skip)]
    #[serde(
        rename = "target",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "read::tables"
    )]
    pub targets: Vec<MailTarget>,
    #[arg(skip)]
    #[serde(
        rename = "route",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "read::tables"
    )]
    pub routes: Vec<Route>,
}

type Threads = Count<1, 1024>;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
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
            spool: Spool::default(),
            admin: Admin::default(),
            log: Log::default(),
            listeners: Vec::new(),
            targets: Vec::new(),
            routes: Vec::new(),
        }
    }
}

impl Configuration {
    /// The configuration that these arguments, the environment of this process and the file they
    /// name amount to.
    pub fn load(arguments: &ConfigurationArguments) -> Result<Self, Mistakes> {
        Self::load_with(arguments, &Environment::of_this_process())
    }

    /// The configuration that these arguments, such an environment and the file they name amount
    /// to.
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
        self.spool.settle();
        self.spool.check(sources)?;
        self.check_targets(sources)?;
        self.auth.check(sources, self.tls.is_on())?;
        self.listeners =
            listeners::listeners(sources, &self.listeners, &self.auth, self.tls.is_on())?;
        self.check_relay(sources)
    }

    pub fn threads(&self) -> NonZeroUsize {
        NonZeroUsize::new(self.threads.size()).unwrap_or(NonZeroUsize::MIN)
    }

    /// What the listeners' addresses stand for, in their order.
    pub fn look_up_listeners(&self) -> Result<Vec<Target>, Invalid> {
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

impl<S: clap::Args> SectionArguments<S> {
    /// The file alone. Nothing but the section counts, but a mistake anywhere in the file is one.
    fn file(&self) -> Result<Configuration, Mistakes> {
        Ok(File::read(self.config.as_deref())?.1)
    }

    /// What the environment of this process and the arguments say of the section too. `id`: the
    /// option that it has a flag for.
    fn overlay(&self, mut section: S, id: &str) -> Result<S, Mistakes> {
        let variables = Variables::read_one(id, &Environment::of_this_process())?;
        for matches in [variables.matches(), &self.matches] {
            section
                .update_from_arg_matches(matches)
                .map_err(|error| taken(&error))?;
        }
        Ok(section)
    }
}

impl Admin {
    pub fn load(arguments: &AdminArguments) -> Result<Self, Mistakes> {
        arguments.overlay(arguments.file()?.admin, "admin.listen")
    }
}

impl Spool {
    /// And the names of the targets that the file has.
    pub fn load(arguments: &SpoolArguments) -> Result<(Self, Vec<String>), Mistakes> {
        let file = arguments.file()?;
        let targets = file.target_names();
        let mut spool = arguments.overlay(file.spool, "spool.path")?;
        spool.settle();
        if let Some((key, problem)) = spool.problem() {
            return Err(Invalid::new(format!("spool.{key}"), problem).into());
        }
        Ok((spool, targets))
    }
}
