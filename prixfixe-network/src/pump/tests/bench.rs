//! A pump between a socket that does as it is told and a session that shouts.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use self::Act::{Fail, Move};
use super::super::{Next, Phase, Pump, PumpSocket, READ_BUFFER_SIZE};
use crate::{OutputBuffer, Session};

pub(super) const LINGER: Duration = Duration::from_secs(5);
pub(super) const TIMEOUT: Duration = Duration::from_secs(300);

/// Answers each octet in upper case, a few a poll; `.` ends it, and so does the end of the input,
/// with `!`.
#[derive(Debug)]
pub(super) struct Shout {
    input: VecDeque<u8>,
    output: OutputBuffer,
    deadline: Instant,
    eof: bool,
    /// What to make of a poll, and of an input, at most.
    pub(super) output_a_poll: usize,
    pub(super) enough_input: usize,
    pub(super) polls: usize,
    pub(super) peer_is_done: bool,
    /// Each poll with input is.
    pub(super) is_costly: bool,
}

impl Shout {
    fn new(now: Instant) -> Self {
        Self {
            input: VecDeque::new(),
            output: OutputBuffer::new(),
            deadline: now + TIMEOUT,
            eof: false,
            output_a_poll: usize::MAX,
            enough_input: usize::MAX,
            polls: 0,
            peer_is_done: false,
            is_costly: false,
        }
    }
}

/// What a peer gets to see.
pub(super) fn oracle(input: &[u8]) -> Vec<u8> {
    let end = input
        .iter()
        .position(|&byte| byte == b'.')
        .unwrap_or(input.len());
    let mut output = input[..end].to_ascii_uppercase();
    output.push(b'!');
    output
}

impl Session for Shout {
    fn receive(&mut self, _: Instant, bytes: &[u8]) {
        assert!(!bytes.is_empty() && !self.eof && self.wants_read());
        self.input.extend(bytes);
    }

    fn receive_eof(&mut self, _: Instant) {
        assert!(!self.eof);
        self.eof = true;
    }

    fn poll(&mut self, now: Instant, _: &mut Context<'_>) -> Poll<()> {
        self.polls += 1;
        if now >= self.deadline {
            self.output.extend_from_slice(b"late");
            return Poll::Ready(());
        }
        for _ in 0..self.output_a_poll {
            match self.input.pop_front() {
                Some(b'.') => self.eof = true,
                Some(byte) => {
                    self.output.extend_from_slice(&[byte.to_ascii_uppercase()]);
                    continue;
                }
                None if !self.eof => break,
                None => {}
            }
            self.output.extend_from_slice(b"!");
            return Poll::Ready(());
        }
        Poll::Pending
    }

    fn output(&mut self) -> &mut OutputBuffer {
        &mut self.output
    }

    fn wants_read(&self) -> bool {
        self.input.len() < self.enough_input
    }

    fn deadline(&self) -> Option<Instant> {
        Some(self.deadline)
    }

    fn shutdown(&mut self, _: Instant) {
        self.eof = true;
    }

    fn peer_is_done(&self) -> bool {
        self.peer_is_done
    }

    fn is_costly(&self) -> bool {
        self.is_costly && !self.input.is_empty()
    }
}

/// What the socket does at one call.
#[derive(Debug, Clone, Copy)]
pub(super) enum Act {
    /// Moves so many octets at most.
    Move(usize),
    Fail(ErrorKind),
}

pub(super) const BLOCK: Act = Fail(ErrorKind::WouldBlock);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Read(usize),
    Write(usize),
    Shutdown,
    AskKernel,
}

/// Follows a script for reads and one for writes. Where one is at its end the socket does all that
/// it is asked for.
#[derive(Debug, Default)]
pub(super) struct Scripted {
    pub(super) input: VecDeque<u8>,
    pub(super) output: Vec<u8>,
    pub(super) reads: VecDeque<Act>,
    pub(super) writes: VecDeque<Act>,
    /// Blocks after the input, in place of ending.
    pub(super) stays_open: bool,
    calls: Rc<RefCell<Vec<Call>>>,
}

impl Read for Scripted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = match self.reads.pop_front() {
            Some(Fail(kind)) => return Err(kind.into()),
            Some(Move(most)) => most,
            None => usize::MAX,
        };
        if self.input.is_empty() && self.stays_open {
            return Err(ErrorKind::WouldBlock.into());
        }
        let count = most.min(buffer.len()).min(self.input.len());
        for (slot, byte) in buffer.iter_mut().zip(self.input.drain(..count)) {
            *slot = byte;
        }
        self.calls.borrow_mut().push(Call::Read(count));
        Ok(count)
    }
}

impl Write for Scripted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = match self.writes.pop_front() {
            Some(Fail(kind)) => return Err(kind.into()),
            Some(Move(most)) => most.min(bytes.len()),
            None => bytes.len(),
        };
        self.output.extend_from_slice(&bytes[..count]);
        self.calls.borrow_mut().push(Call::Write(count));
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl PumpSocket for Scripted {
    fn ask_kernel(&mut self) {
        self.calls.borrow_mut().push(Call::AskKernel);
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.calls.borrow_mut().push(Call::Shutdown);
        Ok(())
    }
}

/// A pump with its socket and its clock.
pub(super) struct Bench {
    pub(super) pump: Pump<Shout>,
    pub(super) socket: Scripted,
    pub(super) buffer: Vec<u8>,
    pub(super) now: Instant,
}

impl Bench {
    pub(super) fn new(input: &[u8]) -> Self {
        let now = Instant::now();
        let socket = Scripted {
            input: input.iter().copied().collect(),
            ..Scripted::default()
        };
        Self {
            pump: Pump::new(Shout::new(now), LINGER),
            socket,
            buffer: vec![0; READ_BUFFER_SIZE],
            now,
        }
    }

    /// The peer has sent this, and no end yet.
    pub(super) fn open(input: &[u8]) -> Self {
        let mut bench = Self::new(input);
        bench.socket.stays_open = true;
        bench
    }

    pub(super) fn session(&mut self) -> &mut Shout {
        match &mut self.pump.phase {
            Phase::Serving(session) | Phase::Flushing { session, .. } => session,
            phase => panic!("no session in {phase:?}"),
        }
    }

    /// As a transport does: what follows the end of the session follows at once.
    pub(super) fn turn(&mut self) -> Next {
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            match self
                .pump
                .turn(&mut self.socket, &mut self.buffer, self.now, &mut cx)
            {
                Next::Ended => {}
                next => return next,
            }
        }
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        self.socket.calls.take()
    }
}
