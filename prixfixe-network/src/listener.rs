//! Listening sockets.
//!
//! Each thread of a transport listens on a socket of its own where the platform deals connections
//! out among sockets that share a port (SO_REUSEPORT on Linux): no lock, no herd. But that option
//! also lets another process of the same user share the port silently, when "port taken" should be
//! an error. So the first socket is bound without it, which fails if anyone listens there, and gets
//! it between bind and listen, from when the threads' own sockets may join it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
#[cfg(unix)]
use std::os::unix::net::UnixListener;
use std::sync::Arc;

use socket2::{SockRef, Socket};

use crate::Address;
use crate::bound::{self, ALL, LOCALHOST, bind_families};
use crate::listen_socket::ListenSocket;
#[cfg(unix)]
use crate::unix::{SocketFile, UnixSocket};

/// How many connections the kernel holds for us until they are accepted (it takes the lesser of
/// this and `net.core.somaxconn`). Clients over a short backlog wait a second for their next SYN.
pub(crate) const BACKLOG: i32 = 4096;

/// A socket that listens.
///
/// ```
/// use prixfixe_network::Listener;
///
/// let listener = Listener::bind("127.0.0.1:0".parse()?)?;
/// assert_ne!(listener.local_address().port(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Listener {
    socket: ListenSocket,
    address: Address,
    /// Whether more sockets can be bound to the address beside this one.
    shares_port: bool,
    succession: Succession,
    /// For the second thread and those after it: bound already.
    reserved: Vec<TcpListener>,
    file: OwnFile,
}

/// The file of a Unix socket that was bound here: it goes when the last of those who accept does.
#[cfg(unix)]
pub(crate) type OwnFile = Option<Arc<SocketFile>>;
#[cfg(not(unix))]
pub(crate) type OwnFile = Option<Arc<()>>;

impl Listener {
    /// Listens on `address`, whose port may be 0. An IPv6 address is for IPv6 only, so that
    /// `0.0.0.0` and `[::]` can be bound side by side.
    ///
    /// # Errors
    ///
    /// [`BindError`], also when another process listens there already, whatever options that one
    /// has set.
    pub fn bind(address: SocketAddr) -> Result<Self, BindError> {
        Self::bind_socket(address, false).map_err(|source| BindError::new(address, source))
    }

    /// Listens on `address`, beside other processes of the same user that listen there: a new
    /// server starts, then the old one is told to stop, and at no moment is the port closed. The
    /// one that stops lets handshakes that have begun finish for half a second, and serves them,
    /// while it ignores new ones, which their clients repeat and which then reach the other. Where
    /// the platform cannot do this (it is Linux's SO_REUSEPORT) it is the same as
    /// [`bind`](Self::bind).
    ///
    /// # Errors
    ///
    /// [`BindError`].
    pub fn bind_shared(address: SocketAddr) -> Result<Self, BindError> {
        Self::bind_socket(address, true).map_err(|source| BindError::new(address, source))
    }

    /// Listens on a Unix socket. The file of a process that is gone is replaced, and the file goes
    /// when the transport stops.
    ///
    /// # Errors
    ///
    /// [`BindError`], also when another process listens there, or the file is no socket.
    #[cfg(unix)]
    pub fn bind_unix(socket: &UnixSocket) -> Result<Self, BindError> {
        let failed = |source| socket.failed(source);
        let (bound, file) = socket.bind().map_err(failed)?;
        Self::listen_unix(bound, file, &socket.path).map_err(failed)
    }

    #[cfg(unix)]
    pub(crate) fn listen_unix(
        socket: Socket,
        file: SocketFile,
        path: &std::path::Path,
    ) -> io::Result<Self> {
        socket.listen(BACKLOG)?;
        let mut listener = Self::try_from(UnixListener::from(socket))?;
        listener.address = Address::Unix(path.to_owned());
        listener.file = Some(Arc::new(file));
        Ok(listener)
    }

    /// Binds the sockets of so many threads now, rather than when they start: a process that will
    /// have given up the right to bind the port by then can do no other. As many as there will be:
    /// a connection that goes to a socket which no thread takes is lost. Where threads share one
    /// socket there is nothing to do.
    ///
    /// # Errors
    ///
    /// [`BindError`].
    pub fn reserve(mut self, threads: NonZeroUsize) -> Result<Self, BindError> {
        let missing = threads.get().saturating_sub(1 + self.reserved.len());
        if self.shares_port
            && let Address::Ip(address) = self.address
        {
            for _ in 0..missing {
                if let ListenSocket::Tcp(own) = Self::bind_shared(address)?.socket {
                    self.reserved.push(own);
                }
            }
        }
        Ok(self)
    }

    /// Another process has this very socket too and keeps it open (socket activation): connections
    /// that wait in it when the transport stops are left to whoever accepts next. Otherwise they
    /// are told that the server is going away.
    #[must_use]
    pub fn leave_backlog(mut self) -> Self {
        self.succession = Succession::Kept;
        self
    }

    /// Listens on `127.0.0.1` and `[::1]`, or on one of them where the host has only one of the
    /// families. With port 0 both get the same port.
    ///
    /// # Errors
    ///
    /// [`BindError`]: neither family is there, or the port is taken in one of them.
    pub fn bind_localhost(port: u16) -> Result<Vec<Self>, BindError> {
        bind_families(LOCALHOST, port, Self::bind, Self::local_address)
    }

    /// As [`bind_localhost`](Self::bind_localhost), beside other processes as
    /// [`bind_shared`](Self::bind_shared) does.
    ///
    /// # Errors
    ///
    /// [`BindError`]: neither family is there, or the port is taken in one of them by somebody who doesn't share it.
    pub fn bind_localhost_shared(port: u16) -> Result<Vec<Self>, BindError> {
        bind_families(LOCALHOST, port, Self::bind_shared, Self::local_address)
    }

    /// Listens on all addresses of the host, `0.0.0.0` and `[::]`, or on one of them where the host
    /// has only one of the families. With port 0 both get the same port.
    ///
    /// # Errors
    ///
    /// [`BindError`]: neither family is there, or the port is taken in one of them.
    pub fn bind_all(port: u16) -> Result<Vec<Self>, BindError> {
        bind_families(ALL, port, Self::bind, Self::local_address)
    }

    /// As [`bind_all`](Self::bind_all), beside other processes as
    /// [`bind_shared`](Self::bind_shared) does.
    ///
    /// # Errors
    ///
    /// [`BindError`]: neither family is there, or the port is taken in one of them by somebody who doesn't share it.
    pub fn bind_all_shared(port: u16) -> Result<Vec<Self>, BindError> {
        bind_families(ALL, port, Self::bind_shared, Self::local_address)
    }

    /// The address really bound.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The address in a network that is really bound. A Unix socket has none: it says `0.0.0.0:0`;
    /// see [`address`](Self::address).
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.address.ip_or_none()
    }

    pub(crate) fn file(&self) -> OwnFile {
        self.file.clone()
    }

    pub(crate) fn succession(&self) -> Succession {
        self.succession
    }

    /// A socket for the thread of that number, from 1: its own on the same address where that can
    /// be had, else the same again.
    pub(crate) fn for_thread(&self, thread: usize) -> io::Result<ListenSocket> {
        let reserved = thread
            .checked_sub(1)
            .and_then(|index| self.reserved.get(index));
        if let Some(reserved) = reserved {
            return reserved.try_clone().map(ListenSocket::Tcp);
        }
        if self.shares_port
            && let Address::Ip(address) = self.address
        {
            match Self::bind_socket(address, true) {
                Ok(own) => return Ok(own.socket),
                Err(error) => {
                    tracing::debug!(%address, %error, "threads share a listening socket");
                }
            }
        }
        self.same()
    }

    /// The same socket again.
    pub(crate) fn same(&self) -> io::Result<ListenSocket> {
        self.socket.try_clone()
    }

    fn bind_socket(address: SocketAddr, shared: bool) -> io::Result<Self> {
        let (socket, shares_port) = bound::open(address, shared)?;
        Self::listen(socket, shares_port, shared)
    }

    pub(crate) fn listen(socket: Socket, shares_port: bool, shared: bool) -> io::Result<Self> {
        socket.listen(BACKLOG)?;
        let mut listener = Self::try_from(TcpListener::from(socket))?;
        listener.shares_port = shares_port;
        if shared && shares_port {
            listener.succession = Succession::Beside;
        }
        Ok(listener)
    }
}

/// The socket itself, without those that were [reserved](Listener::reserve). It does not block. An
/// error: it is a Unix socket.
impl TryFrom<Listener> for TcpListener {
    type Error = io::Error;

    fn try_from(listener: Listener) -> io::Result<Self> {
        match listener.socket {
            ListenSocket::Tcp(socket) => Ok(socket),
            #[cfg(unix)]
            ListenSocket::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

/// Takes over a Unix socket that listens already, as one that was inherited (socket activation)
/// does. Its file stays.
#[cfg(unix)]
impl TryFrom<UnixListener> for Listener {
    type Error = io::Error;

    fn try_from(socket: UnixListener) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let path = socket.local_addr()?.as_pathname().map(Into::into);
        Ok(Self {
            address: Address::Unix(path.unwrap_or_default()),
            socket: ListenSocket::Unix(socket),
            shares_port: false,
            succession: Succession::Alone,
            reserved: Vec::new(),
            file: None,
        })
    }
}

/// Takes over a socket that listens already, as one that was inherited (socket activation) does.
impl TryFrom<TcpListener> for Listener {
    type Error = io::Error;

    fn try_from(socket: TcpListener) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        SockRef::from(&socket).set_tcp_nodelay(true)?;
        Ok(Self {
            address: Address::Ip(socket.local_addr()?),
            socket: ListenSocket::Tcp(socket),
            shares_port: false,
            succession: Succession::Alone,
            reserved: Vec::new(),
            file: None,
        })
    }
}

/// Who gets the connections that come when we stop, and those that we have not accepted by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Succession {
    /// Nobody: we take what is there.
    Alone,
    /// Another process may listen beside us, on a socket of its own.
    Beside,
    /// The socket outlives us in another process.
    Kept,
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
#[non_exhaustive]
pub struct BindError {
    /// The address that was asked for.
    pub address: Address,
    /// What the system says.
    pub source: io::Error,
}

impl BindError {
    pub(crate) fn new(address: impl Into<Address>, source: io::Error) -> Self {
        Self {
            address: address.into(),
            source,
        }
    }
}

#[cfg(test)]
#[cfg(any(target_os = "linux", target_os = "android"))]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::{Duration, Instant};

    use socket2::{Domain, Protocol, Type};

    use super::*;
    use crate::sys;

    #[test]
    #[allow(clippy::unwrap_used, reason = "a test may fail")]
    fn a_handshake_that_one_socket_ignores_reaches_the_next() {
        let old = Listener::bind_shared((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = old.local_address();
        let old = TcpListener::try_from(old).unwrap();
        let before = std::net::TcpStream::connect(address).unwrap();
        sys::ignore_handshakes(&SockRef::from(&old)).unwrap();

        // Over loopback a handshake is over when connect(2) returns, if it is answered.
        let client = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
        client.set_nonblocking(true).unwrap();
        assert!(client.connect(&address.into()).is_err());
        assert!(client.peer_addr().is_err());

        // What was there is accepted, and nothing else is.
        let (_, peer) = old.accept().unwrap();
        assert_eq!(peer, before.local_addr().unwrap());
        assert!(old.accept().is_err());

        let new = TcpListener::try_from(Listener::bind_shared(address).unwrap()).unwrap();
        drop(old);
        let start = Instant::now();
        let (_, peer) = loop {
            match new.accept() {
                Ok(accepted) => break accepted,
                Err(_) => assert!(start.elapsed() < Duration::from_secs(60), "never repeated"),
            }
            std::thread::yield_now();
        };
        assert_eq!(Some(peer), client.local_addr().unwrap().as_socket());
    }
}
