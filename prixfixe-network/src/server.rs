//! Starting a transport.

use std::io;
use std::sync::Arc;

use crate::completion::{CompletionGuard, completion};
use crate::control::Control;
use crate::incoming::Incoming;
use crate::listen_socket::ListenSocket;
use crate::listener::Succession;
use crate::{Address, Listener, Options, Running, Service, Transport, raw_transport};

/// Serves `listeners` until told to stop.
///
/// It returns at once; connections are served by the runtime that it is called in or by threads of
/// its own (see [`Options::threads`]). No thread is started and nothing is accepted before all that
/// can fail is set up.
///
/// # Errors
///
/// [`ServeError`]. With [`Transport::Auto`] it is that of the raw transport, that of tokio having
/// been logged.
pub fn serve<S: Service>(
    listeners: Vec<Listener>,
    service: Arc<S>,
    options: Options,
) -> Result<Running, ServeError> {
    if listeners.is_empty() {
        return Err(ServeError::NoListener);
    }
    match options.transport {
        #[cfg(feature = "tokio")]
        Transport::Tokio => start(Transport::Tokio, &listeners, service, &options),
        Transport::Raw => start(Transport::Raw, &listeners, service, &options),
        #[cfg(not(feature = "tokio"))]
        Transport::Auto => start(Transport::Raw, &listeners, service, &options),
        #[cfg(feature = "tokio")]
        Transport::Auto => start(Transport::Tokio, &listeners, Arc::clone(&service), &options)
            .or_else(|error| {
                tracing::warn!(%error, "the tokio transport cannot be used; taking the raw one");
                start(Transport::Raw, &listeners, service, &options)
            }),
    }
}

/// A transport that cannot be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// There is nothing to listen on.
    #[error("no listener was given")]
    NoListener,
    /// The tokio runtime cannot be set up, or the one that there is has no I/O or no timers.
    #[error("the tokio runtime cannot be set up: {0}")]
    Runtime(#[source] io::Error),
    /// The event loop of the raw transport cannot be set up.
    #[error("the event loop cannot be set up: {0}")]
    EventLoop(#[source] io::Error),
    /// A listener cannot be used.
    #[error("cannot accept connections on {address}: {source}")]
    Listener {
        /// Where it listens.
        address: Address,
        /// What the system says.
        source: io::Error,
    },
    /// A thread cannot be started.
    #[error("a thread cannot be started: {0}")]
    Thread(#[source] io::Error),
}

/// What a transport starts with.
pub(crate) struct Start<'a, S> {
    pub(crate) listeners: &'a [Listener],
    pub(crate) service: Arc<S>,
    pub(crate) control: Arc<Control>,
    pub(crate) options: &'a Options,
    /// To be held until the last session is gone and the last listener closed.
    pub(crate) guard: CompletionGuard,
}

impl<S: Service> Start<'_, S> {
    /// The listening sockets of one thread.
    pub(crate) fn sockets(&self, thread: usize) -> Result<Vec<ListenSocket>, ServeError> {
        let socket = |listener: &Listener| {
            let socket = if thread == 0 {
                listener.same()
            } else {
                listener.for_thread(thread)
            };
            socket.map_err(|source| ServeError::Listener {
                address: listener.address().clone(),
                source,
            })
        };
        self.listeners.iter().map(socket).collect()
    }

    /// Who receives the connections of each of them. `guard` goes on to every connection.
    pub(crate) fn incoming(&self, guard: &CompletionGuard) -> impl Iterator<Item = Incoming<S>> {
        self.listeners.iter().enumerate().map(|(index, listener)| {
            let (service, control) = (Arc::clone(&self.service), Arc::clone(&self.control));
            Incoming::new(
                service,
                control,
                guard.clone(),
                index,
                listener.address().clone(),
                listener.succession(),
                listener.file(),
            )
        })
    }
}

/// Each attempt has a control of its own: threads of one that failed halfway are told by it to
/// stop.
fn start<S: Service>(
    transport: Transport,
    listeners: &[Listener],
    service: Arc<S>,
    options: &Options,
) -> Result<Running, ServeError> {
    let (guard, completion) = completion();
    let has_successors = listeners
        .iter()
        .any(|listener| listener.succession() == Succession::Beside);
    let start = Start {
        listeners,
        service,
        control: Arc::new(Control::new(options, has_successors)),
        options,
        guard,
    };
    match transport {
        #[cfg(feature = "tokio")]
        Transport::Auto | Transport::Tokio => crate::tokio_transport::start(&start)?,
        _ => raw_transport::start(&start)?,
    }
    let addresses = listeners.iter().map(|it| it.address().clone());
    Ok(Running::new(
        addresses.collect(),
        transport,
        start.control,
        completion,
    ))
}
