//! What all sessions of a server share.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prixfixe_core::{Config, ForwardPath};
use prixfixe_network::{Connection, Service};
use prixfixe_tls::{Tls, TlsConfig};

use crate::session::SmtpSession;
use crate::{Client, Handler, replies};

/// The parts of a running server that a session needs.
#[derive(Debug)]
pub(crate) struct Shared<H> {
    pub(crate) handler: Arc<H>,
    pub(crate) dialogue: Arc<Config>,
    pub(crate) domain: Arc<str>,
    pub(crate) handler_timeout: Duration,
    /// In lower case. Empty: every recipient's domain is accepted.
    pub(crate) accepted_domains: HashSet<Box<str>>,
}

impl<H> Shared<H> {
    /// RFC 5321 section 4.5.1: `postmaster` without a domain is always ours.
    pub(crate) fn accepts_domain_of(&self, forward_path: &ForwardPath) -> bool {
        match forward_path {
            ForwardPath::Postmaster => true,
            ForwardPath::Mailbox(_) if self.accepted_domains.is_empty() => true,
            ForwardPath::Mailbox(mailbox) => self
                .accepted_domains
                .contains(&*mailbox.domain().to_lowercase()),
        }
    }
}

/// Makes a session for each connection.
pub(crate) struct SmtpService<H> {
    pub(crate) shared: Arc<Shared<H>>,
    pub(crate) tls: Option<TlsConfig>,
    /// For each listener, whether TLS comes before anything else.
    pub(crate) implicit_tls: Vec<bool>,
    pub(crate) over_limit: Vec<u8>,
}

impl<H: Handler> SmtpService<H> {
    pub(crate) fn new(
        shared: Arc<Shared<H>>,
        tls: Option<TlsConfig>,
        implicit_tls: Vec<bool>,
    ) -> Self {
        let mut over_limit = Vec::new();
        replies::TOO_MANY_CONNECTIONS.encode(&mut over_limit);
        Self {
            shared,
            tls,
            implicit_tls,
            over_limit,
        }
    }

    fn is_implicit_tls(&self, connection: &Connection) -> bool {
        self.implicit_tls
            .get(connection.listener)
            .copied()
            .unwrap_or(false)
    }
}

impl<H: Handler> Service for SmtpService<H> {
    type Session = Tls<SmtpSession<H>>;

    fn session(&self, now: Instant, connection: &Connection) -> Self::Session {
        let client = Client {
            peer: canonical(connection.peer),
            local: canonical(connection.local),
            greeting: None,
            tls: None,
        };
        let session = SmtpSession::new(Arc::clone(&self.shared), now, client);
        match &self.tls {
            None => Tls::clear(session),
            Some(config) if self.is_implicit_tls(connection) => Tls::implicit(session, config, now),
            Some(config) => Tls::starttls(session, config),
        }
    }

    fn over_limit(&self, connection: &Connection) -> &[u8] {
        // Clear text would only be noise to a client that expects a handshake.
        if self.is_implicit_tls(connection) {
            &[]
        } else {
            &self.over_limit
        }
    }
}

/// An IPv4 client of a dual-stack socket is an IPv4 client.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
