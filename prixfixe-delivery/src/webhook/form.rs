//! The formats `mailgun` and `sendgrid`: forms (RFC 7578) with attachments as files.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::mime::{Attachment, Parsed};
use crate::authentication::Authentication;
use crate::facts::Facts;

/// A form, and the boundary of its parts.
pub(super) struct Form {
    boundary: String,
    bytes: Vec<u8>,
}

impl Form {
    /// Nobody can write a message that holds this boundary: it is made from the message's own
    /// digest.
    fn new(facts: &Facts) -> Self {
        Self {
            boundary: format!("prixfixe-{}", facts.digest),
            bytes: Vec::new(),
        }
    }

    fn field(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.part(&format!("form-data; name=\"{name}\""), None, value.as_ref());
    }

    fn file(&mut self, name: &str, index: usize, attachment: &Attachment<'_>) {
        let filename = quoted(&attachment.name(index));
        let disposition = format!("form-data; name=\"{name}\"; filename=\"{filename}\"");
        let content_type = quoted(&attachment.content_type);
        self.part(&disposition, Some(&content_type), &attachment.content());
    }

    fn part(&mut self, disposition: &str, content_type: Option<&str>, value: &[u8]) {
        let mut head = format!(
            "--{}\r\nContent-Disposition: {disposition}\r\n",
            self.boundary
        );
        if let Some(content_type) = content_type {
            // Writing to a String does not fail.
            let _ = write!(head, "Content-Type: {content_type}\r\n");
        }
        self.bytes.extend_from_slice(head.as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
        self.bytes.extend_from_slice(value);
        self.bytes.extend_from_slice(b"\r\n");
    }

    pub(super) fn content_type(&self) -> String {
        format!("multipart/form-data; boundary={}", self.boundary)
    }

    pub(super) fn into_bytes(mut self) -> Vec<u8> {
        let end = format!("--{}--\r\n", self.boundary);
        self.bytes.extend_from_slice(end.as_bytes());
        self.bytes
    }
}

/// As browsers write it into a header: no quote and no line end ends the value.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("%22"),
            '\r' => quoted.push_str("%0D"),
            '\n' => quoted.push_str("%0A"),
            letter if letter.is_control() => quoted.push('_'),
            letter => quoted.push(letter),
        }
    }
    quoted
}

/// A route of Mailgun's; `signature` is over `timestamp` and `token`.
pub(super) fn mailgun(
    facts: &Facts,
    content: &[u8],
    timestamp: u64,
    token: &str,
    signature: Option<&str>,
) -> Form {
    let parsed = Parsed::new(content);
    let mut form = Form::new(facts);
    form.field("recipient", facts.to_text());
    form.field("sender", &facts.from);
    for (field, header) in [
        ("from", "From"),
        ("To", "To"),
        ("Cc", "Cc"),
        ("Message-Id", "Message-ID"),
        ("Date", "Date"),
    ] {
        if let Some(value) = parsed.header.raw(header) {
            form.field(field, value);
        }
    }
    form.field("subject", parsed.header.subject().unwrap_or_default());
    let headers: Vec<_> = parsed.header.fields().collect();
    form.field("message-headers", json!(headers).to_string());
    form.field("timestamp", timestamp.to_string());
    form.field("token", token);
    if let Some(signature) = signature {
        form.field("signature", signature);
    }
    if parsed.is_truncated || parsed.error.is_some() {
        // The form for those that parse for themselves: nothing is lost.
        form.field("body-mime", content);
        return form;
    }
    let plain = parsed.text.as_deref().unwrap_or_default();
    form.field("body-plain", plain);
    form.field("stripped-text", plain);
    form.field("stripped-signature", "");
    if let Some(html) = &parsed.html {
        form.field("body-html", html);
        form.field("stripped-html", html);
    }
    let name = |index: usize| format!("attachment-{}", index + 1);
    if !parsed.attachments.is_empty() {
        form.field("attachment-count", parsed.attachments.len().to_string());
        form.field(
            "content-id-map",
            content_ids(&parsed.attachments, name, |id| format!("<{id}>")),
        );
    }
    for (index, attachment) in parsed.attachments.iter().enumerate() {
        form.file(&name(index), index, attachment);
    }
    form
}

/// SendGrid's Inbound Parse.
pub(super) fn sendgrid(facts: &Facts, content: &[u8]) -> Form {
    let parsed = Parsed::new(content);
    let mut form = Form::new(facts);
    let to: Vec<String> = facts.to().collect();
    form.field(
        "envelope",
        json!({"to": to, "from": facts.from}).to_string(),
    );
    for name in ["From", "To", "Cc"] {
        let value = parsed.header.raw(name).unwrap_or_default();
        form.field(&name.to_ascii_lowercase(), value);
    }
    form.field("subject", parsed.header.subject().unwrap_or_default());
    let sender_ip = facts.client.peer().ip().map(|ip| ip.to_string());
    form.field("sender_ip", sender_ip.unwrap_or_default());
    let authentication = facts.authentication.as_ref();
    form.field("SPF", authentication.map_or("none", Authentication::spf));
    let dkim = authentication.and_then(Authentication::dkim);
    form.field("dkim", dkim.unwrap_or_else(|| "none".into()));
    let charsets = ["to", "from", "cc", "subject", "text", "html"].map(|field| (field, "UTF-8"));
    form.field("charsets", json!(BTreeMap::from(charsets)).to_string());
    if parsed.is_truncated || parsed.error.is_some() {
        // The form for those that parse for themselves: nothing is lost.
        form.field("email", content);
        return form;
    }
    form.field("headers", parsed.header.bytes());
    if let Some(text) = &parsed.text {
        form.field("text", text);
    }
    if let Some(html) = &parsed.html {
        form.field("html", html);
    }
    form.field("attachments", parsed.attachments.len().to_string());
    let name = |index: usize| format!("attachment{}", index + 1);
    if !parsed.attachments.is_empty() {
        form.field(
            "attachment-info",
            attachment_info(&parsed.attachments, name),
        );
        form.field(
            "content-ids",
            content_ids(&parsed.attachments, name, str::to_owned),
        );
    }
    for (index, attachment) in parsed.attachments.iter().enumerate() {
        form.file(&name(index), index, attachment);
    }
    form
}

fn content_ids(
    attachments: &[Attachment<'_>],
    name: impl Fn(usize) -> String,
    written: impl Fn(&str) -> String,
) -> String {
    let mut map = Map::new();
    for (index, attachment) in attachments.iter().enumerate() {
        if let Some(id) = &attachment.content_id {
            map.insert(written(id), Value::String(name(index)));
        }
    }
    Value::Object(map).to_string()
}

fn attachment_info(attachments: &[Attachment<'_>], name: impl Fn(usize) -> String) -> String {
    let mut map = Map::new();
    for (index, attachment) in attachments.iter().enumerate() {
        let filename = attachment.name(index);
        let mut info = json!({
            "filename": filename, "name": filename, "type": attachment.content_type,
        });
        if let (Some(id), Some(info)) = (&attachment.content_id, info.as_object_mut()) {
            info.insert(String::from("content-id"), Value::String(id.clone()));
        }
        map.insert(name(index), info);
    }
    Value::Object(map).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_cannot_end_its_header() {
        assert_eq!(quoted("a\".pdf\r\nX: y\0"), "a%22.pdf%0D%0AX: y_");
        assert_eq!(quoted("gr\u{fc}n.pdf"), "gr\u{fc}n.pdf");
    }
}
