//! The sockets of the admin endpoints.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use crate::config::Target;
use crate::error::Error;

/// Takes sockets that listen already.
pub(super) fn take_over(inherited: Vec<TcpListener>) -> Result<Vec<TcpListener>, Error> {
    for socket in &inherited {
        socket
            .set_nonblocking(true)
            .map_err(|error| Error::Failed(format!("inherited admin socket: {error}")))?;
    }
    Ok(inherited)
}

/// Listens on all that an address stands for.
pub(super) fn bind(target: Target) -> Result<Vec<TcpListener>, Error> {
    match target {
        Target::Localhost(port) => localhost(port),
        Target::Addresses(addresses) => addresses.into_iter().map(socket).collect(),
    }
}

/// Both families, or the one that the host has. With port 0 the second has the port of the first where that is free.
fn localhost(port: u16) -> Result<Vec<TcpListener>, Error> {
    let v4 = match socket((Ipv4Addr::LOCALHOST, port).into()) {
        Ok(socket) => Some(socket),
        Err(error) if is_family_missing(&error) => None,
        Err(error) => return Err(error),
    };
    let taken = v4.as_ref().and_then(|v4| v4.local_addr().ok());
    let v6 = socket(
        (
            Ipv6Addr::LOCALHOST,
            taken.map_or(port, |taken| taken.port()),
        )
            .into(),
    );
    match (v4, v6) {
        (Some(v4), Ok(v6)) => Ok(vec![v4, v6]),
        (Some(v4), Err(error)) if port == 0 || is_family_missing(&error) => Ok(vec![v4]),
        (None, Ok(v6)) => Ok(vec![v6]),
        (_, Err(error)) => Err(error),
    }
}

fn socket(address: SocketAddr) -> Result<TcpListener, Error> {
    let bind = || {
        let socket = TcpListener::bind(address)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    };
    bind().map_err(|source| Error::Admin { address, source })
}

/// A kernel without IPv6 has no such sockets; one where it is switched off has no such address.
fn is_family_missing(error: &Error) -> bool {
    let Error::Admin { source, .. } = error else {
        return false;
    };
    matches!(
        source.kind(),
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported
    ) || source.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}
