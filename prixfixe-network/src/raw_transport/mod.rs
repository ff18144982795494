//! The transport on the operating system's poller, through mio: one event loop a thread, which has
//! its listening sockets to itself where the platform allows it. A connection never leaves its
//! thread. Needs no tokio.

mod acceptor;
mod connections;
mod deadlines;
mod event_loop;
mod socket;
mod stream;
mod woken;

use std::thread;

#[cfg(feature = "tokio")]
use tokio::runtime::Handle;

use self::event_loop::EventLoop;
use crate::control::Stage;
use crate::options::thread_count;
use crate::server::Start;
use crate::{ServeError, Service};

pub(crate) fn start<S: Service>(start: &Start<'_, S>) -> Result<(), ServeError> {
    let mut loops = Vec::new();
    for index in 0..thread_count(start.options) {
        loops.push(EventLoop::new(start, start.sockets(index)?)?);
    }
    #[cfg(feature = "tokio")]
    let runtime = Handle::try_current().ok();
    for (index, event_loop) in loops.into_iter().enumerate() {
        #[cfg(feature = "tokio")]
        let runtime = runtime.clone();
        let server = start.guard.clone();
        let run = move || {
            // Sessions may then use what they find when the transport is tokio's.
            #[cfg(feature = "tokio")]
            let _entered = runtime.as_ref().map(Handle::enter);
            event_loop.run();
            drop(server);
        };
        let thread = thread::Builder::new().name(format!("prixfixe-raw-{index}"));
        if let Err(error) = thread.spawn(run) {
            start.control.advance(Stage::Aborted);
            return Err(ServeError::Thread(error));
        }
    }
    Ok(())
}
