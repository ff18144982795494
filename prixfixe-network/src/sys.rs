//! Where platforms differ. Everything else in this crate is the same on all of them.

use std::io;

use socket2::Socket;

/// Whether an accepted socket has the TCP_NODELAY of its listener: one system call fewer a
/// connection.
pub(crate) const NODELAY_IS_INHERITED: bool = cfg!(target_os = "linux");

/// Whether a read or write that did less than it could shows that the socket is empty, or full,
/// until the poller reports it again. So with epoll and kqueue; elsewhere mio needs the
/// `WouldBlock` to arm it again.
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

/// Lets several sockets listen on one address with the kernel dealing connections out among them.
/// False where the platform cannot: macOS has the option, but gives every connection to one of the
/// sockets.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn share_port(socket: &Socket) -> io::Result<bool> {
    socket.set_reuse_port(true).map(|()| true)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn share_port(_socket: &Socket) -> io::Result<bool> {
    Ok(false)
}

/// From now on a listening socket ignores first segments of handshakes, while those that have begun
/// go on. A client repeats its own after a second (RFC 6298 section 2).
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn ignore_handshakes(socket: &Socket) -> io::Result<()> {
    use socket2::SockFilter;
    // A classic BPF program over the TCP header: is SYN set, and ACK not?
    const LOAD_OCTET: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
    const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
    const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;
    socket.attach_filter(&[
        SockFilter::new(LOAD_OCTET, 0, 0, FLAGS),
        SockFilter::new(AND, 0, 0, SYN | ACK),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ])
}

/// Ports are shared by consent on Linux alone, so nobody comes here.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn ignore_handshakes(_socket: &Socket) -> io::Result<()> {
    Ok(())
}

/// Lets an address be bound that connections of an earlier process still occupy in TIME-WAIT.
/// Windows needs no option for it, and means something else by this one: that two processes may
/// listen at once.
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
