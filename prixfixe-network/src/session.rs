//! The one trait that a transport drives.

use std::task::{Context, Poll};
use std::time::Instant;

use crate::OutputBuffer;

/// One connection, seen from above the socket: bytes in, bytes out and a deadline.
///
/// A session knows no socket and reads no clock. The transport calls it in this order, as often as
/// there is anything to do: [`receive`](Self::receive) for what was read, [`poll`](Self::poll) for
/// the work, [`output`](Self::output) for what is to be written, then
/// [`wants_read`](Self::wants_read) and [`deadline`](Self::deadline) to know what to wait for.
///
/// A session that panics is dropped with its connection, and so is one whose connection breaks (a
/// reset, a failed write): what has to happen in any case belongs in `Drop`.
pub trait Session: Send + 'static {
    /// Takes bytes that the peer sent. All of them are taken; to have fewer, say so in
    /// [`wants_read`](Self::wants_read). At most 64 KiB come at once.
    fn receive(&mut self, now: Instant, bytes: &[u8]);

    /// The peer will send no more; it may still read. Called once at most.
    fn receive_eof(&mut self, now: Instant);

    /// Does all that can be done now, and arranges through `cx` to be polled again when anything
    /// that it waits for inside (a handler's answer, say) is there.
    ///
    /// `Ready`: flush the output, then close; the session isn't called again. Otherwise `deadline`
    /// is after `now` when it returns. It may be called more often than there is work.
    ///
    /// A session that has written much, 4 KiB or more, may stop early with work left: it is polled
    /// again when its output was flushed. It has to, if it can write without being given input:
    /// while the peer takes no output, it gets no input either, but is still polled when it is
    /// woken.
    ///
    /// By default it is over at its [`deadline`](Self::deadline): for a session that does all it
    /// does as bytes come.
    fn poll(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let _ = cx;
        match self.deadline() {
            Some(deadline) if deadline <= now => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }

    /// Bytes for the peer; the transport takes from the front what it has sent.
    fn output(&mut self) -> &mut OutputBuffer;

    /// False while the session holds as much input as it cares to: back-pressure. By default it is
    /// always true, for a session that keeps no more of its input than a bounded part.
    fn wants_read(&self) -> bool {
        true
    }

    /// When to call [`poll`](Self::poll) at the latest. `None`, the default: only when something
    /// happens, so that a peer that says nothing stays for ever.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// The server is going away: finish what is under way, then say so and be `Ready`. Called once
    /// at most, and followed by [`poll`](Self::poll).
    ///
    /// By default it is to the session as if the peer had sent its last byte.
    fn shutdown(&mut self, now: Instant) {
        self.receive_eof(now);
    }

    /// Whether the peer has asked for the end itself (by QUIT, say), so that nothing more comes
    /// from it.
    ///
    /// Asked when the session is `Ready`. The connection is then closed as soon as the output is
    /// flushed. Otherwise it is half-closed first, and what the peer still sends is read and
    /// dropped for a while: bytes that arrive at a closed socket are answered by a reset, which may
    /// destroy the last reply before the peer has read it (RFC 9293 section 3.10.7.1, RFC 1122
    /// section 4.2.2.13).
    fn peer_is_done(&self) -> bool {
        false
    }

    /// Whether the next [`poll`](Self::poll) may cost a thousand times what others do, as a TLS
    /// handshake does.
    ///
    /// The transport then reads all that the kernel has before it polls, whatever was reported of
    /// the socket. So a session learns that its peer has left before it works for it, not after.
    fn is_costly(&self) -> bool {
        false
    }
}
