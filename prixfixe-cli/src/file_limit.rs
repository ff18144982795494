//! The limit of open files, which is the limit of connections too.
//!
//! A connection takes a descriptor, and so does the file of its message. Where there are too few
//! for as many connections as are configured, fewer are let in: those that are served are to be
//! able to deliver.

use std::fs;

use prixfixe_config::Configuration;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What may be open whatever the configuration: standard streams, signals, the log, certificates
/// while they are read, and the files of the Maildir's workers, which sync directories and sweep.
const ALWAYS: u64 = 64;

/// The least of that which has to be left: directories while they are synced and swept, a probe of
/// the disk, files while a reload reads them, name lookups.
const SPARE: u64 = 10;

/// Messages at once that are kept in a file before they are complete: long ones, of which this many
/// are under way seldom.
const FILES: usize = 1024;

/// The clients and the poller of the admin endpoints.
const ADMIN: u64 = 128;

/// What the process may have open at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileLimit {
    /// `None`: there is no limit.
    available: Option<u64>,
    /// What is open beside connections and the files of their messages.
    others: u64,
}

/// Connections that there are descriptors for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    /// With a session: as configured, or fewer.
    pub(crate) connections: usize,
    /// Only closing. `None`: as many as usual.
    pub(crate) closing: Option<usize>,
}

impl FileLimit {
    /// Raises the soft limit to the hard one.
    pub(crate) fn raise() -> Self {
        let limit = getrlimit(Resource::Nofile);
        let raised = Rlimit {
            current: limit.maximum,
            ..limit
        };
        let available = match setrlimit(Resource::Nofile, raised) {
            Ok(()) => limit.maximum,
            Err(_) => limit.current,
        };
        Self {
            available,
            others: 0,
        }
    }

    /// Takes what is open now for what stays open; the server has yet to start its threads.
    pub(crate) fn with_what_is_open(self, configuration: &Configuration) -> Self {
        // The listing has one open itself.
        let open = fs::read_dir("/dev/fd").map_or(16, |listing| listing.count() as u64);
        let limit = self.available.unwrap_or(u64::MAX);
        let admin = admin(configuration).min(limit / 8);
        // One that is turned away is accepted first, by each thread.
        let turned_away = configuration.threads.size() as u64;
        let others = open + threads(configuration) + turned_away + admin + SPARE;
        Self { others, ..self }
    }

    /// How many connections are let in.
    pub(crate) fn room(&self, configuration: &Configuration) -> Room {
        let wanted = configuration.limits.max_connections.size();
        match self.available {
            Some(available) if available < needed(configuration) => {
                let left = usize::try_from(available.saturating_sub(self.others));
                let files = if has_files(configuration) { FILES } else { 0 };
                share(left.unwrap_or(usize::MAX), files, wanted)
            }
            _ => Room {
                connections: wanted,
                closing: None,
            },
        }
    }

    /// Warns where there are too few descriptors, and says what is in force.
    pub(crate) fn warn(&self, configuration: &Configuration) {
        let needed = needed(configuration);
        if let Some(available) = self.available.filter(|available| *available < needed) {
            let room = self.room(configuration);
            tracing::warn!(
                target: "prixfixe",
                available,
                needed,
                max_connections = configuration.limits.max_connections.get(),
                in_force = room.connections,
                "the limit of open files is too low for max-connections; raise it (ulimit -Hn, LimitNOFILE=)"
            );
        }
    }
}

/// One in eight of the descriptors is for connections that are closing. The others are for clients,
/// and for the files of their messages, of which the first [`FILES`] clients can have one each. One
/// client is let in at least.
fn share(descriptors: usize, files: usize, wanted: usize) -> Room {
    let closing = descriptors / 8;
    let others = descriptors - closing;
    let connections = others.saturating_sub(files).max(others / 2);
    Room {
        connections: connections.clamp(1, wanted.max(1)),
        closing: Some(closing.min(wanted.saturating_add(256))),
    }
}

/// How many descriptors may be open at once.
fn needed(configuration: &Configuration) -> u64 {
    let connections = u64::from(configuration.limits.max_connections.get());
    // Those that are only closing come on top: see `max_closing` of `prixfixe_network::Options`.
    let closing = connections.saturating_add(256);
    let files = if has_files(configuration) {
        connections
    } else {
        0
    };
    connections + closing + files + threads(configuration) + admin(configuration) + ALWAYS
}

/// A message has its file open, from when it is too long to wait in memory for its end or when its
/// end is there.
fn has_files(configuration: &Configuration) -> bool {
    let targets = configuration.routed_targets();
    let mut urls = targets.iter().filter_map(|target| target.url.as_ref());
    urls.any(|url| url.maildir_path().is_some())
}

/// A name may stand for several addresses: both families, as a rule. Each thread has a poller, too.
fn threads(configuration: &Configuration) -> u64 {
    let listeners = 2 * configuration.listeners.len() as u64;
    configuration.threads.size() as u64 * (listeners + 4)
}

fn admin(configuration: &Configuration) -> u64 {
    match configuration.admin.listen {
        Some(_) => ADMIN,
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_shared_so_that_each_connection_can_deliver() {
        for (descriptors, wanted) in (0..300)
            .chain([5000, 20_000])
            .flat_map(|descriptors| [1, 20, 500, 11_000].map(|wanted| (descriptors, wanted)))
        {
            for files in [0, FILES] {
                let room = share(descriptors, files, wanted);
                let closing = room.closing.unwrap();
                assert!((1..=wanted).contains(&room.connections));
                if descriptors >= 8 {
                    let needed = room.connections + closing + room.connections.min(files);
                    assert!(needed <= descriptors, "{room:?} of {descriptors}");
                }
            }
        }
        let expected = Room {
            connections: 14,
            closing: Some(4),
        };
        assert_eq!(share(32, FILES, 500), expected);
        assert_eq!(share(20_000, FILES, 11_000).connections, 11_000);
        assert_eq!(share(20_000, FILES, 50_000).connections, 16_476);
        assert_eq!(share(32, 0, 500).connections, 28);
    }
}
