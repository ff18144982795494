//! What the log says of strangers, and how much of it.
//!
//! Fields come from parsed commands, but internationalised ones may hold any printable or
//! formatting character, and what was refused any at all: a subscriber escapes what could deceive
//! its reader.

mod cut;
mod limit;

use std::fmt::Display;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prixfixe_core::Reply;
use tracing::Level;
use tracing::level_filters::LevelFilter;

pub(crate) use self::cut::{Cut, Lossy, Recipients};
use self::limit::{LeftOut, LineLimit};
use crate::{Client, Peer};

/// What sessions share to write no more lines about strangers than there may be.
#[derive(Debug)]
pub(crate) struct Log {
    limit: Mutex<LineLimit>,
    /// Lines were left out, and nobody was told yet.
    owes: AtomicBool,
}

/// How a line about a stranger may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grant {
    /// At its own level.
    Line,
    /// It is one too many: at debug, which has no bound.
    Debug,
}

/// Writes an event about a stranger at the level that is granted.
macro_rules! granted {
    ($grant:expr, $level:ident, $($event:tt)+) => {
        match $grant {
            $crate::log::Grant::Line => tracing::$level!(target: "prixfixe", $($event)+),
            $crate::log::Grant::Debug => tracing::debug!(target: "prixfixe", $($event)+),
        }
    };
}
pub(crate) use granted;

/// Whom a line is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Who<'a> {
    pub(crate) peer: Peer,
    pub(crate) balancer: Option<Peer>,
    pub(crate) helo: Option<&'a str>,
}

/// What was refused, and how.
pub(crate) struct Refused<'a> {
    pub(crate) what: What,
    /// The verb, if it is one of SMTP's.
    pub(crate) command: Option<&'static str>,
    pub(crate) from: Option<&'a dyn Display>,
    pub(crate) to: Option<&'a dyn Display>,
    /// Whom a login was for.
    pub(crate) user: Option<&'a dyn Display>,
    /// The limit that the client is over, where the reply does not tell.
    pub(crate) limit: Option<&'a dyn Display>,
    pub(crate) reply: &'a Reply,
}

/// What a refusal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Connect,
    Command,
    Auth,
    Mail,
    Rcpt,
    Message,
}

impl Log {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            limit: Mutex::new(LineLimit::new(now)),
            owes: AtomicBool::new(false),
        }
    }

    /// How one more line about this client may be written, that is of this level.
    /// One without an address is no stranger.
    pub(crate) fn grant(&self, level: Level, now: Instant, client: Option<IpAddr>) -> Grant {
        match client {
            Some(client) => self.grant_by(level, now, |limit| limit.allows(now, client)),
            None => Grant::Line,
        }
    }

    fn grant_by(
        &self,
        level: Level,
        now: Instant,
        allows: impl FnOnce(&mut LineLimit) -> bool,
    ) -> Grant {
        // What nobody would see costs nothing and is not counted.
        if LevelFilter::current() < level {
            return Grant::Debug;
        }
        let mut limit = self.lock();
        if allows(&mut limit) {
            return Grant::Line;
        }
        let due = limit.due(now);
        self.owes.store(limit.owes(), Ordering::Relaxed);
        drop(limit);
        tell(due);
        Grant::Debug
    }

    /// Time has passed: what was left out may have to be told. Costs next to nothing otherwise.
    pub(crate) fn tick(&self, now: Instant) {
        if self.owes.load(Ordering::Relaxed) {
            let mut limit = self.lock();
            let due = limit.due(now);
            self.owes.store(limit.owes(), Ordering::Relaxed);
            drop(limit);
            tell(due);
        }
    }

    /// The server has stopped: what was left out is told now or never.
    pub(crate) fn tell_rest(&self) {
        let rest = self.lock().rest();
        tell(rest);
    }

    /// A command, a message or a connection was refused.
    pub(crate) fn refused(&self, now: Instant, who: Who<'_>, refused: &Refused<'_>) {
        let grant = self.grant(Level::INFO, now, who.peer.ip());
        write_refused(grant, who, refused);
    }

    /// A connection over the connection limit was refused. The first in a minute is always told.
    pub(crate) fn crowded(&self, now: Instant, peer: Peer, reply: &Reply) {
        let grant = match peer.ip() {
            Some(client) => self.grant_by(Level::INFO, now, |it| it.allows_crowd(now, client)),
            None => self.grant(Level::INFO, now, None),
        };
        write_refused(grant, peer.into(), &Refused::new(What::Connect, reply));
    }

    fn lock(&self) -> MutexGuard<'_, LineLimit> {
        // Counts are right or a little wrong, whatever happened to a thread.
        self.limit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write_refused(grant: Grant, who: Who<'_>, refused: &Refused<'_>) {
    granted!(
        grant,
        info,
        peer = %who.peer,
        balancer = who.balancer.map(display),
        helo = who.helo.map(|helo| display(Cut(helo))),
        what = refused.what.as_str(),
        command = refused.command,
        user = refused.user.map(|user| display(Cut(user))),
        from = refused.from.map(|from| display(Cut(from))),
        to = refused.to.map(|to| display(Cut(to))),
        limit = refused.limit.map(display),
        reply = %Cut(refused.reply),
        "refused"
    );
}

fn tell(left_out: Option<LeftOut>) {
    if let Some(LeftOut { lines, client }) = left_out {
        tracing::warn!(
            target: "prixfixe",
            lines,
            latest = %client,
            "log lines about clients were left out: there are too many"
        );
    }
}

impl<'a> Refused<'a> {
    /// Of which no more is known.
    pub(crate) fn new(what: What, reply: &'a Reply) -> Self {
        Self {
            what,
            command: None,
            from: None,
            to: None,
            user: None,
            limit: None,
            reply,
        }
    }
}

impl What {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Command => "command",
            Self::Auth => "auth",
            Self::Mail => "mail",
            Self::Rcpt => "rcpt",
            Self::Message => "message",
        }
    }
}

impl From<Peer> for Who<'_> {
    /// Of whom no more is known yet.
    fn from(peer: Peer) -> Self {
        Self {
            peer,
            balancer: None,
            helo: None,
        }
    }
}

impl<'a> From<&'a Client> for Who<'a> {
    fn from(client: &'a Client) -> Self {
        Self {
            peer: client.peer(),
            balancer: client.balancer(),
            helo: client.helo(),
        }
    }
}

/// Seconds with microseconds, which is as fine as a log needs.
pub(crate) fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e6
}

#[cfg(test)]
pub(crate) mod tests;
