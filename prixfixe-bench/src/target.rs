//! Where to connect to.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

/// A server under load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// As it was given.
    pub(crate) name: String,
    /// The name that its certificate should have.
    pub(crate) host: String,
    /// In the order in which the resolver gave them; never empty.
    pub(crate) addresses: Vec<SocketAddr>,
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
    /// Resolves `HOST`, `HOST:PORT`, `ADDRESS:PORT` or `[V6]:PORT`. The port is 25 where none is given, as for any
    /// SMTP server.
    pub(crate) fn resolve(name: &str) -> Result<Self, TargetError> {
        let (host, port) = split(name)?;
        let found = (host, port).to_socket_addrs();
        let addresses: Vec<SocketAddr> = found
            .map_err(|source| TargetError::Resolve {
                target: name.to_owned(),
                source,
            })?
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
}

fn split(name: &str) -> Result<(&str, u16), TargetError> {
    const PORT: u16 = 25;
    if let Ok(address) = name.trim_matches(['[', ']']).parse::<IpAddr>() {
        let host = if address.is_ipv6() {
            name.trim_matches(['[', ']'])
        } else {
            name
        };
        return Ok((host, PORT));
    }
    let Some((host, port)) = name.rsplit_once(':') else {
        return if name.is_empty() {
            Err(TargetError::Empty)
        } else {
            Ok((name, PORT))
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
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_in_every_form() {
        for (target, host, port) in [
            ("mx.example.com", "mx.example.com", 25),
            ("mx.example.com:2525", "mx.example.com", 2525),
            ("127.0.0.1:25", "127.0.0.1", 25),
            ("[::1]:2525", "::1", 2525),
            ("::1", "::1", 25),
            ("[::1]", "::1", 25),
        ] {
            assert_eq!(split(target).unwrap(), (host, port), "{target}");
        }
        for bad in ["", ":25", "mx:", "mx:0", "mx:65536", "mx:smtp"] {
            assert!(split(bad).is_err(), "{bad:?}");
        }
        assert_eq!(
            Target::resolve("127.0.0.1:25").unwrap().addresses,
            ["127.0.0.1:25".parse().unwrap()]
        );
    }
}
