//! The format `json`: `docs/WEBHOOK.md` and `docs/webhook.schema.json` have it in full.

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use mail_parser::HeaderName;
use serde::ser::{SerializeSeq, SerializeStruct};
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::mime::{Address, Attachment, Header, Parsed};
use crate::authentication::Authentication;
use crate::facts::{Envelope, Facts, Tls};

#[derive(Serialize)]
struct Event<'a> {
    r#type: &'static str,
    timestamp: String,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    id: &'a str,
    digest: &'a str,
    size: u64,
    automated: bool,
    envelope: Envelope<'a>,
    tls: Option<Tls<'a>>,
    authentication: Option<&'a Authentication>,
    from: Vec<Address>,
    to: Vec<Address>,
    cc: Vec<Address>,
    reply_to: Vec<Address>,
    subject: Option<String>,
    date: Option<String>,
    message_id: Option<String>,
    in_reply_to: Option<String>,
    references: Vec<String>,
    headers: Headers<'a>,
    text: Option<&'a str>,
    html: Option<&'a str>,
    truncated: bool,
    attachments: &'a [Attachment<'a>],
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<Base64<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parse_error: Option<&'static str>,
}

/// The payload.
pub(super) fn payload(facts: &Facts, content: &[u8]) -> serde_json::Result<Vec<u8>> {
    let parsed = Parsed::new(content);
    let header = &parsed.header;
    let first = |name| header.ids(&name).into_iter().next();
    let is_partial = parsed.is_truncated || parsed.error.is_some();
    serde_json::to_vec(&Event {
        r#type: "mail.received",
        timestamp: facts.received_text(),
        data: Data {
            id: &facts.id,
            digest: &facts.digest,
            size: facts.size,
            automated: facts.from.is_empty() || header.is_automated(),
            envelope: facts.into(),
            tls: facts.tls(),
            authentication: facts.authentication.as_ref(),
            from: header.addresses(&HeaderName::From),
            to: header.addresses(&HeaderName::To),
            cc: header.addresses(&HeaderName::Cc),
            reply_to: header.addresses(&HeaderName::ReplyTo),
            subject: header.subject(),
            date: header.date().map(|date| date.to_string()),
            message_id: first(HeaderName::MessageId),
            in_reply_to: first(HeaderName::InReplyTo),
            references: header.ids(&HeaderName::References),
            headers: Headers(header),
            text: parsed.text.as_deref(),
            html: parsed.html.as_deref(),
            truncated: parsed.is_truncated,
            attachments: &parsed.attachments,
            // What is not in the other members is not lost.
            raw: is_partial.then_some(Base64(content)),
            parse_error: parsed.error,
        },
    })
}

struct Headers<'a>(&'a Header<'a>);

impl Serialize for Headers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for field in self.0.fields() {
            list.serialize_element(&field)?;
        }
        list.end()
    }
}

pub(super) struct Base64<'a>(pub(super) &'a [u8]);

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Base64Display::new(self.0, &STANDARD))
    }
}

/// Each is decoded when its turn comes, so that one at a time is in memory twice.
impl Serialize for Attachment<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let content = self.content();
        let digest = Sha256::digest(&content);
        let sha256: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut object = serializer.serialize_struct("Attachment", 7)?;
        object.serialize_field("filename", &self.filename)?;
        object.serialize_field("content_type", &self.content_type)?;
        object.serialize_field("disposition", &self.disposition)?;
        object.serialize_field("content_id", &self.content_id)?;
        object.serialize_field("size", &content.len())?;
        object.serialize_field("sha256", &sha256)?;
        object.serialize_field("content", &Base64(&content))?;
        object.end()
    }
}
