//! Where the servers are, and below which subject mail is published.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// The servers of a NATS cluster and the subject below which mail is published:
/// `nats://HOST[:PORT][,HOST[:PORT]…]/SUBJECT`.
///
/// ```
/// use prixfixe_delivery::NatsUrl;
///
/// let url: NatsUrl = "nats://10.0.0.1,10.0.0.2:4333/mail.in".parse()?;
/// assert_eq!(url.subject(), "mail.in");
/// assert_eq!(url.to_string(), "nats://10.0.0.1:4222,10.0.0.2:4333/mail.in");
/// assert!("nats://10.0.0.1/mail.>".parse::<NatsUrl>().is_err());
/// # Ok::<(), prixfixe_delivery::ParseNatsUrlError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NatsUrl {
    servers: Vec<NatsServer>,
    subject: Box<str>,
}

/// A server of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct NatsServer {
    /// A name or an address, an IPv6 one without its brackets.
    host: Box<str>,
    port: u16,
}

/// A text that is no `nats:` target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseNatsUrlError {
    /// It does not begin with `nats://`.
    #[error("{0:?} is no NATS target: write nats://HOST:PORT/SUBJECT")]
    Scheme(String),
    /// A name and a password have files of their own.
    #[error("a nats: URL holds no credentials: set username and password-file, or creds-file")]
    Credentials,
    /// A server has no host, or a port that is none.
    #[error("{0:?} is no NATS server: write HOST or HOST:PORT")]
    Server(String),
    /// There is no subject, or mail cannot be published below it.
    #[error(
        "{0:?} is no subject for mail: write words of letters, digits, - and _ with dots between them, such as mail"
    )]
    Subject(String),
    /// A spool has a stream in place of a subject.
    #[error("a spool's URL has servers alone: {0:?} belongs into spool.stream")]
    NoSubject(String),
}

/// Where servers listen that name no port.
const DEFAULT_PORT: u16 = 4222;

/// More than a cluster has, and few enough to try in turn.
const MAX_SERVERS: usize = 64;

impl NatsUrl {
    /// The subject below which mail is published.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The servers, as the client library takes them.
    pub(crate) fn servers(&self) -> Vec<String> {
        let servers = self.servers.iter();
        servers.map(|server| format!("nats://{server}")).collect()
    }

    /// Whether all servers are on this machine: nobody on the way reads what is sent there.
    pub(crate) fn is_loopback(&self) -> bool {
        self.servers.iter().all(|server| {
            let address: Result<IpAddr, _> = server.host.parse();
            address.map_or(&*server.host == "localhost", |address| {
                address.is_loopback()
            })
        })
    }
}

impl FromStr for NatsUrl {
    type Err = ParseNatsUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text
            .strip_prefix("nats://")
            .ok_or_else(|| ParseNatsUrlError::Scheme(text.to_owned()))?;
        let (servers, subject) = rest.split_once('/').unwrap_or((rest, ""));
        if servers.contains('@') {
            return Err(ParseNatsUrlError::Credentials);
        }
        let servers: Vec<NatsServer> = servers
            .split(',')
            .take(MAX_SERVERS)
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        if !is_subject(subject) {
            return Err(ParseNatsUrlError::Subject(subject.to_owned()));
        }
        let subject = subject.into();
        Ok(Self { servers, subject })
    }
}

/// Neither wildcards, nor the server's own subjects, nor anything that a client library would have
/// to escape.
fn is_subject(subject: &str) -> bool {
    let is_word = |word: &str| {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !word.is_empty() && word.bytes().all(is_letter)
    };
    subject.len() <= 200 && subject.split('.').all(is_word) && !subject.starts_with("_INBOX")
}

impl FromStr for NatsServer {
    type Err = ParseNatsUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseNatsUrlError::Server(text.to_owned());
        let (host, rest) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or_else(error)?;
                let _: std::net::Ipv6Addr = host.parse().map_err(|_| error())?;
                (host, rest)
            }
            None => text.split_at(text.find(':').unwrap_or(text.len())),
        };
        let port = match rest.strip_prefix(':') {
            Some(port) => port.parse().map_err(|_| error())?,
            None if rest.is_empty() => DEFAULT_PORT,
            None => return Err(error()),
        };
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
        if host.is_empty() || port == 0 || !host.bytes().all(is_letter) {
            return Err(error());
        }
        let host = host.into();
        Ok(Self { host, port })
    }
}

impl fmt::Display for NatsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nats://")?;
        for (index, server) in self.servers.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{server}")?;
        }
        write!(f, "/{}", self.subject)
    }
}

impl fmt::Display for NatsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_and_written_the_same() {
        for (text, written) in [
            ("nats://127.0.0.1:4222/mail", "nats://127.0.0.1:4222/mail"),
            (
                "nats://a,b:1,[::1]/x.y-z",
                "nats://a:4222,b:1,[::1]:4222/x.y-z",
            ),
        ] {
            let url: NatsUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), written);
            assert_eq!(written.parse(), Ok(url));
        }
    }

    #[test]
    fn what_is_no_target_is_refused_by_name() {
        for (text, word) in [
            ("", "nats://HOST"),
            ("tls://a/mail", "nats://HOST"),
            ("nats://me:secret@a/mail", "password-file"),
            ("nats:///mail", "no NATS server"),
            ("nats://a:0/mail", "no NATS server"),
            ("nats://a:x/mail", "no NATS server"),
            ("nats://[::1/mail", "no NATS server"),
            ("nats://[a]:1/mail", "no NATS server"),
            ("nats://a,/mail", "no NATS server"),
            ("nats://a", "no subject"),
            ("nats://a/", "no subject"),
            ("nats://a/mail.", "no subject"),
            ("nats://a/mail.*", "no subject"),
            ("nats://a/>", "no subject"),
            ("nats://a/$JS.API", "no subject"),
            ("nats://a/a/b", "no subject"),
            ("nats://a/m ail", "no subject"),
        ] {
            let error = text.parse::<NatsUrl>().expect_err(text).to_string();
            assert!(error.contains(word), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn only_servers_of_this_machine_are_loopback() {
        let is_loopback = |text: &str| text.parse::<NatsUrl>().unwrap().is_loopback();
        assert!(is_loopback("nats://127.0.0.1,localhost,[::1]/mail"));
        assert!(!is_loopback("nats://127.0.0.1,10.0.0.1/mail"));
        assert!(!is_loopback("nats://localhost.example.com/mail"));
    }
}
