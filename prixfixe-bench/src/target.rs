//! Where to connect to.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use prixfixe_client::Protocol;

/// A server under load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// As it was given.
    pub(crate) name: String,
    /// The name that its certificate should have.
    pub(crate) host: String,
    /// In the order in which the resolver gave them; never empty.
    pub(crate) addresses: Vec<Address>,
}

/// One place where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

/// Why a server's name cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// No server is named.
    #[error("no target")]
    None,
    /// A name is empty.
    #[error("an empty target")]
    Empty,
    /// What stands behind the colon is no port.
    #[error("`{port}` in `{target}` is no port; a target is HOST:PORT")]
    Port {
        /// The target, as it was given.
        target: String,
        /// What stands in place of the port.
        port: String,
    },
    /// A name is not in one of the forms.
    #[error("`{0}` is no target; a target is HOST:PORT")]
    Form(String),
    /// LMTP has no port of its own.
    #[error("`{0}` has no port; LMTP has none of its own, so write HOST:PORT or unix:PATH")]
    NoPort(String),
    /// RFC 2033 section 5 reserves port 25 for SMTP.
    #[error("`{0}` is SMTP's port; LMTP must not be spoken there")]
    SmtpPort(String),
    /// A name cannot be looked up.
    #[error("cannot resolve `{target}`: {source}")]
    Resolve {
        /// The target, as it was given.
        target: String,
        /// What the system says.
        source: io::Error,
    },
    /// A name has no address.
    #[error("`{0}` has no address")]
    NoAddress(String),
}

impl Target {
    /// Resolves `HOST`, `HOST:PORT`, `ADDRESS:PORT`, `[V6]:PORT` or `unix:PATH`. The port is 25
    /// where none is given, as for any SMTP server.
    pub(crate) fn resolve(name: &str, protocol: Protocol) -> Result<Self, TargetError> {
        if let Some(path) = name.strip_prefix("unix:") {
            return Self::unix(name, path);
        }
        let (host, port) = split(name)?;
        let port = match (port, protocol) {
            (None, Protocol::Lmtp) => return Err(TargetError::NoPort(name.to_owned())),
            (Some(SMTP_PORT), Protocol::Lmtp) => {
                return Err(TargetError::SmtpPort(name.to_owned()));
            }
            (port, _) => port.unwrap_or(SMTP_PORT),
        };
        let found = (host, port).to_socket_addrs();
        let addresses: Vec<Address> = found
            .map_err(|source| TargetError::Resolve {
                target: name.to_owned(),
                source,
            })?
            .map(Address::Tcp)
            .collect();
        if addresses.is_empty() {
            return Err(TargetError::NoAddress(name.to_owned()));
        }
        Ok(Self {
            name: name.to_owned(),
            host: host.to_owned(),
            addresses,
        })
    }

    fn unix(name: &str, path: &str) -> Result<Self, TargetError> {
        if path.is_empty() {
            return Err(TargetError::Form(name.to_owned()));
        }
        Ok(Self {
            name: name.to_owned(),
            // With TLS a certificate has to have some name: that of the machine itself.
            host: "localhost".to_owned(),
            addresses: vec![Address::Unix(path.into())],
        })
    }
}

const SMTP_PORT: u16 = 25;

/// `None`: no port is given.
fn split(name: &str) -> Result<(&str, Option<u16>), TargetError> {
    if let Ok(address) = name.trim_matches(['[', ']']).parse::<IpAddr>() {
        let host = if address.is_ipv6() {
            name.trim_matches(['[', ']'])
        } else {
            name
        };
        return Ok((host, None));
    }
    let Some((host, port)) = name.rsplit_once(':') else {
        return if name.is_empty() {
            Err(TargetError::Empty)
        } else {
            Ok((name, None))
        };
    };
    let port = port.parse().map_err(|_| TargetError::Port {
        target: name.to_owned(),
        port: port.to_owned(),
    })?;
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    if host.is_empty() || port == 0 {
        return Err(TargetError::Form(name.to_owned()));
    }
    Ok((host, Some(port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_in_every_form() {
        for (target, host, port) in [
            ("mx.example.com", "mx.example.com", None),
            ("mx.example.com:2525", "mx.example.com", Some(2525)),
            ("127.0.0.1:25", "127.0.0.1", Some(25)),
            ("[::1]:2525", "::1", Some(2525)),
            ("::1", "::1", None),
            ("[::1]", "::1", None),
        ] {
            assert_eq!(split(target).unwrap(), (host, port), "{target}");
        }
        for bad in ["", ":25", "mx:", "mx:0", "mx:65536", "mx:smtp"] {
            assert!(split(bad).is_err(), "{bad:?}");
        }
        for name in ["127.0.0.1", "127.0.0.1:25"] {
            let target = Target::resolve(name, Protocol::Smtp).unwrap();
            let address = Address::Tcp("127.0.0.1:25".parse().unwrap());
            assert_eq!(target.addresses, [address], "{name}");
        }
    }

    #[test]
    fn a_unix_socket_is_a_target_of_either_protocol() {
        for protocol in [Protocol::Smtp, Protocol::Lmtp] {
            let target = Target::resolve("unix:/run/lmtp.sock", protocol).unwrap();
            assert_eq!(target.addresses, [Address::Unix("/run/lmtp.sock".into())]);
            assert!(matches!(
                Target::resolve("unix:", protocol),
                Err(TargetError::Form(_))
            ));
        }
    }

    /// RFC 2033 section 5.
    #[test]
    fn lmtp_wants_a_port_and_not_that_of_smtp() {
        let resolve = |name| Target::resolve(name, Protocol::Lmtp);
        assert!(matches!(resolve("127.0.0.1"), Err(TargetError::NoPort(_))));
        let smtp = resolve("127.0.0.1:25");
        assert!(matches!(smtp, Err(TargetError::SmtpPort(_))));
        assert!(resolve("127.0.0.1:24").is_ok());
    }
}
