//! A message on its way into the stream.

use std::collections::VecDeque;

use async_nats::jetstream::context::PublishAckFuture;
use async_nats::jetstream::publish::PublishAck;
use bytes::Bytes;
use prixfixe_server::{Digest, Gathered, Message, header_separator};
use tokio::io::AsyncReadExt;

use super::letter::{headers, payload, subject, wire_size};
use super::link::Session;
use super::objects::Objects;
use super::send::{Letter, hand_over, settle};
use crate::domains::Copy;
use crate::{Delivered, Failure, FailureKind};

/// What is published of a mail.
pub(super) struct Post<'a> {
    pub(super) session: &'a Session,
    pub(super) message: &'a Message,
    pub(super) content: &'a Gathered,
    pub(super) digest: Digest,
    /// Below it mail is published.
    pub(super) prefix: &'a str,
    pub(super) bucket: &'a str,
}

/// One that waits for its acknowledgement.
struct Sent {
    index: usize,
    letter: Letter,
    acknowledgement: PublishAckFuture,
}

/// Copies under way at once: each is a whole message in memory.
const WINDOW: usize = 4;

type Outcome = Result<Delivered, Failure>;

impl Post<'_> {
    /// What became of each copy.
    pub(super) async fn publish(&self, copies: &[Copy<'_>]) -> Vec<Outcome> {
        let mut outcomes: Vec<Outcome> = Vec::new();
        outcomes.resize_with(copies.len(), || Err(Failure::unreachable(NOT_TRIED)));
        let mut sent: VecDeque<Sent> = VecDeque::new();
        let mut keep = |index: usize, outcome: Outcome| {
            // Others would have to wait as long for nothing.
            let is_gone = outcome.as_ref().is_err_and(|failure| {
                failure.kind() == FailureKind::Unknown || failure.reply().code() == 451
            });
            if let Some(place) = outcomes.get_mut(index) {
                *place = outcome;
            }
            is_gone
        };
        let mut is_gone = false;
        for (index, copy) in copies.iter().enumerate() {
            if sent.len() >= WINDOW
                && let Some(first) = sent.pop_front()
            {
                is_gone |= keep(first.index, self.settle(first).await);
            }
            if is_gone {
                break;
            }
            match self.send(index, copy).await {
                Ok(one) => sent.push_back(one),
                Err(failure) => is_gone |= keep(index, Err(failure)),
            }
        }
        while let Some(one) = sent.pop_front() {
            keep(one.index, self.settle(one).await);
        }
        outcomes
    }

    async fn settle(&self, sent: Sent) -> Outcome {
        let settled = settle(self.session, sent.letter, sent.acknowledgement).await;
        settled.map(|acknowledged| Delivered::saying(words(&acknowledged)))
    }

    async fn send(&self, index: usize, copy: &Copy<'_>) -> Result<Sent, Failure> {
        let letter = self.letter(copy).await?;
        let acknowledgement = hand_over(self.session, &letter).await?;
        Ok(Sent {
            index,
            letter,
            acknowledgement,
        })
    }

    /// A copy as it is published: whole, or as the name of an object.
    async fn letter(&self, copy: &Copy<'_>) -> Result<Letter, Failure> {
        let size = self.content.size();
        let mut headers = headers(copy, self.message, &self.digest, size);
        let trace = self.message.trace_headers(copy.recipients.iter().copied());
        let whole = wire_size(&headers) + trace.len() + header_separator(b" ").len();
        let whole = (whole as u64).saturating_add(size);
        let payload = match usize::try_from(whole) {
            Ok(whole) if whole <= self.session.limit() => {
                payload(trace, self.content.body(), whole)
                    .await
                    .map_err(Failure::said)?
            }
            _ => {
                let object = self.store(copy).await?;
                headers.insert("Prixfixe-Object", object);
                Bytes::new()
            }
        };
        Ok(Letter {
            subject: subject(self.prefix, &copy.domain),
            headers,
            payload,
        })
    }

    /// Puts the content into the bucket, unless an earlier attempt has. All who get the message share the object, so that it
    /// names recipients only where this copy has all of them.
    async fn store(&self, copy: &Copy<'_>) -> Result<String, Failure> {
        let bucket = Objects::open(self.session, self.bucket).await?;
        let name = self.digest.to_string();
        let object = format!("{}/{name}", self.bucket);
        // What the name stands for never differs. Objects are complete, since their description is stored last.
        if bucket.has(&name).await {
            return Ok(object);
        }
        let has_all = copy.recipients.len() == self.message.envelope().recipients().len();
        let recipients: &[_] = if has_all { &copy.recipients } else { &[] };
        let mut trace = self.message.trace_headers(recipients.iter().copied());
        let mut body = self.content.body();
        let first = body
            .chunk()
            .await
            .map_err(|error| Failure::said(error.into()))?;
        let first = first.unwrap_or_default();
        trace.extend_from_slice(header_separator(&first));
        let mut whole = trace.as_slice().chain(&*first).chain(body);
        bucket.put(name, self.session.limit(), &mut whole).await?;
        Ok(object)
    }
}

const NOT_TRIED: &str = "not tried, since another copy failed";

fn words(acknowledged: &PublishAck) -> String {
    let PublishAck {
        stream, sequence, ..
    } = acknowledged;
    match acknowledged.duplicate {
        true => format!("stream {stream}, sequence {sequence}, a duplicate"),
        false => format!("stream {stream}, sequence {sequence}"),
    }
}
