//! Listening sockets of both kinds, as tokio watches them.

use std::io;
use std::task::{Context, Poll};

use tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};

use crate::Peer;
use crate::listen_socket::ListenSocket;
#[cfg(unix)]
use crate::unix::credentials;

pub(super) enum Listening {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener),
}

/// A connection that was accepted.
pub(super) enum Accepted {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Listening {
    /// To be called within the runtime.
    pub(super) fn new(socket: ListenSocket) -> io::Result<Self> {
        match socket {
            ListenSocket::Tcp(socket) => TcpListener::from_std(socket).map(Self::Tcp),
            #[cfg(unix)]
            ListenSocket::Unix(socket) => UnixListener::from_std(socket).map(Self::Unix),
        }
    }

    pub(super) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Accepted, Peer)>> {
        match self {
            Self::Tcp(socket) => socket
                .poll_accept(cx)
                .map_ok(|(stream, peer)| (Accepted::Tcp(stream), Peer::Ip(peer))),
            #[cfg(unix)]
            Self::Unix(socket) => socket.poll_accept(cx).map_ok(|(stream, _)| of_unix(stream)),
        }
    }

    /// The socket again, past what tokio knows of it.
    pub(super) fn into_inner(self) -> io::Result<ListenSocket> {
        match self {
            Self::Tcp(socket) => socket.into_std().map(ListenSocket::Tcp),
            #[cfg(unix)]
            Self::Unix(socket) => socket.into_std().map(ListenSocket::Unix),
        }
    }
}

/// What is there to be accepted now.
pub(super) fn accept_now(socket: &ListenSocket) -> io::Result<(Accepted, Peer)> {
    match socket {
        ListenSocket::Tcp(socket) => {
            let (stream, peer) = socket.accept()?;
            stream.set_nonblocking(true)?;
            Ok((Accepted::Tcp(TcpStream::from_std(stream)?), Peer::Ip(peer)))
        }
        #[cfg(unix)]
        ListenSocket::Unix(socket) => {
            let (stream, _) = socket.accept()?;
            stream.set_nonblocking(true)?;
            Ok(of_unix(UnixStream::from_std(stream)?))
        }
    }
}

#[cfg(unix)]
fn of_unix(stream: UnixStream) -> (Accepted, Peer) {
    let peer = Peer::Unix(credentials(&stream));
    (Accepted::Unix(stream), peer)
}
