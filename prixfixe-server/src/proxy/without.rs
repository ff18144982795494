//! Stand-ins for the reader of headers. Without the feature `proxy-protocol` no peer is a balancer,
//! so none is ever asked.
#![allow(dead_code, reason = "no peer is a balancer")]

use std::net::SocketAddr;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Client { peer: SocketAddr, local: SocketAddr },
    Balancer,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum HeaderError {}

#[derive(Debug)]
pub(crate) struct HeaderReader;

impl HeaderReader {
    pub(crate) const fn new() -> Self {
        Self
    }

    pub(crate) const fn is_empty(&self) -> bool {
        true
    }

    pub(crate) const fn held(&self) -> usize {
        0
    }

    #[allow(clippy::unnecessary_wraps, reason = "as the reader has it")]
    pub(crate) const fn read(&mut self, _: &mut &[u8]) -> Result<Option<Source>, HeaderError> {
        Ok(None)
    }
}
