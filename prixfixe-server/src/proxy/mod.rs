//! The PROXY protocol, by which a load balancer says whose connection it passes on
//! (<https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt>).
//!
//! The server reads it by itself on an [`Endpoint`](crate::Endpoint) with
//! [`proxy_protocol_from`](crate::Endpoint::proxy_protocol_from). This is for a program that
//! accepts connections itself: it reads the header, then gives the stream to
//! [`Server::serve`](crate::Server::serve).
//!
//! ```
//! use prixfixe_server::proxy::{HeaderReader, Source};
//!
//! let mut reader = HeaderReader::new();
//! let mut input = &b"PROXY TCP4 192.0.2.7 192.0.2.1 40112 25\r\nEHLO a\r\n"[..];
//! let source = reader.read(&mut input)?;
//! assert!(matches!(source, Some(Source::Client { peer, .. }) if peer.port() == 40112));
//! assert_eq!(input, b"EHLO a\r\n");
//! # Ok::<(), prixfixe_server::proxy::HeaderError>(())
//! ```

mod header;

pub use self::header::{HeaderError, HeaderReader, Source};
