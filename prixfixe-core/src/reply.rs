//! Replies as values, and how they are written to the wire.

use std::borrow::Cow;
use std::fmt;

/// A reply to a command: a code, an enhanced status code and a text (RFC 5321 section 4.2, RFC 2034).
///
/// ```
/// use prixfixe_core::{EnhancedCode, Reply};
///
/// let reply = Reply::new(550, EnhancedCode(5, 1, 1), "No such user here")?;
/// let mut output = Vec::new();
/// reply.encode(&mut output);
/// assert_eq!(output, b"550 5.1.1 No such user here\r\n");
/// # Ok::<(), prixfixe_core::InvalidReply>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reply {
    code: u16,
    enhanced: EnhancedCode,
    text: Cow<'static, str>,
}

/// An enhanced status code: class, subject and detail (RFC 3463).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EnhancedCode(pub u8, pub u16, pub u16);

/// A code and an enhanced status code that do not make a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReply {
    /// Only 2xx, 4xx and 5xx end a command.
    #[error("{0} is not a reply code: use 200 to 299 or 400 to 599")]
    Code(u16),
    /// The class of the enhanced status code has to be the first digit of the code (RFC 2034 section 4), its
    /// subject and detail have at most three digits (RFC 3463 section 2).
    #[error("the enhanced status code {enhanced} does not go with the code {code}")]
    Enhanced {
        /// The code.
        code: u16,
        /// What does not go with it.
        enhanced: EnhancedCode,
    },
}

/// The longest reply line, CR LF included (RFC 5321 section 4.5.3.1.5).
const MAX_LINE: usize = 512;

impl Reply {
    /// A reply that is known when the program is compiled. Not checked as [`new`](Self::new) does.
    #[must_use]
    pub const fn from_static(code: u16, enhanced: EnhancedCode, text: &'static str) -> Self {
        Self {
            code,
            enhanced,
            text: Cow::Borrowed(text),
        }
    }

    /// A reply with a text of one's own. Line feeds in the text make a reply of several lines.
    ///
    /// # Errors
    ///
    /// When the code is no 2xx, 4xx or 5xx, or the enhanced status code is of another class.
    pub fn new(
        code: u16,
        enhanced: EnhancedCode,
        text: impl Into<Cow<'static, str>>,
    ) -> Result<Self, InvalidReply> {
        if !matches!(code, 200..=299 | 400..=599) {
            return Err(InvalidReply::Code(code));
        }
        let EnhancedCode(class, subject, detail) = enhanced;
        if u16::from(class) != code / 100 || subject > 999 || detail > 999 {
            return Err(InvalidReply::Enhanced { code, enhanced });
        }
        Ok(Self {
            code,
            enhanced,
            text: text.into(),
        })
    }

    /// 250 2.0.0: done.
    #[must_use]
    pub fn ok(text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code: 250,
            enhanced: EnhancedCode(2, 0, 0),
            text: text.into(),
        }
    }

    /// 550 5.7.1: a refusal as a matter of policy. The client will not try again.
    #[must_use]
    pub fn permanent(text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code: 550,
            enhanced: EnhancedCode(5, 7, 1),
            text: text.into(),
        }
    }

    /// 451 4.3.0: a failure on the server's side. The client will try again.
    #[must_use]
    pub fn transient(text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code: 451,
            enhanced: EnhancedCode(4, 3, 0),
            text: text.into(),
        }
    }

    /// The three digits.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The enhanced status code.
    #[must_use]
    pub fn enhanced(&self) -> EnhancedCode {
        self.enhanced
    }

    /// The text, as it was given.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// 2xx: the command was done.
    #[must_use]
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// 4xx: it may be done later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.code / 100 == 4
    }

    /// 5xx: it will not be done.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// Appends the reply as it goes to the client.
    ///
    /// Control characters and what is not ASCII leave as `?`. A line of the text that would be longer than
    /// 512 octets on the wire goes on in a next one.
    pub fn encode(&self, output: &mut Vec<u8>) {
        let _ = (MAX_LINE, output);
        todo!()
    }
}

impl fmt::Display for Reply {
    /// The reply on one line, for logs: `550 5.1.1 No such user here`, control characters replaced.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ", self.code, self.enhanced)?;
        self.text.chars().try_for_each(|c| {
            let shown = if c.is_control() { ' ' } else { c };
            fmt::Write::write_char(f, shown)
        })
    }
}

impl fmt::Display for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}
