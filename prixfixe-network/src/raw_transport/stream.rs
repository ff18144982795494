//! Sockets of both kinds, as mio has them.

use std::io::{self, Read, Write};
use std::net::Shutdown;

use mio::event::Source;
use mio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use mio::net::{UnixListener, UnixStream};
use mio::{Interest, Registry, Token};

use crate::Peer;
use crate::listen_socket::ListenSocket;
#[cfg(unix)]
use crate::unix::credentials;

#[derive(Debug)]
pub(super) enum Listening {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener),
}

#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

/// The same of what either kind is.
macro_rules! either {
    ($value:expr, $it:ident => $result:expr) => {
        match $value {
            Self::Tcp($it) => $result,
            #[cfg(unix)]
            Self::Unix($it) => $result,
        }
    };
}

impl Listening {
    pub(super) fn new(socket: ListenSocket) -> Self {
        match socket {
            ListenSocket::Tcp(socket) => Self::Tcp(TcpListener::from_std(socket)),
            #[cfg(unix)]
            ListenSocket::Unix(socket) => Self::Unix(UnixListener::from_std(socket)),
        }
    }

    pub(super) fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Self::Tcp(socket) => {
                let (stream, peer) = socket.accept()?;
                Ok((Stream::Tcp(stream), Peer::Ip(peer)))
            }
            #[cfg(unix)]
            Self::Unix(socket) => {
                let (stream, _) = socket.accept()?;
                let peer = Peer::Unix(credentials(&stream));
                Ok((Stream::Unix(stream), peer))
            }
        }
    }
}

impl Stream {
    pub(super) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        either!(self, it => it.shutdown(how))
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        either!(self, it => it.read(buffer))
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        either!(self, it => it.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Source for Listening {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        either!(self, it => it.register(registry, token, interest))
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        either!(self, it => it.reregister(registry, token, interest))
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        either!(self, it => it.deregister(registry))
    }
}

impl Source for Stream {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        either!(self, it => it.register(registry, token, interest))
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        either!(self, it => it.reregister(registry, token, interest))
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        either!(self, it => it.deregister(registry))
    }
}
