//! What stands in the header of a message or of a part.

use std::borrow::Cow;
use std::sync::LazyLock;

use jiff::Timestamp;
use mail_parser::{ContentType, HeaderName, HeaderValue, MessageParser};
use serde::Serialize;

/// So much of a header is looked at.
const MAX_HEADER: usize = 128 << 10;

/// So much of one field: what is parsed from it may be many times as large.
const MAX_FIELD: usize = 32 << 10;

/// A header, parsed.
#[derive(Debug, Default)]
pub(crate) struct Header<'x> {
    fields: Vec<mail_parser::Header<'x>>,
    /// The bytes that they were parsed from.
    bytes: &'x [u8],
    pub(super) is_truncated: bool,
}

/// A mailbox of a header field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Address {
    pub(crate) name: Option<String>,
    pub(crate) address: Option<String>,
}

impl<'x> Header<'x> {
    /// Parses whole fields from its beginning, as far as the bounds allow.
    pub(super) fn new(bytes: &'x [u8]) -> Self {
        static PARSER: LazyLock<MessageParser> = LazyLock::new(MessageParser::default);
        let kept = within_bounds(bytes);
        let parsed = PARSER.parse_headers(kept);
        let part = parsed.and_then(|message| message.parts.into_iter().next());
        Self {
            fields: part.map_or_else(Vec::new, |part| real_fields(part.headers, kept)),
            bytes: kept,
            is_truncated: kept.len() < bytes.len(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Names and values in their order, unfolded and else as they stand there.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&str, String)> {
        self.fields.iter().map(|field| {
            let range = field.offset_start as usize..field.offset_end as usize;
            let value = String::from_utf8_lossy(self.bytes.get(range).unwrap_or_default());
            let unfolded = value.trim().replace("\r\n", "").replace(['\r', '\n'], " ");
            (field.name.as_str(), unfolded)
        })
    }

    /// The bytes of it, with the line end of the last field.
    pub(crate) fn bytes(&self) -> &'x [u8] {
        self.bytes
    }

    /// The first field of that name, as it stands there.
    pub(crate) fn raw(&self, name: &str) -> Option<String> {
        let mut fields = self.fields();
        let field = fields.find(|(other, _)| other.eq_ignore_ascii_case(name))?;
        Some(field.1)
    }

    fn get(&self, name: &HeaderName<'_>) -> Option<&HeaderValue<'x>> {
        let field = self.fields.iter().find(|field| field.name == *name);
        field.map(|field| &field.value)
    }

    pub(crate) fn addresses(&self, name: &HeaderName<'_>) -> Vec<Address> {
        let Some(HeaderValue::Address(addresses)) = self.get(name) else {
            return Vec::new();
        };
        let known = |text: &Option<Cow<'_, str>>| text.as_deref().map(str::to_owned);
        let addresses = addresses.iter().map(|each| Address {
            name: known(&each.name),
            address: known(&each.address),
        });
        addresses.collect()
    }

    pub(crate) fn subject(&self) -> Option<String> {
        self.get(&HeaderName::Subject)?.as_text().map(str::to_owned)
    }

    pub(crate) fn date(&self) -> Option<Timestamp> {
        let date = self.get(&HeaderName::Date)?.as_datetime()?;
        let is_real = date.is_valid();
        Timestamp::from_second(date.to_timestamp())
            .ok()
            .filter(|_| is_real)
    }

    /// Message ids, with their angle brackets.
    pub(crate) fn ids(&self, name: &HeaderName<'_>) -> Vec<String> {
        let bracketed = |id: &str| format!("<{id}>");
        match self.get(name) {
            Some(HeaderValue::Text(id)) => vec![bracketed(id)],
            Some(HeaderValue::TextList(ids)) => ids.iter().map(|id| bracketed(id)).collect(),
            _ => Vec::new(),
        }
    }

    fn content(&self) -> Option<&ContentType<'x>> {
        self.get(&HeaderName::ContentType)?.as_content_type()
    }

    /// `type/subtype` in lower case (RFC 2045 section 5.2: text, unless it is said).
    pub(super) fn content_type(&self) -> String {
        let named = self.content().and_then(|content| {
            let subtype = content.subtype()?;
            Some(format!("{}/{subtype}", content.ctype()).to_ascii_lowercase())
        });
        named.unwrap_or_else(|| String::from("text/plain"))
    }

    pub(super) fn is_multipart(&self) -> bool {
        let content = self.content();
        content.is_some_and(|content| content.ctype().eq_ignore_ascii_case("multipart"))
    }

    pub(super) fn boundary(&self) -> Option<&str> {
        let content = self.content().filter(|_| self.is_multipart())?;
        content
            .attribute("boundary")
            .filter(|text| !text.is_empty())
    }

    pub(super) fn charset(&self) -> Option<&str> {
        self.content()?.attribute("charset")
    }

    pub(super) fn transfer_encoding(&self) -> Option<&str> {
        self.get(&HeaderName::ContentTransferEncoding)?
            .as_text()
            .map(str::trim)
    }

    pub(super) fn content_id(&self) -> Option<String> {
        let id = self.get(&HeaderName::ContentId)?.as_text()?;
        Some(id.trim_matches(['<', '>']).to_owned())
    }

    pub(super) fn disposition(&self) -> Option<&'static str> {
        let disposition = self
            .get(&HeaderName::ContentDisposition)?
            .as_content_type()?;
        match disposition.ctype() {
            kind if kind.eq_ignore_ascii_case("inline") => Some("inline"),
            // RFC 2183 section 2.8: what is not known is an attachment.
            _ => Some("attachment"),
        }
    }

    pub(super) fn filename(&self) -> Option<String> {
        let disposition = self.get(&HeaderName::ContentDisposition);
        let disposition = disposition.and_then(|value| value.as_content_type());
        let name = disposition
            .and_then(|content| content.attribute("filename"))
            .or_else(|| self.content()?.attribute("name"));
        name.filter(|name| !name.is_empty()).map(str::to_owned)
    }

    /// Whether a program has written the message, or a list passed it on: nobody should be answered
    /// automatically (RFC 3834 section 2).
    pub(crate) fn is_automated(&self) -> bool {
        let is_set = |name, not: &[&str]| {
            self.raw(name)
                .is_some_and(|value| !not.iter().any(|not| value.eq_ignore_ascii_case(not)))
        };
        let bulk = |value: String| {
            ["bulk", "junk", "list", "auto_reply"].contains(&value.to_ascii_lowercase().as_str())
        };
        is_set("Auto-Submitted", &["no"])
            || is_set("X-Auto-Response-Suppress", &["none"])
            || is_set("List-Id", &[])
            || is_set("List-Unsubscribe", &[])
            || self.raw("Precedence").is_some_and(bulk)
    }
}

/// Without a last line that has no colon.
fn real_fields<'x>(
    mut fields: Vec<mail_parser::Header<'x>>,
    bytes: &[u8],
) -> Vec<mail_parser::Header<'x>> {
    fields.retain(|field| {
        let colon = (field.offset_start as usize).checked_sub(1);
        colon.and_then(|at| bytes.get(at)) == Some(&b':')
    });
    fields
}

/// The whole fields at the beginning that are within the bounds.
fn within_bounds(bytes: &[u8]) -> &[u8] {
    let mut kept = 0;
    let mut field = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let is_folded = matches!(line.first(), Some(b' ' | b'\t'));
        if !is_folded {
            kept += std::mem::take(&mut field);
        }
        field += line.len();
        if field > MAX_FIELD || kept + field > MAX_HEADER {
            return bytes.get(..kept).unwrap_or_default();
        }
    }
    bytes
}
