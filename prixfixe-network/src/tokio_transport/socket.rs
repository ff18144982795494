//! Tokio's socket as the pump wants it.

use std::io::{self, Read, Write};
use std::mem;
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::pump::PumpSocket;

/// A stream in the course of one turn. Where it says `WouldBlock`, tokio has registered the task's
/// waker; after a short read or write it does so without asking the kernel.
pub(super) struct Socket<'s, 'c, T> {
    pub(super) stream: &'s mut T,
    pub(super) cx: &'s mut Context<'c>,
    /// The next read goes to the kernel, past what tokio knows.
    pub(super) asks_kernel: bool,
}

impl<T: AsyncRead + Unpin> Read for Socket<'_, '_, T>
where
    for<'a> SockRef<'a>: From<&'a T>,
{
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if mem::take(&mut self.asks_kernel) {
            match (&*SockRef::from(&*self.stream)).read(buffer) {
                // Tokio registers the waker below.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
        let mut buffer = ReadBuf::new(buffer);
        match Pin::new(&mut *self.stream).poll_read(self.cx, &mut buffer) {
            Poll::Ready(result) => result.map(|()| buffer.filled().len()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl<T: AsyncWrite + Unpin> Write for Socket<'_, '_, T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match Pin::new(&mut *self.stream).poll_write(self.cx, bytes) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> PumpSocket for Socket<'_, '_, T>
where
    for<'a> SockRef<'a>: From<&'a T>,
{
    fn ask_kernel(&mut self) {
        self.asks_kernel = true;
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        SockRef::from(&*self.stream).shutdown(Shutdown::Write)
    }
}
