//! What the targets share: the truth about replies and about the end of data, slowly and obviously.

pub mod mail;
pub mod wire;

/// Replies of one line or several, each with its code, none with anything that is not printable ASCII.
/// RFC 5321 section 4.2.
pub fn assert_well_formed(output: &[u8]) {
    let mut expected: Option<&[u8]> = None;
    for line in output.split_inclusive(|byte| *byte == b'\n') {
        assert!(
            line.len() <= 512 && line.ends_with(b"\r\n"),
            "{}",
            line.escape_ascii()
        );
        let text = &line[..line.len() - 2];
        assert!(
            text.iter().all(|byte| matches!(byte, b' '..=b'~')),
            "{}",
            line.escape_ascii()
        );
        let (code, rest) = text.split_at(3);
        assert!(
            matches!(code, [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9']),
            "{}",
            line.escape_ascii()
        );
        assert!(
            expected.is_none_or(|expected| expected == code),
            "{}",
            line.escape_ascii()
        );
        assert!(
            rest.starts_with(b" ") || rest.starts_with(b"-"),
            "{}",
            line.escape_ascii()
        );
        expected = rest.starts_with(b"-").then_some(code);
    }
    assert_eq!(expected, None, "a reply has an end");
}

/// What a text means as the body of DATA.
#[derive(Debug, PartialEq, Eq)]
pub enum Meaning {
    /// There is no end.
    Incomplete,
    /// There is an end, and a bare CR or LF before it, which is not repaired.
    Refused,
    /// The content without dots.
    Content(Vec<u8>),
}

/// The meaning of a text, and what stands behind its end.
pub fn data_oracle(text: &[u8], repairs: bool) -> (Meaning, &[u8]) {
    let with_start = [b"\r\n", text].concat();
    let Some(end) = with_start.windows(5).position(|five| five == b"\r\n.\r\n") else {
        return (Meaning::Incomplete, b"");
    };
    // The first CR LF is that of the command before.
    let body = &with_start[2..(end + 2).max(2)];
    let rest = &text[end + 3..];
    let mut content = Vec::new();
    for (at, &byte) in body.iter().enumerate() {
        let bare = match byte {
            b'\r' => body.get(at + 1) != Some(&b'\n'),
            b'\n' => at == 0 || body[at - 1] != b'\r',
            _ => false,
        };
        if bare && !repairs {
            return (Meaning::Refused, rest);
        }
        if bare {
            content.extend_from_slice(b"\r\n");
        } else if byte != b'.' || !(at == 0 || body[..at].ends_with(b"\r\n")) {
            content.push(byte);
        }
    }
    (Meaning::Content(content), rest)
}
