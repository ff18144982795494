//! The headers that the receiving server puts before a message (RFC 5321 section 4.4).

use std::fmt::{self, Write};
use std::net::IpAddr;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use prixfixe_core::{Domain, Protocol};

use crate::message::Head;
use crate::{Peer, Recipient};

/// `Return-Path`, `Delivered-To` for each of these recipients, `Received`.
///
/// No line can be broken by a client: addresses and names come from parsed commands and hold no
/// control characters.
pub(crate) fn headers<'a>(
    head: &Head,
    recipients: impl IntoIterator<Item = &'a Recipient>,
) -> Vec<u8> {
    let mut text = String::with_capacity(512);
    // Writing to a String does not fail.
    let _ = write_headers(&mut text, head, recipients);
    text.into_bytes()
}

/// `Received` alone.
pub(crate) fn received(head: &Head) -> Vec<u8> {
    let mut text = String::with_capacity(256);
    let _ = write_received(&mut text, head, only(head.envelope.recipients()));
    text.into_bytes()
}

/// What stands between headers that were put before a content and the content, of which this is the
/// beginning.
///
/// It is an empty line where the content begins with a space or a tab, else nothing. The first line
/// of such a content would be read as the continuation of our last header (RFC 5322 section 2.2.3),
/// and so a client would write a part of it.
///
/// ```
/// use prixfixe_server::header_separator;
///
/// assert_eq!(header_separator(b"Subject: hello\r\n"), b"");
/// assert_eq!(header_separator(b" (it was me)\r\n"), b"\r\n");
/// ```
#[must_use]
pub const fn header_separator(content: &[u8]) -> &'static [u8] {
    match content {
        [b' ' | b'\t', ..] => b"\r\n",
        _ => b"",
    }
}

fn write_headers<'a>(
    text: &mut String,
    head: &Head,
    recipients: impl IntoIterator<Item = &'a Recipient>,
) -> fmt::Result {
    let reverse_path = head.envelope.reverse_path();
    write!(text, "Return-Path: <{reverse_path}>\r\n")?;
    let (mut count, mut last) = (0_usize, None);
    for recipient in recipients {
        write!(text, "Delivered-To: {recipient}\r\n")?;
        count += 1;
        last = Some(recipient);
    }
    write_received(text, head, last.filter(|_| count == 1))
}

fn only(recipients: &[Recipient]) -> Option<&Recipient> {
    match recipients {
        [only] => Some(only),
        _ => None,
    }
}

/// RFC 5321 section 7.2: naming one recipient discloses nothing to it, naming several may.
fn write_received(text: &mut String, head: &Head, only: Option<&Recipient>) -> fmt::Result {
    write!(text, "Received: from {}", claimed_name(head))?;
    text.push_str(" (");
    // RFC 5321 section 4.4 has room for it beside the address. It is a domain, or nobody could have
    // told it.
    if let Some(name) = head.client.shown_name() {
        write!(text, "{name} ")?;
    }
    write!(text, "{})\r\n", TcpInfo(head.client.peer()))?;
    write!(
        text,
        "\tby {} with {} id {}",
        head.domain,
        protocol(head),
        head.id
    )?;
    if let Some(only) = only {
        write!(text, "\r\n\tfor <{only}>")?;
    }
    write!(text, ";\r\n\t{}\r\n", date(head))
}

/// What the client calls itself, where that is a domain or an address literal (RFC 5321 section
/// 4.4): any other text could be taken for more than a name. Only an internationalised message may
/// have other than ASCII in its headers (RFC 6532 section 3).
fn claimed_name(head: &Head) -> &str {
    let allowed = |name: &&str| head.envelope.parameters().smtputf8 || name.is_ascii();
    let domain = |name| Domain::try_from(name).ok();
    let name = head.client.helo().filter(allowed).and_then(domain);
    name.map_or("unknown", Domain::as_str)
}

/// The protocol name of the registry that RFC 3848 and RFC 6531 section 4.3 began.
fn protocol(head: &Head) -> &'static str {
    let tls = head.client.tls().is_some();
    if head.client.protocol() == Protocol::Lmtp {
        return lmtp(head, tls);
    }
    let login = head.client.identity().is_some();
    match (
        head.envelope.parameters().smtputf8,
        tls,
        login,
        head.client.is_extended(),
    ) {
        (true, true, true, _) => "UTF8SMTPSA",
        (true, true, false, _) => "UTF8SMTPS",
        (true, false, true, _) => "UTF8SMTPA",
        (true, false, false, _) => "UTF8SMTP",
        (false, true, true, _) => "ESMTPSA",
        (false, true, false, _) => "ESMTPS",
        (false, false, true, _) => "ESMTPA",
        (false, false, false, true) => "ESMTP",
        (false, false, false, false) => "SMTP",
    }
}

fn lmtp(head: &Head, tls: bool) -> &'static str {
    let smtputf8 = head.envelope.parameters().smtputf8;
    match (smtputf8, tls, head.client.identity().is_some()) {
        (true, true, true) => "UTF8LMTPSA",
        (true, true, false) => "UTF8LMTPS",
        (true, false, true) => "UTF8LMTPA",
        (true, false, false) => "UTF8LMTP",
        (false, true, true) => "LMTPSA",
        (false, true, false) => "LMTPS",
        (false, false, true) => "LMTPA",
        (false, false, false) => "LMTP",
    }
}

fn date(head: &Head) -> String {
    Timestamp::try_from(head.received_at)
        .and_then(|time| DateTimePrinter::new().timestamp_to_string(&time))
        // `-0000` would say that the zone is not known (RFC 5322 section 3.3).
        .map(|date| date.replace(" -0000", " +0000"))
        .unwrap_or_else(|_| String::from("Thu, 1 Jan 1970 00:00:00 +0000"))
}

/// The peer's address in the notation of RFC 5321 section 4.1.3, where it has one.
struct TcpInfo(Peer);

impl fmt::Display for TcpInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.ip() {
            Some(IpAddr::V4(address)) => write!(f, "[{address}]"),
            Some(IpAddr::V6(address)) => write!(f, "[IPv6:{address}]"),
            None => self.0.fmt(f),
        }
    }
}

#[cfg(test)]
#[cfg(feature = "tls")]
mod tests;
