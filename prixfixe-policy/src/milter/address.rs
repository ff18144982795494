//! Where a milter listens, as people write it.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a milter listens: `inet:HOST:PORT` or `unix:PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MilterAddress {
    /// A host and a port. An IPv6 address stands without its brackets.
    Inet {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

/// The text names no place where a milter could listen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no socket of a milter; give inet:HOST:PORT or unix:/PATH")]
pub struct InvalidMilterAddress(String);

impl FromStr for MilterAddress {
    type Err = InvalidMilterAddress;

    fn from_str(text: &str) -> Result<Self, InvalidMilterAddress> {
        let inet = |rest: &str| {
            let (host, port) = rest.rsplit_once(':')?;
            let bare = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
            let host = match bare {
                Some(bare) => bare.parse::<Ipv6Addr>().ok()?.to_string(),
                None => host.to_owned(),
            };
            let is_name = bare.is_none();
            let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            if is_name && (host.is_empty() || !host.chars().all(is_host)) {
                return None;
            }
            let port = port.parse().ok().filter(|port| *port != 0)?;
            Some(Self::Inet { host, port })
        };
        let address = match text.split_once(':') {
            Some(("inet", rest)) => inet(rest),
            Some(("unix", path)) if path.starts_with('/') => Some(Self::Unix(path.into())),
            _ => None,
        };
        address.ok_or_else(|| InvalidMilterAddress(text.to_owned()))
    }
}

impl fmt::Display for MilterAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet { host, port } if host.contains(':') => write!(f, "inet:[{host}]:{port}"),
            Self::Inet { host, port } => write!(f, "inet:{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_printed() {
        for text in [
            "inet:127.0.0.1:8891",
            "inet:[::1]:8891",
            "inet:clamav:7357",
            "unix:/run/a b.sock",
        ] {
            assert_eq!(text.parse::<MilterAddress>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "inet:",
            "inet::1",
            "inet:a",
            "inet:a:0",
            "inet:a:65536",
            "inet:::1:1",
            "inet:[a]:1",
            "unix:",
            "unix:a",
            "/run/a",
            "8891@localhost",
            "inet:a b:1",
            "local:/run/a",
        ] {
            assert!(text.parse::<MilterAddress>().is_err(), "{text}");
        }
    }
}
