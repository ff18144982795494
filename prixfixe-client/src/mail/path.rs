//! Whether a path can stand between angle brackets.
//!
//! No full grammar: the caller's addresses have been parsed by others, or the server parses them.
//! What has to hold here is that a path ends where it is meant to end, so that no address carries a
//! command or a parameter.

use super::InvalidArgument;

/// RFC 5321 section 4.5.3.1.3, without the two brackets.
const MAX_PATH: usize = 254;

/// Where in a path a character stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Bare,
    Quoted,
    /// Behind a backslash in quotes.
    Escaped,
}

/// Accepts what is quoted right and has blanks and brackets nowhere else.
pub(super) fn check(path: &str) -> Result<(), InvalidArgument> {
    if path.len() > MAX_PATH {
        return Err(InvalidArgument::Length);
    }
    let mut place = Place::Bare;
    for byte in path.bytes() {
        place = match (place, byte) {
            (_, 0..=0x1f | 0x7f) | (Place::Bare, b' ' | b'<' | b'>' | b'\\') => {
                return Err(InvalidArgument::Character);
            }
            (Place::Bare, b'"') | (Place::Escaped, _) => Place::Quoted,
            (Place::Quoted, b'"') => Place::Bare,
            (Place::Quoted, b'\\') => Place::Escaped,
            (place, _) => place,
        };
    }
    if place == Place::Bare {
        Ok(())
    } else {
        Err(InvalidArgument::Character)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_make_room_for_blanks_and_brackets_and_must_be_closed() {
        for good in [
            "",
            "postmaster",
            "a@example.com",
            "\"b o b\"@[IPv6:2001:db8::1]",
            "\"<a>\"@x",
            "\"a\\\"b\"@x",
            "@relay.example:a@x",
            "j\u{f6}rg@x",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "\"a",
            "\"a\\\"",
            "a\"b>c\"@x\"",
            "\"a\"> b",
            "a\\>b",
            "\"a\r\nb\"@x",
            "\"\x7f\"@x",
        ] {
            assert_eq!(check(bad), Err(InvalidArgument::Character), "{bad:?}");
        }
        assert_eq!(check(&"x".repeat(MAX_PATH)), Ok(()));
        assert_eq!(
            check(&"x".repeat(MAX_PATH + 1)),
            Err(InvalidArgument::Length)
        );
    }
}
