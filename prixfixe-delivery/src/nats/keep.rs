//! The task that keeps a connection: it connects, inspects, and says how it is.
//!
//! A server that does not do its work is left for the next one: it says nothing
//! ([`Connection`]), it acknowledges nothing ([`Answers`](super::answers::Answers)), or JetStream
//! does not answer there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::connection::State as ConnectionState;
use tokio::time::{sleep, timeout};

use super::connection::{Access, Connection};
use super::inspect::{Found, Good};
use super::link::{Session, Shared, State};

/// What the task begins with.
pub(super) enum Begun {
    With(Connection),
    /// The server that is tried first.
    Without(usize),
}

/// Why a connection is not watched any more.
enum End {
    /// It is gone for good, or another server may do better.
    Left,
    /// There is another one, with what was changed.
    Replaced(Box<Connection>),
}

/// How often everything is inspected while it works, and while it does not.
const PERIOD: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_millis(500);

/// Before an access that did not work is tried again: this at first, each time twice as long, and
/// at most as long as between inspections.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// A server that goes for a restart leaves its clients to another one: mail waits so long for that.
const GRACE: Duration = Duration::from_secs(2);

/// How long an inspection waits for each answer.
const ANSWER: Duration = Duration::from_secs(5);

/// A node that is cut off from the others still answers its clients, and has nobody to write with:
/// after so long another one is tried.
const ELSEWHERE: Duration = Duration::from_secs(5);

/// So long, or two times the timeout where that is less, somebody waits and nothing is
/// acknowledged: then another server is tried. A node that leads and has lost the others says for
/// longer that all is well.
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);

const NOTHING_ACKNOWLEDGED: &str = "the server has acknowledged nothing for a while";

impl Shared {
    /// Connects and inspects once.
    pub(super) async fn first_look(&self, first: usize) -> Option<(Connection, Found)> {
        let connection = match self.connect(&self.wanted(), first).await {
            Ok(connection) => connection,
            Err(words) => {
                self.away(&words, Instant::now()).await;
                return None;
            }
        };
        let found = self.look_at(&connection).await;
        self.found(&connection, found.clone()).await;
        Some((connection, found))
    }

    async fn connect(&self, access: &Arc<Access>, first: usize) -> Result<Connection, String> {
        Connection::open(&self.url, &self.options, access, first).await
    }

    /// With the access that is wanted. Where that one does not work, with the one that did last.
    async fn connect_anyhow(&self, first: usize) -> Result<Connection, String> {
        let wanted = self.wanted();
        let Some(worked) = self.worked_before() else {
            return self.connect(&wanted, first).await;
        };
        let cause = match self.try_access(&wanted, first).await {
            Ok(connection) => return Ok(connection),
            Err(cause) => cause,
        };
        // Its words are the ones that help.
        let Ok(connection) = self.connect(&worked, first).await else {
            return Err(cause);
        };
        let target = &self.options.name;
        tracing::error!(
            target,
            cause,
            "the new credentials or certificates do not work, those before are used again"
        );
        Ok(connection)
    }

    /// Keeps the connection for as long as it is polled.
    pub(super) async fn keep(self: Arc<Self>, begun: Begun) {
        let (mut connection, mut first) = match begun {
            Begun::With(connection) => (Some(connection), 0),
            Begun::Without(first) => (None, first),
        };
        loop {
            let current = match connection.take() {
                Some(connection) => connection,
                None => match self.connect_anyhow(first).await {
                    Ok(connection) => connection,
                    Err(words) => {
                        self.away(&words, Instant::now()).await;
                        sleep(RETRY).await;
                        continue;
                    }
                },
            };
            match self.attend(&current).await {
                End::Replaced(next) => {
                    self.retire(current);
                    connection = Some(*next);
                }
                End::Left => {
                    // What waits in it is never answered.
                    current.give_up();
                    first = current.next();
                    drop(current);
                    sleep(RETRY).await;
                }
            }
        }
    }

    /// Watches over a connection until there is to be another one.
    async fn attend(&self, connection: &Connection) -> End {
        tokio::select! {
            () = self.watch(connection) => End::Left,
            () = self.is_unanswered(connection) => {
                let target = &self.options.name;
                tracing::warn!(target, "{NOTHING_ACKNOWLEDGED}, another server is tried");
                self.away(NOTHING_ACKNOWLEDGED, Instant::now() + GRACE).await;
                End::Left
            }
            next = self.replaced(connection) => End::Replaced(Box::new(next)),
        }
    }

    /// Ends when another server may do better. Where there is none, never.
    async fn is_unanswered(&self, connection: &Connection) {
        let patience = (self.options.timeout * 2).min(UNACKNOWLEDGED);
        match self.has_others() {
            true => connection.answers.are_missing_for(patience).await,
            false => std::future::pending().await,
        }
    }

    fn has_others(&self) -> bool {
        self.url.servers().len() > 1
    }

    /// A connection with the access that is wanted, when there is one that works and this one has
    /// another.
    async fn replaced(&self, connection: &Connection) -> Connection {
        let target = &self.options.name;
        let mut pause = FIRST_PAUSE;
        let mut told = None;
        loop {
            let is_wanted = self.wanted().is_same(&connection.access);
            // The server may learn of them after us. Whoever says it again wants it tried now.
            tokio::select! {
                () = self.changed.notified() => (pause, told) = (FIRST_PAUSE, None),
                () = sleep(pause), if !is_wanted => pause = (pause * 2).min(PERIOD),
            }
            let wanted = self.wanted();
            if wanted.is_same(&connection.access) {
                continue;
            }
            match self.try_access(&wanted, self.any()).await {
                Ok(connection) => {
                    tracing::info!(
                        target,
                        "connected with the new credentials and certificates"
                    );
                    return connection;
                }
                Err(cause) if told.as_ref() == Some(&cause) => {}
                Err(cause) => {
                    tracing::error!(
                        target,
                        cause,
                        "the new credentials or certificates do not work, the connection before stays in use"
                    );
                    told = Some(cause);
                }
            }
        }
    }

    /// A connection with this access, if mail can be published over it.
    async fn try_access(&self, access: &Arc<Access>, first: usize) -> Result<Connection, String> {
        let connection = self.connect(access, first).await?;
        match self.look_at(&connection).await {
            found @ Found::Good(_) => {
                self.found(&connection, found).await;
                Ok(connection)
            }
            Found::Fault(words) | Found::Silent(words) => {
                let words = connection.lost.borrow().words(&words);
                Err(words)
            }
        }
    }

    /// The servers of a fleet do not all come to the same one.
    pub(super) fn any(&self) -> usize {
        fastrand::usize(..self.url.servers().len().max(1))
    }

    /// What is under way over it has time for its end.
    fn retire(&self, connection: Connection) {
        let patience = self.options.timeout;
        tokio::spawn(async move {
            let _ = timeout(patience, connection.answers.are_all_there()).await;
            connection.give_up();
        });
    }

    async fn look_at(&self, connection: &Connection) -> Found {
        let context = self.context(connection.client.clone(), ANSWER);
        self.inspection.look(&context).await
    }

    /// Inspects now and then, until the connection is gone for good, or another server may do
    /// better.
    async fn watch(&self, connection: &Connection) {
        let mut lost = connection.lost.clone();
        let mut silent = None;
        loop {
            let pause = match connection.client.connection_state() {
                ConnectionState::Connected => {
                    let since = *silent.get_or_insert_with(Instant::now);
                    let found = self.look_at(connection).await;
                    let is_silent = matches!(found, Found::Silent(_));
                    let pause = self.found(connection, found).await;
                    if !is_silent {
                        silent = None;
                    } else if since.elapsed() >= ELSEWHERE && self.has_others() {
                        return;
                    }
                    pause
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

    /// Keeps what was found; how long to wait for the next look.
    async fn found(&self, connection: &Connection, found: Found) -> Duration {
        match found {
            Found::Good(good) => {
                self.has_worked(&connection.access);
                self.tell(&good);
                let session = Session {
                    context: self.context(connection.client.clone(), self.options.timeout),
                    max_message_size: good.max_message_size,
                    lost: connection.lost.clone(),
                    answers: Arc::clone(&connection.answers),
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
                let words = connection.lost.borrow().words(&words);
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
    pub(super) async fn away(&self, words: &str, until: Instant) {
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
}
