//! The connection to the servers, and what is known of the stream there.
//!
//! One task keeps it: it connects, inspects, and says so. Messages only look at what it has said.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::connection::State as ConnectionState;
use async_nats::jetstream::{Context, ContextBuilder};
use async_nats::rustls::ClientConfig;
use async_nats::{Client, ConnectOptions, Event};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::inspect::{Found, Good};
use super::options::{NatsError, NatsOptions};
use super::tls;
use super::url::NatsUrl;
use crate::upstream::Upstream;
use crate::{BoxFuture, Failure, TlsUse};

/// Looks whether what is there keeps what it acknowledges.
pub(crate) trait Inspection: Send + Sync + 'static {
    /// Looks once.
    fn look<'a>(&'a self, context: &'a Context) -> BoxFuture<'a, Found>;
}

/// A connection that is kept, until this is dropped.
pub(crate) struct Keeper {
    pub(crate) shared: Arc<Shared>,
    task: AbortHandle,
}

/// The connection ends with its last user.
impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Keeper {
    /// Connects and looks once. Servers that cannot be reached are no error.
    pub(crate) async fn open(
        url: &NatsUrl,
        options: NatsOptions,
        inspection: impl Inspection,
    ) -> Result<Self, NatsError> {
        if options.has_credentials() && options.tls() != TlsUse::Verify && !url.is_loopback() {
            return Err(NatsError::CredentialsInClear);
        }
        let away = State::Away("it was not reached yet".into(), Instant::now());
        let shared = Arc::new(Shared {
            url: url.clone(),
            tls: tls::client_config(&options)?,
            login: login(&options)?,
            upstream: Upstream::new(&options.name, options.concurrency),
            state: watch::Sender::new(away),
            look: Notify::new(),
            inspection: Box::new(inspection),
            options,
        });
        let first = timeout(shared.options.timeout, shared.first_look()).await;
        if first.is_err() {
            let words = "the server has taken too long, at the start";
            shared.away(words, Instant::now()).await;
        }
        let first = match first.ok().flatten() {
            Some((_, _, Found::Fault(words))) => return Err(NatsError::Stream(words)),
            Some((client, lost, _)) => Some((client, lost)),
            None => None,
        };
        let task = tokio::spawn(Arc::clone(&shared).keep(first)).abort_handle();
        Ok(Self { shared, task })
    }
}

fn login(options: &NatsOptions) -> Result<Login, NatsError> {
    let read = |path: &Path| fs::read_to_string(path).map_err(|error| tls::file(path, error));
    match (
        &options.username,
        &options.password_file,
        &options.creds_file,
    ) {
        (None, None, None) => Ok(Login::Nobody),
        (Some(user), Some(path), None) => {
            let text = read(path)?;
            let password = text.lines().next().unwrap_or_default();
            Ok(Login::Password(user.clone(), password.to_owned()))
        }
        (None, None, Some(path)) => {
            let text = read(path)?;
            ConnectOptions::with_credentials(&text).map_err(|error| tls::file(path, error))?;
            Ok(Login::Credentials(text))
        }
        (_, _, Some(_)) => Err(NatsError::Options(
            "creds-file goes without username and password-file",
        )),
        _ => Err(NatsError::Options("username and password-file go together")),
    }
}

/// What all messages share.
pub(crate) struct Shared {
    pub(crate) url: NatsUrl,
    pub(crate) options: NatsOptions,
    pub(crate) tls: Option<ClientConfig>,
    pub(crate) login: Login,
    pub(crate) upstream: Upstream,
    pub(crate) state: watch::Sender<State>,
    /// Somebody has a reason to doubt what is known.
    pub(crate) look: Notify,
    inspection: Box<dyn Inspection>,
}

/// How the client proves who it is. Its `Debug` form would be a secret's, so that it has none.
pub(crate) enum Login {
    Nobody,
    Password(String, String),
    /// The text of a credentials file.
    Credentials(String),
}

/// Whether mail can be published.
#[derive(Clone)]
pub(crate) enum State {
    /// There is no connection, or JetStream does not answer. Until then it may be but a moment.
    Away(Box<str>, Instant),
    /// The stream would not keep it.
    Faulty(Box<str>),
    Ready(Arc<Session>),
}

/// A connection that works, and a stream that keeps what it acknowledges.
pub(crate) struct Session {
    pub(crate) context: Context,
    /// The largest message, headers included, that the stream takes.
    pub(crate) max_message_size: Option<usize>,
    /// How often the connection was lost: whoever waits for an answer while that grows waits for
    /// nothing.
    pub(crate) lost: watch::Receiver<Lost>,
}

impl Session {
    /// The largest message, headers included.
    pub(crate) fn limit(&self) -> usize {
        let server = self.context.client().max_payload();
        self.max_message_size
            .map_or(server, |stream| server.min(stream))
    }

    /// How often the connection was lost so far.
    pub(crate) fn losses(&self) -> u64 {
        self.lost.borrow().times
    }

    /// Ends when the connection has been lost more often than that: what waits in it is never
    /// answered.
    pub(crate) async fn is_lost_since(&self, times: u64) {
        let mut lost = self.lost.clone();
        // An error: the connection was given up.
        let _ = lost.wait_for(|now| now.times != times).await;
    }
}

#[derive(Clone, Default)]
pub(crate) struct Lost {
    pub(crate) times: u64,
    /// The last thing that the server complained of.
    complaint: Option<Box<str>>,
}

/// How often everything is inspected while it works, and while it does not.
const PERIOD: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_millis(500);

/// A server that goes for a restart leaves its clients to another one: mail waits so long for that.
const GRACE: Duration = Duration::from_secs(2);

/// How long an inspection waits for each answer.
const ANSWER: Duration = Duration::from_secs(5);

/// A node that is cut off from the others still answers its clients, and has nobody to write with:
/// after so long another one is tried.
const ELSEWHERE: Duration = Duration::from_secs(5);

/// A server that is silent for two to three of these is given up, and another one tried.
const PING: Duration = Duration::from_secs(5);

impl Shared {
    /// Connects and inspects once.
    pub(crate) async fn first_look(&self) -> Option<(Client, watch::Receiver<Lost>, Found)> {
        let (client, lost) = match self.connect().await {
            Ok(connected) => connected,
            Err(words) => {
                self.away(&words, Instant::now()).await;
                return None;
            }
        };
        let context = self.context(client.clone(), ANSWER);
        let found = self.inspection.look(&context).await;
        self.found(&client, &lost, found.clone()).await;
        Some((client, lost, found))
    }

    /// Keeps the connection for as long as it is polled.
    pub(crate) async fn keep(self: Arc<Self>, first: Option<(Client, watch::Receiver<Lost>)>) {
        if let Some((client, lost)) = first {
            self.watch(client, lost).await;
        }
        loop {
            match self.connect().await {
                Ok((client, lost)) => self.watch(client, lost).await,
                Err(words) => self.away(&words, Instant::now()).await,
            }
            sleep(RETRY).await;
        }
    }

    /// Inspects now and then, until the connection is gone for good.
    async fn watch(&self, client: Client, mut lost: watch::Receiver<Lost>) {
        let mut silent = None;
        loop {
            let pause = match client.connection_state() {
                ConnectionState::Connected => {
                    let context = self.context(client.clone(), ANSWER);
                    let since = *silent.get_or_insert_with(Instant::now);
                    let found = self.inspection.look(&context).await;
                    match found {
                        Found::Silent(_) if since.elapsed() < ELSEWHERE => {}
                        Found::Silent(_) => {
                            silent = None;
                            self.go_elsewhere(&client).await;
                        }
                        Found::Good(_) | Found::Fault(_) => silent = None,
                    }
                    self.found(&client, &lost, found).await
                }
                _ => {
                    let words = lost.borrow().words("the connection was lost");
                    self.away(&words, Instant::now() + GRACE).await;
                    RETRY
                }
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = self.look.notified() => sleep(RETRY).await,
                change = lost.changed() => if change.is_err() {
                    let words = lost.borrow().words("the connection was lost");
                    self.away(&words, Instant::now() + GRACE).await;
                    return;
                },
            }
        }
    }

    /// The library takes one of the servers at random. What waits for an answer is told that the
    /// connection was lost.
    async fn go_elsewhere(&self, client: &Client) {
        if self.url.servers().len() > 1 {
            // An error: the connection is gone already.
            let _ = client.force_reconnect().await;
        }
    }

    /// Keeps what was found; how long to wait for the next look.
    async fn found(&self, client: &Client, lost: &watch::Receiver<Lost>, found: Found) -> Duration {
        match found {
            Found::Good(good) => {
                self.tell(&good);
                let session = Session {
                    context: self.context(client.clone(), self.options.timeout),
                    max_message_size: good.max_message_size,
                    lost: lost.clone(),
                };
                self.state.send_replace(State::Ready(Arc::new(session)));
                self.report(Ok(())).await;
                match self.upstream.is_down() {
                    true => RETRY,
                    false => PERIOD,
                }
            }
            Found::Fault(words) => {
                let is_known =
                    matches!(&*self.state.borrow(), State::Faulty(known) if **known == *words);
                if !is_known {
                    let target = &self.options.name;
                    tracing::error!(target, cause = %words, "mail is answered 451 until the stream keeps what it acknowledges");
                }
                self.state.send_replace(State::Faulty(words.clone().into()));
                self.report(Err(&words)).await;
                RETRY
            }
            Found::Silent(words) => {
                let words = lost.borrow().words(&words);
                self.away(&words, Instant::now() + GRACE).await;
                RETRY
            }
        }
    }

    /// What an acknowledgement stands on, in the log, when that has changed.
    fn tell(&self, good: &Good) {
        if matches!(&*self.state.borrow(), State::Ready(_)) {
            return;
        }
        let target = &self.options.name;
        let stream = &good.streams;
        for warning in &good.warnings {
            tracing::warn!(target, "{warning}");
        }
        match good.replicas {
            1 => tracing::warn!(
                target,
                stream,
                "an acknowledgement stands on one copy on one server; how often it syncs its disk (sync_interval) cannot be seen from here"
            ),
            replicas => tracing::info!(
                target,
                stream,
                replicas,
                "an acknowledgement stands on files of most of these replicas; how often they sync their disks (sync_interval) cannot be seen from here"
            ),
        }
    }

    /// There is nobody to publish to. From `until` on that is more than a moment.
    async fn away(&self, words: &str, until: Instant) {
        let until = match &*self.state.borrow() {
            State::Away(_, known) => *known,
            State::Faulty(_) | State::Ready(_) => until,
        };
        let is_over = until <= Instant::now();
        let is_told = self.upstream.is_down();
        self.state.send_replace(State::Away(words.into(), until));
        if is_over {
            if !is_told {
                let target = &self.options.name;
                tracing::error!(target, cause = %words, "no stream can be reached; mail is answered 451 meanwhile");
            }
            self.report(Err(words)).await;
        }
    }

    /// Says how it is where that is asked. Where a message tries it out just now, that message
    /// will.
    async fn report(&self, result: Result<(), &str>) {
        if let Ok(Ok(pass)) = timeout(RETRY, self.upstream.enter()).await {
            match result {
                Ok(()) => pass.succeeded(),
                Err(words) => pass.failed(words),
            }
        }
    }

    /// Where to publish, if that is known just now.
    #[cfg(feature = "fleet")]
    pub(crate) fn ready(&self) -> Option<Arc<Session>> {
        match &*self.state.borrow() {
            State::Ready(session) => Some(Arc::clone(session)),
            State::Away(..) | State::Faulty(_) => None,
        }
    }

    /// Where to publish, or why not. Waits while a connection may come back in a moment.
    pub(crate) async fn session(&self) -> Result<Arc<Session>, Failure> {
        let mut state = self.state.subscribe();
        loop {
            let until = match &*state.borrow_and_update() {
                State::Ready(session) => return Ok(Arc::clone(session)),
                State::Faulty(words) => return Err(Failure::said(FAULTY).because(words.clone())),
                State::Away(words, until) if *until <= Instant::now() => {
                    return Err(Failure::unreachable(words.clone()));
                }
                State::Away(_, until) => *until,
            };
            let _ = timeout(
                until.saturating_duration_since(Instant::now()),
                state.changed(),
            )
            .await;
        }
    }

    /// What is known before a content is read.
    pub(crate) fn refusal(&self) -> Option<Failure> {
        match &*self.state.borrow() {
            State::Faulty(words) => Some(Failure::said(FAULTY).because(words.clone())),
            State::Away(words, until) if *until <= Instant::now() => {
                Some(Failure::unreachable(words.clone()))
            }
            State::Away(..) | State::Ready(_) => None,
        }
    }

    fn context(&self, client: Client, timeout: Duration) -> Context {
        ContextBuilder::new()
            .timeout(timeout)
            .ack_timeout(timeout)
            .backpressure_on_inflight(true)
            .build(client)
    }

    /// Tries each server once. A connection that is lost is tried again once at each, by the
    /// library; then it is given up with all that waits in it.
    async fn connect(&self) -> Result<(Client, watch::Receiver<Lost>), String> {
        let (tell, lost) = watch::channel(Lost::default());
        let tell = Arc::new(tell);
        let servers = self.url.servers();
        let mut options = ConnectOptions::new()
            .name(format!("prixfixe {}", self.options.name))
            .connection_timeout(self.options.timeout.min(ANSWER))
            .request_timeout(Some(self.options.timeout))
            .ping_interval(PING)
            .max_reconnects(servers.len().max(1))
            .ignore_discovered_servers()
            .event_callback(move |event| {
                let tell = Arc::clone(&tell);
                async move {
                    match event {
                        Event::Disconnected => tell.send_modify(|lost| lost.times += 1),
                        Event::ServerError(error) => tell.send_modify(|lost| {
                            lost.complaint = Some(error.to_string().into());
                        }),
                        Event::Connected => tell.send_modify(|lost| lost.complaint = None),
                        _ => {}
                    }
                }
            });
        options = match &self.login {
            Login::Nobody => options,
            Login::Password(user, password) => {
                options.user_and_password(user.clone(), password.clone())
            }
            // It was read before.
            Login::Credentials(text) => options.credentials(text).map_err(|it| it.to_string())?,
        };
        if let Some(tls) = &self.tls {
            options = options.require_tls(true).tls_client_config(tls.clone());
        }
        let connected = options.connect(servers).await;
        let client = connected.map_err(|error| words_of(&error))?;
        Ok((client, lost))
    }
}

/// A stream that loses what it acknowledges: not the client's matter, and not for long.
const FAULTY: prixfixe_server::Reply = prixfixe_server::reply!(
    451 4.3.5 "Delivery is not set up correctly, try again later"
);

impl Lost {
    fn words(&self, what: &str) -> String {
        match &self.complaint {
            Some(complaint) => format!("{what} ({complaint})"),
            None => what.to_owned(),
        }
    }
}

/// An error with its causes.
pub(crate) fn words_of(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !words.contains(&cause) {
            words = format!("{words}: {cause}");
        }
        source = error.source();
    }
    words
}
