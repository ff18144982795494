//! A message as the stream has it: an envelope and a content for one target.
//!
//! | header | value |
//! |---|---|
//! | `Nats-Msg-Id` | `DIGEST.TARGET.ATTEMPT.MARK`: what the stream knows a repeat by; the mark is a hash of the recipients, and of when it was tried anew |
//! | `Prixfixe-Digest` | the name of the message in all attempts of its client's |
//! | `Prixfixe-Attempt` | how often it was tried |
//! | `Prixfixe-Envelope` | the bytes of the envelope, which the payload begins with |
//! | `Prixfixe-Object` | where a large content is: the payload is the envelope alone |
//! | `Prixfixe-Shared` | there where the object stays when this is delivered |
//! | `Prixfixe-Cause` | why it waits, or was given up |

use std::str::FromStr;

use async_nats::{HeaderMap, HeaderValue};
use bytes::{Bytes, BytesMut};
use prixfixe_server::{Body, BodyError};

/// What stands in the stream for one target.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    /// Lower-case hexadecimal digits.
    pub(super) digest: String,
    pub(super) attempt: u32,
    pub(super) envelope: Bytes,
    pub(super) content: Content,
    /// Why it waits, or was given up: for people.
    pub(super) cause: Option<String>,
    /// The content is needed when this is delivered, too: others of the recipients were given up.
    pub(super) is_shared: bool,
}

/// Where a content is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// Behind the envelope.
    Here(Bytes),
    /// An object of the bucket.
    Object(String),
}

/// What is in the stream and is not ours, or was damaged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it has no header {0}, or another value than it may have")]
pub(super) struct Unreadable(&'static str);

const DIGEST: &str = "Prixfixe-Digest";
const ATTEMPT: &str = "Prixfixe-Attempt";
const ENVELOPE: &str = "Prixfixe-Envelope";
const OBJECT: &str = "Prixfixe-Object";
const SHARED: &str = "Prixfixe-Shared";
const CAUSE: &str = "Prixfixe-Cause";

/// What our headers take, and those that the server adds.
pub(super) const HEADER_ROOM: usize = 4 << 10;

/// A cause is for people. Longer ones are cut.
const MAX_CAUSE: usize = 512;

impl Stored {
    /// As it is in the stream.
    pub(super) fn read(headers: Option<&HeaderMap>, payload: &Bytes) -> Result<Self, Unreadable> {
        let value = |name: &'static str| {
            let value = headers.and_then(|headers| headers.get(name));
            value.map(HeaderValue::as_str)
        };
        let needed = |name| value(name).ok_or(Unreadable(name));
        let digest = needed(DIGEST)?;
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if digest.len() != 64 || !digest.bytes().all(is_digit) {
            return Err(Unreadable(DIGEST));
        }
        let attempt = needed(ATTEMPT)?.parse();
        let size: usize = needed(ENVELOPE)?
            .parse()
            .map_err(|_| Unreadable(ENVELOPE))?;
        if size > payload.len() {
            return Err(Unreadable(ENVELOPE));
        }
        let content = match value(OBJECT) {
            Some(object) => Content::Object(object.to_owned()),
            None => Content::Here(payload.slice(size..)),
        };
        Ok(Self {
            digest: digest.to_owned(),
            attempt: attempt.map_err(|_| Unreadable(ATTEMPT))?,
            envelope: payload.slice(..size),
            content,
            cause: value(CAUSE).map(str::to_owned),
            is_shared: value(SHARED).is_some(),
        })
    }

    /// As it goes into the stream, under this name.
    pub(super) fn write(&self, id: &str) -> (HeaderMap, Bytes) {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", id);
        headers.insert(DIGEST, self.digest.as_str());
        headers.insert(ATTEMPT, self.attempt.to_string());
        headers.insert(ENVELOPE, self.envelope.len().to_string());
        if self.is_shared {
            headers.insert(SHARED, "1");
        }
        if let Some(cause) = &self.cause {
            let line = |letter: char| match letter.is_control() {
                true => ' ',
                false => letter,
            };
            let cut = cause.get(..cause.floor_char_boundary(MAX_CAUSE));
            let cause: String = cut.unwrap_or_default().chars().map(line).collect();
            if let Ok(value) = HeaderValue::from_str(&cause) {
                headers.insert(CAUSE, value);
            }
        }
        let payload = match &self.content {
            Content::Object(object) => {
                headers.insert(OBJECT, object.as_str());
                self.envelope.clone()
            }
            Content::Here(content) => {
                let mut payload = BytesMut::with_capacity(self.envelope.len() + content.len());
                payload.extend_from_slice(&self.envelope);
                payload.extend_from_slice(content);
                payload.freeze()
            }
        };
        (headers, payload)
    }
}

/// A content as one piece, of a message that fits into one of the stream's.
pub(super) async fn whole(mut body: Body, size: usize) -> Result<Bytes, BodyError> {
    let first = body.chunk().await?.unwrap_or_default();
    if first.len() == size {
        return Ok(first);
    }
    let mut content = BytesMut::with_capacity(size);
    content.extend_from_slice(&first);
    while let Some(piece) = body.chunk().await? {
        content.extend_from_slice(&piece);
    }
    Ok(content.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(content: Content) -> Stored {
        Stored {
            digest: "0f".repeat(32),
            attempt: 3,
            envelope: Bytes::from_static(b"from, to"),
            content,
            cause: Some("451 4.4.1\r\nNats-Schedule: x".to_owned()),
            is_shared: true,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for content in [
            Content::Here(Bytes::from_static(b"Subject: x\r\n\r\nHi\r\n")),
            Content::Object("one".to_owned()),
        ] {
            let stored = stored(content);
            let (headers, payload) = stored.write("id");
            let read = Stored::read(Some(&headers), &payload).unwrap();
            assert_eq!(read.envelope, stored.envelope);
            assert_eq!(read.content, stored.content);
            assert_eq!((read.digest, read.attempt), (stored.digest, 3));
            assert!(read.is_shared);
            // What a target said is no header of its own.
            assert_eq!(read.cause.unwrap(), "451 4.4.1  Nats-Schedule: x");
        }
    }

    #[test]
    fn what_is_not_ours_is_told_by_its_header() {
        let (headers, payload) = stored(Content::Here(Bytes::new())).write("id");
        assert!(Stored::read(None, &payload).is_err());
        for (name, value) in [
            (DIGEST, "0F"),
            (ATTEMPT, "-1"),
            (ENVELOPE, "9"),
            (ENVELOPE, "x"),
        ] {
            let mut headers = headers.clone();
            headers.insert(name, value);
            let error = Stored::read(Some(&headers), &payload).unwrap_err();
            assert_eq!(error, Unreadable(name), "{value}");
        }
    }
}
