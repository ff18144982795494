//! Octets that do not show, written so that they do.

/// The octets that a text with escapes stands for. `None`: an escape is none.
pub(crate) fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('\\') {
        octets.extend_from_slice(before.as_bytes());
        let mut letters = behind.chars();
        let letter = letters.next()?;
        rest = letters.as_str();
        match letter {
            'r' => octets.push(b'\r'),
            'n' => octets.push(b'\n'),
            't' => octets.push(b'\t'),
            '0' => octets.push(0),
            '\\' => octets.push(b'\\'),
            'x' => {
                let (digits, behind) = rest.split_at_checked(2)?;
                octets.push(u8::from_str_radix(digits, 16).ok()?);
                rest = behind;
            }
            '{' => {
                let (repetition, behind) = rest.split_once('}')?;
                let (text, number) = repetition.rsplit_once('*')?;
                let number: usize = number.parse().ok()?;
                octets.extend_from_slice(&unescape(text)?.repeat(number));
                rest = behind;
            }
            _ => return None,
        }
    }
    octets.extend_from_slice(rest.as_bytes());
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        let is = |text: &str, octets: &[u8]| {
            assert_eq!(unescape(text).as_deref(), Some(octets), "{text}")
        };
        is("plain text", b"plain text");
        is(r"a\r\n\0\t\\b", b"a\r\n\0\t\\b");
        is(r"\x00\xFF\x7f", b"\0\xFF\x7F");
        is(r"<\{ab*3}>", b"<ababab>");
        is(r"\{x\r\n*2}", b"x\r\nx\r\n");
        for text in [r"\", r"\q", r"\x1", r"\xgg", r"\{a*b}", r"\{a*2"] {
            assert_eq!(unescape(text), None, "{text}");
        }
    }
}
