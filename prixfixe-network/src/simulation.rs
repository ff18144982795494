//! A transport without sockets and without a clock: whoever calls it moves the bytes and says what
//! time it is.
//!
//! It does what the others do with a connection that was accepted, by the same code: the connection
//! limit, the turn, the drain. What is left to the caller is what they differ in, namely how to
//! wait. So a test drives thousands of sessions in one thread, in simulated time, and twice the
//! same way:
//!
//! 1. [`Transport::admit`] makes a [`Served`] of a connection, or says that it is one too many.
//! 2. [`Served::turn`] does what can be done now over a [`Socket`] of the caller's. The first turn
//!    is due at once.
//! 3. [`Next`] says when the next one is.
//! 4. After [`Transport::shutdown`] every connection has a turn; what is left after the drain
//!    timeout is ended by [`Transport::abort`] and one turn more.
//!
//! ```
//! # use std::io::{self, Read, Write};
//! # use std::sync::Arc;
//! # use std::task::{Context, Poll, Waker};
//! # use std::time::Instant;
//! # use prixfixe_network::{Connection, Options, OutputBuffer, Service, Session};
//! use prixfixe_network::simulation::{Admission, Next, Socket, Transport};
//!
//! # struct Hello;
//! # impl Service for Hello {
//! #     type Session = Greeting;
//! #     fn session(&self, _: Instant, _: &Connection) -> Greeting {
//! #         let mut output = OutputBuffer::new();
//! #         output.extend_from_slice(b"hello");
//! #         Greeting(output)
//! #     }
//! #     fn over_limit(&self, _: Instant, _: &Connection) -> &[u8] { b"" }
//! # }
//! # struct Greeting(OutputBuffer);
//! # impl Session for Greeting {
//! #     fn receive(&mut self, _: Instant, _: &[u8]) {}
//! #     fn receive_eof(&mut self, _: Instant) {}
//! #     fn poll(&mut self, _: Instant, _: &mut Context<'_>) -> Poll<()> { Poll::Ready(()) }
//! #     fn output(&mut self) -> &mut OutputBuffer { &mut self.0 }
//! #     fn wants_read(&self) -> bool { true }
//! #     fn deadline(&self) -> Option<Instant> { None }
//! #     fn shutdown(&mut self, _: Instant) {}
//! # }
//! /// A socket in memory, whose peer has closed its side.
//! #[derive(Default)]
//! struct Memory { written: Vec<u8> }
//! # impl Read for Memory {
//! #     fn read(&mut self, _: &mut [u8]) -> io::Result<usize> { Ok(0) }
//! # }
//! # impl Write for Memory {
//! #     fn write(&mut self, bytes: &[u8]) -> io::Result<usize> { self.written.write(bytes) }
//! #     fn flush(&mut self) -> io::Result<()> { Ok(()) }
//! # }
//! impl Socket for Memory {
//!     fn shutdown_write(&mut self) -> io::Result<()> { Ok(()) }
//! }
//!
//! let transport = Transport::new(Arc::new(Hello), &Options::default());
//! # let here = std::net::SocketAddr::from(([127, 0, 0, 1], 25));
//! let connection = Connection::new(here, Some(here), 0);
//! let now = Instant::now();
//! let Admission::Served(mut served) = transport.admit(now, &connection) else { panic!("one is not too many") };
//! let mut socket = Memory::default();
//! let next = served.turn(&mut socket, &mut [0; 1024], now, &mut Context::from_waker(Waker::noop()));
//! assert_eq!(next, Next::Close);
//! assert_eq!(socket.written, b"hello");
//! ```

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::task::Context;
use std::time::Instant;

use crate::completion::{CompletionGuard, completion};
use crate::control::{Control, Stage};
use crate::pump::{self, PumpSocket};
use crate::{Connection, Options, Service, Session, connection, incoming};

/// The socket of a simulated connection: non-blocking, and once it has said `WouldBlock` the caller
/// takes another turn when that is over.
pub trait Socket: Read + Write {
    /// Sends the end of the stream.
    ///
    /// # Errors
    ///
    /// The connection is broken.
    fn shutdown_write(&mut self) -> io::Result<()>;
}

/// When the next turn of a connection is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// As soon as the others had theirs.
    Again,
    /// When the socket is ready, the session wakes, or this time has come.
    Wait(Option<Instant>),
    /// Never: the connection is over, drop it.
    Close,
}

/// A transport that waits for nothing by itself.
#[derive(Debug)]
pub struct Transport<S> {
    service: Arc<S>,
    control: Arc<Control>,
    guard: CompletionGuard,
}

/// What becomes of a connection that was accepted.
#[derive(Debug)]
pub enum Admission<'t, S> {
    /// It has a session.
    Served(Served<S>),
    /// It is one too many: it is sent these bytes and closed.
    OverLimit(&'t [u8]),
}

/// A connection with its session.
#[derive(Debug)]
pub struct Served<S>(connection::Served<S>);

impl<S: Service> Transport<S> {
    /// Of the options, those about threads and the choice of a transport mean nothing here, and the
    /// drain timeout is the caller's to keep.
    #[must_use]
    pub fn new(service: Arc<S>, options: &Options) -> Self {
        let (guard, _) = completion();
        Self {
            service,
            control: Arc::new(Control::new(options, false)),
            guard,
        }
    }

    /// A connection was accepted.
    pub fn admit(&self, now: Instant, connection: &Connection) -> Admission<'_, S::Session> {
        match incoming::receive(&self.service, &self.control, &self.guard, connection, now) {
            Ok(served) => Admission::Served(Served(served)),
            Err(reply) => Admission::OverLimit(reply),
        }
    }

    /// The server is going away. Each connection learns it in its next turn.
    pub fn shutdown(&self) {
        self.control.advance(Stage::Draining);
    }

    /// The server is gone. Each connection learns it in its next turn.
    pub fn abort(&self) {
        self.control.advance(Stage::Aborted);
    }

    /// Sessions under way, without the connections of which only the last bytes are left.
    #[must_use]
    pub fn active_connections(&self) -> usize {
        self.control.active_connections()
    }
}

impl<S: Session> Served<S> {
    /// Does what can be done now. `buffer` is what is read into: 64 KiB with the other transports.
    pub fn turn(
        &mut self,
        socket: &mut impl Socket,
        buffer: &mut [u8],
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Next {
        match self.0.turn(&mut Adapter(socket), buffer, now, cx) {
            pump::Next::Again => Next::Again,
            pump::Next::Wait(deadline) => Next::Wait(deadline),
            pump::Next::Ended | pump::Next::Close => Next::Close,
        }
    }

    /// The session; `None` once it is done and its last bytes have left.
    #[must_use]
    pub fn session(&self) -> Option<&S> {
        self.0.session()
    }
}

struct Adapter<'s, K>(&'s mut K);

impl<K: Read> Read for Adapter<'_, K> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<K: Write> Write for Adapter<'_, K> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<K: Socket> PumpSocket for Adapter<'_, K> {
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.0.shutdown_write()
    }
}
