//! SASLprep (RFC 4013): one form of names and passwords that look the same.

use std::borrow::Cow;

use zeroize::Zeroizing;

/// RFC 4616 section 2 allows 255 octets.
const MAX_NAME: usize = 255;

/// The text cannot be a name: it is empty, has over 255 bytes, or characters that SASLprep
/// prohibits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("a name has 1 to 255 bytes and no control characters")]
pub struct InvalidName;

/// The name, prepared by SASLprep.
///
/// # Errors
///
/// When it is empty or too long, before or after, or has prohibited characters.
pub fn prepare_name(name: &str) -> Result<Cow<'_, str>, InvalidName> {
    let is_sound = |name: &str| (1..=MAX_NAME).contains(&name.len());
    if !is_sound(name) {
        return Err(InvalidName);
    }
    match stringprep::saslprep(name) {
        Ok(prepared) if is_sound(&prepared) => Ok(prepared),
        _ => Err(InvalidName),
    }
}

/// The password, prepared by SASLprep. One that SASLprep prohibits stays as it is, as it does in
/// PostgreSQL and in most clients: SASLprep knows no character that is newer than Unicode 3.2.
#[must_use]
pub fn prepare_password(password: &[u8]) -> Zeroizing<Vec<u8>> {
    let prepared = str::from_utf8(password)
        .ok()
        .and_then(|text| stringprep::saslprep(text).ok());
    Zeroizing::new(match prepared {
        Some(Cow::Owned(prepared)) => prepared.into_bytes(),
        Some(Cow::Borrowed(_)) | None => password.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4013 section 3.
    #[test]
    fn the_examples_of_rfc_4013() {
        for (given, prepared) in [
            ("I\u{ad}X", "IX"),
            ("user", "user"),
            ("USER", "USER"),
            ("\u{aa}", "a"),
            ("\u{2168}", "IX"),
        ] {
            assert_eq!(prepare_name(given).as_deref(), Ok(prepared), "{given:?}");
            assert_eq!(
                prepare_password(given.as_bytes()).as_slice(),
                prepared.as_bytes()
            );
        }
        for prohibited in ["\u{7}", "\u{627}1"] {
            assert_eq!(prepare_name(prohibited), Err(InvalidName));
            let unchanged = prepare_password(prohibited.as_bytes());
            assert_eq!(unchanged.as_slice(), prohibited.as_bytes());
        }
    }

    #[test]
    fn names_are_bounded() {
        assert_eq!(prepare_name(""), Err(InvalidName));
        // Nothing is left of it.
        assert_eq!(prepare_name("\u{ad}"), Err(InvalidName));
        assert!(prepare_name(&"a".repeat(255)).is_ok());
        assert_eq!(prepare_name(&"a".repeat(256)), Err(InvalidName));
        // It grows to 18 letters each.
        assert_eq!(prepare_name(&"\u{fdfa}".repeat(80)), Err(InvalidName));
    }

    #[test]
    fn passwords_that_are_no_text_stay_as_they_are() {
        assert_eq!(prepare_password(b"\xff\xfe").as_slice(), b"\xff\xfe");
        assert_eq!(prepare_password(b"").as_slice(), b"");
    }
}
