//! From a name to a connection that requests can be sent on.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use crate::request::RequestBody;
use crate::{ClientOptions, HttpError, HttpSetupError, Origin};

/// The head of a response, and the fields in it.
const MAX_HEAD: usize = 64 << 10;
const MAX_FIELDS: usize = 100;

/// Makes connections to one origin.
pub(super) struct Connector {
    origin: Origin,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    timeout: Duration,
}

/// A connection. It is gone with this value.
pub(super) struct Connection {
    pub(super) sender: SendRequest<RequestBody>,
    task: AbortHandle,
    /// When it became idle.
    pub(super) since: Instant,
    /// How many requests it has had answers to.
    pub(super) uses: u32,
}

impl Connector {
    pub(super) fn new(origin: Origin, options: &ClientOptions) -> Result<Self, HttpSetupError> {
        if !origin.is_https && !origin.is_loopback() && !options.insecure {
            return Err(HttpSetupError::Plaintext(origin.to_string()));
        }
        let tls = match origin.is_https {
            false => None,
            true => {
                let name = ServerName::try_from(origin.host.to_string())
                    .map_err(|_| HttpSetupError::Name(origin.host.to_string()))?;
                let connector = TlsConnector::from(Arc::new(options.tls.client_config()?));
                Some((connector, name))
            }
        };
        Ok(Self {
            origin,
            tls,
            timeout: options.connect_timeout,
        })
    }

    pub(super) async fn connect(&self) -> Result<Connection, HttpError> {
        let deadline = Instant::now() + self.timeout;
        match timeout_at(deadline, self.connect_until(deadline)).await {
            Ok(connection) => connection,
            Err(_) => Err(HttpError::ConnectTimedOut(self.timeout)),
        }
    }

    async fn connect_until(&self, deadline: Instant) -> Result<Connection, HttpError> {
        let stream = self.stream(deadline).await?;
        // Requests are written in one piece each.
        let _ = stream.set_nodelay(true);
        let Some((connector, name)) = &self.tls else {
            return self.handshake(stream).await;
        };
        let stream = connector.connect(name.clone(), stream).await;
        let stream = stream.map_err(|error| HttpError::Tls {
            host: self.origin.host.clone(),
            error,
        })?;
        self.handshake(stream).await
    }

    /// Tries each address of the host, and leaves time for those behind it.
    async fn stream(&self, deadline: Instant) -> Result<TcpStream, HttpError> {
        let lookup = |error| HttpError::Lookup {
            host: self.origin.host.clone(),
            error,
        };
        let found = lookup_host((&*self.origin.host, self.origin.port)).await;
        let addresses: Vec<SocketAddr> = found.map_err(lookup)?.collect();
        let mut failed = lookup(io::Error::other("it has no address"));
        for (index, address) in addresses.iter().enumerate() {
            let left = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
            let share = deadline.saturating_duration_since(Instant::now()) / left;
            let error = match timeout_at(Instant::now() + share, TcpStream::connect(address)).await
            {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => error,
                Err(_) => io::ErrorKind::TimedOut.into(),
            };
            failed = HttpError::Connect {
                address: address.to_string().into(),
                error,
            };
        }
        Err(failed)
    }

    async fn handshake<S>(&self, stream: S) -> Result<Connection, HttpError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let made = http1::Builder::new()
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_FIELDS)
            .handshake(TokioIo::new(stream))
            .await;
        let (sender, connection) = made.map_err(|error| HttpError::Lost(error.to_string()))?;
        // What goes wrong with it is told to the one who waits for a response.
        let task = tokio::spawn(async move { drop(connection.await) });
        Ok(Connection {
            sender,
            task: task.abort_handle(),
            since: Instant::now(),
            uses: 0,
        })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("uses", &self.uses)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}
