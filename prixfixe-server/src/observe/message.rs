//! The end of a message.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use prixfixe_core::{Abort, Reply};
use tracing::Level;

use crate::log::{Cut, Grant, Log, Recipients, Who, granted, seconds};
use crate::metrics::{AcceptedNote, Address, Cause, Counts, RawIncident, Times};
use crate::{Envelope, FailureReason, Identity, IncidentKind, MessageId, replies};

/// A message of which it is known what became of it.
pub(crate) struct Ended<'a> {
    pub(crate) now: Instant,
    pub(crate) id: MessageId,
    pub(crate) user: Option<&'a Identity>,
    pub(crate) envelope: &'a Envelope,
    /// Octets of content.
    pub(crate) size: u64,
    /// Since MAIL.
    pub(crate) duration: Duration,
    /// Since the end of its content, where there was one.
    pub(crate) since_content: Option<Duration>,
    pub(crate) result: MessageResult<'a>,
}

/// What became of a message.
#[derive(Clone, Copy)]
pub(crate) enum MessageResult<'a> {
    Accepted,
    /// By LMTP: for some of its recipients.
    InPart {
        accepted: usize,
        recipients: usize,
        /// What an SMTP client would have been told.
        refusal: &'a Reply,
    },
    Refused(&'a Reply),
    Aborted(&'a Abort),
    /// The connection is gone; the server stops.
    Stopped,
}

impl Ended<'_> {
    pub(super) fn count(&self, counts: &Counts, client: Option<IpAddr>) {
        let is_answer =
            matches!(self.result, MessageResult::Refused(_)) || self.result.is_accepted();
        let times = Times {
            now: self.now,
            processing: self.duration,
            delivery: self.since_content.filter(|_| is_answer),
        };
        match self.result.failure() {
            None => {
                counts.message_succeeded(times, client, self.size, || self.accepted_note(client))
            }
            Some(reason) => counts.message_failed(reason, times),
        }
    }

    fn accepted_note(&self, client: Option<IpAddr>) -> AcceptedNote {
        let recipients = self.envelope.recipients();
        AcceptedNote {
            id: self.id,
            client,
            sender: self.envelope.reverse_path().clone(),
            recipient: recipients.first().map(|it| it.path().clone()),
            recipients: recipients.len(),
            size: self.size,
            duration: self.duration,
        }
    }

    pub(super) fn write(&self, log: &Log, who: Who<'_>) {
        log.tick(self.now);
        let grant = match self.result.is_accepted() {
            true => Grant::Line,
            false => log.grant(Level::INFO, self.now, who.peer.ip()),
        };
        let judged = |method| {
            let word = self.envelope.judged.word(method);
            word.map(|word| tracing::field::display(Cut(word)))
        };
        granted!(
            grant,
            info,
            id = %self.id,
            digest = self.envelope.known_digest().map(display),
            peer = %who.peer,
            user = self.user.map(|user| display(Cut(user))),
            from = %Cut(self.envelope.reverse_path()),
            recipients = %Recipients::of_message(self.envelope.recipients()),
            size = self.size,
            duration = seconds(self.duration),
            spf = judged("spf"),
            dkim = judged("dkim"),
            dmarc = judged("dmarc"),
            dnsbl = judged("dnsbl"),
            rspamd = judged("rspamd"),
            milter = judged("milter"),
            result = %Cut(self.result),
            "message"
        );
    }

    pub(super) fn note(&self, client: Option<IpAddr>) -> Option<RawIncident> {
        let first = self.envelope.recipients().first();
        Some(RawIncident {
            id: Some(self.id),
            sender: Some(Address::Path(self.envelope.reverse_path().clone())),
            recipient: first.map(|it| Address::Path(it.path().clone())),
            ..RawIncident::new(IncidentKind::MessageFailed, self.result.cause()?, client)
        })
    }
}

impl MessageResult<'_> {
    /// In part, too: it was taken, and who was refused is the client's to know.
    pub(crate) const fn is_accepted(self) -> bool {
        matches!(self, Self::Accepted | Self::InPart { .. })
    }

    fn failure(self) -> Option<FailureReason> {
        match self {
            Self::Accepted | Self::InPart { .. } => None,
            Self::Refused(reply) => Some(FailureReason::of_answer(reply)),
            Self::Aborted(abort) => Some(FailureReason::of_abort(abort)),
            Self::Stopped => Some(FailureReason::Shutdown),
        }
    }

    fn cause(self) -> Option<Cause> {
        Some(match self {
            Self::Accepted | Self::InPart { .. } => return None,
            Self::Refused(reply) | Self::Aborted(Abort::Refused(reply)) => {
                Cause::Reply(reply.clone())
            }
            Self::Aborted(Abort::Timeout) => Cause::Reply(replies::TIMED_OUT),
            Self::Aborted(Abort::Eof) => Cause::Text("the connection was lost".into()),
            Self::Aborted(_) => Cause::Text("given up by the client".into()),
            Self::Stopped => Cause::Text("the server stopped".into()),
        })
    }
}

impl fmt::Display for MessageResult<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted => f.write_str("accepted"),
            Self::InPart {
                accepted,
                recipients,
                refusal,
            } => write!(
                f,
                "accepted for {accepted} of {recipients} recipients: {refusal}"
            ),
            Self::Refused(reply) => write!(f, "refused: {reply}"),
            Self::Aborted(Abort::Refused(reply)) => write!(f, "refused: {reply}"),
            Self::Aborted(Abort::Eof) | Self::Stopped => f.write_str("cut off"),
            Self::Aborted(Abort::Timeout) => write!(f, "refused: {}", replies::TIMED_OUT),
            Self::Aborted(_) => f.write_str("given up by the client"),
        }
    }
}
