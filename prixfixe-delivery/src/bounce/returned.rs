//! What a report returns of the message (RFC 3461 section 4.3, RFC 6522 section 3).

use prixfixe_server::Ret;

use super::{Original, Report};

/// A longer message comes back as its header section, whatever RET says: a report must not be the
/// larger burden.
pub(super) const MAX_WHOLE: usize = 256 << 10;

/// The longest header section that comes back.
const MAX_HEADERS: usize = 64 << 10;

/// RFC 5322 section 2.1.1.
const MAX_LINE: usize = 998;

/// The third part.
#[derive(Debug)]
pub(super) struct Returned {
    pub(super) bytes: Vec<u8>,
    pub(super) is_whole: bool,
    /// Its header section is internationalised, as the client announced.
    pub(super) is_global: bool,
}

impl Returned {
    pub(super) fn of(report: &Report<'_>, original: Original<'_>) -> Self {
        let Original {
            headers,
            content,
            is_whole,
        } = original;
        let parameters = report.envelope.parameters();
        // RFC 3461 section 4.3: a report without a failure returns headers alone. Without RET it is
        // for us to say: a person can do more with the whole.
        let wants_whole = report.is_failure() && parameters.ret != Some(Ret::Headers);
        let fits = is_whole && headers.len().saturating_add(content.len()) <= MAX_WHOLE;
        let separator = prixfixe_server::header_separator(content);
        let end = section(content);
        let section = content.get(..end).unwrap_or_default();
        let is_whole = wants_whole && fits && is_sound(content);
        let mut bytes = headers.to_vec();
        match is_whole {
            true => {
                bytes.extend_from_slice(separator);
                bytes.extend_from_slice(content);
            }
            false if separator.is_empty() => push_sound(&mut bytes, section),
            // It has no header section: its first line continues none.
            false => {}
        }
        Self {
            bytes,
            is_whole,
            is_global: parameters.smtputf8 && !section.is_ascii(),
        }
    }

    pub(super) fn kind(&self, is_global: bool) -> &'static str {
        match (self.is_whole, is_global) {
            (true, false) => "message/rfc822",
            (false, false) => "text/rfc822-headers",
            // RFC 6533 section 4, RFC 6532 section 3.7.
            (true, true) => "message/global",
            (false, true) => "message/global-headers",
        }
    }
}

/// Where the header section ends, the empty line left out.
fn section(content: &[u8]) -> usize {
    if content.starts_with(b"\r\n") {
        return 0;
    }
    let window = content.get(..MAX_HEADERS).unwrap_or(content);
    let end = window.windows(4).position(|it| it == b"\r\n\r\n");
    match end {
        Some(end) => end + 2,
        // All of it, or as many lines as there is room for.
        None => window
            .windows(2)
            .rposition(|it| it == b"\r\n")
            .map_or(0, |end| end + 2),
    }
}

/// Lines that any server takes: it goes by DATA, and neither end of a line stands alone (RFC 5321
/// section 2.3.8).
fn is_sound(content: &[u8]) -> bool {
    lines(content).all(|line| line.len() <= MAX_LINE && !line.iter().any(is_no_text))
}

fn is_no_text(byte: &u8) -> bool {
    matches!(byte, b'\0' | b'\r' | b'\n')
}

fn push_sound(bytes: &mut Vec<u8>, section: &[u8]) {
    for line in lines(section) {
        let line = line.get(..MAX_LINE).unwrap_or(line);
        let safe = line.iter().map(|byte| match is_no_text(byte) {
            true => b'?',
            false => *byte,
        });
        bytes.extend(safe);
        bytes.extend_from_slice(b"\r\n");
    }
}

/// The lines without their ends.
fn lines(mut content: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        if content.is_empty() {
            return None;
        }
        let end = content.windows(2).position(|it| it == b"\r\n");
        let (line, rest) = match end {
            Some(end) => (content.get(..end)?, content.get(end + 2..)?),
            None => (content, <&[u8]>::default()),
        };
        content = rest;
        Some(line)
    })
}
