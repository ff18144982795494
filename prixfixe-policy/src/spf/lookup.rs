//! What SPF asks the DNS, and how much of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mail_auth::hickory_resolver::lookup::Lookup;
use mail_auth::hickory_resolver::net::{DnsError, NetError};
use mail_auth::hickory_resolver::proto::op::ResponseCode;
use mail_auth::hickory_resolver::proto::rr::{Name, RData, RecordType};

use crate::Resolver;

/// Terms that may ask the DNS in one question (RFC 7208 section 4.6.4).
const MAX_TERMS: usize = 10;

/// Look-ups that may find nothing in one question (section 4.6.4).
const MAX_VOID: usize = 2;

/// Names that are looked at of a host's mail exchangers, and of a client's names (section 4.6.4).
pub(super) const MAX_NAMES: usize = 10;

/// Why a question ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The DNS does not answer.
    Temporary,
    /// What the domain publishes makes no sense, or asks for too much.
    Permanent,
}

/// The DNS for one question, with what may still be asked.
#[derive(Debug)]
pub(super) struct Lookups<'a> {
    resolver: &'a Resolver,
    terms: usize,
    void: usize,
}

impl<'a> Lookups<'a> {
    pub(super) fn new(resolver: &'a Resolver) -> Self {
        Self {
            resolver,
            terms: 0,
            void: 0,
        }
    }

    /// A term asks the DNS.
    pub(super) fn term(&mut self) -> Result<(), Fault> {
        self.terms += 1;
        match self.terms <= MAX_TERMS {
            true => Ok(()),
            false => Err(Fault::Permanent),
        }
    }

    /// All texts of a name; none where it does not exist.
    pub(super) async fn texts(&self, name: &str) -> Result<Vec<Vec<u8>>, Fault> {
        let texts = self.ask(name, RecordType::TXT, |data| match data {
            RData::TXT(text) => Some(text.txt_data.concat()),
            _ => None,
        });
        texts.await
    }

    pub(super) async fn exchangers(&mut self, name: &str) -> Result<Vec<String>, Fault> {
        let exchangers = self.ask(name, RecordType::MX, |data| match data {
            RData::MX(mx) => text(&mx.exchange),
            _ => None,
        });
        let exchangers = exchangers.await?;
        self.count(exchangers.is_empty())?;
        Ok(exchangers)
    }

    pub(super) async fn ipv4(&mut self, name: &str) -> Result<Vec<Ipv4Addr>, Fault> {
        let addresses = self.ask(name, RecordType::A, |data| match data {
            RData::A(address) => Some(address.0),
            _ => None,
        });
        let addresses = addresses.await?;
        self.count(addresses.is_empty())?;
        Ok(addresses)
    }

    async fn ipv6(&mut self, name: &str) -> Result<Vec<Ipv6Addr>, Fault> {
        let addresses = self.ask(name, RecordType::AAAA, |data| match data {
            RData::AAAA(address) => Some(address.0),
            _ => None,
        });
        let addresses = addresses.await?;
        self.count(addresses.is_empty())?;
        Ok(addresses)
    }

    /// The addresses of a name, of the client's family alone (section 5).
    pub(super) async fn addresses(
        &mut self,
        name: &str,
        client: IpAddr,
    ) -> Result<Vec<IpAddr>, Fault> {
        Ok(match client {
            IpAddr::V4(_) => self
                .ipv4(name)
                .await?
                .into_iter()
                .map(IpAddr::from)
                .collect(),
            IpAddr::V6(_) => self
                .ipv6(name)
                .await?
                .into_iter()
                .map(IpAddr::from)
                .collect(),
        })
    }

    /// The client's names that lead back to it (section 5.5). Whatever fails is a name less.
    pub(super) async fn validated_names(&mut self, client: IpAddr) -> Result<Vec<String>, Fault> {
        let reverse = text(&Name::from(client)).unwrap_or_default();
        let names = self.ask(&reverse, RecordType::PTR, |data| match data {
            RData::PTR(name) => text(&name.0),
            _ => None,
        });
        let names = names.await.unwrap_or_default();
        self.count(names.is_empty())?;
        let mut validated = Vec::new();
        for name in names.into_iter().take(MAX_NAMES) {
            match self.addresses(&name, client).await {
                Ok(addresses) if addresses.contains(&client) => {
                    let name = name.trim_end_matches('.').to_ascii_lowercase();
                    validated.push(name);
                }
                Ok(_) | Err(Fault::Temporary) => {}
                Err(Fault::Permanent) => return Err(Fault::Permanent),
            }
        }
        Ok(validated)
    }

    fn count(&mut self, void: bool) -> Result<(), Fault> {
        self.void += usize::from(void);
        match self.void <= MAX_VOID {
            true => Ok(()),
            false => Err(Fault::Permanent),
        }
    }

    /// Asks; a name that cannot be one has no records.
    async fn ask<T>(
        &self,
        name: &str,
        kind: RecordType,
        of: impl Fn(&RData) -> Option<T>,
    ) -> Result<Vec<T>, Fault> {
        let Some(name) = dns_name(name) else {
            return Ok(Vec::new());
        };
        match self.resolver.dns().resolver().lookup(name, kind).await {
            Ok(found) => Ok(collect(&found, of)),
            Err(NetError::Dns(DnsError::NoRecordsFound(nothing))) => match nothing.response_code {
                ResponseCode::NoError | ResponseCode::NXDomain => Ok(Vec::new()),
                _ => Err(Fault::Temporary),
            },
            Err(_) => Err(Fault::Temporary),
        }
    }
}

fn collect<T>(found: &Lookup, of: impl Fn(&RData) -> Option<T>) -> Vec<T> {
    let records = found.answers().iter();
    records.filter_map(|record| of(&record.data)).collect()
}

/// A name as it is written here, without escapes: it is asked again as labels.
fn text(name: &Name) -> Option<String> {
    let labels: Result<Vec<_>, _> = name.iter().map(std::str::from_utf8).collect();
    labels.ok().map(|labels| labels.join("."))
}

/// A name with its root; nothing if labels are empty or too long.
fn dns_name(name: &str) -> Option<Name> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let mut labels = name.split('.');
    if !labels.all(|label| (1..=63).contains(&label.len())) {
        return None;
    }
    let mut name = Name::from_labels(name.split('.').map(str::as_bytes)).ok()?;
    name.set_fqdn(true);
    Some(name)
}
