//! Stand-ins for `prixfixe-tls`. There is no [`TlsConfig`], and so nothing that comes of one.
#![allow(
    dead_code,
    reason = "without a configuration most of it is never reached"
)]

use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime};

use prixfixe_network::{OutputBuffer, Session};

#[derive(Debug, Clone)]
pub(crate) enum TlsConfig {}

impl TlsConfig {
    pub(crate) fn certificates(&self) -> Vec<CertificateInfo> {
        match *self {}
    }
}

#[derive(Debug)]
pub(crate) struct CertificateInfo {
    pub(crate) names: Vec<String>,
    pub(crate) source: String,
    pub(crate) not_after: SystemTime,
    never: Infallible,
}

#[derive(Debug, Clone)]
pub(crate) struct TlsInfo {
    pub(crate) version: TlsVersion,
    pub(crate) client_subject: Option<String>,
    pub(crate) client_name: Option<String>,
    pub(crate) channel_binding: Option<[u8; 32]>,
    never: Infallible,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TlsVersion {
    Tls12,
    Tls13,
}

impl TlsVersion {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Tls12 => "TLSv1.2",
            Self::Tls13 => "TLSv1.3",
        }
    }
}

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("the handshake timed out")]
    TimedOut,
    #[error("the peer closed the connection during the handshake")]
    Closed,
    #[error("the handshake failed")]
    Failed,
}

pub(crate) trait Upgrade: Session {
    fn wants_tls(&self) -> bool;
    fn tls_established(&mut self, now: Instant, info: TlsInfo);
    fn clear_text_instead_of_handshake(&mut self, now: Instant);
    fn tls_failed(&mut self, now: Instant, error: &HandshakeError);
}

/// A session with nothing around it.
#[derive(Debug)]
pub(crate) struct Tls<S>(S);

impl<S: Upgrade> Tls<S> {
    pub(crate) const fn clear(inner: S) -> Self {
        Self(inner)
    }

    pub(crate) fn starttls(_: S, config: &TlsConfig) -> Self {
        match *config {}
    }

    pub(crate) fn implicit(_: S, config: &TlsConfig, _: Instant) -> Self {
        match *config {}
    }

    pub(crate) const fn inner(&self) -> &S {
        &self.0
    }

    pub(crate) const fn buffered(&self) -> (usize, usize) {
        (0, 0)
    }
}

impl<S: Session> Session for Tls<S> {
    fn receive(&mut self, now: Instant, bytes: &[u8]) {
        self.0.receive(now, bytes);
    }

    fn receive_eof(&mut self, now: Instant) {
        self.0.receive_eof(now);
    }

    fn poll(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll(now, cx)
    }

    fn output(&mut self) -> &mut OutputBuffer {
        self.0.output()
    }

    fn wants_read(&self) -> bool {
        self.0.wants_read()
    }

    fn deadline(&self) -> Option<Instant> {
        self.0.deadline()
    }

    fn shutdown(&mut self, now: Instant) {
        self.0.shutdown(now);
    }

    fn peer_is_done(&self) -> bool {
        self.0.peer_is_done()
    }

    fn is_costly(&self) -> bool {
        self.0.is_costly()
    }
}
