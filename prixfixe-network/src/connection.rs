//! An accepted connection, apart from its socket: what both transports keep for each.

use std::panic::{AssertUnwindSafe, catch_unwind};
#[cfg(feature = "tokio")]
use std::sync::Arc;
use std::task::Context;
use std::time::Instant;

use crate::completion::CompletionGuard;
#[cfg(feature = "tokio")]
use crate::control::Control;
use crate::control::{Permit, Stage};
use crate::pump::{Next, Pump, PumpSocket};
use crate::{Peer, Session};

/// A session with its pump, its place within the connection limit, and its part in a drain.
#[derive(Debug)]
pub(crate) struct Served<S> {
    pump: Pump<S>,
    /// Whether the session knows that the server is going away.
    told: bool,
    /// `None`: it is a stream of the caller's own.
    peer: Option<Peer>,
    permit: Permit,
    /// Last, so that nobody takes the connection for gone before its session is. The caller waits
    /// for a stream of its own itself.
    _guard: Option<CompletionGuard>,
}

impl<S: Session> Served<S> {
    pub(crate) fn new(
        session: S,
        peer: Option<Peer>,
        permit: Permit,
        guard: Option<CompletionGuard>,
    ) -> Self {
        let linger = permit.control().linger;
        Self {
            pump: Pump::new(session, linger),
            told: false,
            peer,
            permit,
            _guard: guard,
        }
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn control(&self) -> &Arc<Control> {
        self.permit.control()
    }

    pub(crate) fn session(&self) -> Option<&S> {
        self.pump.session()
    }

    /// Does what can be done now. Never `Next::Ended`.
    ///
    /// A session that panics ends its own connection. This is the second line of defence: the
    /// server contains the panics of handlers before they come here.
    pub(crate) fn turn(
        &mut self,
        socket: &mut impl PumpSocket,
        buffer: &mut [u8],
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Next {
        let peer = self.peer;
        catch_unwind(AssertUnwindSafe(|| {
            self.turn_unguarded(socket, buffer, now, cx)
        }))
        .unwrap_or_else(|_| {
            tracing::error!(
                peer = peer.map(display),
                "a session panicked; its connection is dropped"
            );
            Next::Close
        })
    }

    /// Drops the session, whose destructor may panic, too.
    pub(crate) fn close(self) {
        let peer = self.peer;
        if catch_unwind(AssertUnwindSafe(|| drop(self))).is_err() {
            tracing::error!(
                peer = peer.map(display),
                "a session panicked while it was dropped"
            );
        }
    }

    fn turn_unguarded(
        &mut self,
        socket: &mut impl PumpSocket,
        buffer: &mut [u8],
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Next {
        match self.permit.control().stage() {
            Stage::Draining if !self.told => {
                self.told = true;
                self.pump.shutdown(now);
            }
            Stage::Serving | Stage::Leaving | Stage::Draining => {}
            Stage::Aborted => return Next::Close,
        }
        loop {
            match self.pump.turn(socket, buffer, now, cx) {
                Next::Ended if self.permit.session_ended() => {}
                Next::Ended => {
                    // Nobody can be waited for: what the peer takes at once is what it gets.
                    self.pump.turn(socket, buffer, now, cx);
                    return Next::Close;
                }
                next => return next,
            }
        }
    }
}
