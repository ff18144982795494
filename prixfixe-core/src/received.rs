//! Counts `Received:` headers, to find messages that run in circles (RFC 5321 section 6.3).

use crate::scan::{self, Look};

/// RFC 5321 section 6.3 has 100 as the least that a server should tolerate.
const LIMIT: u32 = 100;

/// In lower case.
const NAME: &[u8] = b"received:";

/// Follows the header section of a message through its pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReceivedHeaders {
    count: u32,
    section: Section,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    /// So many octets of a line are those of [`NAME`].
    Name { matched: usize },
    /// In a line that is another header field, or the rest of one.
    Line,
    /// Behind the empty line that ends the header section.
    Body,
}

/// There are too many.
#[derive(Debug)]
pub(crate) struct TooMany;

impl ReceivedHeaders {
    pub(crate) const fn new() -> Self {
        Self {
            count: 0,
            section: Section::Name { matched: 0 },
        }
    }

    /// Looks at the next piece of the content.
    pub(crate) fn take(&mut self, piece: &[u8]) -> Result<(), TooMany> {
        let mut rest = piece;
        while self.section != Section::Body {
            let Some((&byte, behind)) = rest.split_first() else {
                break;
            };
            rest = match self.section {
                Section::Name { matched } => {
                    self.section = self.name(matched, byte)?;
                    behind
                }
                _ => self.line(rest),
            };
        }
        Ok(())
    }

    /// Moves to the next start of a line that matters, and gives what begins there. Header sections
    /// may consist of very short lines, so those that don't matter are not looked at one by one.
    fn line<'i>(&mut self, rest: &'i [u8]) -> &'i [u8] {
        let passed = scan::clean(rest, Look::HeaderNames);
        let (passed, rest) = rest.split_at_checked(passed + 1).unwrap_or((rest, &[]));
        if passed.last() == Some(&b'\n') {
            self.section = Section::Name { matched: 0 };
        }
        rest
    }

    fn name(&mut self, matched: usize, byte: u8) -> Result<Section, TooMany> {
        match (matched, byte) {
            (0, b'\r' | b'\n') => Ok(Section::Body),
            (_, b'\n') => Ok(Section::Name { matched: 0 }),
            _ if NAME.get(matched) != Some(&byte.to_ascii_lowercase()) => Ok(Section::Line),
            _ if matched + 1 < NAME.len() => Ok(Section::Name {
                matched: matched + 1,
            }),
            _ => {
                self.count += 1;
                if self.count > LIMIT {
                    Err(TooMany)
                } else {
                    Ok(Section::Line)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether it is too many, at once and byte by byte.
    fn too_many(content: &str) -> bool {
        let at_once = ReceivedHeaders::new().take(content.as_bytes()).is_err();
        let mut headers = ReceivedHeaders::new();
        let bytewise = content
            .as_bytes()
            .chunks(1)
            .any(|byte| headers.take(byte).is_err());
        assert_eq!(at_once, bytewise);
        at_once
    }

    #[test]
    fn a_hundred_received_headers_are_no_loop_and_one_more_is() {
        let hundred = "Received: from a\r\n\tby b; today\r\n".repeat(100);
        assert!(!too_many(&format!("{hundred}\r\nHello\r\n")));
        assert!(too_many(&format!("{hundred}rECEIVED:\r\n\r\nHello\r\n")));
    }

    #[test]
    fn only_whole_names_in_the_header_section_count() {
        let hundred = "Received: x\r\n".repeat(100);
        for other in [
            "X-Received: x\r\n",
            "Received-SPF: x\r\n",
            "Subject: a\r\n Received: x\r\n",
            "Receive\r\n",
        ] {
            assert!(!too_many(&format!("{hundred}{other}\r\n")), "{other}");
        }
        assert!(!too_many(&format!("{hundred}\r\nReceived: x\r\n")));
        assert!(!too_many(&"\r\nReceived: x\r\n".repeat(200)));
    }
}
