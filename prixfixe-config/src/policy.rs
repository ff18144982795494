//! The `[policy]` table: whom to believe.

use std::net::{IpAddr, SocketAddr};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::given::{Invalid, Problem};
use super::sources::Sources;
use super::units::Seconds;
use super::words::{Word, display_all, domain, read};

/// The port of DNS (RFC 1035 section 4.2).
const DNS_PORT: u16 = 53;

#[derive(Debug, Clone, PartialEq, Eq, clap::Args, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Policy {
    /// Whether the client may send for the sender's domain: mark writes it down, enforce refuses
    #[arg(id = "policy.spf", long = "spf", value_name = "off|mark|enforce", value_parser = Word::<Mode>::default())]
    #[serde(deserialize_with = "read::word")]
    pub spf: Mode,
    /// Whose signatures a message has
    #[arg(id = "policy.dkim", long = "dkim", value_name = "off|mark", value_parser = Word::<Marking>::default())]
    #[serde(deserialize_with = "read::word")]
    pub dkim: Marking,
    /// Whether the author's domain stands behind a message; looks at SPF and DKIM too
    #[arg(id = "policy.dmarc", long = "dmarc", value_name = "off|mark|enforce", value_parser = Word::<Mode>::default())]
    #[serde(deserialize_with = "read::word")]
    pub dmarc: Mode,
    /// DNS blocklist of clients' addresses; marks, unless the file says more; repeatable
    #[arg(id = "policy.dnsbl", long = "dnsbl", value_name = "ZONE")]
    #[serde(skip)]
    zones: Vec<String>,
    /// `[[policy.dnsbl]]` tables, or what the flag says.
    #[arg(skip)]
    #[serde(
        rename = "dnsbl",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "read::tables"
    )]
    pub lists: Vec<Dnsbl>,
    /// Name servers; those of the system if there is none.
    #[arg(skip)]
    #[serde(
        serialize_with = "display_all",
        deserialize_with = "read::name_servers"
    )]
    pub dns: Vec<SocketAddr>,
    /// For all look-ups of one question.
    #[arg(skip)]
    pub timeout: Seconds<1>,
    /// Who says it in `Authentication-Results`; `None` is `domain`.
    #[arg(skip)]
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read::domain"
    )]
    pub authserv_id: Option<String>,
}

/// What is done with what is found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    #[default]
    Off,
    Mark,
    Enforce,
}

/// The same for what is never refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Marking {
    #[default]
    Off,
    Mark,
}

/// One `[[policy.dnsbl]]` table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Dnsbl {
    #[serde(deserialize_with = "read::domain")]
    pub zone: String,
    #[serde(default, deserialize_with = "read::word")]
    pub action: Action,
}

/// What becomes of a client that is listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    #[default]
    Mark,
    Reject,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            spf: Mode::Off,
            dkim: Marking::Off,
            dmarc: Mode::Off,
            zones: Vec::new(),
            lists: Vec::new(),
            dns: Vec::new(),
            timeout: Seconds::nearest(prixfixe_policy::Resolver::TIMEOUT),
            authserv_id: None,
        }
    }
}

impl Policy {
    /// Takes the flag's or the variable's zones in place of the file's tables.
    pub(super) fn overlay(&mut self, sources: &Sources<'_>) -> Result<(), Invalid> {
        self.zones.clear();
        let zones = sources.list("policy.dnsbl", domain)?;
        if let Some(zones) = zones {
            let list = |zone| Dnsbl {
                zone,
                action: Action::Mark,
            };
            self.lists = zones.into_iter().map(list).collect();
        }
        Ok(())
    }

    /// Whether SPF, DKIM or DMARC are looked at.
    pub fn authenticates(&self) -> bool {
        self.spf != Mode::Off || self.dkim != Marking::Off || self.dmarc != Mode::Off
    }

    /// Whether anything is asked of the DNS.
    pub fn asks_dns(&self) -> bool {
        self.authenticates() || !self.lists.is_empty()
    }
}

/// An address with or without a port.
pub(super) fn name_server(text: &str) -> Result<SocketAddr, Problem> {
    let alone = |address: IpAddr| SocketAddr::new(address, DNS_PORT);
    let address = text.parse().map(alone).or_else(|_| text.parse());
    address.map_err(|_| {
        let examples = "192.0.2.53, 192.0.2.53:5353 or [2001:db8::53]:5353";
        format!("`{text}` is no address of a name server; give one like {examples}").into()
    })
}

impl From<Mode> for prixfixe_policy::Mode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Off => Self::Off,
            Mode::Mark => Self::Mark,
            Mode::Enforce => Self::Enforce,
        }
    }
}

impl From<Action> for prixfixe_policy::ListedAction {
    fn from(action: Action) -> Self {
        match action {
            Action::Mark => Self::Mark,
            Action::Reject => Self::Reject,
        }
    }
}
