//! A small line protocol, and the service that makes its sessions.
//!
//! A line is echoed, except `QUIT` (answered `BYE`, and the session ends; `LEAVE` is the same with
//! the peer known to be done), `ASK` (nothing is answered until the test says so, then `ANSWER`;
//! input waits), `HOLD` (its thread stands still until the test says so, then `HELD`), `POUR n` (n
//! lines of 1 KiB, a few a poll), `COSTLY` (work that is not done for a peer that has left),
//! `TOKIO` (whether a runtime is there) and `PANIC`.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use prixfixe_network::{Connection, OutputBuffer, Peer, Service, Session};

/// Input that a session holds before it wants no more.
const ENOUGH_INPUT: usize = 64 * 1024;
/// Output that a session makes before it stops early.
const ENOUGH_OUTPUT: usize = 16 * 1024;

#[derive(Debug)]
pub(crate) struct Toy {
    pub(crate) timeout: Duration,
    pub(crate) over_limit: Vec<u8>,
    pub(crate) panic_at_accept: AtomicBool,
    pub(crate) seen: Arc<Seen>,
}

impl Default for Toy {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(3600),
            over_limit: b"FULL\n".to_vec(),
            panic_at_accept: AtomicBool::new(false),
            seen: Arc::default(),
        }
    }
}

/// What the sessions have seen, for the test to look at; and the answer that they wait for.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) made: AtomicUsize,
    pub(crate) dropped: AtomicUsize,
    pub(crate) polls: AtomicUsize,
    pub(crate) asked: AtomicUsize,
    pub(crate) held: AtomicUsize,
    pub(crate) costly: AtomicUsize,
    pub(crate) octets: AtomicUsize,
    pub(crate) connections: Mutex<Vec<Connection>>,
    /// The peers' ports in the order of `receive`.
    pub(crate) order: Mutex<Vec<u16>>,
    answered: AtomicBool,
    wakers: Mutex<Vec<Waker>>,
    holding: Mutex<()>,
}

impl Seen {
    /// Until the guard is dropped, sessions that hold stand still.
    pub(crate) fn hold(&self) -> MutexGuard<'_, ()> {
        self.holding.lock().unwrap()
    }

    /// Lets all questions be answered, those to come as well.
    pub(crate) fn answer(&self) {
        self.answered.store(true, SeqCst);
        for waker in self.wakers.lock().unwrap().drain(..) {
            waker.wake();
        }
    }

    fn poll_answer(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.wakers.lock().unwrap().push(cx.waker().clone());
        if self.answered.load(SeqCst) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

fn port_of(peer: Peer) -> u16 {
    match peer {
        Peer::Ip(address) => address.port(),
        _ => 0,
    }
}

impl Service for Toy {
    type Session = ToySession;

    fn session(&self, now: Instant, connection: &Connection) -> ToySession {
        assert!(!self.panic_at_accept.load(SeqCst), "as the test wants it");
        self.seen.made.fetch_add(1, SeqCst);
        self.seen.connections.lock().unwrap().push(*connection);
        let mut output = OutputBuffer::new();
        output.extend_from_slice(b"HELLO\n");
        ToySession {
            seen: Arc::clone(&self.seen),
            port: port_of(connection.peer),
            timeout: self.timeout,
            deadline: now + self.timeout,
            input: VecDeque::new(),
            output,
            state: State::Ready,
            eof: false,
            shutdown: false,
        }
    }

    fn over_limit(&self, _: Instant, _: &Connection) -> &[u8] {
        &self.over_limit
    }
}

#[derive(Debug)]
pub(crate) struct ToySession {
    seen: Arc<Seen>,
    port: u16,
    timeout: Duration,
    deadline: Instant,
    input: VecDeque<u8>,
    output: OutputBuffer,
    state: State,
    eof: bool,
    shutdown: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ready,
    Asking,
    Pouring(usize),
    Done { by_peer: bool },
}

impl ToySession {
    fn say(&mut self, line: &str) {
        self.output.extend_from_slice(line.as_bytes());
        self.output.extend_from_slice(b"\n");
    }

    fn end(&mut self, last: &str) {
        self.say(last);
        self.state = State::Done { by_peer: false };
    }

    fn command(&mut self, line: &str) {
        match line {
            "QUIT" => self.end("BYE"),
            "LEAVE" => {
                self.say("BYE");
                self.state = State::Done { by_peer: true };
            }
            "ASK" => {
                self.seen.asked.fetch_add(1, SeqCst);
                self.state = State::Asking;
            }
            "HOLD" => {
                self.seen.held.fetch_add(1, SeqCst);
                drop(self.seen.hold());
                self.say("HELD");
            }
            "COSTLY" if self.eof => self.end("CUT"),
            "COSTLY" => {
                self.seen.costly.fetch_add(1, SeqCst);
                self.say("DONE");
            }
            "TOKIO" => {
                let there = tokio::runtime::Handle::try_current().is_ok();
                self.say(if there { "YES" } else { "NO" });
            }
            "PANIC" => panic!("as the test wants it"),
            _ => match line.strip_prefix("POUR ") {
                Some(lines) => self.state = State::Pouring(lines.parse().unwrap()),
                None => self.say(line),
            },
        }
    }

    fn take_line(&mut self) -> Option<String> {
        let end = self.input.iter().position(|&byte| byte == b'\n')?;
        let line = self.input.drain(..=end).take(end).collect();
        Some(String::from_utf8(line).unwrap())
    }

    /// False when there is nothing more to do.
    fn step(&mut self, cx: &mut Context<'_>) -> bool {
        match self.state {
            State::Done { .. } => return false,
            State::Asking => {
                if self.seen.poll_answer(cx).is_pending() {
                    return false;
                }
                self.say("ANSWER");
                self.state = State::Ready;
            }
            State::Pouring(0) => self.state = State::Ready,
            State::Pouring(lines) => {
                self.say(&"x".repeat(1023));
                self.state = State::Pouring(lines - 1);
            }
            State::Ready if self.shutdown => self.end("DOWN"),
            State::Ready => match self.take_line() {
                Some(line) => self.command(&line),
                None if self.eof && self.input.is_empty() => {
                    self.state = State::Done { by_peer: true };
                }
                None if self.eof => self.end("CUT"),
                None => return false,
            },
        }
        true
    }
}

impl Session for ToySession {
    fn receive(&mut self, now: Instant, bytes: &[u8]) {
        self.deadline = now + self.timeout;
        self.seen.octets.fetch_add(bytes.len(), SeqCst);
        self.seen.order.lock().unwrap().push(self.port);
        self.input.extend(bytes);
    }

    fn receive_eof(&mut self, _: Instant) {
        assert!(!self.eof, "told of the end twice");
        self.eof = true;
    }

    fn poll(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        self.seen.polls.fetch_add(1, SeqCst);
        if self.deadline <= now && matches!(self.state, State::Ready | State::Pouring(_)) {
            self.end("LATE");
        }
        while self.output.len() < ENOUGH_OUTPUT && self.step(cx) {}
        if self.deadline <= now {
            // A question outlasts the deadline: the peer isn't to blame.
            self.deadline = now + self.timeout;
        }
        match self.state {
            State::Done { .. } => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }

    fn output(&mut self) -> &mut OutputBuffer {
        &mut self.output
    }

    fn wants_read(&self) -> bool {
        self.input.len() < ENOUGH_INPUT
    }

    fn deadline(&self) -> Option<Instant> {
        Some(self.deadline)
    }

    fn shutdown(&mut self, _: Instant) {
        assert!(!self.shutdown, "told to stop twice");
        self.shutdown = true;
    }

    fn peer_is_done(&self) -> bool {
        self.state == State::Done { by_peer: true }
    }

    fn is_costly(&self) -> bool {
        self.input.iter().take(6).eq(b"COSTLY")
    }
}

impl Drop for ToySession {
    fn drop(&mut self) {
        self.seen.dropped.fetch_add(1, SeqCst);
    }
}
