//! The format `raw`: the message as it came, with the envelope in headers.

use std::fmt::Write;

use hyper::header::{HeaderName, HeaderValue};

use crate::facts::Facts;

/// The addresses of a copy's recipients take so much of the headers at the most: servers bound
/// them, many at 8 KiB.
pub(super) const MAX_RECIPIENTS: usize = 4 << 10;

/// The headers with the envelope.
pub(super) fn headers(facts: &Facts) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::new();
    let mut add = |name: &'static str, text: &str| {
        headers.push((HeaderName::from_static(name), value(text)));
    };
    add("prixfixe-id", &facts.id);
    add("prixfixe-digest", &facts.digest);
    add("prixfixe-from", &facts.from);
    for recipient in facts.to() {
        add("prixfixe-to", &recipient);
    }
    add("prixfixe-peer", &facts.client.peer().to_string());
    if let Some(helo) = facts.client.helo() {
        add("prixfixe-helo", helo);
    }
    if let Some(version) = facts.tls_version() {
        add("prixfixe-tls", version);
    }
    if let Some(user) = facts.user() {
        add("prixfixe-user", user);
    }
    add("prixfixe-received", &facts.received_text());
    add("prixfixe-size", &facts.size.to_string());
    headers
}

/// How much a recipient takes of [`MAX_RECIPIENTS`].
pub(super) fn size_of(recipient: &str) -> usize {
    encoded(recipient).map_or(recipient.len(), |encoded| encoded.len())
}

fn value(text: &str) -> HeaderValue {
    let encoded = encoded(text);
    let text = encoded.as_deref().unwrap_or(text);
    // What is left is printable ASCII.
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// The form of RFC 8187 section 3.2, where a text is not printable ASCII or would itself be taken
/// for that form.
fn encoded(text: &str) -> Option<String> {
    const PREFIX: &str = "UTF-8''";
    let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let looks_encoded = text
        .get(..PREFIX.len())
        .is_some_and(|front| front.eq_ignore_ascii_case(PREFIX));
    let is_kept = is_plain && !looks_encoded && text.trim() == text;
    if is_kept {
        return None;
    }
    let mut encoded = String::from(PREFIX);
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => encoded.push(char::from(byte)),
            b'!' | b'#' | b'$' | b'&' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~' => {
                encoded.push(char::from(byte));
            }
            // Writing to a String does not fail.
            _ => drop(write!(encoded, "%{byte:02X}")),
        }
    }
    Some(encoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_holds_any_text() {
        let cases = [
            ("ann@example.com", "ann@example.com"),
            ("\"a b\"@example.com", "\"a b\"@example.com"),
            ("", ""),
            (
                "b\u{fc}rger@example.com",
                "UTF-8''b%C3%BCrger%40example.com",
            ),
            ("UTF-8''x@example.com", "UTF-8''UTF-8%27%27x%40example.com"),
            (
                "utf-8''%41@example.com",
                "UTF-8''utf-8%27%27%2541%40example.com",
            ),
            (" x", "UTF-8''%20x"),
            ("a\r\nb", "UTF-8''a%0D%0Ab"),
        ];
        for (text, expected) in cases {
            assert_eq!(value(text).to_str().unwrap(), expected);
            assert_eq!(size_of(text), expected.len());
        }
    }
}
