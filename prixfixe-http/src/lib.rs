//! The one HTTP client: HTTP/1.1 to one origin, over a bounded pool of connections that are kept.
//!
//! What the other side sends is bounded everywhere: the head of a response (64 KiB, 100 fields),
//! how much of its body is read ([`MAX_BODY`]), and how long each step may take. A connection whose
//! response was not read to its end is closed. Redirects are not followed.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use prixfixe_http::{Client, ClientOptions, Method, Origin, Request, TlsFiles};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let (origin, path) = Origin::parse("https://app.example.com/mail")?;
//! let options = ClientOptions {
//!     connect_timeout: Duration::from_secs(5),
//!     max_idle: 4,
//!     tls: TlsFiles::default(),
//!     insecure: false,
//! };
//! let client = Client::new(origin, &options)?;
//! let request = Request::new(Method::GET, path.parse()?);
//! let response = client.send(&request, Duration::from_secs(30)).await?;
//! println!("{} {:?}", response.status(), response.read().await?);
//! # Ok(())
//! # }
//! ```
#![deny(missing_docs)]

mod connect;
mod error;
mod origin;
mod request;
mod response;
mod tls;

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::header::HeaderValue;
pub use hyper::{Method, StatusCode, Uri, header};
use tokio::time::{Instant, timeout, timeout_at};

use self::connect::{Connection, Connector};
pub use self::error::HttpError;
pub use self::origin::{InvalidHttpUrl, Origin};
use self::request::Progress;
pub use self::request::{Part, Request};
pub use self::response::Response;
pub use self::tls::HttpSetupError;
pub use self::tls::TlsFiles;

/// So much of the body of a response is read.
pub const MAX_BODY: usize = 64 << 10;

/// A connection that has idled for longer is not used again: many servers close after 5 to 75 s.
const MAX_IDLE: Duration = Duration::from_secs(30);

/// A request that makes progress may take so long for each of these bytes beyond its deadline.
const SLOWEST: u64 = 16 << 10;

/// What a [`Client`] does. It is compiled in this crate, so that whoever waits for it has no copy
/// of hyper of its own.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How a [`Client`] works.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// For a connection, from the look-up of the name to the end of the TLS handshake.
    pub connect_timeout: Duration,
    /// Connections that are kept while nobody needs them.
    pub max_idle: usize,
    /// The roots, and our own certificate.
    pub tls: TlsFiles,
    /// Plaintext to other hosts than this one.
    pub insecure: bool,
}

/// Talks to one origin. Cheap to clone; clones share connections.
#[derive(Debug, Clone)]
pub struct Client(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    connector: Connector,
    host: HeaderValue,
    max_idle: usize,
    /// The one that was used last comes last.
    idle: Mutex<Vec<Connection>>,
}

/// How one attempt on one connection went wrong.
struct Broken {
    error: HttpError,
    /// The connection had been used before, and closed before a byte of the response: as servers do
    /// with idle ones.
    is_stale: bool,
}

impl Client {
    /// Reads the certificates, and connects to nothing yet. Blocks while it reads.
    ///
    /// # Errors
    ///
    /// The file that cannot be used, or plaintext where it must not be.
    pub fn new(origin: Origin, options: &ClientOptions) -> Result<Self, HttpSetupError> {
        let host = origin.host_header();
        Ok(Self(Arc::new(Shared {
            connector: Connector::new(origin, options)?,
            host,
            max_idle: options.max_idle,
            idle: Mutex::default(),
        })))
    }

    /// Sends a request and waits for the head of its response. Each piece of the body that the
    /// other side takes restarts the patience, which also bounds the wait for the response and the
    /// reading of its body.
    ///
    /// Where a connection that was kept turns out to be closed, the request is sent once more on a
    /// new one: all of our requests may be repeated.
    ///
    /// # Errors
    ///
    /// [`HttpError`], which says whether the other side may have the request.
    pub fn send<'a>(
        &'a self,
        request: &'a Request,
        patience: Duration,
    ) -> BoxFuture<'a, Result<Response, HttpError>> {
        Box::pin(async move {
            if let Some(kept) = self.kept().await {
                match self.attempt(kept, request, patience).await {
                    Err(broken) if broken.is_stale => {}
                    attempt => return attempt.map_err(|broken| broken.error),
                }
            }
            let new = self.0.connector.connect().await?;
            let attempt = self.attempt(new, request, patience).await;
            attempt.map_err(|broken| broken.error)
        })
    }

    /// Whether there is a connection, or can be one. It is kept.
    ///
    /// # Errors
    ///
    /// [`HttpError`], where there is none.
    pub fn reach(&self) -> BoxFuture<'_, Result<(), HttpError>> {
        Box::pin(async move {
            let connection = match self.kept().await {
                Some(kept) => kept,
                None => self.0.connector.connect().await?,
            };
            self.keep(connection);
            Ok(())
        })
    }

    async fn attempt(
        &self,
        mut connection: Connection,
        request: &Request,
        patience: Duration,
    ) -> Result<Response, Broken> {
        let progress = Progress::new(request.size());
        let head = request.to_hyper(self.0.host.clone(), &progress);
        let sent = connection.sender.send_request(head);
        let sent = std::pin::pin!(sent);
        let cap = Instant::now() + patience + Duration::from_secs(request.size() / SLOWEST);
        match within(sent, &progress, patience, cap).await {
            Some(Ok(response)) => Ok(Response::new(
                response,
                connection,
                self.clone(),
                progress,
                patience,
            )),
            Some(Err(error)) => Err(Broken {
                is_stale: connection.uses > 0
                    && (error.is_incomplete_message() || error.is_canceled() || is_reset(&error)),
                error: HttpError::lost(&error, &progress),
            }),
            None => Err(Broken {
                is_stale: false,
                error: HttpError::TimedOut(patience),
            }),
        }
    }

    /// A connection that nobody uses and that the other side has not closed.
    async fn kept(&self) -> Option<Connection> {
        loop {
            let mut connection = self.lock().pop()?;
            // It is ready once its last response has been read, or it is closed.
            let ready = timeout(Duration::from_secs(1), connection.sender.ready()).await;
            if connection.since.elapsed() < MAX_IDLE && matches!(ready, Ok(Ok(()))) {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection for the next request.
    fn keep(&self, mut connection: Connection) {
        connection.since = Instant::now();
        connection.uses = connection.uses.saturating_add(1);
        let mut idle = self.lock();
        idle.retain(|other| !other.sender.is_closed() && other.since.elapsed() < MAX_IDLE);
        if idle.len() < self.0.max_idle {
            idle.push(connection);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits while there is progress, and never beyond the cap.
async fn within<F: Future + Unpin>(
    mut future: F,
    progress: &Progress,
    patience: Duration,
    cap: Instant,
) -> Option<F::Output> {
    loop {
        let deadline = (progress.latest() + patience).min(cap);
        if let Ok(output) = timeout_at(deadline, &mut future).await {
            return Some(output);
        }
        if Instant::now() >= (progress.latest() + patience).min(cap) {
            return None;
        }
    }
}

fn is_reset(error: &hyper::Error) -> bool {
    use std::error::Error;
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected};
    let cause = error
        .source()
        .and_then(|it| it.downcast_ref::<std::io::Error>());
    cause.is_some_and(|cause| {
        matches!(
            cause.kind(),
            BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected
        )
    })
}

#[cfg(test)]
mod tests;
