//! The header field `Authentication-Results` (RFC 8601): ours, and those that pretend to be.

use prixfixe_core::{Domain, Reply};
use prixfixe_server::{Content, Edit, Finding, Verdict, reply};

use crate::authentication::is_stranger;
use crate::message::Header;

const UNREADABLE: Reply = reply!(451 4.3.0 "The message cannot be read again");

/// The field's name.
pub(crate) const FIELD: &str = "Authentication-Results";

/// The field's value: who says it, and what was found, each on a line of its own.
pub(crate) fn value(id: &str, findings: &[Finding]) -> String {
    let mut value = quoted(id);
    for finding in findings {
        value.push_str(";\n");
        value.push_str(&finding.name);
        value.push('=');
        value.push_str(&finding.value);
        for (name, text) in &finding.properties {
            value.push(' ');
            value.push_str(name);
            value.push('=');
            value.push_str(&quoted(text));
        }
    }
    if findings.is_empty() {
        value.push_str("; none");
    }
    value
}

/// A token (RFC 2045 section 5.1) as it is, all else as a quoted string. What is no printable ASCII
/// becomes `?`: it came from a stranger, and a header has no place for it.
fn quoted(text: &str) -> String {
    let is_token = |c: char| c.is_ascii_graphic() && !"()<>@,;:\\\"/[]?=".contains(c);
    if !text.is_empty() && text.chars().all(is_token) {
        return text.into();
    }
    let mut result = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => result.extend(['\\', c]),
            ' '..='~' => result.push(c),
            _ => result.push('?'),
        }
    }
    result.push('"');
    result
}

/// Removes a stranger's `Authentication-Results` fields that claim to be ours (RFC 8601 section 5),
/// for a server that looks at contents without [`Authentication`](crate::Authentication), which
/// does so itself.
///
/// # Errors
///
/// `451 4.3.0`: the content cannot be read again.
pub async fn remove_forged_results(content: Content<'_>, id: &str) -> Result<Verdict, Reply> {
    let mut verdict = Verdict::default();
    if !is_stranger(content.client()) {
        return Ok(verdict);
    }
    let header = Header::read(content.gathered()).await;
    let header = header.map_err(|_| UNREADABLE)?;
    for occurrence in forged(header.as_bytes(), id) {
        let name = FIELD.into();
        verdict = verdict.edit(Edit::Remove { name, occurrence });
    }
    Ok(verdict)
}

/// Which of a message's fields of this name claim to be ours, as occurrences counted from 0.
///
/// RFC 8601 section 5: a reader believes what has our id, so whatever comes from outside with it
/// goes.
pub(crate) fn forged(header: &[u8], id: &str) -> Vec<usize> {
    let named = fields(header).filter(|field| field.is_named(FIELD));
    let claims = |field: &HeaderField<'_>| {
        authserv_id(field.value).is_some_and(|theirs| is_same(&theirs, id))
    };
    let claiming = named.enumerate().filter(|(_, field)| claims(field));
    claiming.map(|(occurrence, _)| occurrence).collect()
}

/// A domain in any of its forms, and whatever else an id may be without regard to case.
fn is_same(theirs: &str, ours: &str) -> bool {
    match (Domain::try_from(theirs), Domain::try_from(ours)) {
        (Ok(theirs), Ok(ours)) => theirs == ours,
        _ => theirs.eq_ignore_ascii_case(ours),
    }
}

/// One field of a header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeaderField<'a> {
    name: &'a [u8],
    /// What stands behind the colon, folded as it came.
    pub(crate) value: &'a [u8],
}

impl HeaderField<'_> {
    /// Blanks before the colon are allowed by the old syntax (RFC 5322 section 4.5), and many
    /// readers allow them.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        let written = self.name.trim_ascii_end();
        written.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// The fields of a header, one after the other; lines that are none are left out.
pub(crate) fn fields(header: &[u8]) -> impl Iterator<Item = HeaderField<'_>> {
    let mut rest = header;
    let whole = std::iter::from_fn(move || {
        let (field, behind) = rest.split_at_checked(field_length(rest))?;
        rest = behind;
        (!field.is_empty()).then_some(field)
    });
    whole.filter_map(|field| {
        let (name, value) = field.split_at_checked(memchr::memchr(b':', field)?)?;
        let value = value.get(1..)?;
        Some(HeaderField { name, value })
    })
}

/// Up to the first line end that no blank follows.
fn field_length(header: &[u8]) -> usize {
    let ends = memchr::memchr_iter(b'\n', header).map(|end| end + 1);
    let mut ends = ends.filter(|end| !matches!(header.get(*end), Some(b' ' | b'\t')));
    ends.next().unwrap_or(header.len())
}

/// The id that begins a field's value (RFC 8601 section 2.2: `[CFWS] authserv-id`), a token or a
/// quoted string.
fn authserv_id(value: &[u8]) -> Option<String> {
    let mut rest = behind_cfws(value);
    let mut id = Vec::new();
    if let Some(quoted) = rest.strip_prefix(b"\"") {
        let mut bytes = quoted.iter();
        loop {
            match bytes.next()? {
                b'"' => break,
                b'\\' => id.push(*bytes.next()?),
                b'\r' | b'\n' => {}
                byte => id.push(*byte),
            }
        }
    } else {
        while let Some((byte, behind)) = rest.split_first()
            && !matches!(byte, b';' | b'(' | b' ' | b'\t' | b'\r' | b'\n')
        {
            id.push(*byte);
            rest = behind;
        }
    }
    String::from_utf8(id).ok().filter(|id| !id.is_empty())
}

/// Without the blanks, folds and comments, nested ones too, at the beginning.
fn behind_cfws(mut value: &[u8]) -> &[u8] {
    let mut depth = 0_usize;
    while let Some((byte, behind)) = value.split_first() {
        match (byte, depth) {
            (b'(', _) => depth += 1,
            (b')', 1..) => depth -= 1,
            (b'\\', 1..) => {
                value = behind.get(1..).unwrap_or_default();
                continue;
            }
            (b' ' | b'\t' | b'\r' | b'\n', 0) | (_, 1..) => {}
            _ => break,
        }
        value = behind;
    }
    value
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_found_is_one_field() {
        let findings = [
            Finding::new("spf", "pass").property("smtp.mailfrom", "example.com"),
            Finding::new("dkim", "fail").property("header.d", "ex;mple (com)\r\nX: y\"é"),
        ];
        assert_eq!(
            value("mx.example.org", &findings),
            "mx.example.org;\nspf=pass smtp.mailfrom=example.com;\n\
             dkim=fail header.d=\"ex;mple (com)??X: y\\\"?\""
        );
        assert_eq!(value("mx.example.org", &[]), "mx.example.org; none");
    }

    #[test]
    fn a_field_is_ours_however_its_id_is_written() {
        for ours in [
            "mx.example.org; spf=pass",
            "  mx.example.org; none",
            "MX.Example.ORG 1; spf=pass",
            "mx.example.org.; spf=pass",
            "mx.example.org",
            "(a (nested) \\) comment) mx.example.org (behind); spf=pass",
            "\"mx.example.org\"; spf=pass",
            "\"mx\\.example.org\"; spf=pass",
            "\r\n\tmx.example.org;\r\n\tspf=pass",
            "(a\r\n b)\r\n mx.example.org(c)1(d);spf=pass",
        ] {
            let header = format!("Subject: a\r\nAuthentication-Results:{ours}\r\n");
            assert_eq!(forged(header.as_bytes(), "mx.example.org"), [0], "{ours}");
        }
        for theirs in [
            "mx.example.com; spf=pass",
            "mx.example.org.evil.test; spf=pass",
            "(mx.example.org) other.test; spf=pass",
            "\"mx.example.org; spf=pass",
            "spf=pass; mx.example.org",
            "",
            "(mx.example.org; spf=pass",
        ] {
            let header = format!("Authentication-Results:{theirs}\r\n");
            let none: [usize; 0] = [];
            assert_eq!(
                forged(header.as_bytes(), "mx.example.org"),
                none,
                "{theirs}"
            );
        }
    }

    #[test]
    fn the_name_of_the_field_is_read_as_readers_read_it() {
        let header = b"authentication-RESULTS : a.test\r\nX-Authentication-Results: a.test\r\n\
            Authentication-Results: b.test\r\nno field\r\nAUTHENTICATION-RESULTS:A.TEST; x\r\n";
        assert_eq!(forged(header, "a.test"), [0, 2]);
        let international = "Authentication-Results: xn--bcher-kva.test; none\r\n";
        assert_eq!(forged(international.as_bytes(), "bücher.test"), [0]);
    }

    /// The field's value without comments and folds, by another way: the id is what is left before
    /// `;` or a blank.
    fn plain(value: &str) -> Option<String> {
        let (mut depth, mut text, mut chars) = (0_usize, String::new(), value.chars());
        while let Some(c) = chars.next() {
            match c {
                '(' => depth += 1,
                ')' if depth > 0 => depth -= 1,
                '\\' if depth > 0 => drop(chars.next()),
                _ if depth == 0 => text.push(c),
                _ => {}
            }
            if depth > 0 && !text.trim().is_empty() {
                break;
            }
        }
        let id = text
            .trim_start()
            .split([';', ' ', '\t', '\r', '\n'])
            .next()?;
        (!id.is_empty()).then(|| id.into())
    }

    proptest! {
        #[test]
        fn nothing_panics_and_the_oracle_agrees(
            value in r"(\(|\)|\\| |a|b\.c|;|1|\r\n ){0,12}",
        ) {
            let header = format!("Authentication-Results:{value}\r\n");
            let ours = !forged(header.as_bytes(), "b.c").is_empty();
            prop_assert_eq!(ours, plain(&value).as_deref() == Some("b.c"), "{}", value);
        }

        #[test]
        fn any_bytes_have_fields(header in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(fields(&header).count() <= header.len());
            forged(&header, "a.test");
        }
    }
}
