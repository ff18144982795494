//! The task that delivers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use prixfixe_spool::{Disk, MessageId, OpenError};
use tokio::sync::watch;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{MissedTickBehavior, interval, sleep, sleep_until, timeout};

use super::core::Core;
use super::envelope::StoredEnvelope;
use super::state::DeliveryState;
use super::summary::Summary;

/// How often other processes are looked after.
const TICK: Duration = Duration::from_secs(1);

/// Attempts that are begun before other tasks have their turn.
const IN_TURN: usize = 256;

/// What the task is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Deliver,
    /// No new attempts; those under way have so long.
    Stop(Duration),
}

/// Delivers until it is told to stop.
pub(super) async fn run<D: Disk>(core: Arc<Core<D>>, mut orders: watch::Receiver<Order>) {
    // Once begun it cannot be called off: left alone, it would take the lock of a process that stops.
    while !take_over(&core).await {
        tokio::select! {
            () = sleep(TICK / 4) => {}
            drain = stopped(&mut orders) => { let _ = drain; return }
        }
    }
    core.is_delivering.store(true, Ordering::Release);
    let mut attempts = JoinSet::new();
    let drain = deliver(&core, &mut attempts, &mut orders).await;
    let all = async { while attempts.join_next().await.is_some() {} };
    if timeout(drain, all).await.is_err() {
        tracing::warn!(
            target: "prixfixe", attempts = attempts.len(),
            "deliveries were under way for too long: they are repeated"
        );
        attempts.shutdown().await;
    }
    core.is_delivering.store(false, Ordering::Release);
    core.queue().clear();
    let handing_over = Arc::clone(&core);
    let _ = tokio::task::spawn_blocking(move || handing_over.log.hand_over()).await;
}

/// How long attempts under way may take, once it is told to stop.
async fn stopped(orders: &mut watch::Receiver<Order>) -> Duration {
    loop {
        if let Order::Stop(drain) = *orders.borrow_and_update() {
            return drain;
        }
        if orders.changed().await.is_err() {
            return Duration::ZERO;
        }
    }
}

async fn deliver<D: Disk>(
    core: &Arc<Core<D>>,
    attempts: &mut JoinSet<()>,
    orders: &mut watch::Receiver<Order>,
) -> Duration {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut in_turn = 0;
    loop {
        if let Order::Stop(drain) = *orders.borrow_and_update() {
            return drain;
        }
        core.admit_fresh();
        in_turn += start_attempts(core, attempts);
        while attempts.try_join_next().is_some() {}
        if in_turn >= IN_TURN {
            in_turn = 0;
            core.wake.notify_one();
            yield_now().await;
        }
        let next = core.queue().next_time();
        let next = next.map(|time| core.clock.instant(time));
        tokio::select! {
            drain = stopped(orders) => return drain,
            () = core.wake.notified() => {}
            Some(_) = attempts.join_next() => {}
            () = async {
                match next {
                    Some(next) => sleep_until(next).await,
                    None => std::future::pending().await,
                }
            } => {}
            _ = tick.tick() => look_around(core, attempts).await,
        }
    }
}

/// Begins what is due, and gives how much that was.
fn start_attempts<D: Disk>(core: &Arc<Core<D>>, attempts: &mut JoinSet<()>) -> usize {
    for count in 0..IN_TURN {
        let next = {
            let now = core.clock.now();
            let mut queue = core.queue();
            queue.wake(now);
            queue.next(now)
        };
        match next {
            Some(next) => begin(super::attempt::attempt(Arc::clone(core), next), attempts),
            None => return count,
        }
    }
    IN_TURN
}

/// Makes the first step of an attempt here: one that ends with it needs no task of its own.
fn begin(attempt: impl Future<Output = ()> + Send + 'static, attempts: &mut JoinSet<()>) {
    let mut attempt = Box::pin(attempt);
    let mut context = Context::from_waker(Waker::noop());
    // As in a task: a target that panics ends its attempt, which is repeated, and nothing else.
    let step = catch_unwind(AssertUnwindSafe(|| attempt.as_mut().poll(&mut context)));
    if let Ok(Poll::Pending) = step {
        // Which asks it again, and with a waker of its own.
        attempts.spawn(attempt);
    }
}

/// Looks for what other processes have appended, and for what nobody is to wait for any longer.
async fn look_around<D: Disk>(core: &Arc<Core<D>>, attempts: &mut JoinSet<()>) {
    let following = Arc::clone(core);
    let followed = tokio::task::spawn_blocking(move || {
        following.look();
        following.log.follow()
    });
    let followed = followed.await;
    if let Ok(Err(error)) = followed {
        tracing::error!(%error, "what another process has stored cannot be read");
    }
    let patience = u64::try_from(core.options().give_up_after.as_millis()).unwrap_or(u64::MAX);
    let received_before = core.clock.now().saturating_sub(patience);
    let expired = core.queue().take_expired(received_before);
    for next in expired {
        attempts.spawn(super::attempt::give_up(Arc::clone(core), next));
    }
}

/// Becomes the one who delivers, unless another process is.
async fn take_over<D: Disk>(core: &Arc<Core<D>>) -> bool {
    let taking = Arc::clone(core);
    let taken = tokio::task::spawn_blocking(move || taking.take_over()).await;
    match taken {
        Ok(Ok(taken)) => taken,
        Ok(Err(error)) => {
            tracing::error!(%error, "the spool cannot be taken over");
            false
        }
        // It was told by the panic itself.
        Err(_) => false,
    }
}

impl<D: Disk> Core<D> {
    /// Becomes the one who delivers, with all that is there. False: another process is.
    pub(super) fn take_over(&self) -> Result<bool, OpenError> {
        self.look();
        let now = self.clock.now();
        let mut without_summary = Vec::new();
        let taken = self.log.take_over(|found| {
            let mut state = found
                .state
                .and_then(|it| serde_json::from_slice::<DeliveryState>(it).ok());
            match Summary::from_bytes(found.summary) {
                Some(summary) => {
                    state = state.filter(|it| it.targets.len() == summary.targets.len());
                    let mut queue = self.queue();
                    queue.add(found.id, &summary, state.as_ref(), found.is_held, now);
                }
                None => without_summary.push((found.id, state, found.is_held)),
            }
        })?;
        for (id, state, is_held) in without_summary {
            self.add_by_envelope(id, state.as_ref(), is_held);
        }
        self.set_known();
        if let Some(recovery) = &taken {
            self.warn_of_unknown();
            tracing::info!(
                target: "prixfixe", messages = recovery.messages, path = %self.root.display(),
                "delivering from the spool"
            );
        }
        Ok(taken.is_some())
    }

    /// Takes what was appended since the last call.
    pub(super) fn admit_fresh(&self) {
        let fresh = self.log.take_fresh();
        if fresh.is_empty() {
            return;
        }
        let now = self.clock.now();
        let lanes = self.queue().lanes().len();
        for message in fresh {
            match Summary::from_bytes(&message.summary) {
                Some(summary) => {
                    let mut queue = self.queue();
                    queue.add(message.id, &summary, None, false, now);
                    queue.keep(message.id, message.companion);
                }
                None => self.add_by_envelope(message.id, None, false),
            }
        }
        // Another process may know other targets.
        if self.queue().lanes().len() != lanes {
            self.set_known();
        }
    }

    /// A message whose targets do not fit into a summary.
    fn add_by_envelope(&self, id: MessageId, state: Option<&DeliveryState>, is_held: bool) {
        let read = self.log.read(id).map_err(|error| error.to_string());
        let envelope = read.and_then(|stored| {
            StoredEnvelope::from_bytes(&stored.envelope).map_err(|error| error.to_string())
        });
        match envelope {
            Ok(envelope) => {
                let summary = Summary::of(&envelope);
                let now = self.clock.now();
                self.queue().add(id, &summary, state, is_held, now);
            }
            Err(error) => tracing::error!(%id, error, "a message of the spool cannot be read"),
        }
    }

    /// Names the targets that are not in the configuration and have mail here.
    pub(super) fn warn_of_unknown(&self) {
        for name in self.queue().unknown() {
            tracing::warn!(
                target: "prixfixe", name,
                "the spool has mail for an unknown target, and keeps it"
            );
        }
    }
}
