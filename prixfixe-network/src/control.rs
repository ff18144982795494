//! What all threads and connections of a running transport share: how far it is from its end, and
//! how many connections it has.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::task::Waker;
use std::time::Duration;

use crate::Options;
use crate::heartbeat::{Heartbeat, Responder};
use crate::wakers::Wakers;

/// Connections that may be closing on top of as many as may have a session: with a low limit, and a
/// client a message, there are easily more of them.
const CLOSING_ALLOWANCE: usize = 256;

/// As many closing connections as there may be sessions, and [`CLOSING_ALLOWANCE`].
const USUAL: usize = usize::MAX;

/// How long handshakes that have begun may still become connections: longer than a round trip, and
/// shorter than the second after which a client repeats a first segment that was ignored (RFC 6298
/// section 2), for it must not be ignored twice.
pub(crate) const LEAVING: Duration = Duration::from_millis(500);

/// How far a transport is from its end. It never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Serving = 0,
    /// Sockets that others listen beside begin no connection any more; else as before. It takes
    /// [`LEAVING`].
    Leaving = 1,
    /// Nothing is accepted any more; sessions finish what is under way.
    Draining = 2,
    /// Sessions are dropped where they stand.
    Aborted = 3,
}

#[derive(Debug)]
pub(crate) struct Control {
    stage: AtomicU8,
    wakers: Wakers,
    heartbeat: Heartbeat,
    /// Others may listen beside us.
    has_successors: bool,
    serving: AtomicUsize,
    closing: AtomicUsize,
    max_connections: AtomicUsize,
    /// [`USUAL`] where nobody has set it.
    max_closing: AtomicUsize,
    /// In milliseconds.
    drain_timeout: AtomicU64,
    pub(crate) linger: Duration,
}

impl Control {
    pub(crate) fn new(options: &Options, has_successors: bool) -> Self {
        Self {
            stage: AtomicU8::new(Stage::Serving as u8),
            wakers: Wakers::default(),
            heartbeat: Heartbeat::default(),
            has_successors,
            serving: AtomicUsize::new(0),
            closing: AtomicUsize::new(0),
            max_connections: AtomicUsize::new(options.max_connections),
            max_closing: AtomicUsize::new(options.max_closing.unwrap_or(USUAL)),
            drain_timeout: AtomicU64::new(milliseconds(options.drain_timeout)),
            linger: options.linger,
        }
    }

    pub(crate) fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Acquire) {
            0 => Stage::Serving,
            1 => Stage::Leaving,
            2 => Stage::Draining,
            _ => Stage::Aborted,
        }
    }

    /// Moves on to `stage` and wakes all who have registered.
    pub(crate) fn advance(&self, stage: Stage) {
        if self.stage.fetch_max(stage as u8, Ordering::AcqRel) < stage as u8 {
            self.wakers.wake_all();
            self.heartbeat.wake();
        }
    }

    /// Sets out for the end.
    pub(crate) fn shut_down(&self) {
        self.advance(if self.has_successors {
            Stage::Leaving
        } else {
            Stage::Draining
        });
    }

    /// Waits until the transport is there, or further.
    #[cfg(feature = "tokio")]
    pub(crate) async fn reached(&self, stage: Stage) {
        self.wakers.until(|| self.stage() >= stage).await;
    }

    /// One more who has turns while the transport serves, and says so by [`beat`](Self::beat) in
    /// each of them.
    pub(crate) fn responder(&self) -> Responder {
        self.heartbeat.join()
    }

    pub(crate) fn beat(&self, responder: &mut Responder) {
        responder.beat(&self.heartbeat);
    }

    /// Waits until all of them have had a turn, or the transport no longer serves.
    pub(crate) async fn turned(&self) {
        let question = self.heartbeat.ask();
        self.wakers.wake_all();
        let is_stopping = || self.stage() > Stage::Serving;
        self.heartbeat.answers(question, is_stopping).await;
    }

    pub(crate) fn active_connections(&self) -> usize {
        self.serving.load(Ordering::Relaxed)
    }

    pub(crate) fn set_max_connections(&self, connections: usize) {
        self.max_connections.store(connections, Ordering::Relaxed);
    }

    pub(crate) fn max_connections(&self) -> usize {
        self.max_connections.load(Ordering::Relaxed)
    }

    pub(crate) fn set_max_closing(&self, connections: Option<usize>) {
        let connections = connections.unwrap_or(USUAL);
        self.max_closing.store(connections, Ordering::Relaxed);
    }

    fn max_closing(&self) -> usize {
        match self.max_closing.load(Ordering::Relaxed) {
            USUAL => self.max_connections().saturating_add(CLOSING_ALLOWANCE),
            connections => connections,
        }
    }

    pub(crate) fn set_drain_timeout(&self, timeout: Duration) {
        self.drain_timeout
            .store(milliseconds(timeout), Ordering::Relaxed);
    }

    pub(crate) fn drain_timeout(&self) -> Duration {
        Duration::from_millis(self.drain_timeout.load(Ordering::Relaxed))
    }
}

/// A waker that is woken when the stage changes. Look at the stage after registering, not only
/// before.
#[derive(Debug)]
pub(crate) struct StageWatch {
    control: Arc<Control>,
    key: usize,
}

impl StageWatch {
    pub(crate) fn new(control: &Arc<Control>, waker: Waker) -> Self {
        Self {
            key: control.wakers.insert(waker),
            control: Arc::clone(control),
        }
    }
}

impl Drop for StageWatch {
    fn drop(&mut self) {
        self.control.wakers.remove(self.key);
    }
}

/// The right of a connection to be there. Given back when dropped.
///
/// A session that is done stops counting before its last bytes leave: a client that has read them
/// and connects again must find its place free. Connections that are only closing are counted apart
/// and bounded, too: those beyond have to close at once.
#[derive(Debug)]
pub(crate) struct Permit {
    control: Arc<Control>,
    counted: Counted,
}

/// Where a connection counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counted {
    Serving,
    Closing,
    Nowhere,
}

impl Permit {
    /// `None` at the connection limit.
    pub(crate) fn acquire(control: &Arc<Control>) -> Option<Self> {
        count_below(&control.serving, control.max_connections()).then(|| Self {
            control: Arc::clone(control),
            counted: Counted::Serving,
        })
    }

    /// The session is done: makes room for another. False where closing connections are too many
    /// themselves: this one counts no more, and has to be gone at the end of the turn.
    pub(crate) fn session_ended(&mut self) -> bool {
        if self.counted == Counted::Serving {
            let may_linger = count_below(&self.control.closing, self.control.max_closing());
            self.counted = match may_linger {
                true => Counted::Closing,
                false => Counted::Nowhere,
            };
            self.control.serving.fetch_sub(1, Ordering::AcqRel);
        }
        self.counted == Counted::Closing
    }

    pub(crate) fn control(&self) -> &Arc<Control> {
        &self.control
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let counter = match self.counted {
            Counted::Serving => &self.control.serving,
            Counted::Closing => &self.control.closing,
            Counted::Nowhere => return,
        };
        counter.fetch_sub(1, Ordering::AcqRel);
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn count_below(counter: &AtomicUsize, limit: usize) -> bool {
    counter
        .fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| {
            (count < limit).then_some(count + 1)
        })
        .is_ok()
}
