//! Whether mail can be kept, and finding out when it can again.

mod keeper;
mod outstanding;
mod refusals;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use prixfixe_server::Reply;
use tokio::sync::watch;

use crate::fault::{NO_SPACE, NOT_STORED};
use crate::{Fault, StoreError};

pub(crate) use keeper::{Keeper, Kept};
pub(crate) use outstanding::Ticket;
use outstanding::{Outstanding, PATIENCE};
use refusals::Refusals;

/// Tells whether mail can be kept.
///
/// Three things stand in the way of it:
///
/// - The last attempt to keep something has failed.
/// - There is less free space than [`MinFree`](crate::MinFree) asks for.
/// - An answer of the disk, or of the reader of standard output, has been owed for 10 s. Only work
///   that was handed to it counts, never the time in which a client sends its message.
///
/// A probe in the background tries now and then, and more often while there is a fault: so a fault
/// is found, and its end, with or without traffic. (Nothing can be written to standard output on
/// trial. There the probe sees whether its reader is gone.) Cheap to clone and to ask; asking never
/// blocks, whatever the disk does.
#[derive(Debug, Clone)]
pub struct Health {
    /// `None`: of something that cannot fail.
    shared: Option<Arc<Shared>>,
    changes: watch::Receiver<Option<Arc<Fault>>>,
}

impl Health {
    /// Of something that cannot fail.
    #[must_use]
    pub fn always_good() -> Self {
        Self {
            shared: None,
            changes: watch::channel(None).1,
        }
    }

    /// What stands in the way; `None` while mail can be kept.
    #[must_use]
    pub fn fault(&self) -> Option<Arc<Fault>> {
        self.shared.as_ref()?.fault(Instant::now())
    }

    /// False: of something that cannot fail, or does not say so.
    pub(crate) fn is_kept(&self) -> bool {
        self.shared.is_some()
    }

    /// Waits, on any executor, for the next change since the last call; for ever where there is
    /// none.
    pub async fn changed(&mut self) {
        if self.changes.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

/// Where those who work report how it went. Clones share everything.
#[derive(Debug, Clone)]
pub(crate) struct Monitor(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// What is written to, for people.
    subject: String,
    changes: watch::Sender<Option<Arc<Fault>>>,
    outstanding: Arc<Outstanding>,
    state: Mutex<State>,
    /// Copies of what is in the state, for those who ask for each message.
    is_failing: AtomicBool,
    gate: AtomicU8,
    look_wanted: AtomicBool,
    keepers: OnceLock<[Thread; 2]>,
}

#[derive(Debug, Default)]
struct State {
    /// Of the last attempt.
    failure: Option<Arc<Fault>>,
    shortage: Option<Arc<Fault>>,
    /// An answer has been owed for too long.
    silence: Option<Arc<Fault>>,
    refusals: Refusals,
}

/// What becomes of MAIL.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    Open = 0,
    NoSpace,
    NoAnswer,
}

impl Monitor {
    pub(crate) fn new(subject: impl Into<String>) -> Self {
        Self(Arc::new(Shared {
            subject: subject.into(),
            changes: watch::Sender::new(None),
            outstanding: Arc::default(),
            state: Mutex::default(),
            is_failing: AtomicBool::new(false),
            gate: AtomicU8::new(Gate::Open as u8),
            look_wanted: AtomicBool::new(false),
            keepers: OnceLock::new(),
        }))
    }

    pub(crate) fn health(&self) -> Health {
        Health {
            shared: Some(Arc::clone(&self.0)),
            changes: self.0.changes.subscribe(),
        }
    }

    pub(crate) fn outstanding(&self) -> &Arc<Outstanding> {
        &self.0.outstanding
    }

    /// Work that is handed over now.
    pub(crate) fn ticket(&self) -> Ticket {
        self.0.outstanding.wait(Instant::now())
    }

    /// Before a client sends what cannot be kept anyway: costs no system call.
    pub(crate) fn admit(&self) -> Result<(), Reply> {
        if self.0.gate.load(Ordering::Relaxed) == Gate::Open as u8 {
            return Ok(());
        }
        // A silence may just have ended.
        self.0.listen(Instant::now());
        match self.0.state().gate() {
            Gate::Open => Ok(()),
            Gate::NoSpace => Err(NO_SPACE),
            Gate::NoAnswer => Err(NOT_STORED),
        }
    }

    /// A message could not be kept.
    pub(crate) fn refused(&self, fault: Fault) -> StoreError {
        let fault = Arc::new(fault);
        let told = Arc::clone(&fault);
        self.0
            .state()
            .refusals
            .add(Instant::now(), Arc::clone(&fault));
        self.failed(told);
        fault.into()
    }

    /// A message could not be kept, for a reason that stands in no other message's way.
    pub(crate) fn refused_alone(&self, fault: Fault) -> StoreError {
        let fault = Arc::new(fault);
        let mut state = self.0.state();
        state.refusals.add(Instant::now(), Arc::clone(&fault));
        drop(state);
        fault.into()
    }

    pub(crate) fn failed(&self, fault: Arc<Fault>) {
        let was_failing = self.is_failing();
        self.0.change(|state| state.failure = Some(fault));
        if !was_failing {
            self.look_soon();
        }
    }

    pub(crate) fn succeeded(&self) {
        if self.is_failing() {
            self.0.change(|state| state.failure = None);
        }
    }

    /// Whether there is enough free space.
    pub(crate) fn space(&self, shortage: Option<Fault>) {
        let text = |fault: &Fault| fault.to_string();
        self.0.change(|state| {
            let same = match (&state.shortage, &shortage) {
                (Some(old), Some(new)) => text(old) == text(new),
                (None, None) => true,
                _ => false,
            };
            if same {
                return;
            }
            if let (None, Some(fault)) = (&state.shortage, &shortage) {
                tracing::error!(path = fault.subject(), cause = %fault, "MAIL is answered 452 until there is more free space");
            }
            state.shortage = shortage.map(Arc::new);
        });
    }

    /// Has the keeper look at once.
    pub(crate) fn look_soon(&self) {
        self.0.look_wanted.store(true, Ordering::Release);
        if let Some([prober, _]) = self.0.keepers.get() {
            prober.unpark();
        }
    }

    fn look_is_wanted(&self) -> bool {
        self.0.look_wanted.swap(false, Ordering::AcqRel)
    }

    fn is_kept_by(&self, prober: &Thread, watcher: &Thread) {
        let _ = self.0.keepers.set([prober.clone(), watcher.clone()]);
    }

    fn is_failing(&self) -> bool {
        self.0.is_failing.load(Ordering::Acquire)
    }

    /// Sees whether an answer has been owed for too long, and tells what the log has not been told.
    /// Gives the time to call again.
    fn watch(&self, now: Instant) -> Instant {
        let owed_since = self.0.outstanding.owed_since();
        let is_silent = self.0.listen(now);
        let tell_at = self.0.state().refusals.tell_rest(now);
        let overdue_at = match (is_silent, owed_since) {
            (true, _) => now + SILENT_PAUSE,
            (false, Some(since)) => since + PATIENCE,
            // What begins a moment later is not overdue before.
            (false, None) => now + PATIENCE,
        };
        tell_at.into_iter().fold(overdue_at, Instant::min)
    }
}

/// How soon the end of a silence is seen.
const SILENT_PAUSE: Duration = Duration::from_secs(1);

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asked for when it matters: whoever would have published it may hang as well.
    fn fault(&self, now: Instant) -> Option<Arc<Fault>> {
        let silence = self.silence(now).map(Arc::new);
        silence.or_else(|| {
            let state = self.state();
            state.failure.clone().or_else(|| state.shortage.clone())
        })
    }

    /// Keeps whether an answer has been owed for too long.
    fn listen(&self, now: Instant) -> bool {
        let silence = self.silence(now);
        let is_silent = silence.is_some();
        self.change(|state| {
            if let (None, Some(fault)) = (&state.silence, &silence) {
                tracing::error!(path = fault.subject(), cause = %fault, "mail cannot be stored; MAIL is answered 451 meanwhile");
            }
            // Its text goes on counting where somebody asks for it.
            if state.silence.is_some() != is_silent {
                state.silence = silence.map(Arc::new);
            }
        });
        is_silent
    }

    fn silence(&self, now: Instant) -> Option<Fault> {
        let owed = now.saturating_duration_since(self.outstanding.owed_since()?);
        (owed >= PATIENCE).then(|| {
            let cause = format!("no answer for {} s", owed.as_secs());
            let error = io::Error::new(io::ErrorKind::TimedOut, cause);
            Fault::new("write to", &self.subject, error)
        })
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        let was_failing = state.fault().is_some();
        change(&mut state);
        let fault = state.fault().cloned();
        if was_failing && fault.is_none() {
            state.refusals.end(Instant::now());
        }
        self.is_failing
            .store(state.failure.is_some(), Ordering::Release);
        self.gate.store(state.gate() as u8, Ordering::Relaxed);
        // Under the lock, so that changes are told in their order.
        self.changes.send_if_modified(|told| {
            let is_same = match (&told, &fault) {
                (Some(told), Some(fault)) => Arc::ptr_eq(told, fault),
                (told, fault) => told.is_none() && fault.is_none(),
            };
            *told = fault;
            !is_same
        });
    }
}

impl State {
    fn fault(&self) -> Option<&Arc<Fault>> {
        let others = self.failure.as_ref().or(self.shortage.as_ref());
        self.silence.as_ref().or(others)
    }

    fn gate(&self) -> Gate {
        if self.silence.is_some() {
            Gate::NoAnswer
        } else if self.shortage.is_some() {
            Gate::NoSpace
        } else {
            Gate::Open
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(kind: io::ErrorKind) -> Fault {
        Fault::new("write to", "the disk", kind.into())
    }

    #[test]
    fn an_answer_that_is_owed_for_ten_seconds_is_a_fault_until_it_comes() {
        let monitor = Monitor::new("the disk");
        let health = monitor.health();
        let start = Instant::now();
        let just_before = start + PATIENCE - Duration::from_millis(1);
        let seen = |now| health.shared.as_ref().unwrap().fault(now);
        let ticket = monitor.outstanding().run(start);

        assert!(monitor.watch(start) <= start + PATIENCE);
        assert!(seen(just_before).is_none());
        // Nobody has to watch for it to be seen.
        let owed = seen(start + PATIENCE * 2).unwrap();
        assert_eq!(
            owed.to_string(),
            "cannot write to the disk: no answer for 20 s"
        );
        assert!(monitor.admit().is_ok());
        monitor.watch(start + PATIENCE);
        let gate = monitor.0.state().gate();
        assert_eq!(gate, Gate::NoAnswer);

        drop(ticket);
        assert!(seen(start + PATIENCE * 3).is_none());
        assert!(monitor.admit().is_ok());
    }

    #[tokio::test]
    async fn whoever_waits_for_a_change_hears_of_a_silence() {
        let monitor = Monitor::new("the disk");
        let mut health = monitor.health();
        let start = Instant::now();
        let ticket = monitor.outstanding().wait(start);
        monitor.watch(start + PATIENCE);
        health.changed().await;
        drop(ticket);
        monitor.watch(start + PATIENCE);
        health.changed().await;
        assert!(health.fault().is_none());
    }

    #[test]
    fn success_does_not_end_a_shortage_nor_is_it_said_that_delivery_works() {
        let monitor = Monitor::new("the disk");
        monitor.space(Some(fault(io::ErrorKind::StorageFull)));
        for _ in 0..3 {
            monitor.refused(fault(io::ErrorKind::StorageFull));
            monitor.succeeded();
            assert!(monitor.health().fault().unwrap().is_no_space());
            assert_eq!(monitor.admit(), Err(NO_SPACE));
            assert!(!monitor.0.state().refusals.has_told_of_an_end());
        }
        monitor.space(None);
        assert!(monitor.health().fault().is_none() && monitor.admit().is_ok());
        assert!(monitor.0.state().refusals.has_told_of_an_end());
    }
}
