//! Replies to the client that a milter words itself.

use crate::MilterError;

/// The most lines of a reply, as in libmilter.
const MAX_LINES: usize = 32;
/// The longest line, as in libmilter.
const MAX_LINE: usize = 980;

/// A reply to the client that a milter has worded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomReply {
    code: u16,
    enhanced: (u8, u16, u16),
    text: String,
}

impl CustomReply {
    /// The three digits: 400 to 599.
    #[must_use]
    pub const fn code(&self) -> u16 {
        self.code
    }

    /// Class, subject and detail (RFC 3463). Where the milter gave none, or one of another class,
    /// `X.7.1`.
    #[must_use]
    pub const fn enhanced(&self) -> (u8, u16, u16) {
        self.enhanced
    }

    /// The text. Lines are separated by line feeds; there are no other control characters.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Reads `550 5.7.1 no` and its multi-line form.
    pub(crate) fn read(fields: &[u8]) -> Result<Self, MilterError> {
        let mut fields = fields;
        let text = crate::packet::text(&mut fields).ok_or(MilterError::BadReply)?;
        let text = String::from_utf8_lossy(text);
        let mut lines = text.split('\n').take(MAX_LINES);
        let first = lines.next().unwrap_or_default();
        let (code, rest) = split_code(first).ok_or(MilterError::BadReply)?;
        let class = code / 100;
        let (enhanced, rest) = split_enhanced(rest, class);
        let mut text = safe(rest);
        for line in lines {
            let line = match split_code(line) {
                Some((other, rest)) if other == code => split_enhanced(rest, class).1,
                _ => line,
            };
            text.push('\n');
            text.push_str(&safe(line));
        }
        let class = if class == 4 { 4 } else { 5 };
        Ok(Self {
            code,
            enhanced: enhanced.unwrap_or((class, 7, 1)),
            text: text.trim_end().to_owned(),
        })
    }
}

/// The code, and what stands behind it and its blank or hyphen.
fn split_code(line: &str) -> Option<(u16, &str)> {
    let (code, rest) = line.split_at_checked(3)?;
    let is_code = code.bytes().all(|byte| byte.is_ascii_digit());
    let code = code.parse().ok().filter(|_| is_code)?;
    let rest = match rest.chars().next() {
        None | Some('\r') => "",
        Some(' ' | '-') => rest.get(1..)?,
        Some(_) => return None,
    };
    matches!(code, 400..=599).then_some((code, rest))
}

/// The enhanced code, if there is one of that class, and what stands behind it.
fn split_enhanced(text: &str, class: u16) -> (Option<(u8, u16, u16)>, &str) {
    let (word, rest) = text.split_once(' ').unwrap_or((text.trim_end(), ""));
    let is_number =
        |it: &&str| (1..=3).contains(&it.len()) && it.bytes().all(|b| b.is_ascii_digit());
    let numbers: Vec<_> = word.split('.').take(4).collect();
    let [kind, subject, detail] = numbers[..] else {
        return (None, text);
    };
    if ![kind, subject, detail].iter().all(is_number) {
        return (None, text);
    }
    let parsed = (kind.parse(), subject.parse(), detail.parse());
    match parsed {
        (Ok(kind), Ok(subject), Ok(detail)) if u16::from(kind) == class => {
            (Some((kind, subject, detail)), rest)
        }
        _ => (None, rest),
    }
}

/// A line without what must not leave in a reply. libmilter's users double each percent sign.
fn safe(line: &str) -> String {
    let line = line.trim_end_matches('\r').replace("%%", "%");
    let cut = line
        .char_indices()
        .nth(MAX_LINE)
        .map_or(line.len(), |(at, _)| at);
    let line = line.get(..cut).unwrap_or_default();
    let safe = |c: char| if c.is_control() { ' ' } else { c };
    line.chars().map(safe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_as_sendmail_reads_them() {
        let cases = [
            ("550 5.7.1 no\0", 550, (5, 7, 1), "no"),
            ("550 5.1.1 no", 550, (5, 1, 1), "no"),
            ("451 later\0", 451, (4, 7, 1), "later"),
            ("421\0", 421, (4, 7, 1), ""),
            ("550 4.7.1 odd\0", 550, (5, 7, 1), "odd"),
            ("550-5.7.2 a\r\n550 5.7.2 b\0", 550, (5, 7, 2), "a\nb"),
            ("550 5.7.1 100%% \x07bell\0", 550, (5, 7, 1), "100%  bell"),
            ("550-5.7.1 a\r\nanything\0", 550, (5, 7, 1), "a\nanything"),
            (
                "550 1.2.3.4 is listed\0",
                550,
                (5, 7, 1),
                "1.2.3.4 is listed",
            ),
        ];
        for (fields, code, enhanced, text) in cases {
            let reply = CustomReply::read(fields.as_bytes()).unwrap();
            assert_eq!(
                (reply.code(), reply.enhanced(), reply.text()),
                (code, enhanced, text)
            );
        }
    }

    #[test]
    fn what_is_no_refusal_is_no_reply() {
        for fields in [
            "",
            "\0",
            "250 2.0.0 ok\0",
            "99 a\0",
            "5500 a\0",
            "abc\0",
            "354 go\0",
            "+50 a\0",
        ] {
            let reply = CustomReply::read(fields.as_bytes());
            assert_eq!(reply, Err(MilterError::BadReply), "{fields:?}");
        }
    }

    #[test]
    fn a_reply_is_bounded() {
        let fields = format!("550 5.7.1 {}\0", "\u{e9}".repeat(60_000));
        assert_eq!(
            CustomReply::read(fields.as_bytes())
                .unwrap()
                .text()
                .chars()
                .count(),
            MAX_LINE
        );
        let fields = "550 5.7.1 a\n".repeat(1000);
        let reply = CustomReply::read(fields.as_bytes()).unwrap();
        assert_eq!(reply.text().lines().count(), MAX_LINES);
    }
}
