//! Signals, on a thread of their own.
//!
//! Not by tokio: where its runtime cannot be set up the raw transport serves, and must be stoppable all the same.

use std::io;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// The first SIGTERM or SIGINT: finish what is under way, then stop.
    Drain,
    /// Another one: stop at once.
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

    /// Starts the thread that calls `act` for each signal, those that came before included. `act` must be quick: the next
    /// signal may be the one that asks to stop at once.
    pub(crate) fn handle(mut self, act: impl Fn(Request) + Send + 'static) -> io::Result<()> {
        let run = move || {
            let mut draining = false;
            for signal in self.signals.forever() {
                act(match signal {
                    SIGHUP => Request::Reload,
                    _ if draining => Request::Stop,
                    _ => {
                        draining = true;
                        Request::Drain
                    }
                });
            }
        };
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(run)?;
        Ok(())
    }
}
