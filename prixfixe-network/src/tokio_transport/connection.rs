//! The task of a connection: a turn, then waiting for what the turn says.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::time::Sleep;

use super::socket::Socket;
use crate::Session;
use crate::connection::Served;
use crate::control::StageWatch;
use crate::pump::{Next, PumpSocket, READ_BUFFER_SIZE};

/// What bytes come and go by.
pub(super) trait Stream: Send {
    /// The stream in the course of one turn.
    fn socket<'s>(&'s mut self, cx: &'s mut Context<'_>) -> impl PumpSocket + 's;
}

impl Stream for TcpStream {
    fn socket<'s>(&'s mut self, cx: &'s mut Context<'_>) -> impl PumpSocket + 's {
        Socket {
            stream: self,
            cx,
            asks_kernel: false,
        }
    }
}

#[cfg(unix)]
impl Stream for UnixStream {
    fn socket<'s>(&'s mut self, cx: &'s mut Context<'_>) -> impl PumpSocket + 's {
        Socket {
            stream: self,
            cx,
            asks_kernel: false,
        }
    }
}

/// Drives a connection to its end.
#[expect(
    clippy::manual_async_fn,
    reason = "it would keep its arguments twice, as captured and as used"
)]
pub(super) fn drive<S: Session>(
    mut stream: impl Stream,
    mut served: Served<S>,
) -> impl Future<Output = ()> + Send {
    async move {
        // Never, until there is a deadline; it costs the runtime nothing before.
        let mut timer = pin!(tokio::time::sleep(Duration::MAX));
        let mut watch = None;
        poll_fn(|cx| {
            // Once: the waker of a task stays the same.
            watch.get_or_insert_with(|| StageWatch::new(served.control(), cx.waker().clone()));
            loop {
                let now = Instant::now();
                let turn = with_buffer(|buffer| {
                    let socket_cx = &mut Context::from_waker(cx.waker());
                    served.turn(&mut stream.socket(socket_cx), buffer, now, cx)
                });
                match turn {
                    Next::Wait(None) => return Poll::Pending,
                    Next::Wait(Some(deadline)) => {
                        if poll_timer(timer.as_mut(), deadline, cx).is_pending() {
                            return Poll::Pending;
                        }
                    }
                    Next::Again => return super::yield_turn(cx),
                    Next::Ended | Next::Close => return Poll::Ready(()),
                }
            }
        })
        .await;
        drop(watch);
        served.close();
    }
}

/// Waits for the deadline, and sets the timer only where it has to: deadlines move later with every
/// command, so most of the time one that fires too early, long after, is cheaper.
fn poll_timer(mut timer: Pin<&mut Sleep>, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
    loop {
        if timer.is_elapsed() || timer.deadline() > deadline.into() {
            timer.as_mut().reset(deadline.into());
        }
        match timer.as_mut().poll(cx) {
            Poll::Ready(()) if timer.deadline() < deadline.into() => {}
            poll => return poll,
        }
    }
}

thread_local! {
    /// An idle connection holds no read buffer: each thread has one.
    static BUFFER: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

fn with_buffer<R>(turn: impl FnOnce(&mut [u8]) -> R) -> R {
    // Taken out meanwhile: a session that ran another transport on this thread would get a buffer
    // of its own.
    let mut buffer = BUFFER
        .take()
        .unwrap_or_else(|| vec![0; READ_BUFFER_SIZE].into_boxed_slice());
    let result = turn(&mut buffer);
    BUFFER.set(Some(buffer));
    result
}
