//! `lmtp:`, `smtp:` and `smtps:`: where the next hop is.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;

/// Where a next hop is, and what is spoken with it.
///
/// | form | |
/// |---|---|
/// | `lmtp:HOST:PORT` | LMTP over TCP; there is no usual port, many use 24 |
/// | `lmtp:/SOCKET`, `lmtp:unix:PATH` | LMTP over a Unix socket |
/// | `smtp:HOST[:PORT]` | SMTP, port 25 unless it is named; 587 is usual for submission |
/// | `smtps:HOST[:PORT]` | SMTP with TLS from the first byte, port 465 unless it is named |
///
/// An IPv6 address stands in brackets.
///
/// ```
/// use prixfixe_delivery::NextHopUrl;
///
/// let url: NextHopUrl = "smtp:relay.example.com:587".parse()?;
/// assert!(!url.is_lmtp());
/// assert_eq!(url.to_string(), "smtp:relay.example.com:587");
/// # Ok::<(), prixfixe_delivery::ParseNextHopError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NextHopUrl {
    pub(super) kind: Kind,
    pub(super) place: Place,
}

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Lmtp,
    Smtp,
    /// TLS comes before the greeting.
    Smtps,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Place {
    Network { host: Box<str>, port: u16 },
    Unix(PathBuf),
}

/// The text is no next hop. The message says what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseNextHopError {
    /// Another kind of target, or none.
    #[error("write lmtp:HOST:PORT, lmtp:/SOCKET, smtp:HOST[:PORT] or smtps:HOST[:PORT]")]
    Kind,
    /// Slashes where the host should stand.
    #[error("write {kind}:HOST without slashes, such as {kind}:mail.example.com:{port}")]
    Slashes {
        /// The kind of target.
        kind: &'static str,
        /// A port that is usual there.
        port: u16,
    },
    /// A user, perhaps with a password.
    #[error(
        "a user or a password cannot stand in {kind}:…: write username and password-file as keys of the target"
    )]
    Credentials {
        /// The kind of target.
        kind: &'static str,
    },
    /// There is no host.
    #[error("{kind}: needs a host, such as {kind}:mail.example.com:{port}")]
    NoHost {
        /// The kind of target.
        kind: &'static str,
        /// A port that is usual there.
        port: u16,
    },
    /// What should be a host is none.
    #[error(
        "{host:?} is no host: write a name in ASCII (xn--… for others), an IPv4 address, or an IPv6 address in brackets"
    )]
    Host {
        /// What stood there.
        host: String,
    },
    /// There is no port, and LMTP has no usual one.
    #[error("lmtp: needs a port, such as lmtp:{host}:24 (port 25 is SMTP's)")]
    NoPort {
        /// The host.
        host: String,
    },
    /// What should be a port is none.
    #[error("{port:?} is no port: write a number from 1 to 65535")]
    Port {
        /// What stood there.
        port: String,
    },
    /// A path where none can be.
    #[error("{kind}: has no sockets with a path: write {kind}:HOST, or lmtp:/SOCKET")]
    Path {
        /// The kind of target.
        kind: &'static str,
    },
    /// A Unix socket without a path, or on a system that has none.
    #[error("lmtp:unix: needs the path of a socket, such as lmtp:/run/dovecot/lmtp")]
    NoPath,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Lmtp => "lmtp",
            Self::Smtp => "smtp",
            Self::Smtps => "smtps",
        }
    }

    /// The port that a URL need not name; of LMTP one to show in examples.
    fn port(self) -> u16 {
        match self {
            Self::Lmtp => 24,
            Self::Smtp => 25,
            Self::Smtps => 465,
        }
    }
}

impl NextHopUrl {
    /// LMTP: the last step into mailboxes, and no relay.
    #[must_use]
    pub fn is_lmtp(&self) -> bool {
        self.kind == Kind::Lmtp
    }

    /// A Unix socket, or an address of this machine by its number or as `localhost`.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match &self.place {
            Place::Unix(_) => true,
            Place::Network { host, .. } => {
                let is_loopback = |address: IpAddr| address.is_loopback();
                host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(is_loopback)
            }
        }
    }
}

impl FromStr for NextHopUrl {
    type Err = ParseNextHopError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = text.split_once(':').ok_or(ParseNextHopError::Kind)?;
        let kind = match scheme {
            "lmtp" => Kind::Lmtp,
            "smtp" => Kind::Smtp,
            "smtps" => Kind::Smtps,
            _ => return Err(ParseNextHopError::Kind),
        };
        let (name, port) = (kind.name(), kind.port());
        if rest.starts_with("//") {
            return Err(ParseNextHopError::Slashes { kind: name, port });
        }
        let place = match rest.strip_prefix("unix:") {
            Some(path) => unix(kind, path)?,
            None if rest.starts_with('/') => unix(kind, rest)?,
            None => network(kind, rest)?,
        };
        Ok(Self { kind, place })
    }
}

fn unix(kind: Kind, path: &str) -> Result<Place, ParseNextHopError> {
    if kind != Kind::Lmtp {
        return Err(ParseNextHopError::Path { kind: kind.name() });
    }
    if path.is_empty() || !cfg!(unix) {
        return Err(ParseNextHopError::NoPath);
    }
    Ok(Place::Unix(PathBuf::from(path)))
}

fn network(kind: Kind, text: &str) -> Result<Place, ParseNextHopError> {
    if text.contains('@') {
        // What stands before it may be a secret, so it is not repeated.
        return Err(ParseNextHopError::Credentials { kind: kind.name() });
    }
    let no_host = |text: &str| match text {
        "" => ParseNextHopError::NoHost {
            kind: kind.name(),
            port: kind.port(),
        },
        text => ParseNextHopError::Host {
            host: text.to_owned(),
        },
    };
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, rest) = rest.split_once(']').ok_or_else(|| no_host(text))?;
            let is_address = address.parse::<Ipv6Addr>().is_ok();
            let port = match rest.strip_prefix(':') {
                Some(port) => Some(port),
                None if rest.is_empty() => None,
                None => return Err(no_host(text)),
            };
            (Some(address).filter(|_| is_address), port)
        }
        None => {
            let (host, port) = match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            };
            // A second colon: an IPv6 address without brackets.
            let is_port = !port.is_some_and(|port| port.contains(':'));
            (Some(host).filter(|host| is_port && is_name(host)), port)
        }
    };
    let host = match (host, port) {
        (Some(host), _) => host,
        (None, Some(port)) if text.strip_prefix(':') == Some(port) && !port.contains(':') => {
            return Err(no_host(""));
        }
        (None, _) => return Err(no_host(text)),
    };
    let port = match port {
        Some(digits) => number(digits)?,
        None if kind == Kind::Lmtp => {
            return Err(ParseNextHopError::NoPort {
                host: shown(host).to_string(),
            });
        }
        None => kind.port(),
    };
    Ok(Place::Network {
        host: host.into(),
        port,
    })
}

/// A host's name, or an IPv4 address. More than DNS allows is left to the look-up.
fn is_name(host: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    (1..=253).contains(&host.len()) && host.bytes().all(is_part) && !host.starts_with('.')
}

fn number(digits: &str) -> Result<u16, ParseNextHopError> {
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    let port = digits.parse().ok().filter(|port| is_number && *port > 0);
    port.ok_or_else(|| ParseNextHopError::Port {
        port: digits.to_owned(),
    })
}

/// The host as a URL has it.
fn shown(host: &str) -> impl fmt::Display {
    match host.contains(':') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    }
}

impl fmt::Display for NextHopUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.kind.name())?;
        match &self.place {
            Place::Unix(path) if path.is_absolute() => write!(f, "{}", path.display()),
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
            Place::Network { host, port } => {
                write!(f, "{}", shown(host))?;
                match *port == self.kind.port() && self.kind != Kind::Lmtp {
                    true => Ok(()),
                    false => write!(f, ":{port}"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_written_the_same() {
        for (text, written) in [
            ("lmtp:127.0.0.1:24", None),
            ("lmtp:dovecot.example.com:24", None),
            ("lmtp:[::1]:2424", None),
            ("lmtp:/run/dovecot/lmtp", None),
            (
                "lmtp:unix:/run/dovecot/lmtp",
                Some("lmtp:/run/dovecot/lmtp"),
            ),
            ("lmtp:unix:./lmtp", None),
            ("smtp:relay.example.com", None),
            ("smtp:relay.example.com:25", Some("smtp:relay.example.com")),
            ("smtp:relay_1.example:587", None),
            ("smtp:[2001:db8::1]", None),
            ("smtps:relay.example.com", None),
            (
                "smtps:relay.example.com:465",
                Some("smtps:relay.example.com"),
            ),
            ("smtps:[2001:db8::1]:10465", None),
        ] {
            let url: NextHopUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), written.unwrap_or(text), "{text}");
            assert_eq!(url.to_string().parse(), Ok(url), "{text}");
        }
    }

    #[test]
    fn an_error_names_what_to_write() {
        for (text, expected) in [
            ("maildir:x", "write lmtp:HOST:PORT, lmtp:/SOCKET"),
            ("lmtp", "write lmtp:HOST:PORT"),
            ("SMTP:relay", "write lmtp:HOST:PORT"),
            (
                "smtp://relay:25",
                "smtp:HOST without slashes, such as smtp:mail.example.com:25",
            ),
            ("smtps://", "smtps:mail.example.com:465"),
            ("smtp:", "smtp: needs a host"),
            ("smtp::25", "smtp: needs a host"),
            ("lmtp:relay", "such as lmtp:relay:24"),
            ("lmtp:[::1]", "such as lmtp:[::1]:24"),
            ("lmtp:unix:", "lmtp:/run/dovecot/lmtp"),
            ("smtp:/run/socket", "lmtp:/SOCKET"),
            ("smtp:::1", "IPv6 address in brackets"),
            ("smtp:2001:db8::1", "IPv6 address in brackets"),
            ("smtp:[2001:db8::1", "IPv6 address in brackets"),
            ("smtp:[relay]:25", "IPv6 address in brackets"),
            ("smtp:[::1]25", "IPv6 address in brackets"),
            ("smtp:b\u{fc}cher.example", "xn--"),
            ("smtp:a b", "is no host"),
            ("smtp:.example", "is no host"),
            ("smtp:relay:", "\"\" is no port: write a number"),
            ("smtp:relay:0", "\"0\" is no port"),
            ("smtp:relay:65536", "\"65536\" is no port"),
            ("smtp:relay:+25", "\"+25\" is no port"),
            ("smtp:relay:25/", "\"25/\" is no port"),
        ] {
            let error = text.parse::<NextHopUrl>().expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_password_in_a_url_is_an_error_that_does_not_repeat_it() {
        for text in [
            "smtp:me:hunter2@relay:25",
            "smtps:me:hunter2@relay",
            "lmtp:hunter2@x:24",
        ] {
            let error = text.parse::<NextHopUrl>().expect_err(text).to_string();
            assert!(error.contains("password-file"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        let error = "smtp://me:hunter2@relay".parse::<NextHopUrl>().unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn what_is_on_this_machine_is_known() {
        for (text, local) in [
            ("lmtp:/run/lmtp", true),
            ("lmtp:localhost:24", true),
            ("smtp:127.0.0.2", true),
            ("smtp:[::1]", true),
            ("smtp:192.0.2.1", false),
            ("smtp:localhost.example.com", false),
        ] {
            assert_eq!(
                text.parse::<NextHopUrl>().unwrap().is_local(),
                local,
                "{text}"
            );
        }
    }
}
