//! How a connection is to be made, and the socket that begins to make it.

use std::io;
use std::net::{IpAddr, SocketAddr};

use mio::net::{TcpStream, UnixStream};
use socket2::{Domain, Protocol, Socket, Type};

use super::socket;
use crate::target::Address;
use crate::tls::Security;

/// How a connection is to be made.
#[derive(Debug)]
pub(super) struct Way<'a> {
    pub(super) address: &'a Address,
    pub(super) source: Option<IpAddr>,
    pub(super) host: &'a str,
    pub(super) security: Option<&'a Security>,
}

impl Way<'_> {
    /// Begins to connect, from the source where there is one.
    pub(super) fn connect(&self) -> io::Result<socket::Socket> {
        match (self.address, self.source) {
            (Address::Unix(path), _) => Ok(socket::Socket::Unix(UnixStream::connect(path)?)),
            (Address::Tcp(address), None) => {
                let socket = TcpStream::connect(*address)?;
                socket.set_nodelay(true)?;
                Ok(socket::Socket::Tcp(socket))
            }
            (Address::Tcp(address), Some(source)) => {
                Ok(socket::Socket::Tcp(connect_from(source, *address)?))
            }
        }
    }
}

fn connect_from(source: IpAddr, address: SocketAddr) -> io::Result<TcpStream> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    match socket.connect(&address.into()) {
        Ok(()) => {}
        Err(error) if is_in_progress(&error) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}

fn is_in_progress(error: &io::Error) -> bool {
    // EINPROGRESS, on Linux and on the BSDs; std has no stable name for it.
    error.kind() == io::ErrorKind::WouldBlock || matches!(error.raw_os_error(), Some(115 | 36))
}
