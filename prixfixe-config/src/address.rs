//! Addresses to listen on.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;

/// A host and a port, as configured: names are kept, and looked up where the address is used.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ListenAddress {
    host: Host,
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Host {
    Ip(SocketAddr),
    /// 127.0.0.1 and ::1, whatever `/etc/hosts` says of it (RFC 6761 section 6.3).
    Localhost,
    /// `*`: 0.0.0.0 and [::].
    All,
    Name(String),
    /// A Unix socket. It has no port.
    Unix(PathBuf),
}

/// What a [`ListenAddress`] stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// An address of each family, or of the one that the host has.
    Both(Scope, u16),
    Addresses(Vec<SocketAddr>),
    Unix(PathBuf),
}

/// Which address of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Loopback,
    All,
}

impl Scope {
    pub fn addresses(self, port: u16) -> [SocketAddr; 2] {
        let (v4, v6) = match self {
            Self::Loopback => (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST),
            Self::All => (Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED),
        };
        [(v4, port).into(), (v6, port).into()]
    }
}

impl ListenAddress {
    pub fn localhost(port: u16) -> Self {
        Self {
            host: Host::Localhost,
            port,
        }
    }

    pub fn all(port: u16) -> Self {
        Self {
            host: Host::All,
            port,
        }
    }

    /// Port 0: each socket gets one that is free.
    pub fn is_any_port(&self) -> bool {
        self.port == 0 && !self.is_unix()
    }

    pub fn is_unix(&self) -> bool {
        matches!(self.host, Host::Unix(_))
    }

    /// Nobody comes there from another host. A name may stand for any address.
    pub fn is_of_this_host(&self) -> bool {
        match &self.host {
            Host::Localhost | Host::Unix(_) => true,
            Host::Ip(address) => address.ip().is_loopback(),
            Host::All | Host::Name(_) => false,
        }
    }

    /// 0 where it is any, or there is none.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Looks a name up.
    pub fn resolve(&self) -> Result<Target, String> {
        match &self.host {
            Host::Localhost => Ok(Target::Both(Scope::Loopback, self.port)),
            Host::All => Ok(Target::Both(Scope::All, self.port)),
            Host::Ip(address) => Ok(Target::Addresses(vec![*address])),
            Host::Unix(path) => Ok(Target::Unix(path.clone())),
            Host::Name(name) => {
                let mut addresses: Vec<SocketAddr> = (name.as_str(), self.port)
                    .to_socket_addrs()
                    .map_err(|_| {
                        format!("the name `{name}` has no address; give an address of this host")
                    })?
                    .collect();
                addresses.sort_unstable();
                addresses.dedup();
                Ok(Target::Addresses(addresses))
            }
        }
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            format!(
                "`{text}` is not an address with a port; give for example 127.0.0.1:2525, [::1]:2525 or localhost:2525"
            )
        };
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err(format!(
                    "`{text}` has no path; give one like unix:/run/prixfixe/lmtp.sock"
                )),
                path => Ok(Self {
                    host: Host::Unix(path.into()),
                    port: 0,
                }),
            };
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self {
                host: Host::Ip(address),
                port: address.port(),
            });
        }
        if text
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_ipv4())
        {
            return Err(format!("`{text}` has no port; give {text}:2525"));
        }
        if text.parse::<Ipv6Addr>().is_ok() {
            // `::1:2525` is an address too, but hardly the one that was meant.
            if let Some((address, port)) = text.rsplit_once(':')
                && address.parse::<Ipv6Addr>().is_ok()
                && port.parse::<u16>().is_ok()
            {
                return Err(format!("`{text}` has no brackets; give [{address}]:{port}"));
            }
            return Err(format!(
                "`{text}` has no brackets, or no port; give [{text}]:2525"
            ));
        }
        if let Ok(port) = text.parse::<u16>() {
            return Err(format!(
                "`{text}` is a port alone; give 127.0.0.1:{port}, or :{port} for all addresses"
            ));
        }
        let (name, port) = text.rsplit_once(':').ok_or_else(expected)?;
        let is_all = matches!(name, "" | "*");
        if !is_all && !is_host_name(name) {
            return Err(expected());
        }
        if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(expected());
        }
        let port = port
            .parse()
            .map_err(|_| format!("`{text}` has a port out of range; give one from 0 to 65535"))?;
        let host = match name {
            _ if is_all => Host::All,
            _ if name.eq_ignore_ascii_case("localhost") => Host::Localhost,
            _ => Host::Name(name.to_owned()),
        };
        Ok(Self { host, port })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(address) => address.fmt(f),
            Host::Localhost => write!(f, "localhost:{}", self.port),
            Host::All => write!(f, "*:{}", self.port),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
            Host::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// RFC 1123 section 2.1, with underscores, which exist. All digits and dots is an address gone
/// wrong, not a name.
fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253
        && name.split('.').all(is_label)
        && name
            .bytes()
            .any(|byte| !byte.is_ascii_digit() && byte != b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_print_as_they_parse() {
        for text in [
            "127.0.0.1:2525",
            "[::1]:25",
            "0.0.0.0:0",
            "[fe80::1%3]:25",
            "localhost:2525",
            "*:25",
            "mx.example:65535",
            "unix:/run/prixfixe/lmtp.sock",
        ] {
            assert_eq!(
                text.parse::<ListenAddress>()
                    .map(|address| address.to_string()),
                Ok(text.to_owned())
            );
        }
    }

    #[test]
    fn localhost_is_no_lookup() {
        let target = "LocalHost:25".parse::<ListenAddress>().unwrap().resolve();
        assert_eq!(target, Ok(Target::Both(Scope::Loopback, 25)));
        let target = "[::1]:0".parse::<ListenAddress>().unwrap().resolve();
        assert_eq!(
            target,
            Ok(Target::Addresses(vec!["[::1]:0".parse().unwrap()]))
        );
    }

    #[test]
    fn all_addresses_are_both_families() {
        for text in ["*:25", ":25"] {
            let target = text.parse::<ListenAddress>().unwrap().resolve();
            assert_eq!(target, Ok(Target::Both(Scope::All, 25)));
        }
        let families = ["0.0.0.0:25", "[::]:25"].map(|it| it.parse().unwrap());
        assert_eq!(Scope::All.addresses(25), families);
    }

    #[test]
    fn bad_addresses_are_told_what_mends_them() {
        let example = "is not an address with a port; give for example 127.0.0.1:2525, [::1]:2525 or localhost:2525";
        for text in [
            "",
            "x",
            ":",
            "*",
            "**:25",
            "a b:25",
            "-x:25",
            "x:",
            "x:+25",
            "x:smtp",
            "999.0.0.1:25",
            "[::1:25",
            "[x]:25",
        ] {
            assert_eq!(
                text.parse::<ListenAddress>(),
                Err(format!("`{text}` {example}"))
            );
        }
        for (text, problem) in [
            ("127.0.0.1", "`127.0.0.1` has no port; give 127.0.0.1:2525"),
            (
                "25",
                "`25` is a port alone; give 127.0.0.1:25, or :25 for all addresses",
            ),
            (
                "2001:db8::1:25",
                "`2001:db8::1:25` has no brackets; give [2001:db8::1]:25",
            ),
            (
                "unix:",
                "`unix:` has no path; give one like unix:/run/prixfixe/lmtp.sock",
            ),
            ("::1", "`::1` has no brackets, or no port; give [::1]:2525"),
            (
                "localhost:65536",
                "`localhost:65536` has a port out of range; give one from 0 to 65535",
            ),
        ] {
            assert_eq!(text.parse::<ListenAddress>(), Err(problem.to_owned()));
        }
    }
}
