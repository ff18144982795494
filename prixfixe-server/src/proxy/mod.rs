//! The PROXY protocol, by which a load balancer says whose connection it passes on
//! (<https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt>).

mod header;

pub(crate) use self::header::{HeaderError, HeaderReader, Source};
