//! The PROXY protocol, by which a load balancer says whose connection it passes on
//! (<https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt>).
//!
//! It is public for the fuzz target alone, and no API: nothing here is promised from one version to the next.

mod header;

pub use self::header::{HeaderError, HeaderReader, Source};
