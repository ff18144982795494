//! A connection to one of the servers, and how they are reached.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_nats::rustls::ClientConfig;
use async_nats::{Client, ConnectOptions, Event, ReconnectToServer, Server};
use tokio::sync::watch;

use super::answers::Answers;
use super::link::words_of;
use super::options::{NatsError, NatsOptions};
use super::tls;
use super::url::NatsUrl;
use crate::TlsUse;

/// A connection, and what is known of it. The library connects it anew where it breaks.
pub(crate) struct Connection {
    pub(crate) client: Client,
    pub(crate) lost: watch::Receiver<Lost>,
    pub(crate) answers: Arc<Answers>,
    /// What it was opened with.
    pub(crate) access: Arc<Access>,
    /// Gone when the library has given the connection up.
    tell: Weak<watch::Sender<Lost>>,
    turn: Arc<Turn>,
}

/// Which of the servers is next: each in its turn, so that one that was left is tried last.
#[derive(Debug)]
pub(crate) struct Turn(AtomicUsize);

/// How often a connection was lost.
#[derive(Clone, Default)]
pub(crate) struct Lost {
    pub(crate) times: u64,
    /// The last thing that the server complained of.
    complaint: Option<Box<str>>,
}

/// What a connection is opened with: read from files once, and again where a configuration is.
pub(crate) struct Access {
    tls: Option<ClientConfig>,
    login: Login,
    /// What the files of TLS hold.
    material: tls::Material,
}

/// How the client proves who it is. Its `Debug` form would be a secret's, so that it has none.
#[derive(PartialEq, Eq)]
enum Login {
    Nobody,
    Password(String, String),
    /// The text of a credentials file.
    Credentials(String),
}

/// A server that says nothing for three of these is given up, and the next one tried.
const PING: Duration = Duration::from_secs(3);

/// How long a server has for a connection.
const HANDSHAKE: Duration = Duration::from_secs(5);

impl Connection {
    /// Tries each server once, from this one on. A connection that is lost is tried again once at
    /// each, by the library; then it is given up with all that waits in it.
    pub(crate) async fn open(
        url: &NatsUrl,
        options: &NatsOptions,
        access: &Arc<Access>,
        first: usize,
    ) -> Result<Self, String> {
        let (tell, lost) = watch::channel(Lost::default());
        let tell = Arc::new(tell);
        let weak = Arc::downgrade(&tell);
        let turn = Arc::new(Turn(AtomicUsize::new(first)));
        let servers = url.servers();
        let connect = access.connect_options(options, servers.len(), tell, &turn)?;
        let mut attempts = servers.len();
        loop {
            // Each call tries the one whose turn it is.
            let error = match connect.clone().connect(servers.clone()).await {
                Ok(client) => {
                    return Ok(Self {
                        client,
                        lost,
                        answers: Arc::default(),
                        access: Arc::clone(access),
                        tell: weak,
                        turn,
                    });
                }
                Err(error) => words_of(&error),
            };
            attempts = attempts.saturating_sub(1);
            if attempts == 0 {
                return Err(error);
            }
        }
    }

    /// Whoever waits for an answer over it is told that none will come.
    pub(crate) fn give_up(&self) {
        if let Some(tell) = self.tell.upgrade() {
            tell.send_modify(|lost| lost.times += 1);
        }
    }

    /// Where another connection begins: behind the server of this one.
    pub(crate) fn next(&self) -> usize {
        self.turn.0.load(Relaxed)
    }
}

impl Turn {
    /// The library's list is in the URL's order.
    fn take(&self, servers: &[Server]) -> Option<ReconnectToServer> {
        let number = self.0.fetch_add(1, Relaxed);
        let server = servers.get(number.checked_rem(servers.len())?)?;
        Some(ReconnectToServer {
            addr: server.addr.clone(),
            // The library's own, which grows.
            delay: None,
        })
    }
}

impl Access {
    /// Reads the files.
    pub(crate) fn read(url: &NatsUrl, options: &NatsOptions) -> Result<Self, NatsError> {
        if options.has_credentials() && options.tls() != TlsUse::Verify && !url.is_loopback() {
            return Err(NatsError::CredentialsInClear);
        }
        let files = tls::Files::read(options)?;
        Ok(Self {
            tls: tls::client_config(&files)?,
            login: Login::read(options)?,
            material: files.material(),
        })
    }

    /// Whether a connection that was opened with one is as good as one opened with the other.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.login == other.login && self.material == other.material
    }

    fn connect_options(
        &self,
        options: &NatsOptions,
        servers: usize,
        tell: Arc<watch::Sender<Lost>>,
        turn: &Arc<Turn>,
    ) -> Result<ConnectOptions, String> {
        let turn = Arc::clone(turn);
        let mut connect = ConnectOptions::new()
            .name(format!("prixfixe {}", options.name))
            .connection_timeout(options.timeout.min(HANDSHAKE))
            .request_timeout(Some(options.timeout))
            .ping_interval(PING)
            .max_reconnects(servers.max(1))
            .ignore_discovered_servers()
            .reconnect_to_server_callback(move |servers, _| {
                let next = turn.take(&servers);
                async move { next }
            })
            .event_callback(move |event| {
                let tell = Arc::clone(&tell);
                async move { Lost::hear(&tell, event) }
            });
        connect = match &self.login {
            Login::Nobody => connect,
            Login::Password(user, password) => {
                connect.user_and_password(user.clone(), password.clone())
            }
            // It was read before.
            Login::Credentials(text) => connect.credentials(text).map_err(|it| it.to_string())?,
        };
        if let Some(tls) = &self.tls {
            connect = connect.require_tls(true).tls_client_config(tls.clone());
        }
        Ok(connect)
    }
}

impl Login {
    fn read(options: &NatsOptions) -> Result<Self, NatsError> {
        let read = |path: &Path| fs::read_to_string(path).map_err(|error| tls::file(path, error));
        match (
            &options.username,
            &options.password_file,
            &options.creds_file,
        ) {
            (None, None, None) => Ok(Self::Nobody),
            (Some(user), Some(path), None) => {
                let text = read(path)?;
                let password = text.lines().next().unwrap_or_default();
                Ok(Self::Password(user.clone(), password.to_owned()))
            }
            (None, None, Some(path)) => {
                let text = read(path)?;
                ConnectOptions::with_credentials(&text).map_err(|error| tls::file(path, error))?;
                Ok(Self::Credentials(text))
            }
            (_, _, Some(_)) => Err(NatsError::Options(
                "creds-file goes without username and password-file",
            )),
            _ => Err(NatsError::Options("username and password-file go together")),
        }
    }
}

impl Lost {
    fn hear(tell: &watch::Sender<Self>, event: Event) {
        match event {
            Event::Disconnected => tell.send_modify(|lost| lost.times += 1),
            Event::ServerError(error) => tell.send_modify(|lost| {
                lost.complaint = Some(error.to_string().into());
            }),
            Event::Connected => tell.send_modify(|lost| lost.complaint = None),
            _ => {}
        }
    }

    /// With the last thing that the server complained of.
    pub(crate) fn words(&self, what: &str) -> String {
        match &self.complaint {
            Some(complaint) => format!("{what} ({complaint})"),
            None => what.to_owned(),
        }
    }
}
