//! The server's side of SASL mechanisms (RFC 4422), without I/O: what a client says goes in, what
//! is to be said comes out.
//!
//! prixfixe-server speaks PLAIN and LOGIN itself.

pub mod bearer;
pub mod external;
mod prepare;
pub mod scram;

pub use self::prepare::{InvalidName, prepare_name, prepare_password};

/// What is wrong with what a client said.
///
/// Clients are told no more than that the login failed: tell them apart in tests and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The message does not follow the mechanism's grammar, or a part of it is too long.
    #[error("a message that does not follow the mechanism")]
    Malformed,
    /// The name cannot be one, or the client asks to act as somebody else.
    #[error("a name that cannot be used")]
    Name,
    /// The channel binding is missing, of another kind or of another connection, or the client
    /// believes that no binding was offered.
    #[error("a channel binding that is wrong")]
    ChannelBinding,
    /// The nonce is not the one of this exchange.
    #[error("a nonce that is not ours")]
    Nonce,
    /// The client does not know the password.
    #[error("a proof that is wrong")]
    Proof,
}

/// An authorization identity (RFC 4422 section 2): nobody may act as somebody else here.
fn check_authorization(authorization: &str, name: &str) -> Result<(), Fault> {
    let is_own = authorization.is_empty()
        || prepare_name(authorization).is_ok_and(|prepared| prepared == name);
    if is_own { Ok(()) } else { Err(Fault::Name) }
}

/// `saslname` (RFC 5801 section 4): a comma is `=2C`, an equals sign is `=3D`.
fn decode_saslname(name: &str) -> Result<String, Fault> {
    let mut decoded = String::with_capacity(name.len());
    let mut parts = name.split('=');
    decoded.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (character, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => return Err(Fault::Malformed),
        };
        decoded.push(character);
        decoded.push_str(rest);
    }
    Ok(decoded)
}
