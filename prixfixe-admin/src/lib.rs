//! What operators and their tools ask a server over HTTP: metrics, health, and a status page that
//! needs nothing from outside.
//!
//! | path | answer |
//! |---|---|
//! | `/` | the status page |
//! | `/status.json` | what the page shows, as JSON |
//! | `/metrics` | the numbers, in the Prometheus text format |
//! | `/healthz` | 200 as long as the process answers |
//! | `/readyz` | 200 while mail is taken, else 503 and why |
//!
//! The endpoints run on a thread and a runtime of their own. So they answer whatever the transport
//! of mail is, and while it is busy or draining, until the process ends. What a client of theirs
//! may cost is bounded: 64 connections, of one address 16, of 16 KiB of request and two minutes
//! each. They know no password: serve them at an address that only operators reach.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use prixfixe_admin::{Admin, Status};
//! use prixfixe_server::{Accepted, Message, Server};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::builder()
//!     .listen(([127, 0, 0, 1], 2525))
//!     .handler(|message: Message| async {
//!         let message = message.collect().await?;
//!         println!("{} bytes", message.content().len());
//!         Ok(Accepted::default())
//!     })
//!     .start()?;
//! let server = Arc::new(server);
//! let admin = Admin::bind("127.0.0.1:9125".parse()?)?;
//! admin.serve(Status::new(Arc::clone(&server)), std::future::pending())?;
//! # Ok(())
//! # }
//! ```
//!
//! Where mail goes through `prixfixe-delivery`, [`Status::delivery`] tells of its targets and its
//! disk. What else an application knows of its own destinations, it says through [`Destinations`],
//! and numbers of its own through [`Numbers`].
#![deny(missing_docs)]

mod destinations;
mod history;
mod host;
mod http;
mod lately;
mod notice;
mod page;
mod places;
mod probe;
mod reading;
mod report;
mod routes;
mod spool;
mod status;
mod storage;
mod targets;

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::thread;

use socket2::SockRef;
use tokio::time::MissedTickBehavior;
use tracing::info;

pub use self::destinations::{Destinations, Numbers};
pub use self::notice::Notice;
pub use self::probe::{Answer, ask, reachable};
pub use self::status::{Readiness, Status};

/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 128;

/// What is done when the port is left to another process.
type Leaving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The sockets of the endpoints; none where nothing is to be served.
#[derive(Debug, Default)]
pub struct Admin {
    listeners: Vec<TcpListener>,
    /// Where another process may listen beside this one: a second socket for each listener.
    spares: Vec<TcpListener>,
}

/// The endpoints cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A socket does not listen.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// A socket does not tell its address.
    #[error("cannot tell the address of a socket: {0}")]
    LocalAddress(#[source] io::Error),
    /// There is no event loop.
    #[error("cannot start an event loop: {0}")]
    EventLoop(#[source] io::Error),
    /// There is no thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
}

impl Admin {
    /// Listens at one address. Port 0 is any that is free: [`addresses`](Self::addresses) says
    /// which.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Self::new(vec![listener]))
    }

    /// Sockets that listen already and do not block.
    #[must_use]
    pub fn new(listeners: Vec<TcpListener>) -> Self {
        Self {
            listeners,
            spares: Vec::new(),
        }
    }

    /// For sockets that share their ports with another process, and do not listen yet: a second one
    /// for the address of each, likewise.
    ///
    /// When this process leaves, its port goes to the other.
    /// It listens at the spare one where there is none, until one comes.
    #[must_use]
    pub fn with_spares(self, spares: Vec<TcpListener>) -> Self {
        Self { spares, ..self }
    }

    /// Where the page is. None, if nothing is served.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let local = self.listeners.iter().map(TcpListener::local_addr);
        local.filter_map(Result::ok).collect()
    }

    /// Answers, until the process ends. When `leaving` is done a port that is shared is left to the
    /// process that takes over.
    ///
    /// # Errors
    ///
    /// [`ServeError`]. Nothing is served then.
    pub fn serve(
        self,
        status: Status,
        leaving: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ServeError> {
        self.serve_until(status, Box::pin(leaving))
    }

    /// Compiled in this crate, with all of hyper.
    fn serve_until(self, status: Status, leaving: Leaving) -> Result<(), ServeError> {
        if self.listeners.is_empty() {
            return Ok(());
        }
        let addresses = self.listen()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(ServeError::EventLoop)?;
        let status = Arc::new(status);
        let leaving = (!self.spares.is_empty()).then_some((leaving, self.spares));
        thread::Builder::new()
            .name("admin".to_owned())
            .spawn(move || {
                runtime.spawn(sample(Arc::clone(&status)));
                runtime.block_on(http::serve(self.listeners, status, leaving));
            })
            .map_err(ServeError::Thread)?;
        for address in addresses {
            info!(target: "prixfixe", %address, "admin endpoints");
        }
        Ok(())
    }

    fn listen(&self) -> Result<Vec<SocketAddr>, ServeError> {
        let listen = |socket: &TcpListener| {
            let address = socket.local_addr().map_err(ServeError::LocalAddress)?;
            if !self.spares.is_empty() {
                listen(socket).map_err(|source| ServeError::Listen { address, source })?;
            }
            Ok(address)
        };
        self.listeners.iter().map(listen).collect()
    }
}

/// Lets connections come to a socket of the endpoints from here on, if they do not already; then it
/// sets how many may wait.
///
/// # Errors
///
/// The system's.
pub fn listen(socket: &TcpListener) -> io::Result<()> {
    SockRef::from(socket).listen(BACKLOG)
}

/// Keeps the history of the status page, for ever.
async fn sample(status: Arc<Status>) {
    let mut ticks = tokio::time::interval(history::EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        status.sample();
    }
}
