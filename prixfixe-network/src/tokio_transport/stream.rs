//! A stream of the caller's own: a pipe in memory, a Unix socket, another program's connection.

use std::future::{Future, poll_fn};
use std::io::{self, Read, Write};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::{self, Stream};
use crate::Session;
use crate::connection::Served;
use crate::control::{Control, Permit, Stage};
use crate::pump::PumpSocket;

/// Serves a stream to its end, or tells it that it is one too many.
pub(crate) async fn serve<'l, T, S>(
    control: &Arc<Control>,
    mut stream: T,
    session: impl FnOnce() -> S,
    over_limit: impl FnOnce() -> &'l [u8],
) where
    T: AsyncRead + AsyncWrite + Unpin + Send,
    S: Session,
{
    match Permit::acquire(control) {
        Some(permit) => {
            let served = Served::new(session(), None, permit, None);
            let mut driven = pin!(connection::drive(Own(stream), served));
            let mut drained = pin!(drained(control));
            poll_fn(|cx| match driven.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(()),
                Poll::Pending => drained.as_mut().poll(cx),
            })
            .await;
        }
        None => refuse(&mut stream, over_limit()).await,
    }
}

/// Waits for the end of the drain timeout. The transport does not: it is gone with the last of its
/// own connections.
async fn drained(control: &Control) {
    control.reached(Stage::Draining).await;
    tokio::time::sleep(control.drain_timeout()).await;
}

/// Whoever does not take a short reply at once gets none.
async fn refuse(stream: &mut (impl AsyncWrite + Unpin), reply: &[u8]) {
    poll_fn(|cx| {
        let _ = Pin::new(&mut *stream).poll_write(cx, reply);
        let _ = Pin::new(&mut *stream).poll_shutdown(cx);
        Poll::Ready(())
    })
    .await;
}

struct Own<T>(T);

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for Own<T> {
    fn socket<'s>(&'s mut self, cx: &'s mut Context<'_>) -> impl PumpSocket + 's {
        Turn {
            stream: Pin::new(&mut self.0),
            cx,
        }
    }
}

/// The stream in the course of one turn.
struct Turn<'s, 'c, T> {
    stream: Pin<&'s mut T>,
    cx: &'s mut Context<'c>,
}

fn or_would_block<R>(poll: Poll<io::Result<R>>) -> io::Result<R> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl<T: AsyncRead> Read for Turn<'_, '_, T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(buffer);
        let read = self.stream.as_mut().poll_read(self.cx, &mut buffer);
        or_would_block(read).map(|()| buffer.filled().len())
    }
}

impl<T: AsyncWrite> Write for Turn<'_, '_, T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.stream.as_mut().poll_write(self.cx, bytes);
        // A stream with a buffer of its own is to hold nothing back while the session waits.
        let _ = self.stream.as_mut().poll_flush(self.cx);
        or_would_block(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        or_would_block(self.stream.as_mut().poll_flush(self.cx))
    }
}

impl<T: AsyncRead + AsyncWrite> PumpSocket for Turn<'_, '_, T> {
    fn shutdown_write(&mut self) -> io::Result<()> {
        match self.stream.as_mut().poll_shutdown(self.cx) {
            Poll::Ready(result) => result,
            // It goes on by itself, or the end of the stream says the same.
            Poll::Pending => Ok(()),
        }
    }
}
