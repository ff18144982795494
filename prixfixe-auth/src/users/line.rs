//! A line for a users file, from a name and a password.

use super::table::USUAL_ITERATIONS;
use crate::mechanism::prepare_name;
use crate::mechanism::scram::Verifier;

/// What LOGIN and PLAIN of many clients can carry.
const MAX_PASSWORD: usize = 1024;

/// No line can be made of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// The name cannot stand in a users file.
    #[error(
        "a name has 1 to 255 bytes, no colon, no control characters, no blank at its ends and no # before it"
    )]
    Name,
    /// The password is empty or too long, or no client could send it.
    #[error("a password has 1 to {MAX_PASSWORD} bytes and no NUL")]
    Password,
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
}

/// A line `NAME:{SCRAM-SHA-256}…` for a users file, without its end: with a salt of its own and
/// 15,000 iterations.
///
/// # Errors
///
/// When the name or the password is none.
pub fn users_line(name: &str, password: &[u8]) -> Result<String, LineError> {
    let prepared = prepare_name(name).map_err(|_| LineError::Name)?;
    if prepared.contains(':') || prepared.starts_with('#') || prepared.trim() != prepared {
        return Err(LineError::Name);
    }
    if !(1..=MAX_PASSWORD).contains(&password.len()) || password.contains(&0) {
        return Err(LineError::Password);
    }
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|_| LineError::Random)?;
    // Salt and iterations are in bounds.
    let verifier = Verifier::new(password, &salt, USUAL_ITERATIONS);
    let verifier = verifier.map_err(|_| LineError::Password)?;
    Ok(format!("{prepared}:{verifier}"))
}

#[cfg(test)]
mod tests {
    use super::super::table::Table;
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_meant() {
        let lines = ["a", "b"].map(|name| users_line(name, b"secret").unwrap());
        assert!(
            lines[0].starts_with("a:{SCRAM-SHA-256}15000,"),
            "{}",
            lines[0]
        );
        let (table, bad) = Table::parse(lines.join("\n").as_bytes());
        assert_eq!(bad, []);
        assert!(table.get("a").unwrap().matches(b"secret"));
        // Each has its own salt.
        assert_ne!(lines[0][1..], lines[1][1..]);
    }

    #[test]
    fn what_is_no_name_and_no_password() {
        let long = "x".repeat(256);
        for name in ["", "a:b", "#a", " a", "a ", "a\nb", &long] {
            assert_eq!(
                users_line(name, b"secret"),
                Err(LineError::Name),
                "{name:?}"
            );
        }
        for password in [&b""[..], b"a\0b", &[b'x'; 1025]] {
            assert_eq!(users_line("a", password), Err(LineError::Password));
        }
    }
}
