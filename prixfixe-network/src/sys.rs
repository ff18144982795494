//! Where platforms differ. Everything else in this crate is the same on all of them.

use std::io;

use socket2::Socket;

/// Whether an accepted socket has the TCP_NODELAY of its listener: one system call fewer a connection.
pub(crate) const NODELAY_IS_INHERITED: bool = cfg!(target_os = "linux");

/// Whether a read or write that did less than it could shows that the socket is empty, or full, until the
/// poller reports it again. So with epoll and kqueue; elsewhere mio needs the `WouldBlock` to arm it again.
pub(crate) const SHORT_TRANSFER_EMPTIES: bool = cfg!(any(
    target_os = "linux",
    target_os = "android",
    target_os = "macos",
    target_os = "ios",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly",
    target_os = "illumos",
));

/// Lets several sockets listen on one address with the kernel dealing connections out among them. False where
/// the platform cannot: macOS has the option, but gives every connection to one of the sockets.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn share_port(socket: &Socket) -> io::Result<bool> {
    socket.set_reuse_port(true).map(|()| true)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn share_port(_socket: &Socket) -> io::Result<bool> {
    Ok(false)
}

/// Lets an address be bound that connections of an earlier process still occupy in TIME-WAIT. Windows needs
/// no option for it, and means something else by this one: that two processes may listen at once.
#[cfg(not(windows))]
pub(crate) fn reuse_address(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_address(true)
}

#[cfg(windows)]
pub(crate) fn reuse_address(_socket: &Socket) -> io::Result<()> {
    Ok(())
}

/// Whether the host has no sockets of that address family at all.
pub(crate) fn is_family_unsupported(error: &io::Error) -> bool {
    #[cfg(unix)]
    const UNSUPPORTED: i32 = libc::EAFNOSUPPORT;
    #[cfg(windows)]
    const UNSUPPORTED: i32 = 10047; // WSAEAFNOSUPPORT
    error.raw_os_error() == Some(UNSUPPORTED)
}
