//! The texts of a message, in UTF-8.

use std::borrow::Cow;

use mail_parser::decoders::charsets::map::charset_decoder;

/// So much of the plain text is kept, and so much of the HTML.
const MAX_TEXT: usize = 1 << 20;

/// The most bytes that a character has in a charset of mail.
const WIDEST: usize = 4;

#[derive(Debug, Default)]
pub(super) struct Texts {
    plain: Option<String>,
    html: Option<String>,
}

impl Texts {
    /// Puts a part behind those of its kind. True where not all of it is kept.
    pub(super) fn add(&mut self, is_html: bool, bytes: &[u8], charset: Option<&str>) -> bool {
        let text = match is_html {
            true => &mut self.html,
            false => &mut self.plain,
        };
        let text = text.get_or_insert_default();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        let room = MAX_TEXT.saturating_sub(text.len());
        let most = room.saturating_mul(WIDEST);
        let kept = bytes.get(..most).unwrap_or(bytes);
        let decoded = decode(kept, charset);
        let end = floor(&decoded, room);
        text.push_str(decoded.get(..end).unwrap_or_default());
        kept.len() < bytes.len() || end < decoded.len()
    }

    pub(super) fn into_bodies(self) -> (Option<String>, Option<String>) {
        (self.plain, self.html)
    }
}

/// What has no charset, or one that is unknown, is UTF-8 as far as it is.
fn decode<'x>(bytes: &'x [u8], charset: Option<&str>) -> Cow<'x, str> {
    match charset.and_then(|name| charset_decoder(name.as_bytes())) {
        Some(decoder) => Cow::Owned(decoder(bytes)),
        None => String::from_utf8_lossy(bytes),
    }
}

/// The last place at or before that byte where a character ends.
fn floor(text: &str, at: usize) -> usize {
    match text.len() <= at {
        true => text.len(),
        false => (0..=at)
            .rev()
            .find(|at| text.is_char_boundary(*at))
            .unwrap_or(0),
    }
}
