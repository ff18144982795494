//! One run, with everything read, resolved and made ready.

use std::io;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use super::content::Prepared;
use super::dialogue::Manner;
use super::engine::{self, Live, Pace};
use super::measure::Measurements;
use super::report::{Run, Settings};
use super::target::Target;
use super::tls::Security;

/// How often a run tells how far it is.
const TICK: Duration = Duration::from_millis(100);

/// A run that is ready to start, made by [`Plan::prepare`](super::plan::Plan::prepare).
#[derive(Debug)]
pub(crate) struct Workload {
    pub(super) name: String,
    pub(super) settings: Settings,
    /// Never empty. Workers are spread over them in turn.
    pub(super) targets: Vec<Target>,
    /// Never empty. Sent in turn.
    pub(super) messages: Vec<Arc<Prepared>>,
    pub(super) pace: Pace,
    /// Connections at once, over all threads.
    pub(super) concurrency: NonZeroU32,
    pub(super) threads: NonZeroU32,
    /// Messages on one connection before QUIT; `None`: no limit.
    pub(super) per_connection: Option<u64>,
    pub(super) manner: Arc<Manner>,
    pub(super) security: Option<Security>,
    /// The longest that a message may take from when it is due, or a background connection to EHLO.
    pub(super) timeout: Duration,
    /// Local addresses to connect from in turn; empty: the system chooses.
    pub(super) sources: Vec<IpAddr>,
    pub(super) idle_connections: u32,
    pub(super) slow_clients: u32,
    /// Octets a second of each slow client.
    pub(super) slow_rate: NonZeroU32,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) struct Progress {
    /// The connections in the background are open, and the load has begun.
    pub(crate) has_begun: bool,
    /// Messages accepted so far.
    pub(crate) accepted: u64,
    /// Messages failed so far.
    pub(crate) failed: u64,
    /// Bytes of content of accepted messages so far.
    pub(crate) octets: u64,
}

/// Why a run did not take place. What a server does is never one of the reasons: that is in the report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum RunError {
    /// The system gives no event loop to a thread.
    #[error("cannot run the load: {0}")]
    EventLoop(#[from] io::Error),
}

impl Workload {
    /// What the run is called.
    #[must_use]
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// How much is sent, and how fast.
    #[must_use]
    pub(crate) fn pace(&self) -> Pace {
        self.pace
    }

    /// Runs it to its end, on threads of its own, and tells ten times a second how far it is.
    ///
    /// Whoever sets `stop` ends it early: messages under way have another second, and the run says
    /// that it was interrupted.
    ///
    /// # Errors
    ///
    /// [`RunError`]: the load could not be begun. Messages that fail are no error but a result.
    pub(crate) fn run(
        &self,
        stop: &AtomicBool,
        progress: impl FnMut(Progress),
    ) -> Result<Run, RunError> {
        let measured = self.measure(stop, progress)?;
        Ok(Run::new(
            &self.name,
            self.settings.clone(),
            self.targets.iter().map(|target| target.name.as_str()),
            &measured,
            stop.load(Ordering::Relaxed),
        ))
    }

    pub(super) fn measure(
        &self,
        stop: &AtomicBool,
        mut progress: impl FnMut(Progress),
    ) -> io::Result<Measurements> {
        let live = Live::new(self.threads.get() as usize, stop);
        thread::scope(|scope| {
            let live = &live;
            let (done, results) = mpsc::channel();
            for number in 0..self.threads.get() {
                let done = done.clone();
                // Nobody listens any more only when another thread has failed.
                scope.spawn(move || drop(done.send(engine::run(self, live, number))));
            }
            drop(done);
            let mut all = Measurements::new(self.targets.len());
            loop {
                match results.recv_timeout(TICK) {
                    Ok(measured) => all.add(measured?),
                    Err(RecvTimeoutError::Timeout) => progress(live.progress()),
                    Err(RecvTimeoutError::Disconnected) => return Ok(all),
                }
            }
        })
    }
}
