//! Reads a report, strictly and apart from the code that writes it.

use std::time::{Duration, SystemTime};

use prixfixe_delivery::bounce::{Bounce, Fate, Original, Report};
use prixfixe_server::{Envelope, MailParameters, RcptParameters, Recipient, Reply, Ret, reply};

pub(crate) const GONE: Reply = reply!(550 5.1.1 "No such user");
pub(crate) const HELLO: &[u8] =
    b"From: Ann <ann@example.com>\r\nSubject: Hello\r\n\r\nHow are you?\r\n";
pub(crate) const RECEIVED: &[u8] = b"Received: from mail.example.com\r\n\tby mx.example.net\r\n";
pub(crate) const DOMAIN: &str = "mx.example.net";

/// 2026-11-28 00:45:27 UTC.
pub(crate) fn then() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_826_727)
}

pub(crate) fn whole(content: &[u8]) -> Original<'_> {
    Original {
        headers: RECEIVED,
        content,
        is_whole: true,
    }
}

/// A recipient with NOTIFY and ORCPT, where they are not empty.
pub(crate) fn recipient(address: &str, notify: &str, orcpt: &str) -> Recipient {
    let mut parameters = RcptParameters::NONE;
    parameters.notify = (!notify.is_empty()).then(|| notify.parse().expect("a NOTIFY"));
    parameters.orcpt = (!orcpt.is_empty()).then(|| orcpt.parse().expect("an ORCPT"));
    let path = address.parse().expect("an address");
    Recipient::new(path).with_parameters(parameters)
}

pub(crate) fn envelope(
    ret: Option<Ret>,
    envid: Option<&str>,
    smtputf8: bool,
    recipients: &[Recipient],
) -> Envelope {
    let mut parameters = MailParameters::default();
    parameters.ret = ret;
    parameters.envid = envid.map(Into::into);
    parameters.smtputf8 = smtputf8;
    let builder = Envelope::builder()
        .from("ann@example.com")
        .expect("an address")
        .parameters(parameters);
    let add =
        |builder: prixfixe_server::EnvelopeBuilder, it: &Recipient| builder.recipient(it.clone());
    recipients.iter().fold(builder, add).build()
}

/// A report that says the same of all recipients.
pub(crate) fn report(
    envelope: &Envelope,
    fate: Fate,
    reply: &Reply,
    original: Original<'_>,
) -> Option<Bounce> {
    let report = Report::new(DOMAIN, "17-4128", envelope, then()).at(then());
    let recipients = envelope.recipients().iter();
    recipients
        .fold(report, |report, it| {
            report.about(it, fate, Some("relay.example.org"), reply)
        })
        .bounce(original)
}

pub(crate) type Headers = Vec<(String, String)>;

/// The header fields, and its three parts with theirs.
pub(crate) struct Parsed {
    pub(crate) headers: Headers,
    pub(crate) parts: Vec<(Headers, Vec<u8>)>,
}

pub(crate) fn parse(bounce: &Bounce) -> Parsed {
    parse_content(&bounce.content)
}

pub(crate) fn parse_content(content: &[u8]) -> Parsed {
    let (headers, body) = section(content);
    let kind = get(&headers, "Content-Type");
    let boundary = kind.split("boundary=\"").nth(1).expect("a boundary");
    let boundary = boundary.split('"').next().unwrap();
    let parts = split(body, format!("--{boundary}").as_bytes());
    // Before the first and behind the last is nothing of it.
    let parts = parts.get(1..parts.len() - 1).expect("three parts");
    let read = |part: &Vec<u8>| {
        let part = part.strip_prefix(b"\r\n").expect("a line of its own");
        let part = part.strip_suffix(b"\r\n").expect("a line of its own");
        let (headers, body) = section(part);
        (headers, body.to_vec())
    };
    Parsed {
        headers,
        parts: parts.iter().map(read).collect(),
    }
}

impl Parsed {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.parts[0].1.clone()).expect("UTF-8")
    }

    /// The groups of fields, that of the message first.
    pub(crate) fn groups(&self) -> Vec<Headers> {
        let fields = String::from_utf8(self.parts[1].1.clone()).expect("UTF-8");
        let groups = fields.split("\r\n\r\n").filter(|group| !group.is_empty());
        groups
            .map(|group| {
                section(format!("{}\r\n\r\n", group.trim_end_matches("\r\n")).as_bytes()).0
            })
            .collect()
    }

    pub(crate) fn kind(&self, part: usize) -> &str {
        get(&self.parts[part].0, "Content-Type")
    }
}

pub(crate) fn get<'a>(headers: &'a Headers, name: &str) -> &'a str {
    find(headers, name).unwrap_or_else(|| panic!("no {name} in {headers:?}"))
}

pub(crate) fn find<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    let found = headers.iter().find(|(it, _)| it.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str())
}

fn split(bytes: &[u8], delimiter: &[u8]) -> Vec<Vec<u8>> {
    let mut pieces = vec![Vec::new()];
    let mut rest = bytes;
    while let Some((first, behind)) = rest.split_first() {
        if let Some(behind) = rest.strip_prefix(delimiter) {
            pieces.push(Vec::new());
            rest = behind;
        } else {
            pieces.last_mut().unwrap().push(*first);
            rest = behind;
        }
    }
    pieces
}

/// A header section, unfolded, and what is behind it. Every line is one that any server takes.
fn section(bytes: &[u8]) -> (Headers, &[u8]) {
    let end = bytes.windows(4).position(|it| it == b"\r\n\r\n");
    let end = end.expect("an empty line");
    let text = std::str::from_utf8(&bytes[..end]).expect("UTF-8");
    let mut headers = Headers::new();
    for line in text.split("\r\n") {
        assert!(line.len() <= 998, "a line of {} bytes", line.len());
        assert!(!line.contains(['\r', '\n', '\0']), "{line:?}");
        if let Some(more) = line.strip_prefix([' ', '\t']) {
            let (_, value) = headers.last_mut().expect("a field to continue");
            assert!(!more.trim().is_empty(), "a line of blanks");
            value.push(' ');
            value.push_str(more);
            continue;
        }
        let (name, value) = line.split_once(": ").expect("a field");
        assert!(
            name.bytes()
                .all(|it| it.is_ascii_alphanumeric() || it == b'-'),
            "{name:?}"
        );
        headers.push((name.to_owned(), value.to_owned()));
    }
    (headers, &bytes[end + 4..])
}
