//! How a connection is to be made, and the socket that begins to make it.

use std::io;
use std::net::{IpAddr, SocketAddr};

use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};

use crate::tls::Security;

/// How a connection is to be made.
#[derive(Debug)]
pub(super) struct Way<'a> {
    pub(super) address: SocketAddr,
    pub(super) source: Option<IpAddr>,
    pub(super) host: &'a str,
    pub(super) security: Option<&'a Security>,
}

impl Way<'_> {
    /// Begins to connect, from the source where there is one.
    pub(super) fn connect(&self) -> io::Result<TcpStream> {
        let Some(source) = self.source else {
            let socket = TcpStream::connect(self.address)?;
            socket.set_nodelay(true)?;
            return Ok(socket);
        };
        let socket = Socket::new(
            Domain::for_address(self.address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
        match socket.connect(&self.address.into()) {
            Ok(()) => {}
            Err(error) if is_in_progress(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(TcpStream::from_std(socket.into()))
    }
}

fn is_in_progress(error: &io::Error) -> bool {
    // EINPROGRESS, on Linux and on the BSDs; std has no stable name for it.
    error.kind() == io::ErrorKind::WouldBlock || matches!(error.raw_os_error(), Some(115 | 36))
}
