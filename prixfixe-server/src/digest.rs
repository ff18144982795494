//! The name that a message has in every attempt of its sender's.
//!
//! A client whose `250` was lost sends its message again (RFC 1047). The digest is then the same,
//! and so it is what a target, a queue or an application knows the repeat by.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};
use std::task::Poll;

use prixfixe_core::{ForwardPath, Mailbox, Reply, ReversePath};
use sha2::{Digest as _, Sha256};

use crate::{Envelope, Gathered, MessageId};

/// A SHA-256 of the envelope and the content of a message: the same for each attempt to send it.
///
/// It covers the reverse-path, LF, the recipients of the whole transaction in sorted order, LF
/// after each, LF, and the content as it was sent. Domains are lower-case A-labels, local parts are
/// as they were given, a recipient that was named twice counts once. A content with neither `Date`
/// nor `Message-ID` has LF and the message's [id](crate::Message::id) behind it: devices send
/// alarms that are equal in every octet and are not the same.
///
/// Its `Display` form is 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The octets.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A text is no [`Digest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a digest: it has 64 lower-case hexadecimal digits")]
pub struct InvalidDigest;

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let mut octets = [0; 32];
        if text.len() != 2 * octets.len() {
            return Err(InvalidDigest);
        }
        let value = |digit: u8| match digit {
            b'0'..=b'9' => Ok(digit - b'0'),
            b'a'..=b'f' => Ok(digit - b'a' + 10),
            _ => Err(InvalidDigest),
        };
        let (pairs, _) = text.as_bytes().as_chunks::<2>();
        for (octet, [high, low]) in octets.iter_mut().zip(pairs) {
            *octet = value(*high)? << 4 | value(*low)?;
        }
        Ok(Self(octets))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digit = |value: u8| match value {
            0..=9 => b'0' + value,
            _ => b'a' + value - 10,
        };
        let mut digits = [0; 64];
        let (pairs, _) = digits.as_chunks_mut::<2>();
        for (pair, octet) in pairs.iter_mut().zip(self.0) {
            *pair = [digit(octet >> 4), digit(octet & 15)];
        }
        f.write_str(str::from_utf8(&digits).unwrap_or_default())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where the digest of a transaction is kept, once somebody has asked for it. Not a part of the
/// envelope's value.
#[derive(Default)]
pub(crate) struct Known(OnceLock<Box<Digest>>);

impl Known {
    pub(crate) fn get(&self) -> Option<Digest> {
        self.0.get().map(|digest| **digest)
    }

    pub(crate) fn set(&self, digest: Digest) {
        let _ = self.0.set(Box::new(digest));
    }
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// A copy is about to be changed.
impl Clone for Known {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Known {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Known {}

/// A digest that is being made, while the content passes by.
#[derive(Debug)]
pub(crate) struct Hashing {
    hash: Sha256,
    header: Header,
    id: MessageId,
}

impl Hashing {
    pub(crate) fn new(envelope: &Envelope, id: MessageId) -> Self {
        let mut hash = Sha256::new();
        hash.update(reverse_path(envelope.reverse_path()));
        hash.update(b"\n");
        let recipients = envelope.recipients().iter();
        let mut recipients: Vec<String> = recipients.map(|it| forward_path(it.path())).collect();
        recipients.sort_unstable();
        recipients.dedup();
        for recipient in &recipients {
            hash.update(recipient);
            hash.update(b"\n");
        }
        hash.update(b"\n");
        Self {
            hash,
            header: Header::default(),
            id,
        }
    }

    pub(crate) fn read(&mut self, piece: &[u8]) {
        self.header.read(piece);
        self.hash.update(piece);
    }

    pub(crate) fn finish(mut self) -> Digest {
        if !self.header.has_name() {
            self.hash.update(b"\n");
            self.hash.update(self.id.as_str());
        }
        Digest(self.hash.finalize().into())
    }
}

/// The digest of a message.
pub(crate) async fn digest(
    envelope: &Envelope,
    content: &Gathered,
    id: MessageId,
) -> Result<Digest, Reply> {
    let mut hashing = Hashing::new(envelope, id);
    let mut body = content.body();
    while let Some(piece) = body.chunk().await? {
        hashing.read(&piece);
        // Others are to have their turn: a content may be large, and a piece takes a good part of a
        // millisecond.
        pause().await;
    }
    Ok(hashing.finish())
}

/// A digest that becomes known when a body has been read to its end.
#[derive(Debug)]
pub(crate) struct Watch {
    hashing: Hashing,
    envelope: Arc<Envelope>,
}

impl Watch {
    pub(crate) fn new(envelope: Arc<Envelope>, id: MessageId) -> Self {
        Self {
            hashing: Hashing::new(&envelope, id),
            envelope,
        }
    }

    pub(crate) fn read(&mut self, piece: &[u8]) {
        self.hashing.read(piece);
    }

    pub(crate) fn finish(self) {
        self.envelope.digest.set(self.hashing.finish());
    }
}

/// Lets others of the same thread have a turn.
fn pause() -> impl Future<Output = ()> {
    let mut paused = false;
    std::future::poll_fn(move |cx| {
        if std::mem::replace(&mut paused, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

fn reverse_path(path: &ReversePath) -> String {
    match path {
        ReversePath::Null => String::new(),
        ReversePath::Mailbox(mailbox) => address(mailbox),
    }
}

fn forward_path(path: &ForwardPath) -> String {
    match path {
        ForwardPath::Postmaster => "postmaster".to_owned(),
        ForwardPath::Mailbox(mailbox) => address(mailbox),
    }
}

fn address(mailbox: &Mailbox) -> String {
    format!("{}@{}", mailbox.local_part(), mailbox.domain().to_ascii())
}

/// Whether a header says when a message was written, or gives it a name.
#[derive(Debug, Default)]
struct Header {
    /// The beginning of the line.
    line: Vec<u8>,
    is_over: bool,
    has_name: bool,
}

/// More than the longest name that is looked for, and blanks.
const LINE: usize = 32;

impl Header {
    fn read(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while !self.is_over && !self.has_name && !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest);
            let (line, behind) = rest.split_at(end.map_or(rest.len(), |end| end + 1));
            let room = LINE.saturating_sub(self.line.len()).min(line.len());
            self.line
                .extend_from_slice(line.get(..room).unwrap_or_default());
            rest = behind;
            if end.is_some() {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let name = self.line.split(|byte| *byte == b':').next();
        let name = name.unwrap_or_default().trim_ascii_end();
        self.has_name =
            name.eq_ignore_ascii_case(b"date") || name.eq_ignore_ascii_case(b"message-id");
        self.is_over = self.line.trim_ascii().is_empty();
        self.line.clear();
    }

    fn has_name(&self) -> bool {
        self.has_name
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    const CONTENT: &str = "Date: Sat, 28 Nov 2026 00:45:20 +0000\r\n\r\nHello\r\n";

    fn of(from: &str, to: &[&str], content: &'static str) -> String {
        let mut envelope = Envelope::builder().from(from).unwrap();
        for recipient in to {
            envelope = envelope.to(recipient).unwrap();
        }
        let id = MessageId::new(SystemTime::now());
        let content = Gathered::new(content);
        pollster(digest(&envelope.build(), &content, id)).to_string()
    }

    fn pollster(future: impl Future<Output = Result<Digest, Reply>>) -> Digest {
        let mut future = std::pin::pin!(future);
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        loop {
            if let Poll::Ready(digest) = future.as_mut().poll(&mut cx) {
                return digest.unwrap();
            }
        }
    }

    /// `printf 'ann@example.com\nbob@example.org\ncyd@example.org\n\nDate: ...' | sha256sum`
    #[test]
    fn it_is_the_sum_of_the_words_of_its_definition() {
        let plain = format!("ann@example.com\nbob@example.org\ncyd@example.org\n\n{CONTENT}");
        let expected: [u8; 32] = Sha256::digest(plain).into();
        for to in [
            ["bob@example.org", "cyd@example.org"].as_slice(),
            &["cyd@EXAMPLE.org", "bob@example.org.", "bob@Example.org"],
        ] {
            assert_eq!(
                of("ann@Example.COM", to, CONTENT),
                Digest(expected).to_string()
            );
        }
    }

    #[test]
    fn a_digest_is_read_as_it_was_written() {
        let text = of("ann@example.com", &["bob@example.org"], CONTENT);
        let digest: Digest = text.parse().unwrap();
        assert_eq!(digest.to_string(), text);
        for text in ["", &text[1..], &text.to_uppercase(), &"g".repeat(64)] {
            assert_eq!(text.parse::<Digest>(), Err(InvalidDigest), "{text}");
        }
    }

    #[test]
    fn what_differs_has_another() {
        let base = of("ann@example.com", &["bob@example.org"], CONTENT);
        assert_ne!(base, of("ANN@example.com", &["bob@example.org"], CONTENT));
        assert_ne!(base, of("ann@example.com", &["Bob@example.org"], CONTENT));
        assert_ne!(base, of("", &["bob@example.org"], CONTENT));
        assert_ne!(
            base,
            of("ann@example.com", &["bob@example.org"], "Date: x\r\n\r\n")
        );
    }

    #[test]
    fn equal_alarms_of_a_device_are_not_one_message() {
        for (content, is_same) in [
            ("Subject: alarm\r\n\r\nDate: in the body\r\n", false),
            ("Subject: Date\r\n\r\n", false),
            ("no header at all", false),
            ("", false),
            ("Subject: x\r\nDATE : now\r\n\r\n", true),
            ("message-id: <1@example.com>\r\n\r\n", true),
        ] {
            let once = of("", &["bob@example.org"], content);
            let twice = of("", &["bob@example.org"], content);
            assert_eq!(once == twice, is_same, "{content:?}");
        }
    }

    #[test]
    fn a_header_is_found_wherever_its_pieces_are_cut() {
        let content =
            b"Subject: hello\r\nX-Long: ................................\r\nDate: x\r\n\r\n";
        for cut in 0..content.len() {
            let mut header = Header::default();
            let (first, second) = content.split_at(cut);
            header.read(first);
            header.read(second);
            assert!(header.has_name(), "{cut}");
        }
    }
}
