//! The transport on tokio: one task a connection.
//!
//! Inside a runtime it uses that one, unless threads of its own are asked for. Then, as outside of
//! a runtime, each thread has a single-threaded runtime and listening sockets to itself, and a
//! connection never leaves its thread.

mod acceptor;
mod connection;
mod listening;
mod socket;
mod stream;

use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, EnterGuard, Handle, Runtime};

use self::acceptor::Acceptor;
pub(crate) use self::stream::serve as serve_stream;
use crate::completion::{Completion, CompletionGuard, completion};
use crate::control::{Control, Stage};
use crate::listen_socket::ListenSocket;
use crate::options::thread_count;
use crate::server::Start;
use crate::{ServeError, Service};

pub(crate) fn start<S: Service>(start: &Start<'_, S>) -> Result<(), ServeError> {
    match Handle::try_current() {
        Ok(runtime) if start.options.threads.is_none() => start_within(start, &runtime),
        _ => start_threads(start),
    }
}

fn start_within<S: Service>(start: &Start<'_, S>, runtime: &Handle) -> Result<(), ServeError> {
    let (guard, connections) = completion();
    let sockets = start.sockets(0)?;
    let acceptors = register(start, sockets, &guard)?;
    for acceptor in acceptors {
        runtime.spawn(acceptor.run());
    }
    let (control, server) = (Arc::clone(&start.control), start.guard.clone());
    runtime.spawn(async move {
        supervise(&control, &connections).await;
        drop(server);
    });
    Ok(())
}

fn start_threads<S: Service>(start: &Start<'_, S>) -> Result<(), ServeError> {
    let mut workers = Vec::new();
    for index in 0..thread_count(start.options) {
        let runtime = OwnRuntime::new().map_err(ServeError::Runtime)?;
        let entered = runtime.enter();
        let sockets = start.sockets(index)?;
        let (guard, connections) = completion();
        let acceptors = register(start, sockets, &guard)?;
        drop(entered);
        workers.push(Worker {
            runtime,
            acceptors,
            connections,
            control: Arc::clone(&start.control),
            server: start.guard.clone(),
        });
    }
    for (index, worker) in workers.into_iter().enumerate() {
        let thread = thread::Builder::new().name(format!("prixfixe-tokio-{index}"));
        if let Err(error) = thread.spawn(move || worker.run()) {
            start.control.advance(Stage::Aborted);
            return Err(ServeError::Thread(error));
        }
    }
    Ok(())
}

/// A thread of the transport.
struct Worker<S: Service> {
    runtime: OwnRuntime,
    acceptors: Vec<Acceptor<S>>,
    connections: Completion,
    control: Arc<Control>,
    server: CompletionGuard,
}

impl<S: Service> Worker<S> {
    fn run(self) {
        let Self {
            runtime,
            acceptors,
            connections,
            control,
            server,
        } = self;
        runtime.block_on(async {
            for acceptor in acceptors {
                tokio::spawn(acceptor.run());
            }
            supervise(&control, &connections).await;
        });
        drop(server);
    }
}

/// How many tasks a thread runs before it asks the poller again. Some take long: a TLS handshake as
/// long as a hundred commands. With tokio's own 61, whoever becomes ready meanwhile waits for
/// dozens of them.
const TASKS_BETWEEN_EVENTS: u32 = 8;

/// A runtime that can be dropped anywhere: tokio's own blocks for what is left on it, and panics
/// inside of another one.
struct OwnRuntime(Option<Runtime>);

impl OwnRuntime {
    fn new() -> io::Result<Self> {
        Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .event_interval(TASKS_BETWEEN_EVENTS)
            .build()
            .map(Some)
            .map(Self)
    }

    fn enter(&self) -> Option<EnterGuard<'_>> {
        self.0.as_ref().map(Runtime::enter)
    }

    /// Runs it, and then the runtime is gone. What handlers have left behind on it isn't waited
    /// for.
    fn block_on(mut self, future: impl Future<Output = ()>) {
        if let Some(runtime) = self.0.take() {
            runtime.block_on(future);
            runtime.shutdown_background();
        }
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Waits for the end of all connections, and puts an end to those that outlast the drain.
async fn supervise(control: &Control, connections: &Completion) {
    control.reached(Stage::Draining).await;
    if tokio::time::timeout(control.drain_timeout(), connections.wait())
        .await
        .is_err()
    {
        control.advance(Stage::Aborted);
        connections.wait().await;
    }
}

/// Another turn after the others had theirs and the poller was asked. A task that wakes itself
/// would be the next one to run on a runtime with several threads.
fn yield_turn(cx: &mut Context<'_>) -> Poll<()> {
    pin!(tokio::task::yield_now()).poll(cx)
}

/// Makes the runtime that is entered watch the listening sockets.
fn register<S: Service>(
    start: &Start<'_, S>,
    sockets: Vec<ListenSocket>,
    guard: &CompletionGuard,
) -> Result<Vec<Acceptor<S>>, ServeError> {
    let register = || {
        // To find out whether there is a timer.
        drop(tokio::time::sleep(Duration::ZERO));
        let incoming = start.incoming(guard);
        incoming
            .zip(sockets)
            .map(|(incoming, socket)| Acceptor::new(socket, incoming))
            .collect()
    };
    // A runtime without I/O or timers says so by a panic and in no other way.
    catch_unwind(AssertUnwindSafe(register)).unwrap_or_else(|_| {
        Err(ServeError::Runtime(io::Error::new(
            io::ErrorKind::Unsupported,
            "it has no I/O or no timers",
        )))
    })
}
