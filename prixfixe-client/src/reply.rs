//! Replies, as the caller sees them.

use std::fmt::{self, Write as _};

/// A reply of the server (RFC 5321 section 4.2), borrowed from the connection that read it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reply<'a> {
    code: u16,
    /// What follows the code in each line, separated by line feeds.
    text: &'a [u8],
}

/// A reply that is kept.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ReplyBuf {
    code: u16,
    text: Box<[u8]>,
}

/// An enhanced status code: class, subject and detail (RFC 3463).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EnhancedCode(pub u8, pub u16, pub u16);

impl<'a> Reply<'a> {
    pub(crate) const fn new(code: u16, text: &'a [u8]) -> Self {
        Self { code, text }
    }

    /// The three digits, 200 to 599.
    #[must_use]
    pub const fn code(self) -> u16 {
        self.code
    }

    /// 2xx: the command was done.
    #[must_use]
    pub const fn is_positive(self) -> bool {
        self.code / 100 == 2
    }

    /// 3xx: more is expected.
    #[must_use]
    pub const fn is_intermediate(self) -> bool {
        self.code / 100 == 3
    }

    /// 4xx: it may be done later.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        self.code / 100 == 4
    }

    /// 5xx: it will not be done.
    #[must_use]
    pub const fn is_permanent(self) -> bool {
        self.code / 100 == 5
    }

    /// The lines without code and line end, as the server sent them: at most
    /// [`MAX_REPLY_TEXT`](crate::MAX_REPLY_TEXT) bytes in all, the rest is left out.
    ///
    /// They may have control characters and any encoding. The `Display` form of a reply has
    /// neither.
    pub fn lines(self) -> impl Iterator<Item = &'a [u8]> {
        self.text.split(|byte| *byte == b'\n')
    }

    /// The enhanced status code at the front of the text, where there is one that goes with the
    /// code (RFC 2034 section 4).
    #[must_use]
    pub fn enhanced(self) -> Option<EnhancedCode> {
        let word = self
            .lines()
            .next()?
            .split(|byte| *byte == b' ')
            .next()
            .and_then(|word| std::str::from_utf8(word).ok())?;
        let mut parts = word.split('.');
        let mut part = |longest: usize| -> Option<u16> {
            let digits = parts.next()?;
            let fits = digits.len() <= longest && digits.bytes().all(|byte| byte.is_ascii_digit());
            fits.then(|| digits.parse().ok())?
        };
        let (class, subject, detail) = (part(1)?, part(3)?, part(3)?);
        let goes_with = class == self.code / 100 && class != 3 && parts.next().is_none();
        goes_with.then_some(EnhancedCode(u8::try_from(class).ok()?, subject, detail))
    }

    /// A copy to keep.
    #[must_use]
    pub fn to_buf(self) -> ReplyBuf {
        ReplyBuf {
            code: self.code,
            text: self.text.into(),
        }
    }
}

impl ReplyBuf {
    /// The reply.
    #[must_use]
    pub fn as_reply(&self) -> Reply<'_> {
        Reply::new(self.code, &self.text)
    }

    /// The three digits, 200 to 599.
    #[must_use]
    pub const fn code(&self) -> u16 {
        self.code
    }
}

/// One line that is safe to log: the code, and the text with spaces for line ends and U+FFFD for
/// control characters and what is not UTF-8.
impl fmt::Display for Reply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        for line in self.lines().filter(|line| !line.is_empty()) {
            write!(f, " {}", Safe(line))?;
        }
        Ok(())
    }
}

/// What a server sent, with U+FFFD for control characters and what is not UTF-8.
pub(crate) struct Safe<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Safe<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                f.write_char(if c.is_control() { '\u{fffd}' } else { c })?;
            }
            if !chunk.invalid().is_empty() {
                f.write_char('\u{fffd}')?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for ReplyBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_reply().fmt(f)
    }
}

impl fmt::Debug for Reply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply({self})")
    }
}

impl fmt::Debug for ReplyBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_reply().fmt(f)
    }
}

impl fmt::Display for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_enhanced_code_goes_with_its_code() {
        let enhanced = |code, text: &str| Reply::new(code, text.as_bytes()).enhanced();
        assert_eq!(enhanced(550, "5.1.1 no"), Some(EnhancedCode(5, 1, 1)));
        assert_eq!(enhanced(250, "2.0.0"), Some(EnhancedCode(2, 0, 0)));
        assert_eq!(
            enhanced(452, "4.7.999 x\n4.0.0 y"),
            Some(EnhancedCode(4, 7, 999))
        );
        for text in [
            "", "ok", "4.1.1 x", "5.1", "5.1.1.1", "5.1234.1", "5..1", "5.+1.1", "55.1.1",
        ] {
            assert_eq!(enhanced(550, text), None, "{text}");
        }
        assert_eq!(enhanced(354, "3.0.0 go"), None);
    }

    #[test]
    fn what_is_shown_is_one_safe_line() {
        let reply = Reply::new(550, b"5.7.1 \x1b[31mno\n\n\xffwith \xc3\xa9\r");
        assert_eq!(
            reply.to_string(),
            "550 5.7.1 \u{fffd}[31mno \u{fffd}with \u{e9}\u{fffd}"
        );
        assert_eq!(Reply::new(354, b"").to_string(), "354");
        assert_eq!(format!("{:?}", reply.to_buf()), format!("{reply:?}"));
        assert_eq!(reply.lines().count(), 3);
    }
}
