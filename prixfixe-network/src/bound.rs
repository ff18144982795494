//! Sockets that have an address: alone, or one in each family.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use crate::listener::{BindError, Listener};
use crate::sys;

pub(crate) const LOCALHOST: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];

pub(crate) const ALL: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    IpAddr::V6(Ipv6Addr::UNSPECIFIED),
];

/// How often a port that is free in both families is looked for.
const PORT_ATTEMPTS: usize = 32;

/// A socket that shares its port as [`Listener::bind_shared`] does, and does not listen yet.
///
/// From [`listen`](Self::listen) on the kernel gives it connections that another process would have
/// answered. Whoever binds all that it needs first, and listens when nothing can fail any more,
/// takes none from that process in vain.
///
/// ```
/// use prixfixe_network::BoundSocket;
///
/// let bound = BoundSocket::bind_shared("127.0.0.1:0".parse()?)?;
/// let address = bound.local_address();
/// assert!(std::net::TcpStream::connect(address).is_err());
///
/// let listener = bound.listen()?;
/// assert!(std::net::TcpStream::connect(address).is_ok());
/// # drop(listener);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct BoundSocket {
    socket: Socket,
    address: SocketAddr,
    shares_port: bool,
}

impl BoundSocket {
    /// As [`Listener::bind_shared`], without listening.
    ///
    /// # Errors
    ///
    /// [`BindError`].
    pub fn bind_shared(address: SocketAddr) -> Result<Self, BindError> {
        let failed = |source| BindError::new(address, source);
        let (socket, shares_port) = open(address, true).map_err(failed)?;
        Ok(Self {
            address: local_address(&socket).map_err(failed)?,
            socket,
            shares_port,
        })
    }

    /// As [`Listener::bind_localhost_shared`], without listening.
    ///
    /// # Errors
    ///
    /// [`BindError`]: neither family is there, or the port is taken in one of them by somebody who doesn't share it.
    pub fn bind_localhost_shared(port: u16) -> Result<Vec<Self>, BindError> {
        bind_families(LOCALHOST, port, Self::bind_shared, Self::local_address)
    }

    /// As [`Listener::bind_all_shared`], without listening.
    ///
    /// # Errors
    ///
    /// [`BindError`]: neither family is there, or the port is taken in one of them by somebody who doesn't share it.
    pub fn bind_all_shared(port: u16) -> Result<Vec<Self>, BindError> {
        bind_families(ALL, port, Self::bind_shared, Self::local_address)
    }

    /// The address really bound.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// From here on connections come.
    ///
    /// # Errors
    ///
    /// [`BindError`].
    pub fn listen(self) -> Result<Listener, BindError> {
        let address = self.address;
        Listener::listen(self.socket, self.shares_port, true)
            .map_err(|source| BindError::new(address, source))
    }
}

/// The socket itself, which does not listen yet.
impl From<BoundSocket> for TcpListener {
    fn from(bound: BoundSocket) -> Self {
        bound.socket.into()
    }
}

/// A socket with an address, and whether more can be bound beside it. It does not listen.
pub(crate) fn open(address: SocketAddr, shared: bool) -> io::Result<(Socket, bool)> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    sys::reuse_address(&socket)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    let mut shares_port = shared && sys::share_port(&socket)?;
    socket.bind(&address.into())?;
    if !shares_port {
        shares_port = sys::share_port(&socket).unwrap_or(false);
    }
    Ok((socket, shares_port))
}

fn local_address(socket: &Socket) -> io::Result<SocketAddr> {
    let address = socket.local_addr()?.as_socket();
    address.ok_or_else(|| io::ErrorKind::Unsupported.into())
}

/// One socket in each of the families that the host has, with the same port.
pub(crate) fn bind_families<T>(
    addresses: [IpAddr; 2],
    port: u16,
    bind: fn(SocketAddr) -> Result<T, BindError>,
    local_address: fn(&T) -> SocketAddr,
) -> Result<Vec<T>, BindError> {
    let mut attempt = 1;
    loop {
        match bind_once(addresses, port, bind, local_address) {
            // The port that was free in the first family is taken in the second.
            Err(error) if port == 0 && attempt < PORT_ATTEMPTS && is_taken(&error) => attempt += 1,
            result => return result,
        }
    }
}

fn bind_once<T>(
    addresses: [IpAddr; 2],
    mut port: u16,
    bind: fn(SocketAddr) -> Result<T, BindError>,
    local_address: fn(&T) -> SocketAddr,
) -> Result<Vec<T>, BindError> {
    let mut sockets = Vec::with_capacity(addresses.len());
    let mut missing = None;
    for address in addresses {
        match bind(SocketAddr::new(address, port)) {
            Ok(socket) => {
                port = local_address(&socket).port();
                sockets.push(socket);
            }
            Err(error) if is_family_missing(&error.source) => missing = Some(error),
            Err(error) => return Err(error),
        }
    }
    match missing {
        Some(error) if sockets.is_empty() => Err(error),
        _ => Ok(sockets),
    }
}

fn is_taken(error: &BindError) -> bool {
    error.source.kind() == io::ErrorKind::AddrInUse
}

/// A kernel without IPv6 has no such sockets; one where it is switched off has no such address.
fn is_family_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported
    ) || sys::is_family_unsupported(error)
}
