//! Where mail is received: `[[listener]]` tables, and the flags and variables that replace them.

use clap::ArgAction;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

use super::address::ListenAddress;
use super::auth::{Auth, Mode};
use super::given::Invalid;
use super::sources::Sources;
use super::tls::CERTIFICATE;
use super::words::{self, display, display_all, read};

const DEFAULT_PORT: u16 = 2525;

/// The flags. What they say is understood once it is known where it was written.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct ListenArguments {
    /// Address to receive mail at; repeatable. :25 means all addresses, and port 0 picks a free one.
    /// SMTP_PORT replaces the default's port
    #[arg(id = "listen", long, value_name = "ADDR:PORT", action = ArgAction::Append)]
    listen: Option<Vec<String>>,
    /// Address to receive mail at with implicit TLS; repeatable
    #[arg(id = "listen-tls", long, value_name = "ADDR:PORT", action = ArgAction::Append)]
    listen_tls: Option<Vec<String>>,
    /// Network of load balancers that send a PROXY protocol header; repeatable
    #[arg(id = "proxy-protocol-from", long, value_name = "CIDR", action = ArgAction::Append)]
    proxy_protocol_from: Option<Vec<String>>,
}

/// One `[[listener]]` table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Listener {
    #[serde(serialize_with = "display", deserialize_with = "read::address")]
    pub(crate) address: ListenAddress,
    /// TLS before anything else; otherwise STARTTLS, where there is a certificate.
    #[serde(
        default,
        rename = "tls",
        skip_serializing_if = "std::ops::Not::not",
        serialize_with = "implicit",
        deserialize_with = "read::implicit"
    )]
    pub(crate) implicit_tls: bool,
    /// Where load balancers are that speak the PROXY protocol.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        serialize_with = "display_all",
        deserialize_with = "read::networks"
    )]
    pub(crate) proxy_protocol_from: Vec<IpNet>,
    /// Whether clients may or must log in here. `None`: as `auth.mode` has it.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read::some_word"
    )]
    pub(crate) auth: Option<Mode>,
}

impl Listener {
    fn new(address: ListenAddress, implicit_tls: bool) -> Self {
        Self {
            address,
            implicit_tls,
            proxy_protocol_from: Vec::new(),
            auth: None,
        }
    }
}

fn implicit<S: serde::Serializer>(_: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str("implicit")
}

/// A listener with what tells where its address was written.
type Placed = (Origin, Listener);

/// To say the line of a table costs a look at the whole file: it is said where it is asked for.
enum Origin {
    /// The flag or the variable.
    Source(String),
    /// The number of the table.
    Table(usize),
}

impl Origin {
    fn place(&self, sources: &Sources<'_>) -> String {
        match self {
            Self::Source(place) => place.clone(),
            Self::Table(index) => {
                let place = sources.file.place("listener.address", Some(*index));
                place.unwrap_or_default()
            }
        }
    }
}

/// Flags and variables replace the file's listeners of their kind, in clear or with TLS first.
pub(super) fn listeners(
    sources: &Sources<'_>,
    of_file: &[Listener],
    auth: &Auth,
    has_certificate: bool,
) -> Result<Vec<Listener>, Invalid> {
    for (index, mode) in of_file.iter().map(|listener| listener.auth).enumerate() {
        if let Some(problem) = mode.and_then(|mode| auth.needs(mode, has_certificate)) {
            let place = sources.file.place("listener.auth", Some(index));
            return Err(Invalid::new(place.unwrap_or_default(), problem));
        }
    }
    let mut found = of_kind(sources, of_file, false)?;
    if found.is_empty() && of_file.is_empty() {
        let address = ListenAddress::localhost(default_port(sources)?);
        let origin = Origin::Source("--listen".to_owned());
        found.push((origin, Listener::new(address, false)));
    }
    let with_tls = of_kind(sources, of_file, true)?;
    if let Some((origin, _)) = with_tls.first()
        && !has_certificate
    {
        let problem = format!("needs {CERTIFICATE}");
        return Err(Invalid::new(origin.place(sources), problem));
    }
    found.extend(with_tls);
    let networks = sources.list("proxy-protocol-from", words::network)?;
    let mut listeners: Vec<Listener> = Vec::with_capacity(found.len());
    let mut addresses = HashSet::new();
    for (origin, mut listener) in found {
        // A flag or a variable is for all listeners, and goes before what the file says of each.
        if let Some(networks) = &networks {
            listener.proxy_protocol_from.clone_from(networks);
        }
        if !listener.address.is_any_port() && !addresses.insert(listener.address.clone()) {
            let problem = format!("`{}` is there twice; remove one", listener.address);
            return Err(Invalid::new(origin.place(sources), problem));
        }
        listeners.push(listener);
    }
    Ok(listeners)
}

fn of_kind(
    sources: &Sources<'_>,
    of_file: &[Listener],
    implicit_tls: bool,
) -> Result<Vec<Placed>, Invalid> {
    let id = if implicit_tls { "listen-tls" } else { "listen" };
    let port = default_port(sources)?;
    let parse = |text: &str| match text {
        // The default listener on all addresses: what a container image says.
        "*" if !implicit_tls => Ok(ListenAddress::all(port)),
        _ => words::address(text),
    };
    if let Some(addresses) = sources.list(id, parse)? {
        let place = sources.place(id);
        let listener = |address| {
            let origin = Origin::Source(place.clone());
            (origin, Listener::new(address, implicit_tls))
        };
        return Ok(addresses.into_iter().map(listener).collect());
    }
    let tables = of_file.iter().enumerate();
    let listeners = tables
        .filter(|(_, listener)| listener.implicit_tls == implicit_tls)
        .map(|(index, listener)| (Origin::Table(index), listener.clone()));
    Ok(listeners.collect())
}

fn default_port(sources: &Sources<'_>) -> Result<u16, Invalid> {
    Ok(sources.variables.port()?.unwrap_or(DEFAULT_PORT))
}
