//! EXTERNAL (RFC 4422 appendix A): who it is, is known by other means.

use super::{Fault, check_authorization};

/// Whether a client that is known to be `identity` may log in with this message, the authorization
/// identity. It is empty, or the same.
///
/// # Errors
///
/// [`Fault::Malformed`] for what is not UTF-8 or has a NUL, [`Fault::Name`] for somebody else.
pub fn check(message: &[u8], identity: &str) -> Result<(), Fault> {
    let authorization = str::from_utf8(message).map_err(|_| Fault::Malformed)?;
    if authorization.contains('\0') {
        return Err(Fault::Malformed);
    }
    check_authorization(authorization, identity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authorization_identity_is_empty_or_the_same() {
        for (message, expected) in [
            (&b""[..], Ok(())),
            (b"ann@example.com", Ok(())),
            (b"bob@example.com", Err(Fault::Name)),
            (b"ann@example.com\0", Err(Fault::Malformed)),
            (b"\xff", Err(Fault::Malformed)),
        ] {
            assert_eq!(check(message, "ann@example.com"), expected, "{message:?}");
        }
    }
}
