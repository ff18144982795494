//! Replies as values, and how they are written to the wire.

use std::borrow::Cow;
use std::fmt;

use crate::replies;

/// A reply to a command: a code, an enhanced status code and a text (RFC 5321 section 4.2, RFC
/// 2034).
///
/// ```
/// use prixfixe_core::{EnhancedCode, Reply, reply};
///
/// // Checked when the program is compiled.
/// let reply = reply!(550 5.1.1 "No such user here");
/// let mut output = Vec::new();
/// reply.encode(&mut output);
/// assert_eq!(output, b"550 5.1.1 No such user here\r\n");
///
/// // And one that is put together while it runs.
/// let reply = Reply::new(452, EnhancedCode(4, 2, 2), format!("{} is full", "The mailbox"))?;
/// assert_eq!(reply.to_string(), "452 4.2.2 The mailbox is full");
/// # Ok::<(), prixfixe_core::InvalidReply>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reply {
    /// The three digits, and [`CLOSES`]: a field beside it would make each reply a quarter larger.
    code: u16,
    enhanced: EnhancedCode,
    text: Cow<'static, str>,
}

/// In a code: the connection is closed behind the reply.
const CLOSES: u16 = 0x8000;

/// A [`Reply`] of a code, an enhanced status code and a text, checked when the program is compiled.
///
/// ```
/// use prixfixe_core::{Reply, reply};
///
/// const GREYLISTED: Reply = reply!(451 4.7.1 "Come back in five minutes");
/// assert_eq!(GREYLISTED.code(), 451);
/// ```
///
/// Codes that contradict each other do not compile:
///
/// ```compile_fail
/// let reply = prixfixe_core::reply!(450 5.1.1 "Not now, or never?");
/// ```
#[macro_export]
macro_rules! reply {
    ($code:literal $class_and_subject:literal . $detail:literal $text:expr) => {{
        // In a constant a panic of the check is an error of the compiler's, wherever the macro
        // stands.
        const REPLY: $crate::Reply = $crate::Reply::from_static(
            $code,
            $crate::EnhancedCode::from_static(::core::concat!(
                ::core::stringify!($class_and_subject),
                ".",
                ::core::stringify!($detail)
            )),
            $text,
        );
        REPLY
    }};
}

/// An enhanced status code: class, subject and detail (RFC 3463).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EnhancedCode(pub u8, pub u16, pub u16);

/// A code and an enhanced status code that do not make a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidReply {
    /// Only 2xx, 4xx and 5xx end a command.
    #[error("{0} is not a reply code: use 200 to 299 or 400 to 599")]
    Code(u16),
    /// The class of the enhanced status code has to be the first digit of the code (RFC 2034
    /// section 4), its subject and detail have at most three digits (RFC 3463 section 2).
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
    /// 550 5.1.1: nobody of that name.
    pub const NO_SUCH_USER: Self = reply!(550 5.1.1 "No such user here");
    /// 452 4.2.2: the recipient's mailbox is full for now.
    pub const MAILBOX_FULL: Self = reply!(452 4.2.2 "Mailbox full");
    /// 452 4.3.1: the server has no room for the message.
    pub const NO_ROOM: Self = reply!(452 4.3.1 "Insufficient storage, try again later");
    /// 451 4.7.1: a client that is not known yet should come back.
    pub const GREYLISTED: Self = reply!(451 4.7.1 "Greylisted, try again later");
    /// 451 4.3.0: something failed on the server's side.
    pub const TRY_LATER: Self = replies::LOCAL_ERROR;
    /// 552 5.3.4: the content is larger than is taken.
    pub const TOO_LARGE: Self = replies::TOO_LARGE;
    /// 554 5.7.1: refused as a matter of policy.
    pub const REFUSED: Self = reply!(554 5.7.1 "Refused by policy");
    /// 535 5.7.8: a login that is wrong, whatever is wrong about it (RFC 4954 section 6).
    pub const BAD_CREDENTIALS: Self = reply!(535 5.7.8 "Authentication failed");
    /// 454 4.7.0: a login cannot be checked now (RFC 4954 section 6).
    pub const LOGIN_UNAVAILABLE: Self =
        reply!(454 4.7.0 "Temporary authentication failure, try again later");
    /// 500 5.5.1: no command that is known here.
    pub const UNKNOWN_COMMAND: Self = replies::UNKNOWN_COMMAND;

    /// A reply that is known when the program is compiled: what [`reply!`](crate::reply) makes of
    /// its numbers.
    ///
    /// # Panics
    ///
    /// Where [`new`](Self::new) gives an error. In a constant, that is an error of the compiler's.
    #[must_use]
    #[track_caller]
    pub const fn from_static(code: u16, enhanced: EnhancedCode, text: &'static str) -> Self {
        assert!(
            matches!(code, 200..=299 | 400..=599),
            "a reply code is one of 200 to 299 or 400 to 599"
        );
        assert!(
            enhanced.goes_with(code),
            "the class of an enhanced status code is the first digit of the reply code"
        );
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
        if !enhanced.goes_with(code) {
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

    /// The same reply, behind which the connection is closed at once: in the middle of a body too,
    /// whose rest would otherwise be read before the client gets its reply.
    #[must_use]
    pub const fn and_close(mut self) -> Self {
        self.code |= CLOSES;
        self
    }

    /// True of a reply behind which the connection [is closed](Self::and_close).
    #[must_use]
    pub const fn closes(&self) -> bool {
        self.code & CLOSES != 0
    }

    /// The three digits.
    #[must_use]
    pub const fn code(&self) -> u16 {
        self.code & !CLOSES
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
        self.code() / 100 == 2
    }

    /// 4xx: it may be done later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.code() / 100 == 4
    }

    /// 5xx: it will not be done.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        self.code() / 100 == 5
    }

    /// Appends the reply as it goes to the client.
    ///
    /// Control characters and what is not ASCII leave as `?`. A line of the text that would be
    /// longer than 512 octets on the wire goes on in a next one.
    pub fn encode(&self, output: &mut Vec<u8>) {
        // Nearly all of them are short and on one line.
        if let Some(head) = self.short_head()
            && self.text.len() <= MAX_LINE - head.len() - b"\r\n".len()
            && is_printable(&self.text)
        {
            output.reserve(head.len() + self.text.len() + b"\r\n".len());
            output.extend_from_slice(&head);
            output.extend_from_slice(self.text.as_bytes());
            output.extend_from_slice(b"\r\n");
        } else {
            self.encode_lines(output);
        }
    }

    /// What stands before the text, where that isn't empty and no number of the enhanced status
    /// code has two digits.
    fn short_head(&self) -> Option<[u8; 10]> {
        let EnhancedCode(class, subject, detail) = self.enhanced;
        if self.text.is_empty() || class > 9 || subject > 9 || detail > 9 {
            return None;
        }
        let [a, b, c] = digits(self.code());
        let [class, subject, detail] = [u16::from(class), subject, detail].map(digit);
        Some([a, b, c, b' ', class, b'.', subject, b'.', detail, b' '])
    }

    fn encode_lines(&self, output: &mut Vec<u8>) {
        let code = digits(self.code());
        let enhanced = self.enhanced.encoded();
        let enhanced = enhanced.as_bytes();
        let mut push_line = |line: &str, separator| {
            output.extend_from_slice(&code);
            output.push(separator);
            output.extend_from_slice(enhanced);
            if !line.is_empty() {
                output.push(b' ');
                push_printable(line, output);
            }
            output.extend_from_slice(b"\r\n");
        };
        let width = MAX_LINE - code.len() - enhanced.len() - b"  \r\n".len();
        let mut lines = self
            .text
            .split('\n')
            .flat_map(|line| wrap(line, width))
            .peekable();
        while let Some(line) = lines.next() {
            push_line(line, if lines.peek().is_some() { b'-' } else { b' ' });
        }
    }
}

impl EnhancedCode {
    /// The code of a text such as `5.1.1`: what [`reply!`](crate::reply) makes of its numbers.
    ///
    /// # Panics
    ///
    /// When the text is no class, subject and detail. In a constant, that is an error of the
    /// compiler's.
    #[must_use]
    #[track_caller]
    pub const fn from_static(text: &str) -> Self {
        let mut numbers = [0_u16; 3];
        let mut digits = 0;
        let mut place = 0;
        let mut sound = true;
        let mut rest = text.as_bytes();
        while let [byte, behind @ ..] = rest {
            match *byte {
                b'.' if digits > 0 && place < 2 => {
                    place += 1;
                    digits = 0;
                }
                byte @ b'0'..=b'9' if digits < 3 => {
                    if let Some(number) = numbers.split_at_mut(place).1.first_mut() {
                        *number = *number * 10 + (byte - b'0') as u16;
                    }
                    digits += 1;
                }
                _ => sound = false,
            }
            rest = behind;
        }
        let [class, subject, detail] = numbers;
        assert!(
            sound && place == 2 && digits > 0 && class < 10,
            "an enhanced status code is three numbers: 5.1.1"
        );
        Self(class as u8, subject, detail)
    }

    /// RFC 2034 section 4, RFC 3463 section 2.
    const fn goes_with(self, code: u16) -> bool {
        self.0 as u16 == code / 100 && self.1 <= 999 && self.2 <= 999
    }

    fn encoded(self) -> Encoded {
        let mut encoded = Encoded::default();
        encoded.push_number(u16::from(self.0));
        encoded.push(b'.');
        encoded.push_number(self.1);
        encoded.push(b'.');
        encoded.push_number(self.2);
        encoded
    }
}

impl fmt::Display for Reply {
    /// The reply on one line, for logs: `550 5.1.1 No such user here`, control characters replaced.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ", self.code(), self.enhanced)?;
        self.text.chars().try_for_each(|c| {
            let shown = if c.is_control() { ' ' } else { c };
            fmt::Write::write_char(f, shown)
        })
    }
}

/// Appends text to a reply line: one printable ASCII character for each character of it. What a
/// client or a handler put into a text cannot end the line, nor move a terminal's cursor.
pub(crate) fn push_printable(text: &str, output: &mut Vec<u8>) {
    if is_printable(text) {
        output.extend_from_slice(text.as_bytes());
        return;
    }
    output.extend(text.chars().map(|c| match c {
        ' '..='~' => u8::try_from(c).unwrap_or(b'?'),
        '\t' => b' ',
        _ => b'?',
    }));
}

/// Appends a number in decimal.
pub(crate) fn push_number(number: u64, output: &mut Vec<u8>) {
    /// Of `u64::MAX`.
    const MAX_DIGITS: usize = 20;
    let mut digits = [0; MAX_DIGITS];
    let mut rest = number;
    let mut length = 0;
    for place in digits.iter_mut().rev() {
        *place = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        length += 1;
        if rest == 0 {
            break;
        }
    }
    output.extend_from_slice(digits.get(MAX_DIGITS - length..).unwrap_or_default());
}

/// The code as it goes to the wire. One of other than three digits is a programmer's slip in a
/// constant: the client sees a local fault.
fn digits(code: u16) -> [u8; 3] {
    match code {
        100..=999 => [digit(code / 100), digit(code / 10), digit(code)],
        _ => *b"451",
    }
}

/// The last digit of a number.
fn digit(number: u16) -> u8 {
    b'0' + u8::try_from(number % 10).unwrap_or(0)
}

/// Only what [`push_printable`] leaves as it is.
fn is_printable(text: &str) -> bool {
    // Without an early end, so that it becomes vector instructions.
    let sound = |sound, byte| sound & matches!(byte, b' '..=b'~');
    text.bytes().fold(true, sound)
}

/// Parts of a line with at most `width` characters each; at least one.
fn wrap(line: &str, width: usize) -> impl Iterator<Item = &str> {
    let line = line.strip_suffix('\r').unwrap_or(line);
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let cut = line.char_indices().nth(width).map(|(at, _)| at);
        let (part, left) = match cut.and_then(|at| line.split_at_checked(at)) {
            Some((part, left)) => (part, Some(left)),
            None => (line, None),
        };
        rest = left;
        Some(part)
    })
}

/// An enhanced status code as text, without an allocation: at most `255.65535.65535`.
#[derive(Default)]
struct Encoded {
    bytes: [u8; 16],
    length: usize,
}

impl Encoded {
    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }

    fn push_number(&mut self, number: u16) {
        let mut power = 10_000;
        while power > 1 && number < power {
            power /= 10;
        }
        while power > 0 {
            self.push(digit(number / power));
            power /= 10;
        }
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

    fn encoded(reply: &Reply) -> String {
        let mut output = Vec::new();
        reply.encode(&mut output);
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn a_reply_is_a_code_an_enhanced_code_and_a_text() {
        assert_eq!(encoded(&Reply::permanent("No")), "550 5.7.1 No\r\n");
        assert_eq!(encoded(&Reply::transient("Later")), "451 4.3.0 Later\r\n");
        assert_eq!(encoded(&Reply::ok("")), "250 2.0.0\r\n");
        let reply = Reply::new(599, EnhancedCode(5, 120, 999), "x").unwrap();
        assert_eq!(encoded(&reply), "599 5.120.999 x\r\n");
        assert_eq!(reply.to_string(), "599 5.120.999 x");
    }

    #[test]
    fn line_feeds_make_a_reply_of_several_lines() {
        // RFC 5321 section 4.2.1, RFC 2034 section 4.
        let reply = Reply::permanent("one\r\ntwo\n\nthree");
        assert_eq!(
            encoded(&reply),
            "550-5.7.1 one\r\n550-5.7.1 two\r\n550-5.7.1\r\n550 5.7.1 three\r\n"
        );
    }

    #[test]
    fn numbers_are_written_as_the_standard_library_writes_them() {
        for number in [0, 9, 10, 10_485_760, u64::MAX] {
            let mut output = Vec::new();
            push_number(number, &mut output);
            assert_eq!(output, number.to_string().as_bytes());
        }
    }

    #[test]
    fn control_characters_and_non_ascii_do_not_leave() {
        let reply = Reply::permanent("a\0b\rc\x1b[2Jd\u{7f}e\u{85}f\u{e9}g\th");
        assert_eq!(encoded(&reply), "550 5.7.1 a?b?c?[2Jd?e?f?g h\r\n");
        assert!(!reply.to_string().contains(char::is_control));
    }

    #[test]
    fn no_line_is_longer_than_512_octets() {
        for length in [0, 499, 500, 501, 502, 1000, 5000] {
            let reply = Reply::permanent("\u{e9}".repeat(length));
            let output = encoded(&reply);
            assert!(output.split_inclusive("\r\n").all(|line| line.len() <= 512));
            assert_eq!(output.matches('?').count(), length);
        }
    }

    #[test]
    fn code_and_enhanced_code_have_to_agree() {
        assert_eq!(
            Reply::new(354, EnhancedCode(3, 0, 0), ""),
            Err(InvalidReply::Code(354))
        );
        assert_eq!(
            Reply::new(1550, EnhancedCode(5, 0, 0), ""),
            Err(InvalidReply::Code(1550))
        );
        for enhanced in [
            EnhancedCode(4, 0, 0),
            EnhancedCode(5, 1000, 0),
            EnhancedCode(5, 0, 1000),
        ] {
            assert_eq!(
                Reply::new(550, enhanced, ""),
                Err(InvalidReply::Enhanced {
                    code: 550,
                    enhanced
                })
            );
        }
    }
}
