//! The one trait that a transport drives.

use std::task::{Context, Poll};
use std::time::Instant;

use crate::OutputBuffer;

/// One connection, seen from above the socket: bytes in, bytes out and a deadline.
///
/// A session knows no socket and reads no clock. The transport calls it in this order, as often as there is
/// anything to do: [`receive`](Self::receive) for what was read, [`poll`](Self::poll) for the work,
/// [`output`](Self::output) for what is to be written, then [`wants_read`](Self::wants_read) and
/// [`deadline`](Self::deadline) to know what to wait for.
pub trait Session: Send + 'static {
    /// Takes bytes that the peer sent. All of them are taken; to have fewer, say so in `wants_read`.
    fn receive(&mut self, now: Instant, bytes: &[u8]);

    /// The peer will send no more; it may still read.
    fn receive_eof(&mut self, now: Instant);

    /// Does all that can be done now, and arranges through `cx` to be polled again when anything that it
    /// waits for inside (a handler's answer, say) is there.
    ///
    /// `Ready`: flush the output, then close. Otherwise `deadline` is after `now` when it returns. A session
    /// that has written much may stop early with work left: it is polled again when its output was flushed.
    fn poll(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<()>;

    /// Bytes for the peer; the transport takes from the front what it has sent.
    fn output(&mut self) -> &mut OutputBuffer;

    /// False while the session holds as much input as it cares to: back-pressure.
    fn wants_read(&self) -> bool;

    /// When to call `poll` at the latest.
    fn deadline(&self) -> Option<Instant>;

    /// The server is going away: finish what is under way, then say so and be `Ready`.
    fn shutdown(&mut self, now: Instant);
}
