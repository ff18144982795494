//! Mio's socket as the pump wants it.

use std::io::{self, Read, Write};
use std::net::Shutdown;

use mio::event::Event;
use mio::{Interest, Registry, Token};

use super::stream::Stream;
use crate::pump::PumpSocket;
use crate::sys::SHORT_TRANSFER_EMPTIES;

/// A stream and what is known of it. The poller reports changes only (it is edge-triggered), so
/// that what it has reported is remembered until a transfer shows that it is over; then
/// `WouldBlock` needs no system call.
#[derive(Debug)]
pub(super) struct Socket {
    stream: Stream,
    readable: bool,
    writable: bool,
    /// The end of the stream came with the last data: no report will follow for it.
    read_closed: bool,
    /// What the poller watches for.
    interest: Option<Interest>,
}

impl Socket {
    /// A socket that was accepted just now: it can be written to, and whether anything can be read
    /// the poller will tell.
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream,
            readable: false,
            writable: true,
            read_closed: false,
            interest: None,
        }
    }

    pub(super) fn ready(&mut self, event: &Event) {
        self.read_closed |= event.is_read_closed() || event.is_error();
        self.readable |= event.is_readable() || self.read_closed;
        self.writable |= event.is_writable() || event.is_write_closed() || event.is_error();
    }

    /// Has the poller watch for what is waited for. Writing is watched for from when the socket was
    /// full for the first time: for most it never is, and an event the fewer for each.
    pub(super) fn watch(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let wanted = match self.interest {
            None if self.writable => Interest::READABLE,
            Some(interest) if self.writable => interest,
            _ => Interest::READABLE | Interest::WRITABLE,
        };
        match self.interest.replace(wanted) {
            None => registry.register(&mut self.stream, token, wanted),
            Some(interest) if interest != wanted => {
                registry.reregister(&mut self.stream, token, wanted)
            }
            Some(_) => Ok(()),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.readable {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let result = self.stream.read(buffer);
        if is_over(&result, buffer.len()) && !self.read_closed {
            self.readable = false;
        }
        result
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.writable {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let result = self.stream.write(bytes);
        if is_over(&result, bytes.len()) {
            self.writable = false;
        }
        result
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl PumpSocket for Socket {
    fn ask_kernel(&mut self) {
        self.readable = true;
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }
}

/// Whether a transfer shows that the next one would block.
fn is_over(result: &io::Result<usize>, wanted: usize) -> bool {
    match result {
        Ok(count) => SHORT_TRANSFER_EMPTIES && *count < wanted,
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}
