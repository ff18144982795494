//! Whom a client talks to.

use std::fmt;
use std::net::IpAddr;

use hyper::Uri;
use hyper::header::HeaderValue;

/// Scheme, host and port of an `http:` or `https:` URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// TLS.
    pub is_https: bool,
    /// Without the brackets of an IPv6 address.
    pub host: Box<str>,
    /// The one that the scheme has, where none is said.
    pub port: u16,
}

/// A text that is no URL for us.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidHttpUrl {
    /// It is none at all.
    #[error("{0:?} is no URL: write https://HOST/PATH")]
    NoUrl(String),
    /// Neither `http:` nor `https:`.
    #[error("{0:?} is no URL of HTTP: it begins with https:// (or http:// for this host)")]
    Scheme(String),
    /// A name or a password before the host.
    #[error("a URL holds no name and no password: use username and password-file")]
    UserInfo,
    /// Something behind a `#`, which is never sent.
    #[error("a URL for requests has no fragment (#...)")]
    Fragment,
}

impl Origin {
    /// Reads a URL: the origin, and the path with its query.
    ///
    /// # Errors
    ///
    /// What is wrong with it. Nothing of a URL with a password is repeated.
    pub fn parse(url: &str) -> Result<(Self, String), InvalidHttpUrl> {
        let authority = url.split_once("://").map(|(_, rest)| rest);
        let authority = authority.and_then(|rest| rest.split(['/', '?', '#']).next());
        if authority.is_some_and(|authority| authority.contains('@')) {
            return Err(InvalidHttpUrl::UserInfo);
        }
        if url.contains('#') {
            return Err(InvalidHttpUrl::Fragment);
        }
        let none = || InvalidHttpUrl::NoUrl(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| none())?;
        let is_https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(InvalidHttpUrl::Scheme(url.to_owned())),
        };
        let authority = uri.authority().ok_or_else(none)?;
        let host = authority.host().trim_matches(['[', ']']);
        if host.is_empty() || authority.as_str().ends_with(':') {
            return Err(none());
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let port = match authority.port() {
            Some(_) => authority
                .port_u16()
                .filter(|port| *port > 0)
                .ok_or_else(none)?,
            None if is_https => 443,
            None => 80,
        };
        let origin = Self {
            is_https,
            host: host.to_ascii_lowercase().into(),
            port,
        };
        Ok((origin, path.to_owned()))
    }

    /// Whether it is on this host: what may be spoken to in plaintext.
    pub fn is_loopback(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().is_loopback(),
            // RFC 6761 section 6.3: the name is never anybody else's.
            Err(_) => &*self.host == "localhost" || self.host.ends_with(".localhost"),
        }
    }

    pub(super) fn host_header(&self) -> HeaderValue {
        let (_, authority) = self.to_parts();
        // A host that was parsed is a header's value.
        HeaderValue::try_from(authority).unwrap_or_else(|_| HeaderValue::from_static("localhost"))
    }

    fn to_parts(&self) -> (&'static str, String) {
        let (scheme, default) = match self.is_https {
            true => ("https", 443),
            false => ("http", 80),
        };
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.to_string(),
        };
        match self.port == default {
            true => (scheme, host),
            false => (scheme, format!("{host}:{}", self.port)),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, authority) = self.to_parts();
        write!(f, "{scheme}://{authority}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_an_origin_and_a_path() {
        let cases = [
            (
                "https://app.example.com/mail?a=b",
                "https://app.example.com",
                "/mail?a=b",
            ),
            (
                "HTTPS://App.Example.com:443",
                "https://app.example.com",
                "/",
            ),
            ("http://[::1]:8080/x", "http://[::1]:8080", "/x"),
            ("https://192.0.2.1:8443/", "https://192.0.2.1:8443", "/"),
        ];
        for (url, origin, path) in cases {
            let (parsed, rest) = Origin::parse(url).expect(url);
            assert_eq!((parsed.to_string().as_str(), rest.as_str()), (origin, path));
        }
    }

    #[test]
    fn what_is_no_url_is_said_without_repeating_a_password() {
        let secret = Origin::parse("https://ann:secret@example.com/").unwrap_err();
        assert_eq!(secret, InvalidHttpUrl::UserInfo);
        assert!(!secret.to_string().contains("secret"));
        for url in [
            "",
            "https:",
            "https://",
            "https:///x",
            "/mail",
            "https://a b/",
            "https://a:/",
            "https://a:0/",
            "https://b\u{fc}cher.example/",
        ] {
            assert!(Origin::parse(url).is_err(), "{url}");
        }
        let wrong = Origin::parse("ftp://example.com/").unwrap_err();
        assert!(matches!(wrong, InvalidHttpUrl::Scheme(_)));
        assert_eq!(
            Origin::parse("https://a/#x").unwrap_err(),
            InvalidHttpUrl::Fragment
        );
    }

    #[test]
    fn loopback_is_what_cannot_leave_this_host() {
        let cases = [
            ("http://127.0.0.9/", true),
            ("http://[::1]/", true),
            ("http://[::ffff:127.0.0.1]/", true),
            ("http://localhost:8000/", true),
            ("http://localhost.example.com/", false),
            ("http://10.0.0.1/", false),
            ("http://127.0.0.1.example.com/", false),
        ];
        for (url, expected) in cases {
            let (origin, _) = Origin::parse(url).expect(url);
            assert_eq!(origin.is_loopback(), expected, "{url}");
        }
    }
}
