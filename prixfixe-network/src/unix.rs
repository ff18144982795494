//! Unix sockets: their files, and who is at the other end.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process;

#[cfg(any(target_os = "linux", target_os = "android"))]
use nix::sys::socket::{getsockopt, sockopt};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::{Address, BindError, Credentials, Listener, listener};

/// Who may connect where nothing else is said: the owner and the group.
const DEFAULT_MODE: u32 = 0o660;

/// A Unix socket to listen on, for [`Listener::bind_unix`](crate::Listener::bind_unix).
///
/// ```
/// use prixfixe_network::UnixSocket;
///
/// let socket = UnixSocket::new("/run/prixfixe/lmtp.sock").mode(0o666);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct UnixSocket {
    pub(crate) path: PathBuf,
    mode: u32,
    group: Option<u32>,
}

impl UnixSocket {
    /// The socket whose file is there, with the mode 0660: its owner and its group may connect.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            mode: DEFAULT_MODE,
            group: None,
        }
    }

    /// Another mode. To connect takes the right to write.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// The number of the group that owns the file. Default: the process's own.
    pub fn group(mut self, group: u32) -> Self {
        self.group = Some(group);
        self
    }

    /// Binds the socket. A file that a process which is gone has left is replaced; where somebody
    /// listens it is an error.
    pub(crate) fn bind(&self) -> io::Result<(Socket, SocketFile)> {
        let bound = match self.bind_at(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(&self.path)? => {
                fs::remove_file(&self.path)?;
                self.bind_at(&self.path)
            }
            bound => bound,
        }?;
        Ok((bound, SocketFile::of(&self.path)?))
    }

    /// Binds the socket beside another process that may listen there: under another name in the
    /// same directory, and clients come to it from [`listen`](BoundUnixSocket::listen) on. The
    /// other process serves those that it has.
    ///
    /// # Errors
    ///
    /// [`BindError`], also when the file is no socket.
    pub fn bind_shared(&self) -> Result<BoundUnixSocket, BindError> {
        let bound = self.bind_beside();
        let (socket, file) = bound.map_err(|source| self.failed(source))?;
        Ok(BoundUnixSocket {
            socket,
            file,
            wanted: self.clone(),
        })
    }

    pub(crate) fn failed(&self, source: io::Error) -> BindError {
        BindError::new(Address::Unix(self.path.clone()), source)
    }

    fn bind_beside(&self) -> io::Result<(Socket, SocketFile)> {
        if fs::symlink_metadata(&self.path).is_ok_and(|it| !it.file_type().is_socket()) {
            return Err(not_a_socket());
        }
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let beside = self
            .path
            .with_file_name(format!(".{name}.{}", process::id()));
        // One of that name is left by a process that had our number.
        let _ = fs::remove_file(&beside);
        let socket = self.bind_at(&beside)?;
        Ok((socket, SocketFile::of(&beside)?))
    }

    /// Nobody can connect before it listens, so that nobody does under another mode.
    fn bind_at(&self, path: &Path) -> io::Result<Socket> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let finish = || {
            if self.group.is_some() {
                chown(path, None, self.group)?;
            }
            fs::set_permissions(path, fs::Permissions::from_mode(self.mode))
        };
        finish().inspect_err(|_| drop(fs::remove_file(path)))?;
        Ok(socket)
    }
}

/// A Unix socket that does not listen yet, and whose name another process may still have.
#[derive(Debug)]
pub struct BoundUnixSocket {
    socket: Socket,
    file: SocketFile,
    wanted: UnixSocket,
}

impl BoundUnixSocket {
    /// From here on connections come.
    ///
    /// # Errors
    ///
    /// [`BindError`].
    pub fn listen(self) -> Result<Listener, BindError> {
        let Self {
            socket,
            mut file,
            wanted,
        } = self;
        let listen = || {
            socket.listen(listener::BACKLOG)?;
            file.take_place(&wanted.path)?;
            Listener::listen_unix(socket, file, &wanted.path)
        };
        listen().map_err(|source| wanted.failed(source))
    }
}

/// Whether the file is a socket on which nobody listens any more.
fn is_stale(path: &Path) -> io::Result<bool> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(not_a_socket());
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // One whose backlog is full would block.
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        _ => Ok(false),
    }
}

fn not_a_socket() -> io::Error {
    io::Error::new(
        io::ErrorKind::AlreadyExists,
        "a file that is no socket has that name",
    )
}

/// The file of a socket of ours, which goes when it does.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// The device and the inode: another process may have put a socket of its own in the place.
    identity: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self {
            identity: identity(path)?,
            path: std::path::absolute(path)?,
        })
    }

    /// Gives it that name, from when clients come to us.
    pub(crate) fn take_place(&mut self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)?;
        self.path = std::path::absolute(path)?;
        Ok(())
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|it| it == self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            // The next to listen there replaces it.
            tracing::debug!(path = %self.path.display(), %error, "the file of a socket stays");
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Who is at the other end, where the system tells it.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn credentials(socket: &impl AsFd) -> Option<Credentials> {
    let found = getsockopt(&socket.as_fd(), sockopt::PeerCredentials).ok()?;
    // That of another container is 0.
    let process = u32::try_from(found.pid()).ok().filter(|pid| *pid != 0);
    Some(Credentials::new(found.uid(), found.gid(), process))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn credentials(_socket: &impl AsFd) -> Option<Credentials> {
    None
}
