//! `check_host()` (RFC 7208 section 4).

use std::net::IpAddr;

use super::lookup::{Fault, Lookups, MAX_NAMES};
use super::macros::{DomainSpec, Values};
use super::record::{Mechanism, Prefixes, Record};
use crate::{Outcome, Resolver};

/// What stays the same while records lead from one to the next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) client: IpAddr,
    pub(super) helo: &'a str,
    /// `local@domain`.
    pub(super) sender: &'a str,
}

/// Whether this client may send for a domain.
pub(super) async fn check_host(resolver: &Resolver, asked: Asked<'_>, domain: &str) -> Outcome {
    let mut evaluation = Evaluation {
        asked,
        lookups: Lookups::new(resolver),
    };
    match evaluation.domain(domain.into()).await {
        Ok(outcome) => outcome,
        Err(Fault::Temporary) => Outcome::TempError,
        Err(Fault::Permanent) => Outcome::PermError,
    }
}

struct Evaluation<'a> {
    asked: Asked<'a>,
    lookups: Lookups<'a>,
}

/// The first record of a domain that speaks for itself: no more than ten lead there.
impl Evaluation<'_> {
    /// Follows redirects, so that a chain of them is a loop here and no depth of the stack.
    async fn domain(&mut self, domain: String) -> Result<Outcome, Fault> {
        let mut domain = domain;
        let mut redirected = false;
        loop {
            let Some(record) = self.record(&domain).await? else {
                // Section 6.1: a redirect to where nothing is, is a mistake.
                return match redirected {
                    true => Err(Fault::Permanent),
                    false => Ok(Outcome::None),
                };
            };
            for directive in &record.directives {
                if self.matches(&directive.mechanism, &domain).await? {
                    return Ok(directive.qualifier);
                }
            }
            let Some(target) = &record.redirect else {
                return Ok(Outcome::Neutral);
            };
            self.lookups.term()?;
            domain = self.expand(target, &domain).await?;
            redirected = true;
        }
    }

    /// Sections 4.4 and 4.5: the one record that the domain has.
    async fn record(&mut self, domain: &str) -> Result<Option<Record>, Fault> {
        if !is_domain(domain) {
            return Ok(None);
        }
        let texts = self.lookups.texts(domain).await?;
        let mut records = texts.iter().filter(|text| Record::is_one(text));
        match (records.next(), records.next()) {
            (None, _) => Ok(None),
            (Some(record), None) => match Record::parse(record) {
                Ok(record) => Ok(Some(record)),
                Err(_) => Err(Fault::Permanent),
            },
            (Some(_), Some(_)) => Err(Fault::Permanent),
        }
    }

    async fn matches(&mut self, mechanism: &Mechanism, domain: &str) -> Result<bool, Fault> {
        let client = self.asked.client;
        Ok(match mechanism {
            Mechanism::All => true,
            Mechanism::Ip4(network, bits) => is_within(client, (*network).into(), *bits),
            Mechanism::Ip6(network, bits) => is_within(client, (*network).into(), *bits),
            Mechanism::Include(target) => {
                self.lookups.term()?;
                let target = self.expand(target, domain).await?;
                // Boxed, since it may include in its turn; ten terms are the depth of it.
                match Box::pin(self.domain(target)).await? {
                    Outcome::Pass => true,
                    Outcome::None => return Err(Fault::Permanent),
                    _ => false,
                }
            }
            Mechanism::A(target, prefixes) => {
                self.lookups.term()?;
                let target = self.target(target.as_ref(), domain).await?;
                self.has_client(&target, *prefixes).await?
            }
            Mechanism::Mx(target, prefixes) => {
                self.lookups.term()?;
                let target = self.target(target.as_ref(), domain).await?;
                self.exchanger_is_client(&target, *prefixes).await?
            }
            Mechanism::Ptr(target) => {
                self.lookups.term()?;
                let target = self.target(target.as_ref(), domain).await?;
                let names = self.lookups.validated_names(client).await?;
                names.iter().any(|name| is_at_or_below(name, &target))
            }
            Mechanism::Exists(target) => {
                self.lookups.term()?;
                let target = self.expand(target, domain).await?;
                // Of IPv4, whatever the client has (section 5.7).
                !self.lookups.ipv4(&target).await?.is_empty()
            }
        })
    }

    async fn has_client(&mut self, name: &str, prefixes: Prefixes) -> Result<bool, Fault> {
        let client = self.asked.client;
        let bits = match client {
            IpAddr::V4(_) => prefixes.v4,
            IpAddr::V6(_) => prefixes.v6,
        };
        let addresses = self.lookups.addresses(name, client).await?;
        let mut addresses = addresses.into_iter();
        Ok(addresses.any(|address| is_within(client, address, bits)))
    }

    /// Section 5.4; more than ten exchangers are a mistake (section 4.6.4).
    async fn exchanger_is_client(
        &mut self,
        domain: &str,
        prefixes: Prefixes,
    ) -> Result<bool, Fault> {
        let exchangers = self.lookups.exchangers(domain).await?;
        if exchangers.len() > MAX_NAMES {
            return Err(Fault::Permanent);
        }
        for exchanger in exchangers {
            if self.has_client(&exchanger, prefixes).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn target(&mut self, spec: Option<&DomainSpec>, domain: &str) -> Result<String, Fault> {
        match spec {
            Some(spec) => self.expand(spec, domain).await,
            None => Ok(domain.into()),
        }
    }

    async fn expand(&mut self, spec: &DomainSpec, domain: &str) -> Result<String, Fault> {
        let name = match spec.asks_name() {
            true => self.client_name(domain).await?,
            false => String::new(),
        };
        Ok(spec.expand(&Values {
            client: self.asked.client,
            sender: self.asked.sender,
            domain,
            helo: self.asked.helo,
            name: &name,
        }))
    }

    /// `%{p}` (section 7.3): the domain itself, else what is below it, else any name, else
    /// `unknown`.
    async fn client_name(&mut self, domain: &str) -> Result<String, Fault> {
        self.lookups.term()?;
        let names = self.lookups.validated_names(self.asked.client).await?;
        let itself = names.iter().find(|name| name.eq_ignore_ascii_case(domain));
        let below = || names.iter().find(|name| is_at_or_below(name, domain));
        let name = itself.or_else(below).or_else(|| names.first());
        Ok(name.cloned().unwrap_or_else(|| "unknown".into()))
    }
}

/// Section 4.3: labels that can be some, more than one of them, no address literal.
fn is_domain(domain: &str) -> bool {
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    let mut labels = domain.split('.');
    domain.len() <= 253
        && domain.contains('.')
        && !domain.starts_with('[')
        && labels.all(|label| (1..=63).contains(&label.len()))
}

fn is_at_or_below(name: &str, domain: &str) -> bool {
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    let Some(start) = name.len().checked_sub(domain.len()) else {
        return false;
    };
    let (labels, end) = name.split_at_checked(start).unwrap_or_default();
    end.eq_ignore_ascii_case(domain) && (labels.is_empty() || labels.ends_with('.'))
}

/// The leading bits of two addresses of one family are the same.
fn is_within(client: IpAddr, network: IpAddr, bits: u8) -> bool {
    match (client, network) {
        (IpAddr::V4(client), IpAddr::V4(network)) => {
            let shift = 32_u32.saturating_sub(bits.into());
            let differ = client.to_bits() ^ network.to_bits();
            differ.checked_shr(shift).unwrap_or(0) == 0
        }
        (IpAddr::V6(client), IpAddr::V6(network)) => {
            let shift = 128_u32.saturating_sub(bits.into());
            let differ = client.to_bits() ^ network.to_bits();
            differ.checked_shr(shift).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn leading_bits_count() {
        for (client, network, bits, expected) in [
            ("192.0.2.129", "192.0.2.128", 25, true),
            ("192.0.2.127", "192.0.2.128", 25, false),
            ("192.0.2.1", "198.51.100.1", 0, true),
            ("192.0.2.1", "192.0.2.1", 32, true),
            ("2001:db8::1", "2001:db8::", 64, true),
            ("2001:db8:0:1::1", "2001:db8::", 64, false),
            ("2001:db8::1", "::", 0, true),
            ("2001:db8::1", "0.0.0.0", 0, false),
        ] {
            let within = is_within(client.parse().unwrap(), network.parse().unwrap(), bits);
            assert_eq!(within, expected, "{client} in {network}/{bits}");
        }
    }

    #[test]
    fn a_name_is_below_a_domain_by_whole_labels() {
        assert!(is_at_or_below("mx.a.test", "A.test"));
        assert!(is_at_or_below("a.test", "a.test."));
        assert!(!is_at_or_below("xa.test", "a.test"));
        assert!(!is_at_or_below("test", "a.test"));
    }
}
