//! Where mail is received: `[[listener]]` tables, and the flags and variables that replace them.

use clap::{ArgAction, ValueEnum};
use prixfixe_server::Protocol;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

use super::address::ListenAddress;
use super::auth::{Auth, Mode};
use super::given::Invalid;
use super::policy::EarlyTalker;
use super::sockets::{Mode as FileMode, Trusted};
use super::sources::Sources;
use super::tls::CERTIFICATE;
use super::words::{self, display, display_all, display_some, read};

const DEFAULT_PORT: u16 = 2525;

/// The flags. What they say is understood once it is known where it was written.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct ListenArguments {
    /// Address to receive mail at; repeatable. :25 means all addresses, and port 0 picks a free
    /// one. SMTP_PORT replaces the default's port
    #[arg(id = "listen", long, value_name = "ADDR:PORT", action = ArgAction::Append)]
    listen: Option<Vec<String>>,
    /// Address to receive mail at with implicit TLS; repeatable
    #[arg(id = "listen-tls", long, value_name = "ADDR:PORT", action = ArgAction::Append)]
    listen_tls: Option<Vec<String>>,
    /// Address to receive mail at by LMTP; repeatable
    #[arg(id = "listen-lmtp", long, value_name = "ADDR:PORT|unix:PATH", action = ArgAction::Append)]
    listen_lmtp: Option<Vec<String>>,
    /// Network of load balancers that send a PROXY protocol header, or the word unix; repeatable
    #[arg(id = "proxy-protocol-from", long, value_name = "CIDR", action = ArgAction::Append)]
    proxy_protocol_from: Option<Vec<String>>,
    /// Network of mail proxies that may name the true client by XCLIENT, or the word unix;
    /// repeatable
    #[arg(id = "xclient-from", long, value_name = "CIDR", action = ArgAction::Append)]
    xclient_from: Option<Vec<String>>,
}

/// One `[[listener]]` table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Listener {
    #[serde(serialize_with = "display", deserialize_with = "read::address")]
    pub address: ListenAddress,
    /// TLS before anything else; otherwise STARTTLS, where there is a certificate.
    #[serde(
        default,
        rename = "tls",
        skip_serializing_if = "std::ops::Not::not",
        serialize_with = "implicit",
        deserialize_with = "read::implicit"
    )]
    pub implicit_tls: bool,
    /// What is spoken there.
    #[serde(
        default,
        skip_serializing_if = "is_smtp",
        serialize_with = "lower_case",
        deserialize_with = "read::protocol"
    )]
    pub protocol: Protocol,
    /// Of a Unix socket: who may connect.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "display_some",
        deserialize_with = "read::mode"
    )]
    pub mode: Option<FileMode>,
    /// Of a Unix socket: whose it is.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read::group"
    )]
    pub group: Option<String>,
    /// Where load balancers are that speak the PROXY protocol.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        serialize_with = "display_all",
        deserialize_with = "read::trusted"
    )]
    pub proxy_protocol_from: Vec<Trusted>,
    /// Whether clients may or must log in here. `None`: as `auth.mode` has it.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read::some_word"
    )]
    pub auth: Option<Mode>,
    /// Whether strangers are judged here. `None`: by SMTP they are, by LMTP not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<bool>,
    /// How long a client has to keep quiet here. `None`: as `policy.early-talker` has it, where
    /// strangers are judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_talker: Option<EarlyTalker>,
    /// Where DSN is offered.
    #[serde(
        default,
        skip_serializing_if = "Dsn::is_auto",
        deserialize_with = "read::word"
    )]
    pub dsn: Dsn,
    /// Where mail proxies are that speak XCLIENT.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        serialize_with = "display_all",
        deserialize_with = "read::trusted"
    )]
    pub xclient_from: Vec<Trusted>,
}

/// Who is offered notifications of delivery (RFC 3461).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Dsn {
    /// Who has logged in, where notifications are sent from here: that needs a spool.
    #[default]
    Auto,
    /// Everybody, where the one target was seen to offer them.
    Pass,
}

impl Dsn {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde asks")]
    fn is_auto(&self) -> bool {
        *self == Self::Auto
    }
}

/// Which flag, and which variable, say where listeners are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Clear,
    /// TLS before anything else.
    Tls,
    Lmtp,
}

impl Kind {
    const fn id(self) -> &'static str {
        match self {
            Self::Clear => "listen",
            Self::Tls => "listen-tls",
            Self::Lmtp => "listen-lmtp",
        }
    }
}

/// The port of SMTP between servers (RFC 5321 section 2.3.4).
const SMTP_PORT: u16 = 25;

impl Listener {
    fn new(address: ListenAddress, kind: Kind) -> Self {
        Self {
            address,
            implicit_tls: kind == Kind::Tls,
            protocol: match kind {
                Kind::Lmtp => Protocol::Lmtp,
                Kind::Clear | Kind::Tls => Protocol::Smtp,
            },
            mode: None,
            group: None,
            proxy_protocol_from: Vec::new(),
            auth: None,
            policy: None,
            early_talker: None,
            dsn: Dsn::Auto,
            xclient_from: Vec::new(),
        }
    }

    fn kind(&self) -> Kind {
        match (self.protocol, self.implicit_tls) {
            (Protocol::Lmtp, _) => Kind::Lmtp,
            (_, true) => Kind::Tls,
            (_, false) => Kind::Clear,
        }
    }

    /// Whether strangers are judged here: a client of LMTP is a mail server of ours, as a rule.
    pub fn has_policy(&self) -> bool {
        self.policy.unwrap_or(self.protocol == Protocol::Smtp)
    }

    /// How long a client has to keep quiet here, where that is not as everywhere.
    pub fn own_early_talker(&self) -> Option<EarlyTalker> {
        let unjudged = (!self.has_policy()).then_some(EarlyTalker::OFF);
        self.early_talker.or(unjudged)
    }

    /// What is wrong with it, whatever the others are.
    fn problem(&self) -> Option<String> {
        if self.protocol == Protocol::Lmtp && self.address.port() == SMTP_PORT {
            // RFC 2033 section 5.
            let address = &self.address;
            return Some(format!(
                "`{address}` has port 25, which is for SMTP alone; choose another for LMTP, like 24"
            ));
        }
        if !self.address.is_unix() && (self.mode.is_some() || self.group.is_some()) {
            let address = &self.address;
            return Some(format!(
                "`{address}` is no Unix socket, so mode and group have no meaning; remove them"
            ));
        }
        None
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde has it")]
fn is_smtp(protocol: &Protocol) -> bool {
    *protocol == Protocol::Smtp
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde has it")]
fn lower_case<S: serde::Serializer>(protocol: &Protocol, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&protocol.as_str().to_ascii_lowercase())
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
    let mut found = of_kind(sources, of_file, Kind::Clear)?;
    if found.is_empty() && of_file.is_empty() {
        let address = ListenAddress::localhost(default_port(sources)?);
        let origin = Origin::Source("--listen".to_owned());
        found.push((origin, Listener::new(address, Kind::Clear)));
    }
    found.extend(of_kind(sources, of_file, Kind::Tls)?);
    found.extend(of_kind(sources, of_file, Kind::Lmtp)?);
    let mut with_tls = found.iter().filter(|(_, listener)| listener.implicit_tls);
    if let Some((origin, _)) = with_tls.next()
        && !has_certificate
    {
        let problem = format!("needs {CERTIFICATE}");
        return Err(Invalid::new(origin.place(sources), problem));
    }
    let networks = sources.list("proxy-protocol-from", words::trusted)?;
    let proxies = sources.list("xclient-from", words::trusted)?;
    let mut listeners: Vec<Listener> = Vec::with_capacity(found.len());
    let mut addresses = HashSet::new();
    for (origin, mut listener) in found {
        // A flag or a variable is for all listeners, and goes before what the file says of each.
        if let Some(networks) = &networks {
            listener.proxy_protocol_from.clone_from(networks);
        }
        if let Some(proxies) = &proxies {
            listener.xclient_from.clone_from(proxies);
        }
        if !listener.address.is_any_port() && !addresses.insert(listener.address.clone()) {
            let problem = format!("`{}` is there twice; remove one", listener.address);
            return Err(Invalid::new(origin.place(sources), problem));
        }
        if let Some(problem) = listener.problem() {
            return Err(Invalid::new(origin.place(sources), problem));
        }
        listeners.push(listener);
    }
    Ok(listeners)
}

fn of_kind(
    sources: &Sources<'_>,
    of_file: &[Listener],
    kind: Kind,
) -> Result<Vec<Placed>, Invalid> {
    let id = kind.id();
    let port = default_port(sources)?;
    let parse = |text: &str| match text {
        // The default listener on all addresses: what a container image says.
        "*" if kind == Kind::Clear => Ok(ListenAddress::all(port)),
        _ => words::address(text),
    };
    if let Some(addresses) = sources.list(id, parse)? {
        let place = sources.place(id);
        let listener = |address| {
            let origin = Origin::Source(place.clone());
            (origin, Listener::new(address, kind))
        };
        return Ok(addresses.into_iter().map(listener).collect());
    }
    let tables = of_file.iter().enumerate();
    let listeners = tables
        .filter(|(_, listener)| listener.kind() == kind)
        .map(|(index, listener)| (Origin::Table(index), listener.clone()));
    Ok(listeners.collect())
}

fn default_port(sources: &Sources<'_>) -> Result<u16, Invalid> {
    Ok(sources.variables.port()?.unwrap_or(DEFAULT_PORT))
}
