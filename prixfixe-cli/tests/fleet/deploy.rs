//! The files of `deploy/`, and addresses to run them on.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process;

/// The mail ports of `deploy/`: in clear and with TLS first; and the one of the admin endpoint.
pub(crate) const SMTP: u16 = 2525;
pub(crate) const SMTPS: u16 = 2465;
pub(crate) const ADMIN: u16 = 9125;

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A file of `deploy/`.
pub(crate) fn path(name: &str) -> PathBuf {
    root().join("deploy").join(name)
}

/// What is in a file of `deploy/`.
pub(crate) fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("deploy/{name}: {error}"))
}

/// The last part of the first server's address.
const FIRST_SERVER: u8 = 1;
const BALANCER: u8 = 10;
const PROMETHEUS: u8 = 11;

/// Addresses of the loopback network that no other test uses, so that the ports can be those of
/// `deploy/`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Site {
    first: Ipv4Addr,
}

impl Site {
    /// `number` (0 to 7) tells the tests of one process apart.
    pub(crate) fn new(number: u8) -> Self {
        let [_, _, high, low] = process::id().to_be_bytes();
        Self {
            first: Ipv4Addr::new(127, 128 | high >> 1, low, number * 32),
        }
    }

    fn address(self, host: u8) -> Ipv4Addr {
        let [a, b, c, first] = self.first.octets();
        Ipv4Addr::new(a, b, c, first + host)
    }

    /// `smtp1` to `smtp3` have the numbers 0 to 2.
    pub(crate) fn server(self, number: u8) -> Ipv4Addr {
        self.address(FIRST_SERVER + number)
    }

    pub(crate) fn balancer(self) -> Ipv4Addr {
        self.address(BALANCER)
    }

    pub(crate) fn prometheus(self) -> Ipv4Addr {
        self.address(PROMETHEUS)
    }

    /// A configuration with this site's addresses in place of the servers' names.
    pub(crate) fn place(self, configuration: &str) -> String {
        (0..3).fold(configuration.to_owned(), |text, number| {
            let name = format!("smtp{}:", number + 1);
            assert!(text.contains(&name), "{name} is not in {text}");
            text.replace(&name, &format!("{}:", self.server(number)))
        })
    }
}

/// Puts one text in place of another that must be there.
pub(crate) fn put(text: &str, there: &str, here: &str) -> String {
    assert!(text.contains(there), "{there:?} is not in {text}");
    text.replace(there, here)
}
