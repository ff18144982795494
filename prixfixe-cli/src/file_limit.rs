//! The limit of open files, which is the limit of connections too.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is open beside connections: listeners and pollers of each thread, files under delivery, the log.
const BESIDE_CONNECTIONS: u64 = 128;

/// Raises the soft limit to the hard one, and warns where even that is too low.
pub(crate) fn raise(max_connections: usize) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let available = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let needed = max_connections as u64 + BESIDE_CONNECTIONS;
    if let Some(available) = available.filter(|available| *available < needed) {
        tracing::warn!(
            target: "prixfixe",
            available,
            needed,
            max_connections,
            "the limit of open files is too low for max-connections; raise it (ulimit -Hn, LimitNOFILE=)"
        );
    }
}
