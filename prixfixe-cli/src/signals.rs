//! Signals, on a thread of their own.
//!
//! Not by tokio: where its runtime cannot be set up the raw transport serves, and must be stoppable
//! all the same.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// The first SIGTERM or SIGINT: finish what is under way, then stop.
    Drain,
    /// Another one, a second or more after it: stop at once.
    Stop,
    /// SIGHUP. Several that come close together are one.
    Reload,
}

/// Signals that are caught already, though nobody acts on them yet.
#[derive(Debug)]
pub(crate) struct Signals {
    signals: iterator::Signals,
}

impl Signals {
    /// From here on a signal does not end the process but waits for [`handle`](Self::handle).
    pub(crate) fn catch() -> io::Result<Self> {
        Ok(Self {
            signals: iterator::Signals::new([SIGTERM, SIGINT, SIGHUP])?,
        })
    }

    /// Starts the thread that calls `act` for each signal, those that came before included. `act`
    /// must be quick: the next signal may be the one that asks to stop at once.
    pub(crate) fn handle(mut self, act: impl Fn(Request) + Send + 'static) -> io::Result<()> {
        let run = move || {
            let mut stops = Stops::default();
            for signal in self.signals.forever() {
                let request = match signal {
                    SIGHUP => Some(Request::Reload),
                    _ => stops.signal(Instant::now()),
                };
                if let Some(request) = request {
                    act(request);
                }
            }
        };
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(run)?;
        Ok(())
    }
}

/// A second signal within this time after the first means the same.
///
/// Service managers and shells may send two: one to the process, and one to its group or on behalf
/// of a terminal.
const ONE_AND_THE_SAME: Duration = Duration::from_secs(1);

/// What signals that stop have come so far.
#[derive(Debug, Default)]
struct Stops {
    first: Option<Instant>,
}

impl Stops {
    /// One more, and what it asks for. `None`: nothing new.
    fn signal(&mut self, now: Instant) -> Option<Request> {
        match self.first {
            None => {
                self.first = Some(now);
                Some(Request::Drain)
            }
            Some(first) if now.saturating_duration_since(first) < ONE_AND_THE_SAME => None,
            Some(_) => Some(Request::Stop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_within_a_second_of_the_first_are_one() {
        let start = Instant::now();
        let mut stops = Stops::default();
        let said = [0, 0, 1, 500, 999, 1000, 1001, 5000]
            .map(|after| stops.signal(start + Duration::from_millis(after)));
        let (drain, stop) = (Some(Request::Drain), Some(Request::Stop));
        assert_eq!(said, [drain, None, None, None, None, stop, stop, stop]);
    }
}
