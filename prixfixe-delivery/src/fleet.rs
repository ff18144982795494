//! The spool of a fleet: NATS JetStream, which all servers write to and deliver from.
//!
//! The stream is the log, its consumers are the delivery, acknowledgements are the state. A server
//! that dies loses nothing, and another one delivers. There is no shared disk and no leader of
//! ours.
//!
//! # What is in the stream
//!
//! | subject | what |
//! |---|---|
//! | `PRIXFIXE.due.TARGET.DIGEST` | a message that is to be delivered now |
//! | `PRIXFIXE.wait.TARGET.DIGEST.ATTEMPT-MARK` | one that the stream makes due at its time |
//! | `PRIXFIXE.held.TARGET.DIGEST` | one that waits until somebody says so |
//! | `PRIXFIXE_FAILED.TARGET.DIGEST` | one that was given up, in a stream of its own that is never emptied by us |
//!
//! There is one message for each target of a mail, and `250` is said when all of them are
//! acknowledged. A content that is too large for a message is an object of the bucket `PRIXFIXE`,
//! stored before. It goes when its message is delivered. What a server leaves behind that dies
//! between the two is removed when it is old and no message names it.
//!
//! # How it is delivered
//!
//! A target has a durable consumer, whose `max_ack_pending` is the concurrency of the whole fleet.
//! While an attempt lasts its server says so. When it is silent for [`FleetOptions::ack_wait`],
//! another one tries.
//!
//! What cannot be delivered now is published once more, as a schedule, and then acknowledged. A NAK
//! would leave it in the consumer: one dead target's messages would soon be all that it has. So a
//! dead target delays nobody else.
//!
//! Whatever dies in between, a message is delivered twice rather than never: a step is made before
//! the one behind it is forgotten.

mod accept;
mod actions;
mod census;
mod entries;
mod entry;
mod letter;
mod line;
mod log;
mod mail;
mod names;
mod options;
mod report;
mod round;
mod streams;
mod sweep;
mod target;
mod usage;
mod verdict;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use prixfixe_server::{Mail, Message, Reply};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use self::census::Census;
use self::line::Line;
use self::names::{Names, is_word};
use self::streams::Streams;
use self::sweep::Sweep;
use self::usage::Usage;
use crate::nats::connection::Access;
use crate::nats::link::Keeper;
use crate::routes::Routes;
use crate::tracked::Tracked;
use crate::{Bouncer, BoxFuture, Failure, Health, NatsError, NatsOptions, RetrySchedule, Target};

pub use self::accept::Part;
pub use self::actions::Which;
pub use self::entry::{FleetEntry, FleetError, FleetId, InvalidFleetId};
pub use self::options::{FleetOptions, FleetUrl};
pub use self::target::FleetDelivery;

/// The spool of a fleet. Clones share everything.
#[derive(Clone)]
pub struct Fleet(Arc<Kept>);

struct Kept {
    inner: Arc<Inner>,
    phase: watch::Sender<Phase>,
    lines: tokio::sync::Mutex<Lines>,
    watch: AbortHandle,
}

/// What is delivered, by the target's name.
#[derive(Default)]
struct Lines {
    targets: HashMap<String, Delivering>,
    tasks: JoinSet<()>,
}

/// Delivery to a target, until this is dropped.
struct Delivering {
    concurrency: usize,
    target: watch::Sender<Option<Arc<Tracked>>>,
}

/// What acceptance and delivery share.
struct Inner {
    keeper: Keeper,
    names: Names,
    usage: Usage,
    ack_wait: Duration,
    attempts: RwLock<Attempts>,
    census: Census,
    given_up: Mutex<HashMap<String, u64>>,
    bouncer: Arc<dyn Bouncer>,
    /// By which reports to senders go, and sessions.
    routes: RwLock<Arc<Routes>>,
}

/// When a message is tried, and for how long.
#[derive(Debug, Clone)]
struct Attempts {
    retry: RetrySchedule,
    give_up_after: Duration,
}

/// How far a shutdown has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// No new attempts.
    Stopping,
    /// Those under way are given up.
    Over,
}

/// Waits until it is another phase. Nobody who could say so: it is.
async fn left(phase: &mut watch::Receiver<Phase>, from: Phase) {
    let _ = phase.wait_for(|it| *it != from).await;
}

/// Waits until it is that phase.
async fn reached(phase: &mut watch::Receiver<Phase>, to: Phase) {
    let _ = phase.wait_for(|it| *it == to).await;
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

impl Fleet {
    /// Connects, makes what is missing and looks at the rest. To be awaited inside a tokio runtime,
    /// in which the connection then lives. Nothing is delivered before [`deliver`](Self::deliver).
    ///
    /// Servers that cannot be reached are no error: mail is refused with `451 4.4.1` until they can
    /// be.
    ///
    /// # Errors
    ///
    /// [`NatsError`], for what no waiting mends: a stream that does not keep what it acknowledges,
    /// say.
    pub fn open(url: &FleetUrl, options: FleetOptions) -> BoxFuture<'_, Result<Self, NatsError>> {
        // Boxed: whoever waits for it has no copy of the client of NATS of its own.
        Box::pin(Self::connect(url, options))
    }

    async fn connect(url: &FleetUrl, options: FleetOptions) -> Result<Self, NatsError> {
        options.check()?;
        let names = Names::new(&options.stream, options.partitions);
        let streams = Streams {
            names: names.clone(),
            replicas: options.replicas,
            creates: options.creates,
        };
        let keeper = Keeper::open(url.nats(), options.connection, streams).await?;
        let inner = Arc::new(Inner {
            keeper,
            names,
            usage: Usage::new(options.max_size),
            ack_wait: options.ack_wait,
            attempts: RwLock::new(Attempts {
                retry: options.retry,
                give_up_after: options.give_up_after,
            }),
            census: Census::default(),
            given_up: Mutex::default(),
            bouncer: options.bouncer,
            routes: RwLock::default(),
        });
        let watched = Arc::clone(&inner);
        let age = options.objects_age;
        let watch = tokio::spawn(async move {
            let Inner {
                usage,
                keeper,
                names,
                ..
            } = &*watched;
            let shared = &keeper.shared;
            let sweep = Sweep { shared, names, age };
            tokio::join!(usage.watch(shared, names), sweep.run());
        });
        Ok(Self(Arc::new(Kept {
            inner,
            phase: watch::Sender::new(Phase::Running),
            lines: tokio::sync::Mutex::default(),
            watch: watch.abort_handle(),
        })))
    }

    /// Whether a message has a chance: what is answered to MAIL, where its size is known.
    ///
    /// # Errors
    ///
    /// The reply: `452 4.3.1` where the spool is full, `451` where its servers are away.
    pub fn admit(&self, mail: Mail<'_>) -> Result<(), Reply> {
        let inner = &self.0.inner;
        if let Some(failure) = inner.keeper.shared.refusal() {
            return Err(failure.into_reply());
        }
        let size = mail.parameters().size.unwrap_or_default();
        match inner.usage.has_room_for(size) {
            true => Ok(()),
            false => Err(Reply::NO_ROOM),
        }
    }

    /// Keeps a message for these targets. When this is done the stream has acknowledged all of
    /// them.
    ///
    /// # Errors
    ///
    /// What the client is told: some of the targets may get it all the same, and do not get it
    /// twice when it comes again. Where a part is not as [`Part`] says, none of the targets gets
    /// it.
    pub async fn keep(&self, message: Message, parts: &[Part]) -> Result<(), Failure> {
        self.0.inner.keep(message, parts, None).await
    }

    /// Delivers what is due for this target, from now on and at most so many at once in all the
    /// fleet. A name that no server delivers for keeps its mail. A name that it delivered for gets
    /// this target from the next attempt on.
    ///
    /// # Errors
    ///
    /// [`NatsError::Options`] for a name that is no word of letters, digits, `-` and `_`.
    pub async fn deliver(
        &self,
        name: &str,
        target: Arc<dyn Target>,
        concurrency: usize,
    ) -> Result<(), NatsError> {
        let target = Arc::new(Tracked::new(name, target));
        self.deliver_tracked(target, concurrency).await
    }

    pub(crate) async fn deliver_tracked(
        &self,
        target: Arc<Tracked>,
        concurrency: usize,
    ) -> Result<(), NatsError> {
        let name = target.name().to_owned();
        if !is_word(&name) {
            return Err(NatsError::Options(
                "a spool's target has a name of letters, digits, - and _",
            ));
        }
        let inner = &self.0.inner;
        // Each stream has its share of it.
        let concurrency = concurrency.div_ceil(inner.names.partitions()).max(1);
        let mut lines = self.0.lines.lock().await;
        if let Some(known) = lines.targets.get(&name)
            && known.concurrency == concurrency
        {
            known.target.send_replace(Some(target));
            return Ok(());
        }
        let target = watch::Sender::new(Some(target));
        for stream in inner.names.streams() {
            let line = Line {
                inner: Arc::clone(inner),
                stream,
                name: name.clone(),
                target: target.subscribe(),
                concurrency,
                phase: self.0.phase.subscribe(),
            };
            lines.tasks.spawn(line.run());
        }
        // The lines of another concurrency end with what was there.
        let delivering = Delivering {
            concurrency,
            target,
        };
        lines.targets.insert(name, delivering);
        Ok(())
    }

    /// Delivers no more for any other names than these.
    pub async fn deliver_only(&self, names: &[&str]) {
        let mut lines = self.0.lines.lock().await;
        lines
            .targets
            .retain(|name, _| names.contains(&name.as_str()));
    }

    /// Makes no new attempts, and waits for those under way. What is not over by then is given
    /// back: another server has it at once.
    pub fn stop(&self, patience: Duration) -> BoxFuture<'_, ()> {
        Box::pin(self.wind_up(patience))
    }

    async fn wind_up(&self, patience: Duration) {
        self.0.phase.send_if_modified(|phase| {
            let is_running = *phase == Phase::Running;
            if is_running {
                *phase = Phase::Stopping;
            }
            is_running
        });
        let mut lines = self.0.lines.lock().await;
        let all = async { while lines.tasks.join_next().await.is_some() {} };
        if timeout(patience, all).await.is_err() {
            self.0.phase.send_replace(Phase::Over);
            let all = async { while lines.tasks.join_next().await.is_some() {} };
            let _ = timeout(GIVING_BACK, all).await;
        }
        // What was said last is still in memory.
        if let Ok(session) = self.0.inner.keeper.shared.session().await {
            let _ = timeout(GIVING_BACK, session.context.client().flush()).await;
        }
    }

    /// Another schedule, for attempts that end from now on.
    pub fn set_attempts(&self, retry: RetrySchedule, give_up_after: Duration) {
        let current = self.0.inner.attempts.write();
        *current.unwrap_or_else(PoisonError::into_inner) = Attempts {
            retry,
            give_up_after,
        };
    }

    /// Another bound of what all messages that wait may take, in bytes of one replica.
    pub fn set_max_size(&self, max_size: u64) {
        self.0.inner.usage.set_limit(max_size);
    }

    /// Reads what [`set_access`](Self::set_access) takes from the files that these options name:
    /// credentials and certificates. The other options mean nothing here.
    ///
    /// # Errors
    ///
    /// [`NatsError`], for a file that cannot be read or options that contradict each other.
    pub fn read_access(&self, options: &NatsOptions) -> Result<FleetAccess, NatsError> {
        Access::read(&self.0.inner.keeper.shared.url, options).map(FleetAccess)
    }

    /// From now on the servers are reached by these credentials and certificates. Where they are
    /// others than those in use, a new connection takes the place of the one before when it works.
    /// Until then that one stays, or is made again as before, and the log says why. They are tried
    /// at once, also where they are the same as in the last call, and again now and then.
    pub fn set_access(&self, access: FleetAccess) {
        self.0.inner.keeper.shared.set_access(access.0);
    }

    /// Whether mail can be kept now.
    #[must_use]
    pub fn health(&self) -> Health {
        self.0.inner.keeper.shared.upstream.health()
    }

    /// What is in the spool, as it was seen a second ago.
    #[must_use]
    pub fn status(&self) -> FleetStatus {
        let inner = &self.0.inner;
        let given_up = inner
            .given_up
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        FleetStatus {
            messages: inner.usage.messages(),
            bytes: inner.usage.bytes(),
            given_up: given_up.clone(),
        }
    }
}

/// Word to the stream that a message is given back.
const GIVING_BACK: Duration = Duration::from_secs(2);

/// Credentials and certificates that were read, for [`Fleet::set_access`].
pub struct FleetAccess(Access);

impl fmt::Debug for FleetAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FleetAccess").finish_non_exhaustive()
    }
}

/// What is in the spool.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FleetStatus {
    /// Messages that are due, wait or are held: one for each target.
    pub messages: u64,
    /// Their bytes, in one replica.
    pub bytes: u64,
    /// What this server has given up, by target.
    pub given_up: HashMap<String, u64>,
}

impl Fleet {
    fn routes(&self) -> Arc<Routes> {
        self.0.inner.routes()
    }

    fn set_routes(&self, routes: Arc<Routes>) {
        let current = self.0.inner.routes.write();
        *current.unwrap_or_else(PoisonError::into_inner) = routes;
    }
}

impl Inner {
    fn routes(&self) -> Arc<Routes> {
        let routes = self.routes.read();
        Arc::clone(&routes.unwrap_or_else(PoisonError::into_inner))
    }

    fn attempts(&self) -> Attempts {
        let attempts = self.attempts.read();
        attempts.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn given_up(&self, target: &str) {
        let mut given_up = self.given_up.lock().unwrap_or_else(PoisonError::into_inner);
        // One for each configured name.
        *given_up.entry(target.to_owned()).or_default() += 1;
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.0.inner.keeper.shared.url.to_string();
        f.debug_struct("Fleet")
            .field("url", &url)
            .finish_non_exhaustive()
    }
}
