//! The sockets of the admin endpoints.

use std::net::TcpListener;

use prixfixe_admin::listen;
use prixfixe_config::Target;
use prixfixe_server::{BindError, BoundSocket, Listener};

use crate::error::Error;
use crate::sockets;

/// Takes sockets that listen already.
pub(super) fn take_over(inherited: Vec<TcpListener>) -> Result<Vec<TcpListener>, Error> {
    for socket in &inherited {
        socket
            .set_nonblocking(true)
            .map_err(Error::InheritedAdmin)?;
    }
    Ok(inherited)
}

/// Binds all that an address stands for. Where the port is not shared they listen already; one that
/// is must not before its process is sure to serve, because from then on the kernel gives it
/// connections that another process would have answered.
pub(super) fn bind(target: Target, shared: bool) -> Result<Vec<TcpListener>, Error> {
    if shared {
        let bound = sockets::bind_shared(target).map_err(cannot_bind)?;
        return bound.into_iter().map(unblocked).collect();
    }
    let listeners = sockets::bind(target).map_err(cannot_bind)?;
    let bounded = |listener: Listener| {
        let address = listener.address().clone();
        let listening = TcpListener::try_from(listener).and_then(|socket| {
            listen(&socket)?;
            Ok(socket)
        });
        listening.map_err(|source| Error::Admin { address, source })
    };
    listeners.into_iter().map(bounded).collect()
}

/// A second socket for the address of a shared one, which does not listen. Whoever binds both
/// before it becomes another user may listen again later, on a port that this user could not bind,
/// and beside sockets that it could not share a port with.
pub(super) fn spare(socket: &TcpListener) -> Result<TcpListener, Error> {
    let address = socket.local_addr().map_err(Error::LocalAddress)?;
    unblocked(BoundSocket::bind_shared(address).map_err(cannot_bind)?)
}

fn unblocked(bound: BoundSocket) -> Result<TcpListener, Error> {
    let address = bound.local_address().into();
    let socket = TcpListener::from(bound);
    match socket.set_nonblocking(true) {
        Ok(()) => Ok(socket),
        Err(source) => Err(Error::Admin { address, source }),
    }
}

fn cannot_bind(
    BindError {
        address, source, ..
    }: BindError,
) -> Error {
    Error::Admin { address, source }
}
