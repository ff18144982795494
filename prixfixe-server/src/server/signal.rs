//! The future that shuts a server down.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use super::{Inner, StartError};

/// What a server is shut down by.
pub(super) struct Signal(pub(super) Pin<Box<dyn Future<Output = ()> + Send>>);

impl Signal {
    /// Until the signal or the end of the server, however that comes: nothing is left behind then.
    pub(super) fn watch(mut self, server: Arc<Inner>) -> Result<(), StartError> {
        let watched = async move {
            let mut stopped = pin!(server.running.stopped());
            poll_fn(|cx| match self.0.as_mut().poll(cx) {
                Poll::Ready(()) => {
                    server.running.shutdown();
                    Poll::Ready(())
                }
                Poll::Pending => stopped.as_mut().poll(cx),
            })
            .await;
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn(watched));
            return Ok(());
        }
        let thread = thread::Builder::new().name("shutdown-on".into());
        let spawned = thread.spawn(move || wait(watched));
        spawned.map(drop).map_err(StartError::Thread)
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signal")
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls a future on this thread until it is done.
fn wait(future: impl Future<Output = ()>) {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    while future
        .as_mut()
        .poll(&mut Context::from_waker(&waker))
        .is_pending()
    {
        thread::park();
    }
}
