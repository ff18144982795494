//! A message taken apart, within bounds.
//!
//! The tree of parts is walked here, in time that grows with the size of the message and the depth
//! alone. What stands in a header, transfer encodings and charsets are mail-parser's.

mod header;
mod text;

use std::borrow::Cow;

use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;
use memchr::{memchr, memmem};

pub(super) use self::header::{Address, Header};
use self::text::Texts;

/// Parts, multiparts included.
const MAX_PARTS: usize = 100;

/// Multiparts within multiparts.
const MAX_DEPTH: usize = 20;

/// All that is in a message.
#[derive(Debug, Default)]
pub(super) struct Parsed<'x> {
    pub(super) header: Header<'x>,
    pub(super) text: Option<String>,
    pub(super) html: Option<String>,
    pub(super) attachments: Vec<Attachment<'x>>,
    /// A bound was met: there is more in the message.
    pub(super) is_truncated: bool,
    /// What could not be understood of it.
    pub(super) error: Option<&'static str>,
}

/// A part that is no text of the message.
#[derive(Debug)]
pub(super) struct Attachment<'x> {
    pub(super) filename: Option<String>,
    /// `type/subtype` in lower case, without parameters.
    pub(super) content_type: String,
    /// `attachment` or `inline`, where the part says so.
    pub(super) disposition: Option<&'static str>,
    /// Without the angle brackets.
    pub(super) content_id: Option<String>,
    encoding: Encoding,
    body: &'x [u8],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Base64,
    QuotedPrintable,
    None,
}

impl<'x> Parsed<'x> {
    /// Takes a message apart. Whatever it is, there is a result.
    pub(super) fn new(content: &'x [u8]) -> Self {
        let (fields, body) = split(content);
        let mut walk = Walk::default();
        let header = walk.header(fields);
        if header.is_empty() {
            walk.error = Some("there is no header");
        } else {
            walk.part(&header, body, 0);
        }
        let (text, html) = walk.texts.into_bodies();
        Self {
            header,
            text,
            html,
            attachments: walk.attachments,
            is_truncated: walk.is_truncated,
            error: walk.error,
        }
    }
}

impl Attachment<'_> {
    /// Its content, decoded. What is not in the encoding that it claims is given as it is.
    pub(super) fn content(&self) -> Cow<'_, [u8]> {
        decode(self.encoding, self.body).unwrap_or(Cow::Borrowed(self.body))
    }
}

#[derive(Debug, Default)]
struct Walk<'x> {
    parts: usize,
    texts: Texts,
    attachments: Vec<Attachment<'x>>,
    is_truncated: bool,
    error: Option<&'static str>,
}

impl<'x> Walk<'x> {
    fn header(&mut self, fields: &'x [u8]) -> Header<'x> {
        let header = Header::new(fields);
        self.is_truncated |= header.is_truncated;
        header
    }

    fn part(&mut self, header: &Header<'x>, body: &'x [u8], depth: usize) {
        self.parts += 1;
        let Some(boundary) = header.boundary() else {
            if header.is_multipart() {
                self.error = Some("a multipart has no boundary");
            }
            return self.leaf(header, body);
        };
        if depth == MAX_DEPTH {
            self.is_truncated = true;
            return;
        }
        for part in children(body, boundary) {
            if self.parts == MAX_PARTS {
                self.is_truncated = true;
                return;
            }
            let (fields, body) = split(part);
            let header = self.header(fields);
            self.part(&header, body, depth + 1);
        }
    }

    fn leaf(&mut self, header: &Header<'x>, body: &'x [u8]) {
        let encoding = match header.transfer_encoding() {
            Some(name) if name.eq_ignore_ascii_case("base64") => Encoding::Base64,
            Some(name) if name.eq_ignore_ascii_case("quoted-printable") => {
                Encoding::QuotedPrintable
            }
            _ => Encoding::None,
        };
        let content_type = header.content_type();
        let filename = header.filename();
        let disposition = header.disposition();
        let is_text = matches!(&*content_type, "text/plain" | "text/html")
            && filename.is_none()
            && disposition != Some("attachment");
        let decoded = match is_text {
            true => decode(encoding, body),
            false => check(encoding, body).then_some(Cow::Borrowed(body)),
        };
        if decoded.is_none() {
            self.error = Some("a part is not in the encoding that it claims to be in");
        }
        if is_text {
            let bytes = decoded.unwrap_or(Cow::Borrowed(body));
            let is_html = &*content_type == "text/html";
            self.is_truncated |= self.texts.add(is_html, &bytes, header.charset());
            return;
        }
        self.attachments.push(Attachment {
            filename,
            content_type,
            disposition,
            content_id: header.content_id(),
            encoding,
            body,
        });
    }
}

/// The header with its last line end, and what stands behind the empty line.
fn split(part: &[u8]) -> (&[u8], &[u8]) {
    let mut position = 0;
    loop {
        let rest = part.get(position..).unwrap_or_default();
        let Some(end) = memchr(b'\n', rest) else {
            return (part, &[]);
        };
        let next = position + end + 1;
        if matches!(rest.get(..end), Some(b"" | b"\r")) {
            return (
                part.get(..position).unwrap_or_default(),
                part.get(next..).unwrap_or_default(),
            );
        }
        position = next;
    }
}

/// The parts between the delimiters of a multipart (RFC 2046 section 5.1.1). One that is not closed
/// ends with the body.
fn children<'x>(body: &'x [u8], boundary: &str) -> impl Iterator<Item = &'x [u8]> {
    let delimiter = [b"--", boundary.as_bytes()].concat();
    let finder = memmem::Finder::new(&delimiter).into_owned();
    let mut position = 0;
    // Where the content of the part that is open begins.
    let mut open: Option<usize> = None;
    let mut is_over = false;
    std::iter::from_fn(move || {
        while !is_over {
            let rest = body.get(position..).unwrap_or_default();
            let Some(found) = finder.find(rest).map(|found| position + found) else {
                is_over = true;
                return open.take().and_then(|begin| body.get(begin..));
            };
            position = found + delimiter.len();
            let Some((kind, next)) = delimiter_line(body, found, position) else {
                continue;
            };
            is_over = kind == Delimiter::Last;
            position = next;
            let closed = open.replace(next);
            if is_over {
                open = None;
            }
            if let Some(begin) = closed {
                return Some(without_line_end(body.get(begin..found).unwrap_or_default()));
            }
        }
        None
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delimiter {
    Next,
    Last,
}

/// What kind of delimiter stands there, if one does, and where the next line begins.
fn delimiter_line(body: &[u8], begin: usize, end: usize) -> Option<(Delimiter, usize)> {
    let before = begin.checked_sub(1).and_then(|at| body.get(at));
    if before.is_some_and(|byte| *byte != b'\n') {
        return None;
    }
    let rest = body.get(end..)?;
    let length = memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
    let line = rest.get(..length)?;
    let (kind, padding) = match line.strip_prefix(b"--") {
        Some(padding) => (Delimiter::Last, padding),
        None => (Delimiter::Next, line),
    };
    let is_padding = kind == Delimiter::Last || padding.iter().all(u8::is_ascii_whitespace);
    is_padding.then_some((kind, end + length))
}

/// The line end before a delimiter belongs to the delimiter.
fn without_line_end(part: &[u8]) -> &[u8] {
    let part = part.strip_suffix(b"\n").unwrap_or(part);
    part.strip_suffix(b"\r").unwrap_or(part)
}

fn decode(encoding: Encoding, body: &[u8]) -> Option<Cow<'_, [u8]>> {
    match encoding {
        Encoding::None => Some(Cow::Borrowed(body)),
        Encoding::Base64 => base64_decode(body).map(Cow::Owned),
        Encoding::QuotedPrintable => quoted_printable_decode(body).map(Cow::Owned),
    }
}

/// Whether it can be decoded. What is no attachment's to keep is not kept.
fn check(encoding: Encoding, body: &[u8]) -> bool {
    decode(encoding, body).is_some()
}

#[cfg(test)]
mod tests;
