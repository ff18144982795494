//! One run, with everything read, resolved and made ready.

use std::io;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::content::Prepared;
use crate::dialogue::Manner;
use crate::engine::{self, Live, Pace};
use crate::measure::Measurements;
use crate::report::{Run, Settings};
use crate::target::Target;
use crate::tls::Security;

/// How often a run tells how far it is.
const TICK: Duration = Duration::from_millis(100);

/// A run that is ready to start, made by [`Plan::prepare`](crate::Plan::prepare).
#[derive(Debug)]
pub struct Workload {
    pub(crate) name: String,
    pub(crate) settings: Settings,
    /// Never empty. Workers are spread over them in turn.
    pub(crate) targets: Vec<Target>,
    /// Never empty. Sent in turn.
    pub(crate) messages: Vec<Arc<Prepared>>,
    pub(crate) pace: Pace,
    /// Connections at once, over all threads.
    pub(crate) concurrency: NonZeroU32,
    pub(crate) threads: NonZeroU32,
    /// Messages on one connection before QUIT; `None`: no limit.
    pub(crate) per_connection: Option<u64>,
    pub(crate) manner: Arc<Manner>,
    pub(crate) security: Option<Security>,
    /// The longest that a message may take from when it is due, or a background connection to EHLO.
    pub(crate) timeout: Duration,
    /// Local addresses to connect from in turn; empty: the system chooses.
    pub(crate) sources: Vec<IpAddr>,
    pub(crate) idle_connections: u32,
    pub(crate) slow_clients: u32,
    /// Octets a second of each slow client.
    pub(crate) slow_rate: NonZeroU32,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The connections in the background are open, and the load has begun.
    pub has_begun: bool,
    /// Messages accepted so far.
    pub accepted: u64,
    /// Messages failed so far.
    pub failed: u64,
    /// Bytes of content of accepted messages so far.
    pub octets: u64,
}

/// Why a run did not take place. What a server does is never one of the reasons: that is in the
/// report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The system gives no event loop to a thread.
    #[error("cannot run the load: {0}")]
    EventLoop(#[from] io::Error),
}

impl Workload {
    /// What the run is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How much is sent, and how fast.
    #[must_use]
    pub fn pace(&self) -> Pace {
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
    pub fn run(&self, stop: &AtomicBool, progress: impl FnMut(Progress)) -> Result<Run, RunError> {
        let measured = self.measure(stop, progress)?;
        Ok(Run::new(
            &self.name,
            self.settings.clone(),
            self.greeted(),
            &measured,
            stop.load(Ordering::Relaxed),
        ))
    }

    /// The targets, with their first greetings.
    fn greeted(&self) -> impl Iterator<Item = (&str, Option<String>)> {
        let greetings = self.manner.greetings.iter();
        let pairs = self.targets.iter().zip(greetings);
        pairs.map(|(target, greeting)| (target.name.as_str(), greeting.get().cloned()))
    }

    /// The same in an open loop: so many messages per second, for so long. What is not taken within
    /// twice that time more has failed.
    pub(crate) fn set_rate(&mut self, rate: f64, time: Duration) {
        self.pace = Pace::duration(time);
        self.pace.rate = Some(rate);
        self.timeout = self.timeout.min(time * 2);
        self.settings.messages = None;
        self.settings.duration_seconds = Some(time.as_secs_f64());
        self.settings.rate = Some(rate);
        self.settings.timeout_seconds = self.timeout.as_secs_f64();
    }

    pub(crate) fn measure(
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
