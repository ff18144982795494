//! What the targets share: the truth about replies, slowly and obviously. That about the end of
//! data is what the tests use as well (`prixfixe_test_support::meaning`).

pub mod mail;
pub mod wire;

/// Replies of one line or several, each with its code, none with anything that is not printable
/// ASCII. RFC 5321 section 4.2.
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
