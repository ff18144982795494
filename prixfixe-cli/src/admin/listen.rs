//! The sockets of the admin endpoints.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::SockRef;

use crate::config::Target;
use crate::error::Error;
use crate::sockets;

/// Connections that the kernel holds until they are accepted.
pub(super) const BACKLOG: i32 = 128;

/// Takes sockets that listen already.
pub(super) fn take_over(inherited: Vec<TcpListener>) -> Result<Vec<TcpListener>, Error> {
    for socket in &inherited {
        socket
            .set_nonblocking(true)
            .map_err(|error| Error::Failed(format!("inherited admin socket: {error}")))?;
    }
    Ok(inherited)
}

/// Binds all that an address stands for. Where the port is not shared they listen already; one that is must not before its process
/// is sure to serve, because from then on the kernel gives it connections that another process would have answered.
pub(super) fn bind(target: Target, shared: bool) -> Result<Vec<TcpListener>, Error> {
    match target {
        Target::Both(scope, port) => of_both_families(scope.addresses(port), shared),
        Target::Addresses(addresses) => addresses
            .into_iter()
            .map(|address| socket(address, shared))
            .collect(),
    }
}

/// From here on, if not before, connections come.
pub(super) fn listen(socket: &TcpListener) -> io::Result<()> {
    SockRef::from(socket).listen(BACKLOG)
}

/// A second socket for the address of a shared one, which does not listen. Whoever binds both before it becomes another user may
/// listen again later, on a port that this user could not bind, and beside sockets that it could not share a port with.
pub(super) fn spare(socket: &TcpListener) -> Result<TcpListener, Error> {
    self::socket(socket.local_addr().map_err(Error::Threads)?, true)
}

/// Both families, or the one that the host has. With port 0 the second has the port of the first where that is free.
fn of_both_families(
    [v4, mut v6]: [SocketAddr; 2],
    shared: bool,
) -> Result<Vec<TcpListener>, Error> {
    let port = v4.port();
    let v4 = match socket(v4, shared) {
        Ok(socket) => Some(socket),
        Err(error) if is_family_missing(&error) => None,
        Err(error) => return Err(error),
    };
    let taken = v4.as_ref().and_then(|v4| v4.local_addr().ok());
    v6.set_port(taken.map_or(port, |taken| taken.port()));
    match (v4, socket(v6, shared)) {
        (Some(v4), Ok(v6)) => Ok(vec![v4, v6]),
        (Some(v4), Err(error)) if port == 0 || is_family_missing(&error) => Ok(vec![v4]),
        (None, Ok(v6)) => Ok(vec![v6]),
        (_, Err(error)) => Err(error),
    }
}

fn socket(address: SocketAddr, shared: bool) -> Result<TcpListener, Error> {
    open(address, shared).map_err(|source| Error::Admin { address, source })
}

/// As the listeners of mail are: an IPv6 address takes IPv6 alone.
fn open(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = sockets::bind_alone(address, shared)?;
    socket.set_nonblocking(true)?;
    if !shared {
        socket.listen(BACKLOG)?;
    }
    Ok(socket.into())
}

fn is_family_missing(error: &Error) -> bool {
    matches!(error, Error::Admin { source, .. } if sockets::is_family_missing(source))
}
