//! The `[policy]` table: whom to believe.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use clap::ValueEnum;
use prixfixe_policy::MilterAddress;
use serde::{Deserialize, Serialize};

use super::OnFailure;
pub use super::early_talker::EarlyTalker;
use super::given::{Invalid, Problem};
use super::sources::Sources;
use super::units::Seconds;
use super::words::{Word, check_url, display, display_all, domain, milter_socket, read};

/// The port of DNS (RFC 1035 section 4.2).
const DNS_PORT: u16 = 53;

#[derive(Debug, Clone, PartialEq, Eq, clap::Args, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Policy {
    /// Check SPF, whether the client may send for the sender's domain: mark records the result,
    /// enforce refuses a fail
    #[arg(id = "policy.spf", long = "spf", value_name = "off|mark|enforce", value_parser = Word::<Mode>::default())]
    #[serde(deserialize_with = "read::word")]
    pub spf: Mode,
    /// Check DKIM signatures; mark records the results
    #[arg(id = "policy.dkim", long = "dkim", value_name = "off|mark", value_parser = Word::<Marking>::default())]
    #[serde(deserialize_with = "read::word")]
    pub dkim: Marking,
    /// Check DMARC, whether the author's domain vouches for the message; it uses SPF and DKIM
    #[arg(id = "policy.dmarc", long = "dmarc", value_name = "off|mark|enforce", value_parser = Word::<Mode>::default())]
    #[serde(deserialize_with = "read::word")]
    pub dmarc: Mode,
    /// DNS blocklist to look up clients' addresses in; marks, unless the file says reject;
    /// repeatable
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
    /// URL of an rspamd to ask about each message; repeatable
    #[arg(id = "policy.rspamd", long = "rspamd", value_name = "URL")]
    #[serde(skip)]
    rspamd_urls: Vec<String>,
    /// `[[policy.rspamd]]` tables, or what the flag says.
    #[arg(skip)]
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "read::tables"
    )]
    pub rspamd: Vec<Rspamd>,
    /// Socket of a milter to ask at every stage: inet:HOST:PORT or unix:PATH; repeatable
    #[arg(id = "policy.milter", long = "milter", value_name = "SOCKET")]
    #[serde(skip)]
    milter_sockets: Vec<String>,
    /// `[[policy.milter]]` tables, or what the flag says.
    #[arg(skip)]
    #[serde(
        rename = "milter",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "read::tables"
    )]
    pub milters: Vec<Milter>,
    /// Name servers; those of the system if there is none.
    #[arg(skip)]
    #[serde(
        serialize_with = "display_all",
        deserialize_with = "read::name_servers"
    )]
    pub dns: Vec<SocketAddr>,
    /// For all look-ups of one question, and for an answer of a filter.
    #[arg(skip)]
    pub timeout: Seconds<1>,
    /// How long a client has to keep quiet before it is greeted.
    #[arg(skip)]
    pub early_talker: EarlyTalker,
    /// Whether the client's name in the DNS stands in `Received`.
    #[arg(skip)]
    pub client_name: bool,
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

/// One `[[policy.rspamd]]` table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rspamd {
    #[serde(deserialize_with = "read::check_url")]
    pub url: String,
    /// What becomes of a message about which it gives no answer.
    #[serde(default, deserialize_with = "read::word")]
    pub on_failure: OnFailure,
    /// Whether plaintext may go to any host.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure: bool,
}

/// One `[[policy.milter]]` table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Milter {
    #[serde(serialize_with = "display", deserialize_with = "read::milter_socket")]
    pub socket: MilterAddress,
    /// What becomes of mail while it gives no answer.
    #[serde(default, deserialize_with = "read::word")]
    pub on_failure: OnFailure,
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
            rspamd_urls: Vec::new(),
            rspamd: Vec::new(),
            milter_sockets: Vec::new(),
            milters: Vec::new(),
            dns: Vec::new(),
            timeout: Seconds::nearest(prixfixe_policy::Resolver::TIMEOUT),
            early_talker: EarlyTalker::OFF,
            client_name: false,
            authserv_id: None,
        }
    }
}

impl Policy {
    /// Takes what the flag or the variable lists in place of the file's tables.
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
        self.rspamd_urls.clear();
        if let Some(urls) = sources.list("policy.rspamd", check_url)? {
            let filter = |url| Rspamd {
                url,
                on_failure: OnFailure::Defer,
                insecure: false,
            };
            self.rspamd = urls.into_iter().map(filter).collect();
        }
        self.milter_sockets.clear();
        if let Some(sockets) = sources.list("policy.milter", milter_socket)? {
            let milter = |socket| Milter {
                socket,
                on_failure: OnFailure::Defer,
            };
            self.milters = sockets.into_iter().map(milter).collect();
        }
        Ok(())
    }

    /// Whether SPF, DKIM or DMARC are looked at.
    pub fn authenticates(&self) -> bool {
        self.spf != Mode::Off || self.dkim != Marking::Off || self.dmarc != Mode::Off
    }

    /// How long a message may wait for all checks, one after the other.
    pub fn longest(&self) -> Duration {
        // SPF, DKIM and DMARC.
        let dns = if self.asks_dns() { 3 } else { 0 };
        let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        // A milter that is at work gets its time three times.
        let milters = count(self.milters.len()).saturating_mul(3);
        let filters = count(self.rspamd.len()).saturating_add(milters);
        let checks = filters.saturating_add(dns);
        self.timeout.get().saturating_mul(checks)
    }

    /// Whether anything is asked of the DNS.
    pub fn asks_dns(&self) -> bool {
        self.authenticates() || !self.lists.is_empty() || self.client_name
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
