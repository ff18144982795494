//! Moves bytes between TCP sockets and anything that is a [`Session`].
//!
//! A session is one connection seen from above the socket: bytes in, bytes out and a deadline. It
//! knows no socket, reads no clock and starts no task, so that it can be tested in memory. A
//! [`Service`] makes one for each connection that is accepted, and [`serve`] does the rest. Nothing
//! here knows which protocol is spoken, or whether it is encrypted: TLS is a session around a
//! session.
//!
//! # A complete example
//!
//! It echoes what it is sent, for a minute at most.
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::TcpStream;
//! use std::sync::Arc;
//! use std::task::{Context, Poll};
//! use std::time::{Duration, Instant};
//!
//! use prixfixe_network::{Connection, Listener, Options, OutputBuffer, Service, Session, serve};
//!
//! struct Echo;
//!
//! impl Service for Echo {
//!     type Session = EchoSession;
//!
//!     fn session(&self, now: Instant, _: &Connection) -> EchoSession {
//!         EchoSession { output: OutputBuffer::new(), end: now + Duration::from_secs(60), over: false }
//!     }
//!
//!     fn over_limit(&self, _: Instant, _: &Connection) -> &[u8] {
//!         b"too many\r\n"
//!     }
//! }
//!
//! struct EchoSession { output: OutputBuffer, end: Instant, over: bool }
//!
//! impl Session for EchoSession {
//!     fn receive(&mut self, _: Instant, bytes: &[u8]) { self.output.extend_from_slice(bytes); }
//!     fn receive_eof(&mut self, _: Instant) { self.over = true; }
//!     fn poll(&mut self, now: Instant, _: &mut Context<'_>) -> Poll<()> {
//!         if self.over || now >= self.end { Poll::Ready(()) } else { Poll::Pending }
//!     }
//!     fn output(&mut self) -> &mut OutputBuffer { &mut self.output }
//!     fn wants_read(&self) -> bool { true }
//!     fn deadline(&self) -> Option<Instant> { Some(self.end) }
//!     fn shutdown(&mut self, _: Instant) { self.over = true; }
//! }
//!
//! let listeners = Listener::bind_localhost(0)?;
//! let running = serve(listeners, Arc::new(Echo), Options::default())?;
//!
//! let mut client = TcpStream::connect(running.local_addresses()[0])?;
//! client.write_all(b"hello")?;
//! let mut answer = [0; 5];
//! client.read_exact(&mut answer)?;
//! assert_eq!(&answer, b"hello");
//!
//! running.shutdown(); // and `running.stopped().await`
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What a turn does
//!
//! A connection has a turn when its socket is ready, its session was woken, or its deadline has
//! come:
//!
//! 1. The clock is read, once. If the server is going away, the session is told
//!    ([`Session::shutdown`]).
//! 2. If the session wants input, one read of at most [`READ_BUFFER_SIZE`] is made into a buffer
//!    that the thread owns, and the session takes what came ([`Session::receive`],
//!    [`Session::receive_eof`]). Not while output waits: a peer that doesn't read isn't served.
//!    Before [costly](Session::is_costly) work it reads on until the socket has nothing left: a
//!    peer that has left meanwhile gets none.
//! 3. The session works ([`Session::poll`]).
//! 4. Its output is written: the answers to one read leave in one write. If it was much, the
//!    session may have stopped early, and works again before more is read.
//! 5. Steps 2 to 4 repeat. The turn is over when the socket would block, when the session wants
//!    nothing, or when the connection has had its share: sixteen rounds or 128 KiB. Then it is the
//!    others' turn.
//! 6. A session that is `Ready` is done. Its last output is flushed and the connection half-closed.
//!    What the peer still sends is read and dropped until it closes too, so that the last reply
//!    isn't destroyed by a reset. [`Session::peer_is_done`] saves that.
//!
//! > **The one invariant:** when `poll` returns `Pending`, the session's deadline is after `now`. Otherwise
//! > it would be polled again at once, for ever. A debug assertion says so.
//!
//! # Transports
//!
//! They differ in how they wait, and in nothing else: the turn is the same code, and the same suite
//! runs on both.
//!
//! | | [`Tokio`](Transport::Tokio) | [`Raw`](Transport::Raw) |
//! |---|---|---|
//! | a connection is | a task | an entry in its thread's table |
//! | threads | the runtime that it is started in; or its own, with a single-threaded runtime each | its own, with an event loop each |
//! | futures inside a session may use tokio | yes | if `serve` was called in a runtime |
//! | needs | tokio with I/O and timers | only the operating system's poller |
//!
//! A third, [`simulation`], waits for nothing by itself: it is for tests, in one thread and in time
//! of their own.
//!
//! [`Auto`](Transport::Auto) takes tokio, and raw where tokio cannot be set up. Threads of its own
//! each listen on a socket of their own where the kernel can deal connections out among them
//! (Linux), and share one elsewhere. A runtime that such a thread has goes when its last connection
//! does, with whatever else was spawned on it.
//!
//! # What a connection can cost
//!
//! - Input: what the session keeps. Reading is into one buffer a thread of 64 KiB; an idle
//!   connection has none.
//! - Output: what the session makes of one read, or before it stops early.
//! - A turn: three reads and sixteen rounds.
//! - A connection that is over: 1 MiB of input that is dropped, and [`Options::linger`].
//! - Memory beside the session: about 1.1 KiB on tokio and 0.4 KiB on raw, as measured on Linux by
//!   `cargo run --release -p prixfixe-network --example idle tokio` (or `raw`).
//! - Connections: [`Options::max_connections`] sessions, as many again and 256 that are closing
//!   (beyond that they are closed without waiting for their peers), and the kernel's backlog of up
//!   to 4096. When descriptors run out, connections wait in the backlog.
#![deny(missing_docs)]

mod address;
mod bound;
mod completion;
mod connection;
mod control;
mod heartbeat;
mod incoming;
mod listen_socket;
mod listener;
mod options;
mod output;
mod pump;
mod raw_transport;
mod running;
mod server;
mod service;
mod session;
pub mod simulation;
mod sys;
#[cfg(feature = "tokio")]
mod tokio_transport;
#[cfg(unix)]
mod unix;
mod wakers;

pub use address::{Address, Credentials, Peer};
pub use bound::BoundSocket;
pub use listener::{BindError, Listener};
pub use options::{Options, Transport};
pub use output::OutputBuffer;
pub use pump::READ_BUFFER_SIZE;
pub use running::{ConnectionCount, Running};
pub use server::{ServeError, serve};
pub use service::{Connection, Service, canonical};
pub use session::Session;
#[cfg(unix)]
pub use unix::{BoundUnixSocket, UnixSocket};
