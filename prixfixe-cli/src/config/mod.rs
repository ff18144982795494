//! The configuration of `serve` and `check`: what it holds, and where it comes from.
//!
//! A value is looked for on the command line, in the environment, in the file and in the defaults, in this order
//! ([`resolve`]). All of them are described by one table ([`options`]) and understood by the same parsers, so that
//! `10MiB` means the same everywhere and a mistake is reported in the same words, with the place where it was made.

mod arguments;
mod file;
mod given;
mod listeners;
mod mistakes;
mod options;
mod resolve;
mod sources;
mod tables;
#[cfg(test)]
mod tests;
mod tls;
pub(crate) mod units;
mod words;

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::time::Duration;

use ipnet::IpNet;
use prixfixe_delivery::Target as DeliveryTarget;
use serde::Serialize;

pub(crate) use self::arguments::AdminArguments;
pub use self::arguments::ConfigurationArguments;
pub use self::given::Invalid;
pub(crate) use self::listeners::{ListenAddress, Scope, Target};
pub(crate) use self::tls::{ClientAuth, Tls, TlsVersion};

/// Everything that `serve` needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Configuration {
    pub(crate) domain: String,
    pub(crate) transport: Transport,
    pub(crate) threads: NonZeroUsize,
    /// Listen beside another process.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) reuse_port: bool,
    /// Whom to become when everything that needs root is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    pub(crate) limits: Limits,
    pub(crate) tls: Tls,
    pub(crate) accept: Accept,
    pub(crate) delivery: Delivery,
    #[serde(skip_serializing_if = "Admin::is_off")]
    pub(crate) admin: Admin,
    pub(crate) log: Log,
    #[serde(rename = "listener")]
    pub(crate) listeners: Vec<Listener>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Limits {
    pub(crate) max_connections: usize,
    /// Of one client; 0 for no limit, here and in the next three. `None`: half of `max_connections`, of public addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_connections_per_client: Option<u32>,
    pub(crate) connections_per_minute: u32,
    pub(crate) messages_per_minute: u32,
    pub(crate) max_idle_commands: u32,
    #[serde(serialize_with = "seconds")]
    pub(crate) idle_timeout: Duration,
    pub(crate) max_message_size: u64,
    pub(crate) max_recipients: usize,
    pub(crate) max_errors: u32,
    #[serde(serialize_with = "seconds")]
    pub(crate) command_timeout: Duration,
    /// Octets a second; 0 for no minimum.
    pub(crate) min_data_rate: u32,
    #[serde(serialize_with = "seconds")]
    pub(crate) drain_timeout: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Accept {
    /// Empty: every recipient is accepted.
    pub(crate) domains: Vec<String>,
    pub(crate) bare_line_ends: BareLineEnds,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Delivery {
    #[serde(serialize_with = "display")]
    pub(crate) target: DeliveryTarget,
    pub(crate) fsync: bool,
    /// Bytes; 0 for no limit.
    pub(crate) min_free: u64,
}

/// Where operators ask.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Admin {
    /// `None`: nowhere.
    #[serde(serialize_with = "display_some")]
    pub(crate) listen: Option<ListenAddress>,
}

impl Admin {
    /// What these arguments, the environment of this process and the file they name say of it. Nothing else is looked at, but
    /// a mistake anywhere in the file is one.
    pub(crate) fn load(arguments: &AdminArguments) -> Result<Self, Invalid> {
        resolve::admin(arguments, &|variable| std::env::var_os(variable))
    }

    fn is_off(&self) -> bool {
        self.listen.is_none()
    }

    /// What the address stands for, where there is one.
    pub(crate) fn look_up(&self) -> Result<Option<Target>, Invalid> {
        let look_up = |address: &ListenAddress| {
            let place = format!("admin.listen {address}");
            address
                .resolve()
                .map_err(|problem| Invalid { place, problem })
        };
        self.listen.as_ref().map(look_up).transpose()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Log {
    pub(crate) format: LogFormat,
    pub(crate) level: LogLevel,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Listener {
    #[serde(serialize_with = "display")]
    pub(crate) address: ListenAddress,
    /// TLS before anything else; otherwise STARTTLS, where there is a certificate.
    #[serde(
        rename = "tls",
        skip_serializing_if = "std::ops::Not::not",
        serialize_with = "implicit"
    )]
    pub(crate) implicit_tls: bool,
    /// Where load balancers are that speak the PROXY protocol.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "display_all")]
    pub(crate) proxy_protocol_from: Vec<IpNet>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    Auto,
    Tokio,
    Raw,
}

/// What becomes of a message with a bare CR or LF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BareLineEnds {
    Refuse,
    Repair,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// From the fewest lines to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Configuration {
    /// The configuration that these arguments, the environment of this process and the file they name amount to.
    pub(crate) fn load(arguments: &ConfigurationArguments) -> Result<Self, Invalid> {
        Self::load_with(arguments, &|variable| std::env::var_os(variable))
    }

    /// The configuration that these arguments, such an environment and the file they name amount to.
    ///
    /// # Errors
    ///
    /// [`Invalid`] names the flag, the variable, or the file with its line and key.
    pub fn load_with(
        arguments: &ConfigurationArguments,
        environment: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Self, Invalid> {
        resolve::resolve(arguments, environment)
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

fn seconds<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(time.as_secs())
}

fn display<S: serde::Serializer>(
    value: &impl std::fmt::Display,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn display_some<S: serde::Serializer>(
    value: &Option<impl std::fmt::Display>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

fn display_all<S: serde::Serializer>(
    values: &[impl std::fmt::Display],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(ToString::to_string))
}

fn implicit<S: serde::Serializer>(_: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str("implicit")
}
