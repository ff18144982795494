//! Where to connect to, and from.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

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

impl Target {
    /// Resolves `HOST`, `HOST:PORT`, `ADDRESS:PORT` or `[V6]:PORT`. The port is 25 where none is given, as for any
    /// SMTP server.
    pub(crate) fn resolve(name: &str) -> Result<Self, String> {
        let (host, port) = split(name)?;
        let found = (host, port).to_socket_addrs();
        let addresses: Vec<SocketAddr> = found
            .map_err(|error| format!("cannot resolve `{name}`: {error}"))?
            .collect();
        if addresses.is_empty() {
            return Err(format!("`{name}` has no address"));
        }
        Ok(Self {
            name: name.to_owned(),
            host: host.to_owned(),
            addresses,
        })
    }
}

fn split(name: &str) -> Result<(&str, u16), String> {
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
            Err("an empty target".to_owned())
        } else {
            Ok((name, PORT))
        };
    };
    let port = port
        .parse()
        .map_err(|_| format!("`{port}` in `{name}` is no port; a target is HOST:PORT"))?;
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    if host.is_empty() || port == 0 {
        return Err(format!("`{name}` is no target; a target is HOST:PORT"));
    }
    Ok((host, port))
}

/// Source addresses: one, or a range of IPv4 addresses such as `127.0.0.1-127.0.0.20`.
pub(crate) fn sources(text: &str) -> Result<Vec<IpAddr>, String> {
    /// A range that is larger is a slip of the pen.
    const MOST: u32 = 65_536;
    let Some((first, last)) = text.split_once('-') else {
        return text
            .parse()
            .map(|address| vec![address])
            .map_err(|_| format!("`{text}` is no IP address"));
    };
    let parse = |text: &str| {
        text.parse::<Ipv4Addr>()
            .map(u32::from)
            .map_err(|_| format!("`{text}` is no IPv4 address"))
    };
    let (first, last) = (parse(first)?, parse(last)?);
    if last < first || last - first >= MOST {
        return Err(format!("`{text}` is no range of up to {MOST} addresses"));
    }
    Ok((first..=last)
        .map(|address| IpAddr::V4(address.into()))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_in_every_form() {
        assert_eq!(split("mx.example.com"), Ok(("mx.example.com", 25)));
        assert_eq!(split("mx.example.com:2525"), Ok(("mx.example.com", 2525)));
        assert_eq!(split("127.0.0.1:25"), Ok(("127.0.0.1", 25)));
        assert_eq!(split("[::1]:2525"), Ok(("::1", 2525)));
        assert_eq!(split("::1"), Ok(("::1", 25)));
        assert_eq!(split("[::1]"), Ok(("::1", 25)));
        for bad in ["", ":25", "mx:", "mx:0", "mx:65536", "mx:smtp"] {
            assert!(split(bad).is_err(), "{bad:?}");
        }
        assert_eq!(
            Target::resolve("127.0.0.1:25").unwrap().addresses,
            ["127.0.0.1:25".parse().unwrap()]
        );
    }

    #[test]
    fn sources_are_addresses_and_ranges() {
        assert_eq!(sources("::1").unwrap().len(), 1);
        assert_eq!(sources("127.0.0.1-127.0.1.0").unwrap().len(), 256);
        for bad in ["x", "127.0.0.2-127.0.0.1", "::1-::2", "1.0.0.0-2.0.0.0"] {
            assert!(sources(bad).is_err(), "{bad:?}");
        }
    }
}
