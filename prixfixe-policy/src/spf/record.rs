//! An SPF record, parsed (RFC 7208 sections 4.5, 4.6, 5 and 12).

use std::net::{Ipv4Addr, Ipv6Addr};

use super::macros::DomainSpec;
use crate::Outcome;

/// What a domain publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) directives: Vec<Directive>,
    pub(super) redirect: Option<DomainSpec>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Directive {
    /// What a match means.
    pub(super) qualifier: Outcome,
    pub(super) mechanism: Mechanism,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mechanism {
    All,
    Include(DomainSpec),
    A(Option<DomainSpec>, Prefixes),
    Mx(Option<DomainSpec>, Prefixes),
    Ptr(Option<DomainSpec>),
    Ip4(Ipv4Addr, u8),
    Ip6(Ipv6Addr, u8),
    Exists(DomainSpec),
}

/// How many leading bits of an address count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Prefixes {
    pub(super) v4: u8,
    pub(super) v6: u8,
}

/// A record that does not follow the syntax: `permerror`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

impl Record {
    /// True for a text that means to be an SPF record (section 4.5): whole words alone count.
    pub(super) fn is_one(text: &[u8]) -> bool {
        let (Some(version), rest) = (text.get(..6), text.get(6)) else {
            return false;
        };
        version.eq_ignore_ascii_case(b"v=spf1") && matches!(rest, None | Some(b' '))
    }

    /// Everything is parsed before anything is looked up: a mistake anywhere makes all of it
    /// `permerror`.
    pub(super) fn parse(text: &[u8]) -> Result<Self, Malformed> {
        let terms = text.get(6..).ok_or(Malformed)?;
        let terms = std::str::from_utf8(terms).map_err(|_| Malformed)?;
        let mut record = Self {
            directives: Vec::new(),
            redirect: None,
        };
        let mut explained = false;
        for term in terms.split(' ').filter(|term| !term.is_empty()) {
            match modifier(term) {
                Some((name, value)) if name.eq_ignore_ascii_case("redirect") => {
                    let target = DomainSpec::parse(value)?;
                    if record.redirect.replace(target).is_some() {
                        return Err(Malformed);
                    }
                }
                Some((name, value)) if name.eq_ignore_ascii_case("exp") => {
                    DomainSpec::parse(value)?;
                    if std::mem::replace(&mut explained, true) {
                        return Err(Malformed);
                    }
                }
                Some((_, value)) => DomainSpec::check_text(value)?,
                None => record.directives.push(directive(term)?),
            }
        }
        Ok(record)
    }
}

/// `name=value`, where the name is one. Otherwise the term is a directive, or nothing.
fn modifier(term: &str) -> Option<(&str, &str)> {
    let (name, value) = term.split_once('=')?;
    let of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic());
    (begins && name.chars().all(of_name)).then_some((name, value))
}

fn directive(term: &str) -> Result<Directive, Malformed> {
    let qualifiers = [
        ('+', Outcome::Pass),
        ('-', Outcome::Fail),
        ('~', Outcome::SoftFail),
        ('?', Outcome::Neutral),
    ];
    let qualified = qualifiers.into_iter().find_map(|(sign, outcome)| {
        let rest = term.strip_prefix(sign)?;
        Some((outcome, rest))
    });
    let (qualifier, rest) = qualified.unwrap_or((Outcome::Pass, term));
    Ok(Directive {
        qualifier,
        mechanism: mechanism(rest)?,
    })
}

fn mechanism(text: &str) -> Result<Mechanism, Malformed> {
    let end = text.find([':', '/']).unwrap_or(text.len());
    let (name, argument) = text.split_at_checked(end).ok_or(Malformed)?;
    let value = || argument.strip_prefix(':').ok_or(Malformed);
    Ok(match &*name.to_ascii_lowercase() {
        "all" if argument.is_empty() => Mechanism::All,
        "include" => Mechanism::Include(DomainSpec::parse(value()?)?),
        "exists" => Mechanism::Exists(DomainSpec::parse(value()?)?),
        "ptr" if argument.is_empty() => Mechanism::Ptr(None),
        "ptr" => Mechanism::Ptr(Some(DomainSpec::parse(value()?)?)),
        "a" => {
            let (domain, prefixes) = domain_and_prefixes(argument)?;
            Mechanism::A(domain, prefixes)
        }
        "mx" => {
            let (domain, prefixes) = domain_and_prefixes(argument)?;
            Mechanism::Mx(domain, prefixes)
        }
        "ip4" => {
            let (address, bits) = network(value()?, 32)?;
            Mechanism::Ip4(address.parse().map_err(|_| Malformed)?, bits)
        }
        "ip6" => {
            let (address, bits) = network(value()?, 128)?;
            Mechanism::Ip6(address.parse().map_err(|_| Malformed)?, bits)
        }
        _ => return Err(Malformed),
    })
}

/// `[":" domain-spec] ["/" bits] ["//" bits]`. A domain may contain slashes, so it is read from the
/// end.
fn domain_and_prefixes(argument: &str) -> Result<(Option<DomainSpec>, Prefixes), Malformed> {
    let (rest, v6) = match argument.rsplit_once("//") {
        Some((rest, bits)) if is_number(bits) => (rest, length(bits, 128)?),
        _ => (argument, 128),
    };
    let (rest, v4) = match rest.rsplit_once('/') {
        Some((rest, bits)) if is_number(bits) => (rest, length(bits, 32)?),
        _ => (rest, 32),
    };
    let domain = match rest {
        "" => None,
        rest => Some(DomainSpec::parse(rest.strip_prefix(':').ok_or(Malformed)?)?),
    };
    Ok((domain, Prefixes { v4, v6 }))
}

fn network(value: &str, most: u8) -> Result<(&str, u8), Malformed> {
    match value.split_once('/') {
        Some((address, bits)) => Ok((address, length(bits, most)?)),
        None => Ok((value, most)),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A number of bits, without leading zeros.
fn length(text: &str, most: u8) -> Result<u8, Malformed> {
    let canonical = is_number(text) && (text == "0" || !text.starts_with('0'));
    let bits = text.parse().ok().filter(|bits| canonical && *bits <= most);
    bits.ok_or(Malformed)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_record_is_parsed_whole() {
        let record =
            Record::parse(b"v=spf1 ip4:192.0.2.0/24 ~A:a.test/24//64 x=%{d} redirect=b.test");
        let record = record.unwrap();
        assert_eq!(record.directives.len(), 2);
        assert_eq!(
            record.directives[0].mechanism,
            Mechanism::Ip4(Ipv4Addr::new(192, 0, 2, 0), 24)
        );
        assert_eq!(record.directives[1].qualifier, Outcome::SoftFail);
        let prefixes = Prefixes { v4: 24, v6: 64 };
        let domain = DomainSpec::parse("a.test").unwrap();
        assert_eq!(
            record.directives[1].mechanism,
            Mechanism::A(Some(domain), prefixes)
        );
        assert!(record.redirect.is_some());
    }

    #[test]
    fn a_mistake_anywhere_is_one_of_the_record() {
        for text in [
            "a:",
            "all:x",
            "all/8",
            "a/33",
            "a//129",
            "a/024",
            "a:b.test/-1",
            "ip4:1.2.3",
            "ip4",
            "ip4:1.2.3.4/",
            "ip6:::1/129",
            "include",
            "exists:",
            "-",
            "b",
            "=x",
            "1=x",
            "redirect=a.test redirect=b.test",
            "exp=a.test exp=b.test",
            "a:b.123",
            "a:%{x}",
            "a:%{d",
            "a:%",
            "a:%{d0}",
            "x=%(d)",
            "a:%{c}",
            "a\tb",
        ] {
            let text = format!("v=spf1 {text}");
            assert_eq!(Record::parse(text.as_bytes()), Err(Malformed), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_record_panics(text in "v=spf1 (a|mx|ip4|ip6|:|/|%|\\{d\\}|=|[ -~]){0,20}") {
            let _ = Record::parse(text.as_bytes());
        }
    }
}
