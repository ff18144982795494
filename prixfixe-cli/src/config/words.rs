//! Names, words and targets as people write them, like [`units`] for numbers.

use std::net::IpAddr;
use std::num::NonZeroUsize;

use ipnet::IpNet;
use prixfixe_delivery::ParseTargetError;
use prixfixe_server::DomainPattern;

use super::{
    BareLineEnds, ClientAuth, DeliveryTarget, LogFormat, LogLevel, TlsVersion, Transport, units,
};

/// Clients read it before they can have asked for SMTPUTF8, so that it is ASCII (RFC 6531 section 3.7.1).
pub(super) fn own_domain(text: &str) -> Result<String, String> {
    match domain(text) {
        Ok(domain) if !domain.is_ascii() => {
            Err(format!("`{text}` is not ASCII; give its form with xn--"))
        }
        result => result,
    }
}

/// A name, in any script, or an address literal (RFC 5321 section 4.1.2).
pub(super) fn domain(text: &str) -> Result<String, String> {
    let is_literal = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|inner| {
            !inner.is_empty()
                && inner
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b':' | b'-'))
        });
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .chars()
                .all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() <= 255 && (is_literal || text.split('.').all(is_label)) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "`{text}` is not a domain name; give one like mx.example.com"
        ))
    }
}

/// A domain to accept mail for, or `*.` and the one that those are below. Kept as it was given, so that people
/// find it again.
pub(super) fn accepted_domain(text: &str) -> Result<String, String> {
    match text.parse::<DomainPattern>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(format!(
            "`{text}` is not a domain name; give one like example.com, or *.example.com for all below it"
        )),
    }
}

/// A network in CIDR notation; an address alone is a network of one. In a list of those who are believed nothing is
/// guessed: `10.0.0.5/8` may be meant as either.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.into());
    }
    let network: IpNet = text.parse().map_err(|_| {
        format!("`{text}` is not a network; give one like 10.0.0.0/8, 2001:db8::/32 or 192.0.2.7")
    })?;
    if network != network.trunc() {
        let (address, network) = (network.addr(), network.trunc());
        return Err(format!(
            "`{text}` has bits set behind its prefix; give {network} or {address}"
        ));
    }
    Ok(network)
}

pub(super) fn delivery_target(text: &str) -> Result<DeliveryTarget, String> {
    text.parse()
        .map_err(|error: ParseTargetError| error.to_string())
}

pub(super) fn tls_version(text: &str) -> Result<TlsVersion, String> {
    units::word(
        text,
        &[("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)],
    )
}

pub(super) fn client_auth(text: &str) -> Result<ClientAuth, String> {
    units::word(
        text,
        &[
            ("off", ClientAuth::Off),
            ("request", ClientAuth::Request),
            ("require", ClientAuth::Require),
        ],
    )
}

pub(super) fn bare_line_ends(text: &str) -> Result<BareLineEnds, String> {
    units::word(
        text,
        &[
            ("refuse", BareLineEnds::Refuse),
            ("repair", BareLineEnds::Repair),
        ],
    )
}

pub(super) fn transport(text: &str) -> Result<Transport, String> {
    units::word(
        text,
        &[
            ("auto", Transport::Auto),
            ("tokio", Transport::Tokio),
            ("raw", Transport::Raw),
        ],
    )
}

pub(super) fn threads(text: &str) -> Result<NonZeroUsize, String> {
    units::count(
        text,
        NonZeroUsize::MIN..=NonZeroUsize::MIN.saturating_add(1023),
    )
}

/// Whether there is such a user is seen where it is looked up.
pub(super) fn user(text: &str) -> Result<String, String> {
    match text {
        "" => Err("names nobody; give a user of this host".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    units::word(
        text,
        &[("text", LogFormat::Text), ("json", LogFormat::Json)],
    )
}

pub(super) fn log_level(text: &str) -> Result<LogLevel, String> {
    units::word(
        text,
        &[
            ("off", LogLevel::Off),
            ("error", LogLevel::Error),
            ("warn", LogLevel::Warn),
            ("info", LogLevel::Info),
            ("debug", LogLevel::Debug),
            ("trace", LogLevel::Trace),
        ],
    )
}
