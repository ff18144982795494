//! Reports to senders: what became of a message that was taken and could not be handed on (RFC
//! 3464).
//!
//! A server that has said `250` answers for the message. Where its target refuses it for good, its
//! sender has to hear of it. Reports to senders that never wrote the message are spam of the
//! server's own (backscatter), so three rules come first:
//!
//! 1. **Only whom we know** ([`may_report_to`]). The sender logged in, or DMARC passed and the
//!    address in the envelope is proven too. Everybody else's message is kept aside. That is on
//!    purpose not what RFC 5321 section 6.1 says.
//! 2. **Never about a report.** A message from `<>` has no sender, and reports are from `<>`. So
//!    there is no loop.
//! 3. **As it was asked** ([`Report::bounce`]): NOTIFY, RET, ENVID and ORCPT (RFC 3461). DELAY asks
//!    for nothing.
//!
//! A report has three parts: text for people, fields for programs, and what was sent (`RET`).
//! Whatever a client or a next hop said goes through one function, so that no byte of it can end a
//! field or begin another.
//!
//! ```
//! use std::time::SystemTime;
//! use prixfixe_delivery::bounce::{Fate, Original, Report};
//! use prixfixe_server::{Envelope, reply};
//!
//! # fn main() -> Result<(), prixfixe_server::InvalidMailbox> {
//! let envelope = Envelope::builder().from("ann@example.com")?.to("bob@example.org")?.build();
//! let refused = reply!(550 5.1.1 "No such user");
//! let report = Report::new("mx.example.net", "17-4128", &envelope, SystemTime::now())
//!     .about(&envelope.recipients()[0], Fate::Failed, Some("relay.example.org"), &refused);
//! let original = Original { headers: b"", content: b"Subject: hello\r\n\r\nHi\r\n", is_whole: true };
//! let bounce = report.bounce(original).expect("a sender wants to hear of failures");
//! assert_eq!(bounce.envelope.recipients()[0].to_string(), "ann@example.com");
//! # Ok(())
//! # }
//! ```

mod fields;
mod people;
mod permission;
mod reports;
mod returned;
mod text;

use std::time::SystemTime;

use bytes::Bytes;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use prixfixe_server::{BodyType, Envelope, ForwardPath, MailParameters, Mailbox, Recipient, Reply};

pub use self::permission::may_report_to;
pub use self::reports::{ReportedTarget, Reports};

use self::returned::Returned;

/// What became of a message for one recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fate {
    /// It is not tried any more.
    Failed,
    /// It is in the recipient's mailbox.
    Delivered,
    /// The next server has it, and sends no reports (RFC 3464 section 2.3.3).
    Relayed,
}

/// A message that a report is about, as far as it is in memory.
#[derive(Debug, Clone, Copy)]
pub struct Original<'a> {
    /// What this server put before it.
    pub headers: &'a [u8],
    /// The beginning of what the client has sent: its header section at least.
    pub content: &'a [u8],
    /// The content is all of it.
    pub is_whole: bool,
}

/// A message of our own for a sender.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Bounce {
    /// From `<>` to the sender.
    pub envelope: Envelope,
    /// Its headers and body.
    pub content: Bytes,
}

/// Describes a report about one message.
#[derive(Debug, Clone)]
pub struct Report<'a> {
    domain: &'a str,
    id: &'a str,
    envelope: &'a Envelope,
    arrived: SystemTime,
    now: SystemTime,
    lines: Vec<Line<'a>>,
}

/// One recipient in a report.
#[derive(Debug, Clone, Copy)]
struct Line<'a> {
    recipient: &'a Recipient,
    fate: Fate,
    remote: Option<&'a str>,
    reply: &'a Reply,
}

impl<'a> Report<'a> {
    /// A report of the server with this domain, about a message that it calls so, with its whole
    /// envelope.
    #[must_use]
    pub fn new(domain: &'a str, id: &'a str, envelope: &'a Envelope, arrived: SystemTime) -> Self {
        Self {
            domain,
            id,
            envelope,
            arrived,
            now: SystemTime::now(),
            lines: Vec::new(),
        }
    }

    /// The time that the report is from. Without this, it is when [`new`](Self::new) was called.
    #[must_use]
    pub fn at(mut self, now: SystemTime) -> Self {
        self.now = now;
        self
    }

    /// What became of it for one recipient, unless its NOTIFY says that nobody wants to know (RFC
    /// 3461 section 4.1). `remote`: the server that said `reply`.
    #[must_use]
    pub fn about(
        mut self,
        recipient: &'a Recipient,
        fate: Fate,
        remote: Option<&'a str>,
        reply: &'a Reply,
    ) -> Self {
        if is_wanted(recipient, fate) {
            self.lines.push(Line {
                recipient,
                fate,
                remote,
                reply,
            });
        }
        self
    }

    /// The message that says so. `None`: nobody wants to know, or there is nobody to tell.
    #[must_use]
    pub fn bounce(&self, original: Original<'_>) -> Option<Bounce> {
        let sender = self.envelope.reverse_path().mailbox()?;
        if self.lines.is_empty() {
            return None;
        }
        let returned = Returned::of(self, original);
        let is_global = self.is_global(sender) || returned.is_global;
        let content = self.content(sender, &returned, is_global);
        let mut parameters = MailParameters::default();
        parameters.size = Some(content.len() as u64);
        parameters.smtputf8 = is_global;
        if !content.is_ascii() {
            parameters.body = BodyType::EightBitMime;
        }
        let recipient = Recipient::new(ForwardPath::Mailbox(sender.to_owned()));
        // RFC 3461 section 5.1: from `<>`, and never about itself.
        let envelope = Envelope::builder()
            .parameters(parameters)
            .recipient(recipient)
            .build();
        Some(Bounce {
            envelope,
            content: content.into(),
        })
    }

    fn is_failure(&self) -> bool {
        self.lines.iter().any(|line| line.fate == Fate::Failed)
    }

    /// An address has to be said that ASCII cannot say, and the sender has shown that it can read
    /// that (RFC 6533).
    fn is_global(&self, sender: &Mailbox) -> bool {
        if !self.envelope.parameters().smtputf8 {
            return false;
        }
        let is_utf8 = |line: &Line<'_>| {
            let original = line.recipient.parameters().orcpt.as_ref();
            let is_original = original.is_some_and(|it| !it.address().is_ascii());
            is_original || !line.recipient.to_string().is_ascii()
        };
        !sender.as_str().is_ascii() || self.lines.iter().any(is_utf8)
    }

    fn content(&self, sender: &Mailbox, returned: &Returned, is_global: bool) -> Vec<u8> {
        let people = people::text(self, returned);
        let fields = fields::fields(self, is_global);
        let boundary = self.boundary(&[people.as_bytes(), fields.as_bytes(), &returned.bytes]);
        let kind = match is_global {
            true => "message/global-delivery-status",
            false => "message/delivery-status",
        };
        let mut content = Vec::with_capacity(returned.bytes.len() + fields.len() + 4096);
        let mut say = |text: &str| content.extend_from_slice(text.as_bytes());
        say(&self.headers(sender, &boundary));
        say(&format!(
            "This is a report in MIME format (RFC 3464).\r\n\r\n--{boundary}\r\n"
        ));
        say(&part("text/plain; charset=utf-8", people.is_ascii()));
        say(&people);
        say(&format!("\r\n--{boundary}\r\n"));
        say(&part(kind, fields.is_ascii()));
        say(&fields);
        say(&format!("\r\n--{boundary}\r\n"));
        say(&part(returned.kind(is_global), returned.bytes.is_ascii()));
        content.extend_from_slice(&returned.bytes);
        content.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        content
    }

    fn headers(&self, sender: &Mailbox, boundary: &str) -> String {
        let domain = text::token(self.domain);
        let id = text::token(self.id);
        let subject = people::subject(self);
        let date = date(self.now);
        let stamp = stamp(self.now);
        // RFC 3834 section 3.1.7: a program must not answer it. RFC 3464 section 2: the address is
        // that of a person.
        format!(
            "From: Mail Delivery System <postmaster@{domain}>\r\nTo: <{sender}>\r\nSubject: {subject}\r\n\
             Date: {date}\r\nMessage-ID: <{stamp}.{id}@{domain}>\r\nAuto-Submitted: auto-replied\r\n\
             MIME-Version: 1.0\r\n\
             Content-Type: multipart/report; report-type=delivery-status;\r\n boundary=\"{boundary}\"\r\n\r\n"
        )
    }

    /// A line that is in none of the parts (RFC 2046 section 5.1.1).
    fn boundary(&self, parts: &[&[u8]]) -> String {
        let stamp = stamp(self.now);
        let mut number = 0_u32;
        loop {
            let boundary = format!("report-{stamp}-{number}");
            let is_in = |part: &&[u8]| {
                part.windows(boundary.len())
                    .any(|window| window == boundary.as_bytes())
            };
            if !parts.iter().any(is_in) {
                return boundary;
            }
            number = number.wrapping_add(1);
        }
    }
}

/// RFC 3461 section 4.1: without NOTIFY a sender hears of failures alone, as from a server without
/// DSN.
fn is_wanted(recipient: &Recipient, fate: Fate) -> bool {
    let notify = recipient.parameters().notify;
    match fate {
        Fate::Failed => notify.is_none_or(prixfixe_server::Notify::failure),
        Fate::Delivered | Fate::Relayed => notify.is_some_and(prixfixe_server::Notify::success),
    }
}

fn part(kind: &str, is_ascii: bool) -> String {
    // Of these types RFC 2046 section 5.2.1 allows no other encoding.
    let encoding = if is_ascii { "7bit" } else { "8bit" };
    format!("Content-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n")
}

fn date(time: SystemTime) -> String {
    Timestamp::try_from(time)
        .and_then(|time| DateTimePrinter::new().timestamp_to_string(&time))
        // `-0000` would say that the zone is not known (RFC 5322 section 3.3).
        .map(|date| date.replace(" -0000", " +0000"))
        // A year that the format cannot say.
        .unwrap_or_else(|_| "Thu, 1 Jan 1970 00:00:00 +0000".to_owned())
}

/// Nanoseconds: no two reports about one message have the same.
fn stamp(time: SystemTime) -> u128 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_nanos()
}
