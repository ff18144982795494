//! Making a connection that is ready for a transaction: look-up, connecting, TLS, EHLO, login.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use prixfixe_client::{Connection, Stage, Unsendable};
use rustls::crypto::aws_lc_rs;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::Hop;
use super::link::{Link, Said, now};
use super::login::Login;
use super::stream::Stream;
use super::trouble::{Trouble, our_matter};
use super::url::{Kind, Place};

impl Hop {
    /// A new connection, ready for MAIL. Where TLS is not needed and cannot be had, one in
    /// plaintext.
    pub(super) async fn connect(&self) -> Result<Box<Link>, Trouble> {
        match self.open(false).await {
            Err(trouble) if trouble.is_no_tls() && self.plain.is_some() => {
                tracing::debug!(
                    target = %self.name,
                    cause = trouble.text(),
                    "no TLS with the next hop; trying in plaintext"
                );
                self.open(true).await.map(Box::new)
            }
            result => result.map(Box::new),
        }
    }

    async fn open(&self, in_plaintext: bool) -> Result<Link, Trouble> {
        let stream = self.reach().await?;
        let config = match &self.plain {
            Some(plain) if in_plaintext => Arc::clone(plain),
            _ => Arc::clone(&self.config),
        };
        let mut link = match self.url.kind {
            Kind::Smtps => {
                let stream = self.secure(stream).await?;
                Link::new(
                    stream,
                    Connection::over_tls(config, now()),
                    self.patience.each,
                )
            }
            _ => Link::new(stream, Connection::new(config, now()), self.patience.each),
        };
        loop {
            match link.next().await? {
                Said::StartTls => {
                    link.stream = self.secure(link.stream).await?;
                    let told = link.dialogue.tls_established(now());
                    told.map_err(|error| Trouble::new(error.to_string()))?;
                }
                Said::Ready => break,
                _ => {}
            }
        }
        if let Some(login) = &self.login {
            self.log_in(&mut link, login).await?;
        }
        let dsn = link.dialogue.extensions().dsn;
        self.dsn.store(dsn, Ordering::Relaxed);
        Ok(link)
    }

    /// A stream to the first of its addresses that answers.
    async fn reach(&self) -> Result<Stream, Trouble> {
        let deadline = Instant::now() + self.patience.each;
        let (host, port) = match &self.url.place {
            Place::Network { host, port } => (&**host, *port),
            #[cfg(unix)]
            Place::Unix(path) => {
                let connecting = tokio::net::UnixStream::connect(path);
                let connected = timeout_at(deadline, connecting).await;
                let stream = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
                return stream.map(Stream::Unix).map_err(|error| {
                    Trouble::new(format!("cannot connect to {}: {error}", path.display()))
                });
            }
            #[cfg(not(unix))]
            Place::Unix(_) => return Err(Trouble::new("there are no Unix sockets here")),
        };
        let found = timeout_at(deadline, tokio::net::lookup_host((host, port))).await;
        let found = found.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let found =
            found.map_err(|error| Trouble::new(format!("{host} cannot be looked up: {error}")))?;
        let addresses: Vec<SocketAddr> = found.collect();
        let mut last = Trouble::new(format!("{host} has no address"));
        for (at, address) in addresses.iter().enumerate() {
            // One that never answers leaves time for those behind it.
            let behind = u32::try_from(addresses.len() - at).unwrap_or(u32::MAX);
            let share = deadline.saturating_duration_since(Instant::now()) / behind;
            let connecting = TcpStream::connect(address);
            let connected = timeout_at(Instant::now() + share, connecting).await;
            match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(stream) => {
                    // Else the end of a message would wait for an acknowledgement.
                    let _ = stream.set_nodelay(true);
                    return Ok(Stream::Tcp(stream));
                }
                Err(error) => {
                    last = Trouble::new(format!("cannot connect to {address}: {error}"));
                }
            }
        }
        Err(last)
    }

    /// TLS over what is plaintext so far.
    async fn secure(&self, stream: Stream) -> Result<Stream, Trouble> {
        let (Stream::Tcp(stream), Some((connector, name))) = (stream, &self.security.client) else {
            return Err(Trouble::new("TLS is not set up for this next hop"));
        };
        let deadline = Instant::now() + self.patience.each;
        let handshake = connector.connect(name.clone(), stream);
        match timeout_at(deadline, handshake).await {
            Ok(Ok(stream)) => Ok(Stream::Tls(Box::new(stream))),
            Ok(Err(error)) => Err(Trouble::no_tls(format!(
                "TLS with {} failed: {error}{}",
                self.url,
                advice(&error)
            ))),
            Err(_) => Err(Trouble::no_tls(format!(
                "TLS with {} failed: the server has taken too long",
                self.url
            ))),
        }
    }

    async fn log_in(&self, link: &mut Link, login: &Login) -> Result<(), Trouble> {
        let is_verified = self.security.verifies() && link.dialogue.is_secured();
        if !is_verified && !link.stream.is_local() {
            return Err(Trouble::new(
                "the server is not verified, and is on another machine: no password is sent; write tls = \"verify\"",
            ));
        }
        let mut nonce = [0; 18];
        let filled = aws_lc_rs::default_provider().secure_random.fill(&mut nonce);
        filled.map_err(|_| Trouble::new("the system gives no random numbers"))?;
        let credentials = login.credentials().await;
        let said = link.dialogue.authenticate(now(), &credentials, nonce);
        said.map_err(|error| match error {
            Unsendable::NotOffered(_) => Trouble::new(
                "the server offers no login by SCRAM-SHA-256, PLAIN or LOGIN: leave username out, or use its port for submission",
            ),
            error => Trouble::new(format!("no login: {error}")),
        })?;
        loop {
            match link.next().await? {
                Said::LoggedIn => return Ok(()),
                Said::LoginRefused(reply) => {
                    let matter = our_matter(Stage::Auth, reply.as_reply());
                    let who = login.username();
                    return Err(Trouble::new(format!(
                        "the login of {who:?} failed: {matter}"
                    )));
                }
                _ => {}
            }
        }
    }
}

/// What to mend where a handshake failed.
fn advice(error: &io::Error) -> &'static str {
    let inner = error.get_ref().and_then(|error| error.downcast_ref());
    match inner {
        Some(rustls::Error::InvalidCertificate(_)) => {
            ": give it a certificate for the name in the URL, write tls-ca for its authority, or tls = \"require\" to take any"
        }
        Some(rustls::Error::InvalidMessage(_)) => {
            ": what answers there does not speak TLS, so look at the port and at smtp: and smtps:"
        }
        _ => "",
    }
}
