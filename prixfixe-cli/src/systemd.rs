//! What systemd and a service that it runs tell each other: sockets, readiness, the watchdog. Any
//! other service manager may speak the same; without one nothing of this does anything.

use std::env;
use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use listenfd::ListenFd;
use prixfixe_config::Invalid;
use prixfixe_server::{Listener, Server};
use sd_notify::NotifyState;
use socket2::SockRef;
use tracing::warn;

use crate::error::Error;

/// What an inherited socket is for, as its name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Smtp,
    /// TLS comes first.
    Smtps,
    Lmtp,
    /// The admin endpoints.
    Admin,
}

/// A socket that was passed.
pub(crate) enum Inherited {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Inherited {
    /// The socket, for mail.
    pub(crate) fn listener(self) -> io::Result<Listener> {
        match self {
            Self::Tcp(socket) => Listener::try_from(socket),
            Self::Unix(socket) => Listener::try_from(socket),
        }
    }

    fn listens(&self) -> bool {
        let listens = match self {
            Self::Tcp(socket) => SockRef::from(socket).is_listener(),
            Self::Unix(socket) => SockRef::from(socket).is_listener(),
        };
        listens.unwrap_or(false)
    }
}

/// The listening sockets that were passed to this process (`LISTEN_FDS`), in their order. To be
/// called while there is one thread: it takes the variables out of the environment.
pub(crate) fn inherited_sockets() -> Result<Vec<(Purpose, Inherited)>, Invalid> {
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut passed = ListenFd::from_env();
    let mut sockets = Vec::with_capacity(passed.len());
    for index in 0..passed.len() {
        let name = names.next().unwrap_or_default();
        let invalid = |problem: String| Invalid {
            place: format!("inherited socket {} ({name:?})", index + 1),
            problem,
        };
        let purpose = Purpose::from_name(name).map_err(invalid)?;
        let not_a_stream =
            "is no stream socket; give it a ListenStream= with an address and a port, or a path";
        let socket =
            take(&mut passed, index, purpose).ok_or_else(|| invalid(not_a_stream.to_owned()))?;
        if !socket.listens() {
            return Err(invalid(
                "does not listen; its unit needs Accept=no".to_owned(),
            ));
        }
        sockets.push((purpose, socket));
    }
    Ok(sockets)
}

/// The admin endpoints are asked by HTTP, over TCP alone.
fn take(passed: &mut ListenFd, index: usize, purpose: Purpose) -> Option<Inherited> {
    if let Ok(socket) = passed.take_tcp_listener(index) {
        return socket.map(Inherited::Tcp);
    }
    let socket = passed.take_unix_listener(index).ok().flatten();
    socket
        .filter(|_| purpose != Purpose::Admin)
        .map(Inherited::Unix)
}

/// Those of the admin endpoints, which are none of Unix.
pub(crate) fn sockets(inherited: Vec<(Purpose, Inherited)>) -> Vec<TcpListener> {
    let tcp = |(_, socket)| match socket {
        Inherited::Tcp(socket) => Some(socket),
        Inherited::Unix(_) => None,
    };
    inherited.into_iter().filter_map(tcp).collect()
}

impl Purpose {
    /// `FileDescriptorName=`, or the name of the unit where that isn't set.
    fn from_name(name: &str) -> Result<Self, String> {
        let (stem, is_unit) = match name.strip_suffix(".socket") {
            Some(stem) => (stem, true),
            None => (name, false),
        };
        match stem {
            "smtps" | "submissions" => Ok(Self::Smtps),
            "lmtp" => Ok(Self::Lmtp),
            "admin" => Ok(Self::Admin),
            "smtp" | "submission" | "unknown" | "" => Ok(Self::Smtp),
            _ if is_unit => Ok(Self::Smtp),
            _ => Err(
                "has a name that says nothing; set FileDescriptorName= to smtp, smtps, lmtp or admin"
                    .to_owned(),
            ),
        }
    }
}

/// The server serves, for the first time or after a reload.
pub(crate) fn ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Until [`ready`] the server is busy with a new configuration.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(_) => notify(&[NotifyState::Reloading]),
    }
}

pub(crate) fn stopping(status: &str) {
    notify(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// Starts a thread that tells the watchdog, at half of its time, that every thread of the transport
/// has had a turn since the last time. One that hangs keeps the word back, and so does one that is
/// gone.
pub(crate) fn watch(server: Arc<Server>) -> Result<(), Error> {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return Ok(());
    };
    let interval = limit / 2;
    let run = move || {
        loop {
            let asked = Instant::now();
            pollster::block_on(server.turned());
            let waited = asked.elapsed();
            if waited > interval {
                warn!(target: "prixfixe", seconds = waited.as_secs(), "a thread of the transport stood still");
            }
            notify(&[NotifyState::Watchdog]);
            thread::sleep(interval.saturating_sub(waited));
        }
    };
    thread::Builder::new()
        .name("watchdog".to_owned())
        .spawn(run)
        .map(drop)
        .map_err(Error::Threads)
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(target: "prixfixe", %error, "the service manager cannot be told (NOTIFY_SOCKET)");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_a_socket_is_for() {
        for name in [
            "smtp",
            "submission",
            "",
            "unknown",
            "smtp.socket",
            "prixfixe.socket",
        ] {
            assert_eq!(Purpose::from_name(name), Ok(Purpose::Smtp), "{name}");
        }
        for name in ["smtps", "submissions", "smtps.socket"] {
            assert_eq!(Purpose::from_name(name), Ok(Purpose::Smtps), "{name}");
        }
        for name in ["lmtp", "lmtp.socket"] {
            assert_eq!(Purpose::from_name(name), Ok(Purpose::Lmtp), "{name}");
        }
        assert_eq!(Purpose::from_name("admin"), Ok(Purpose::Admin));
        assert!(Purpose::from_name("http").is_err());
    }
}
