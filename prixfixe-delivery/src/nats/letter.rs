//! What is published of a mail: one message of the stream's for each domain that it goes to.

use std::str::FromStr;
use std::time::SystemTime;

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use jiff::Timestamp;
use prixfixe_server::{Body, BodyError, Digest, Message, Reply, header_separator};

use crate::domains::Copy;

/// `SUBJECT.TLD.DOMAIN`: labels reversed, so that a consumer can ask for all of a domain and below.
/// An address literal is one word. What means something in a subject becomes `-`.
pub(super) fn subject(prefix: &str, domain: &str) -> String {
    let mut subject = String::with_capacity(prefix.len() + domain.len() + 1);
    subject.push_str(prefix);
    let mut add = |label: &str| {
        let safe = |letter: char| match letter {
            'a'..='z' | '0'..='9' | '-' | '_' | ':' | '[' | ']' => letter,
            _ => '-',
        };
        subject.push('.');
        subject.extend(label.chars().map(safe));
    };
    match domain.starts_with('[') {
        true => add(domain),
        false => domain.rsplit('.').for_each(add),
    }
    subject
}

/// What a consumer needs to know beside the content. `size` is the content's.
pub(super) fn headers(copy: &Copy<'_>, message: &Message, digest: &Digest, size: u64) -> HeaderMap {
    let client = message.client();
    let mut headers = Headers(HeaderMap::new());
    // The stream knows a repeat by it.
    headers.add("Nats-Msg-Id", format!("{digest}.{}", copy.domain));
    headers.add("Prixfixe-Id", message.id());
    headers.add("Prixfixe-Digest", digest);
    headers.add("Prixfixe-From", message.envelope().reverse_path());
    for recipient in &copy.recipients {
        headers.add("Prixfixe-To", recipient);
    }
    headers.add("Prixfixe-Peer", client.peer());
    if let Some(helo) = client.helo() {
        headers.add("Prixfixe-Helo", helo);
    }
    if let Some(tls) = client.tls() {
        let version = tls.version.as_str();
        headers.add(
            "Prixfixe-Tls",
            version.strip_prefix("TLSv").unwrap_or(version),
        );
    }
    if let Some(identity) = client.identity() {
        headers.add("Prixfixe-User", identity);
    }
    headers.add("Prixfixe-Received", time(message.received_at()));
    headers.add("Prixfixe-Size", size);
    for finding in message.verdict().findings() {
        let name = match &*finding.name {
            "spf" => "Prixfixe-Spf",
            "dkim" => "Prixfixe-Dkim",
            "dmarc" => "Prixfixe-Dmarc",
            _ => continue,
        };
        headers.add(name, &finding.value);
    }
    headers.add("Content-Type", "message/rfc822");
    headers.0
}

struct Headers(HeaderMap);

impl Headers {
    /// Text of a peer's holds no line end. If it did, it would be no header.
    fn add(&mut self, name: &'static str, value: impl ToString) {
        if let Ok(value) = HeaderValue::from_str(&value.to_string()) {
            // A name that is no copy, and costs nothing to clone with the message.
            self.0.append(HeaderName::from_static(name), value);
        }
    }
}

/// What headers take on the wire, which counts as a part of the message.
pub(super) fn wire_size(headers: &HeaderMap) -> usize {
    const FRAME: usize = "NATS/1.0\r\n\r\n".len();
    let line = |name: usize, value: &HeaderValue| name + value.as_str().len() + ": \r\n".len();
    let lines = headers.iter().flat_map(|(name, values)| {
        let length = AsRef::<[u8]>::as_ref(name).len();
        values.iter().map(move |value| line(length, value))
    });
    FRAME + lines.sum::<usize>()
}

/// RFC 3339, to the millisecond.
fn time(time: SystemTime) -> String {
    let millisecond = |time: Timestamp| time.round(jiff::Unit::Millisecond);
    let time = Timestamp::try_from(time).and_then(millisecond);
    time.map_or_else(|_| String::new(), |time| format!("{time:.3}"))
}

/// Trace headers and the content, as one piece.
pub(super) async fn payload(
    mut trace: Vec<u8>,
    mut content: Body,
    size: usize,
) -> Result<Bytes, Reply> {
    trace.reserve_exact(size.saturating_add(2));
    let mut is_first = true;
    while let Some(piece) = content
        .chunk()
        .await
        .map_err(|error: BodyError| Reply::from(error))?
    {
        if is_first {
            trace.extend_from_slice(header_separator(&piece));
            is_first = false;
        }
        trace.extend_from_slice(&piece);
    }
    Ok(Bytes::from(trace))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prixfixe_server::{Client, Envelope, Identity, Recipient};

    use super::*;
    use crate::domains::copies;

    fn recipients(list: &[&str]) -> Vec<Recipient> {
        let path = |it: &&str| Recipient::new(it.parse().unwrap());
        list.iter().map(path).collect()
    }

    #[test]
    fn a_subject_has_reversed_labels_and_nothing_that_a_server_reads_as_more() {
        for (recipient, expected) in [
            ("x@Mail.Example.COM", "mail.com.example.mail"),
            ("x@b\u{fc}cher.example", "mail.example.xn--bcher-kva"),
            ("x@[192.0.2.1]", "mail.[192-0-2-1]"),
            ("x@[IPv6:2001:db8::1]", "mail.[ipv6:2001:db8::1]"),
            ("x@[x:*>.$]", "mail.[x:----]"),
            ("\"a b.*.>\"@example.com", "mail.com.example"),
        ] {
            let list = recipients(&[recipient]);
            let copies = copies(&list, "localhost");
            assert_eq!(subject("mail", &copies[0].domain), expected, "{recipient}");
        }
    }

    #[tokio::test]
    async fn headers_say_who_sent_it_to_whom_of_that_copy() {
        let client = Client::builder()
            .peer(([192, 0, 2, 1], 40_112))
            .ehlo("mx.example.com")
            .identity(Identity::new("ann"))
            .build();
        let envelope = Envelope::builder()
            .from("ann@example.com")
            .and_then(|it| it.to("b@example.org"))
            .and_then(|it| it.to("secret@example.net"))
            .and_then(|it| it.to("c@example.org"))
            .unwrap()
            .build();
        let list = envelope.recipients().to_vec();
        let mut message = Message::new(client, envelope, ["Subject: x\r\n"]);
        let digest = message.digest().await.unwrap();
        let copies = copies(&list, "localhost");
        let headers = headers(&copies[0], &message, &digest, 12);
        let all =
            |name: &str| -> Vec<&str> { headers.get_all(name).map(HeaderValue::as_str).collect() };
        assert_eq!(all("Prixfixe-To"), ["b@example.org", "c@example.org"]);
        assert_eq!(all("Nats-Msg-Id"), [format!("{digest}.example.org")]);
        assert_eq!(all("Prixfixe-From"), ["ann@example.com"]);
        assert_eq!(all("Prixfixe-Peer"), ["192.0.2.1:40112"]);
        assert_eq!(all("Prixfixe-Helo"), ["mx.example.com"]);
        assert_eq!(all("Prixfixe-User"), ["ann"]);
        assert_eq!(all("Prixfixe-Size"), ["12"]);
        assert_eq!(all("Prixfixe-Tls"), [""; 0]);
        let copy = payload(
            message.trace_headers(copies[0].recipients.iter().copied()),
            message.gather().await.unwrap().body(),
            12,
        );
        let payload = copy.await.unwrap();
        assert!(!payload.windows(6).any(|it| it == b"secret"));
        assert!(payload.ends_with(b"\r\nSubject: x\r\n"));
    }

    #[test]
    fn a_time_has_milliseconds() {
        let when = SystemTime::UNIX_EPOCH + Duration::from_micros(1_500);
        assert_eq!(time(when), "1970-01-01T00:00:00.002Z");
    }
}
