//! From a message to the content of a request.

use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use prixfixe_server::{Gathered, Reply};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::signature::{Secrets, whole};
use super::{MEMORY, Shared, WebhookFormat, ascii, form, json, postmark, raw};
use crate::Failure;
use crate::facts::Facts;
use prixfixe_http::Part;

/// What is posted.
pub(super) struct Payload {
    pub(super) content_type: HeaderValue,
    /// The envelope, where the content does not hold it.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) content: Vec<Part>,
    /// What it may take of the memory, for as long as it lives.
    _memory: Option<OwnedSemaphorePermit>,
}

/// What a payload takes at its making, in bytes of the message: the message in one piece, a part of
/// it decoded, and the payload, where the message may be twice in base64.
const FACTOR: u64 = 6;

/// Where the making takes more than some hundred microseconds, other connections are not to wait
/// for it.
const SMALL: u64 = 64 << 10;

impl Payload {
    pub(super) async fn make(
        webhook: &Shared,
        facts: Facts,
        content: Gathered,
        timestamp: u64,
    ) -> Result<Self, Failure> {
        let secrets = webhook.secrets.get();
        if webhook.format == WebhookFormat::Raw {
            let memory = match secrets.needs_whole() {
                true => Some(reserve(&webhook.memory, content.size()).await?),
                false => None,
            };
            return Ok(Self {
                content_type: HeaderValue::from_static("message/rfc822"),
                headers: raw::headers(&facts),
                content: vec![Part::Gathered(content)],
                _memory: memory,
            });
        }
        let memory = reserve(&webhook.memory, content.size()).await?;
        let format = webhook.format;
        let is_small = content.size() <= SMALL;
        let content = whole(&[Part::Gathered(content)]).await;
        let content = content.map_err(|error| Failure::said(error.into()))?;
        let make = move || encode(format, &facts, &content, &secrets, timestamp);
        let made = match is_small {
            true => make(),
            false => tokio::task::spawn_blocking(make)
                .await
                .unwrap_or_else(|error| Err(error.to_string())),
        };
        let (content_type, bytes) =
            made.map_err(|error| Failure::said(Reply::TRY_LATER).because(error))?;
        Ok(Self {
            content_type: ascii(&content_type),
            headers: Vec::new(),
            content: vec![Part::Bytes(Bytes::from(bytes))],
            _memory: Some(memory),
        })
    }
}

/// Waits until there is memory for a message of this size. A larger one than there is for all gets
/// all.
async fn reserve(memory: &Arc<Semaphore>, size: u64) -> Result<OwnedSemaphorePermit, Failure> {
    let needed = size.saturating_mul(FACTOR).div_ceil(1 << 10) + 64;
    let needed = u32::try_from(needed).unwrap_or(MEMORY).min(MEMORY);
    let memory = Arc::clone(memory).acquire_many_owned(needed).await;
    // It is never closed.
    memory.map_err(|error| Failure::said(Reply::TRY_LATER).because(error.to_string()))
}

/// The content type and the content.
fn encode(
    format: WebhookFormat,
    facts: &Facts,
    content: &[u8],
    secrets: &Secrets,
    timestamp: u64,
) -> Result<(String, Vec<u8>), String> {
    let json = |made: serde_json::Result<Vec<u8>>| match made {
        Ok(bytes) => Ok((String::from("application/json"), bytes)),
        Err(error) => Err(error.to_string()),
    };
    let form = |form: form::Form| Ok((form.content_type(), form.into_bytes()));
    match format {
        WebhookFormat::Json => json(json::payload(facts, content)),
        WebhookFormat::Postmark => json(postmark::payload(facts, content)),
        WebhookFormat::Sendgrid => form(form::sendgrid(facts, content)),
        WebhookFormat::Mailgun => {
            let token = facts.digest.get(..50).unwrap_or(&facts.digest);
            let signature = secrets.sign_like_mailgun(timestamp, token);
            let signature = signature.as_deref();
            form(form::mailgun(facts, content, timestamp, token, signature))
        }
        WebhookFormat::Raw => Ok((String::from("message/rfc822"), content.to_vec())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn large_messages_take_turns_and_none_is_too_large() {
        let memory = Arc::new(Semaphore::new(MEMORY as usize));
        let largest = reserve(&memory, 10 << 30).await.unwrap();
        assert_eq!(memory.available_permits(), 0);
        let waiting = tokio::spawn({
            let memory = Arc::clone(&memory);
            async move { reserve(&memory, 1).await.is_ok() }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(largest);
        assert!(waiting.await.unwrap());
        // The size of a message, six times and a little more.
        let _small = reserve(&memory, 1 << 20).await.unwrap();
        assert_eq!(
            memory.available_permits(),
            (MEMORY - 6 * 1024 - 64) as usize
        );
    }
}
