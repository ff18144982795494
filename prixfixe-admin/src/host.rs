//! Whether a request may be one that a foreign web page makes a browser send (DNS rebinding): the
//! page's own name has been made to stand for our address, so that the browser takes page and
//! answer for one site, and lets the page read it.
//!
//! What gives it away is that name in `Host`. Which names are right where the address is one that
//! others reach, nobody has told us; at loopback it is known: none that somebody else can have in
//! the DNS.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use hyper::Request;
use hyper::header;
use hyper::http::uri::Authority;

/// `local`: the address that was asked.
pub(super) fn is_foreign<B>(request: &Request<B>, local: Option<SocketAddr>) -> bool {
    let at_loopback = local.is_some_and(|local| local.ip().to_canonical().is_loopback());
    if !at_loopback {
        return false;
    }
    // A browser says one; what says none is no browser.
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let named = request.uri().authority().is_some_and(|of| !is_own(of));
    named
        || hosts.any(|host| {
            let authority = Authority::try_from(host.as_bytes());
            !host.is_empty() && !authority.is_ok_and(|authority| is_own(&authority))
        })
}

/// An address, `localhost` or what is below it (RFC 6761 section 6.3), or a name without a dot,
/// which only the host's own files or its own network resolve.
fn is_own(authority: &Authority) -> bool {
    let host = authority.host();
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    if let Some(address) = bracketed {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let below_localhost = name
        .rsplit_once('.')
        .is_some_and(|(_, last)| last.eq_ignore_ascii_case("localhost"));
    host.parse::<IpAddr>().is_ok() || !name.contains('.') || below_localhost
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn is_refused(host: &str, local: &str) -> bool {
        let request = Request::get("/").header(header::HOST, host);
        is_foreign(&request.body(()).unwrap(), Some(local.parse().unwrap()))
    }

    #[test]
    fn at_loopback_names_that_others_can_have_are_refused() {
        for local in ["127.0.0.1:9125", "[::1]:9125", "[::ffff:127.0.0.1]:9125"] {
            for host in [
                "127.0.0.1:9125",
                "127.0.0.1",
                "[::1]:9125",
                "localhost:9125",
                "LocalHost",
                "localhost.",
                "status.localhost:9125",
                "smtp1:9125",
                "192.0.2.1:9125",
            ] {
                assert!(!is_refused(host, local), "{host}");
            }
            for host in [
                "rebind.example:9125",
                "rebind.example",
                "rebind.example.",
                "localhost.rebind.example",
                "127.0.0.1.rebind.example",
                "notlocalhost.example",
                "a b",
            ] {
                assert!(is_refused(host, local), "{host}");
            }
        }
    }

    #[test]
    fn elsewhere_any_name_may_be_right() {
        assert!(!is_refused("smtp1.example.com:9125", "192.0.2.1:9125"));
        assert!(!is_refused("smtp1.example.com:9125", "[2001:db8::1]:9125"));
    }

    #[test]
    fn who_names_no_host_is_no_browser() {
        let request = Request::get("/").body(()).unwrap();
        assert!(!is_foreign(&request, Some("127.0.0.1:1".parse().unwrap())));
        assert!(!is_refused("", "127.0.0.1:9125"));
    }
}
