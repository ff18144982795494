//! The format `postmark`: what that service posts for inbound mail.

use std::fmt;

use mail_parser::HeaderName;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::json::Base64;
use super::mime::{Address, Attachment, Parsed};
use crate::facts::Facts;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Inbound<'a> {
    from_name: String,
    message_stream: &'static str,
    from: String,
    from_full: Option<Full>,
    to: String,
    to_full: Vec<Full>,
    cc: String,
    cc_full: Vec<Full>,
    bcc: String,
    bcc_full: Vec<Full>,
    original_recipient: String,
    subject: String,
    #[serde(rename = "MessageID")]
    message_id: &'a str,
    reply_to: String,
    mailbox_hash: String,
    date: String,
    text_body: &'a str,
    html_body: &'a str,
    stripped_text_reply: &'static str,
    tag: &'static str,
    headers: Vec<Field>,
    attachments: Vec<File<'a>>,
    /// Where the other members do not hold all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_email: Option<String>,
}

#[derive(Serialize, Clone)]
#[serde(rename_all = "PascalCase")]
struct Full {
    email: String,
    name: String,
    mailbox_hash: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Field {
    name: String,
    value: String,
}

struct File<'a>(usize, &'a Attachment<'a>);

/// They have members of their own.
const ELSEWHERE: [&str; 8] = [
    "return-path",
    "from",
    "to",
    "cc",
    "bcc",
    "subject",
    "date",
    "reply-to",
];

/// The payload.
pub(super) fn payload(facts: &Facts, content: &[u8]) -> serde_json::Result<Vec<u8>> {
    let parsed = Parsed::new(content);
    let header = &parsed.header;
    let full = |name| -> Vec<Full> {
        let addresses = header.addresses(&name);
        addresses.iter().map(Full::from).collect()
    };
    let from = full(HeaderName::From).into_iter().next();
    let (to, cc) = (full(HeaderName::To), full(HeaderName::Cc));
    let bcc = blind(facts, to.iter().chain(&cc));
    let is_partial = parsed.is_truncated || parsed.error.is_some();
    let raw = |name| header.raw(name).unwrap_or_default();
    let files = parsed.attachments.iter().enumerate();
    serde_json::to_vec(&Inbound {
        from_name: from
            .as_ref()
            .map(|from| from.name.clone())
            .unwrap_or_default(),
        message_stream: "inbound",
        from: from
            .as_ref()
            .map(|from| from.email.clone())
            .unwrap_or_default(),
        from_full: from,
        to: list(&to),
        to_full: to,
        cc: list(&cc),
        cc_full: cc,
        bcc: list(&bcc),
        bcc_full: bcc,
        original_recipient: facts.to_text(),
        subject: header.subject().unwrap_or_default(),
        message_id: &facts.digest,
        reply_to: list(&full(HeaderName::ReplyTo)),
        mailbox_hash: facts
            .to()
            .next()
            .map(|to| mailbox_hash(&to))
            .unwrap_or_default(),
        date: raw("date"),
        text_body: parsed.text.as_deref().unwrap_or_default(),
        html_body: parsed.html.as_deref().unwrap_or_default(),
        stripped_text_reply: "",
        tag: "",
        headers: fields(facts, &parsed),
        attachments: files.map(|(index, each)| File(index, each)).collect(),
        raw_email: is_partial.then(|| String::from_utf8_lossy(content).into_owned()),
    })
}

/// The envelope's sender comes first, as `Return-Path`: one that the message itself has is
/// anybody's.
fn fields(facts: &Facts, parsed: &Parsed<'_>) -> Vec<Field> {
    let mut fields = vec![Field {
        name: String::from("Return-Path"),
        value: format!("<{}>", facts.from),
    }];
    for (name, value) in parsed.header.fields() {
        if !ELSEWHERE
            .iter()
            .any(|other| name.eq_ignore_ascii_case(other))
        {
            fields.push(Field {
                name: name.to_owned(),
                value,
            });
        }
    }
    fields
}

/// Recipients of this copy that the header does not name.
fn blind<'a>(facts: &Facts, named: impl Iterator<Item = &'a Full> + Clone) -> Vec<Full> {
    let is_named = |address: &String| {
        named
            .clone()
            .any(|full| full.email.eq_ignore_ascii_case(address))
    };
    let blind = facts.to().filter(|address| !is_named(address));
    blind
        .map(|address| Full {
            mailbox_hash: mailbox_hash(&address),
            email: address,
            name: String::new(),
        })
        .collect()
}

/// What stands behind the plus sign of a local part.
fn mailbox_hash(address: &str) -> String {
    let local = address.rsplit_once('@').map_or(address, |(local, _)| local);
    local
        .split_once('+')
        .map(|(_, hash)| hash.to_owned())
        .unwrap_or_default()
}

fn list(addresses: &[Full]) -> String {
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

impl From<&Address> for Full {
    fn from(address: &Address) -> Self {
        let email = address.address.clone().unwrap_or_default();
        Self {
            mailbox_hash: mailbox_hash(&email),
            email,
            name: address.name.clone().unwrap_or_default(),
        }
    }
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.name {
            "" => f.write_str(&self.email),
            name => write!(f, "\"{}\" <{}>", name.replace(['"', '\\'], ""), self.email),
        }
    }
}

impl Serialize for File<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(index, attachment) = self;
        let content = attachment.content();
        let mut object = serializer.serialize_struct("Attachment", 5)?;
        object.serialize_field("Name", &attachment.name(*index))?;
        object.serialize_field("Content", &Base64(&content))?;
        object.serialize_field("ContentType", &attachment.content_type)?;
        object.serialize_field("ContentLength", &content.len())?;
        object.serialize_field(
            "ContentID",
            attachment.content_id.as_deref().unwrap_or_default(),
        )?;
        object.end()
    }
}

impl Attachment<'_> {
    /// A name for receivers that drop files without one.
    pub(super) fn name(&self, index: usize) -> String {
        let made = || format!("attachment-{}", index + 1);
        self.filename.clone().unwrap_or_else(made)
    }
}
