//! Moves bytes between one socket and one session: all that is subtle about it is here, once, for
//! every transport.
//!
//! What a turn does, step by step, is in the [crate's documentation](crate).
//!
//! The socket answers `WouldBlock` without a system call once a short transfer has shown that it is
//! empty or full; both transports see to that.
//!
//! When the session is done its last bytes are flushed; then the connection is half-closed and what
//! the peer still sends is read and dropped, until the peer closes too. To close at once would be
//! answered by a reset if anything is unread or still comes, and a reset may destroy the last reply
//! before the peer has read it. Neither phase outlasts the linger time.

use std::io::{self, Read, Write};
use std::mem;
use std::task::Context;
use std::time::{Duration, Instant};

use crate::{OutputBuffer, Session};

/// The most bytes that a session is given at once: the size of the buffer that a transport lends to
/// a turn.
pub const READ_BUFFER_SIZE: usize = 64 * 1024;

/// Octets that a turn reads, at least one read; then it is the others' turn.
const OCTETS_A_TURN: usize = 2 * READ_BUFFER_SIZE;

/// Rounds of a turn. Seldom are more than three needed; many are by a session that stops early
/// again and again.
const ROUNDS_A_TURN: usize = 16;

/// A session that has written so many octets may have stopped early: [`Session::poll`] says so.
const MUCH_OUTPUT: usize = 4096;

/// Octets that are read and dropped for the sake of a clean close.
const LINGER_OCTETS: usize = 1024 * 1024;

/// The socket of a pump: non-blocking, and once it has said `WouldBlock` the transport takes
/// another turn when that is over.
pub(crate) trait PumpSocket: Read + Write {
    /// Has the next read ask the kernel, also where nothing was reported since the last one. A
    /// report may be on its way.
    fn ask_kernel(&mut self) {}

    /// Sends the end of the stream.
    fn shutdown_write(&mut self) -> io::Result<()>;
}

/// What the transport does after a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another turn as soon as the others had theirs.
    Again,
    /// Another turn when the socket is ready, the session wakes, or this time has come.
    Wait(Option<Instant>),
    /// The session is done and only its last bytes are left. Another turn, at once.
    Ended,
    /// The connection is over: drop it.
    Close,
}

/// A session and how far the connection has come.
#[derive(Debug)]
pub(crate) struct Pump<S> {
    phase: Phase<S>,
    /// The peer sends no more.
    eof: bool,
    linger: Duration,
}

#[derive(Debug)]
enum Phase<S> {
    Serving(S),
    /// The session is done; the peer has yet to take the rest of its output.
    Flushing {
        session: S,
        until: Option<Instant>,
    },
    /// Half-closed; the peer has yet to close its side.
    Lingering {
        until: Option<Instant>,
        octets_left: usize,
    },
    Closed,
}

/// How far a turn is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// The session may have been woken.
    Begun,
    /// The session has done all it can without more input.
    Worked,
    /// It may have more to do, now that its output was flushed.
    StoppedEarly,
}

impl<S: Session> Pump<S> {
    pub(crate) fn new(session: S, linger: Duration) -> Self {
        Self {
            phase: Phase::Serving(session),
            eof: false,
            linger,
        }
    }

    /// The session, as long as there is one.
    pub(crate) fn session(&self) -> Option<&S> {
        match &self.phase {
            Phase::Serving(session) | Phase::Flushing { session, .. } => Some(session),
            Phase::Lingering { .. } | Phase::Closed => None,
        }
    }

    /// Tells the session that the server is going away. A turn has to follow.
    pub(crate) fn shutdown(&mut self, now: Instant) {
        if let Phase::Serving(session) = &mut self.phase {
            session.shutdown(now);
        }
    }

    /// Does what can be done now. A connection that breaks is over: nobody is left to be told.
    pub(crate) fn turn(
        &mut self,
        socket: &mut impl PumpSocket,
        buffer: &mut [u8],
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Next {
        match &mut self.phase {
            Phase::Serving(session) => {
                match serve(session, &mut self.eof, socket, buffer, now, cx) {
                    Ok(Served::Until(next)) => next,
                    Ok(Served::Done) => {
                        let phase = mem::replace(&mut self.phase, Phase::Closed);
                        self.phase = phase.flushing(now.checked_add(self.linger));
                        Next::Ended
                    }
                    Err(_) => Next::Close,
                }
            }
            Phase::Flushing { session, until } => {
                let until = *until;
                match finish(session, self.eof, socket) {
                    Ok(Finished::Blocked) => wait_or_close(until, now),
                    Ok(Finished::HalfClosed) => {
                        self.phase = Phase::Lingering {
                            until,
                            octets_left: LINGER_OCTETS,
                        };
                        // The peer may be done already.
                        self.turn(socket, buffer, now, cx)
                    }
                    Ok(Finished::Whole) | Err(_) => Next::Close,
                }
            }
            Phase::Lingering { until, octets_left } => {
                linger(*until, octets_left, socket, buffer, now).unwrap_or(Next::Close)
            }
            Phase::Closed => Next::Close,
        }
    }
}

impl<S> Phase<S> {
    /// The session, if there is one, is done.
    fn flushing(self, until: Option<Instant>) -> Self {
        match self {
            Self::Serving(session) => Self::Flushing { session, until },
            other => other,
        }
    }
}

/// What a turn with a session came to.
enum Served {
    Until(Next),
    /// The session is done.
    Done,
}

fn serve<S: Session>(
    session: &mut S,
    eof: &mut bool,
    socket: &mut impl PumpSocket,
    buffer: &mut [u8],
    now: Instant,
    cx: &mut Context<'_>,
) -> io::Result<Served> {
    let mut octets = 0;
    let mut progress = Progress::Begun;
    for _ in 0..ROUNDS_A_TURN {
        let reads = progress != Progress::StoppedEarly
            && !*eof
            && session.wants_read()
            && session.output().is_empty();
        let mut drained = false;
        if reads {
            if octets >= OCTETS_A_TURN {
                return Ok(Served::Until(Next::Again));
            }
            if session.is_costly() {
                socket.ask_kernel();
            }
            match read(socket, buffer)? {
                None => drained = true,
                Some([]) => {
                    *eof = true;
                    session.receive_eof(now);
                }
                Some(bytes) => {
                    octets += bytes.len();
                    session.receive(now, bytes);
                    if session.is_costly() {
                        progress = Progress::Begun;
                        continue;
                    }
                }
            }
        }
        if progress == Progress::Worked && (drained || !reads) {
            return Ok(wait_for(session));
        }
        if session.poll(now, cx).is_ready() {
            return Ok(Served::Done);
        }
        debug_assert!(
            session.deadline().is_none_or(|at| at > now),
            "a deadline in the past would spin"
        );
        let written = session.output().len();
        if flush(socket, session.output())? == Flushed::Blocked {
            return Ok(wait_for(session));
        }
        progress = if written >= MUCH_OUTPUT {
            Progress::StoppedEarly
        } else if drained {
            return Ok(wait_for(session));
        } else {
            Progress::Worked
        };
    }
    Ok(Served::Until(Next::Again))
}

fn wait_for(session: &impl Session) -> Served {
    Served::Until(Next::Wait(session.deadline()))
}

/// What flushing the last bytes of a session came to.
enum Finished {
    Blocked,
    /// Our side is closed, the peer's is not.
    HalfClosed,
    /// Nothing is left to be done.
    Whole,
}

fn finish(
    session: &mut impl Session,
    eof: bool,
    socket: &mut impl PumpSocket,
) -> io::Result<Finished> {
    if flush(socket, session.output())? == Flushed::Blocked {
        return Ok(Finished::Blocked);
    }
    if eof || session.peer_is_done() {
        return Ok(Finished::Whole);
    }
    socket.shutdown_write()?;
    Ok(Finished::HalfClosed)
}

fn linger(
    until: Option<Instant>,
    octets_left: &mut usize,
    socket: &mut impl PumpSocket,
    buffer: &mut [u8],
    now: Instant,
) -> io::Result<Next> {
    for _ in 0..ROUNDS_A_TURN {
        match read(socket, buffer)? {
            None => return Ok(wait_or_close(until, now)),
            Some([]) => return Ok(Next::Close),
            Some(bytes) => *octets_left = octets_left.saturating_sub(bytes.len()),
        }
        if *octets_left == 0 {
            return Ok(Next::Close);
        }
    }
    Ok(Next::Again)
}

fn wait_or_close(until: Option<Instant>, now: Instant) -> Next {
    match until {
        Some(until) if until <= now => Next::Close,
        _ => Next::Wait(until),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flushed {
    All,
    Blocked,
}

fn flush(socket: &mut impl Write, output: &mut OutputBuffer) -> io::Result<Flushed> {
    while !output.is_empty() {
        match socket.write(output.pending()) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => output.consume(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Flushed::Blocked),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Flushed::All)
}

/// What the peer sent: `None` if nothing is there yet, empty at its end.
fn read<'b>(socket: &mut impl Read, buffer: &'b mut [u8]) -> io::Result<Option<&'b [u8]>> {
    loop {
        match socket.read(buffer) {
            Ok(count) => return Ok(Some(buffer.get(..count).unwrap_or_default())),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
