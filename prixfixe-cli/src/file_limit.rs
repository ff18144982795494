//! The limit of open files, which is the limit of connections too.

use prixfixe_delivery::Target;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Configuration;

/// What is open whatever the configuration: standard streams, signals, the log, certificates while they are read, and
/// the files of the Maildir's workers, which sync directories and sweep.
const ALWAYS: u64 = 64;

/// The clients and the poller of the admin endpoints.
const ADMIN: u64 = 128;

/// Raises the soft limit to the hard one, and warns where even that is too low.
pub(crate) fn raise(configuration: &Configuration) {
    let needed = needed(configuration);
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let available = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    if let Some(available) = available.filter(|available| *available < needed) {
        tracing::warn!(
            target: "prixfixe",
            available,
            needed,
            max_connections = configuration.limits.max_connections,
            "the limit of open files is too low for max-connections; raise it (ulimit -Hn, LimitNOFILE=)"
        );
    }
}

/// How many descriptors may be open at once.
fn needed(configuration: &Configuration) -> u64 {
    let connections = configuration.limits.max_connections as u64;
    // Those that are only closing come on top: see `max_connections` of `prixfixe_network::Options`.
    let closing = connections.saturating_add(256);
    let files = match configuration.delivery.target {
        // A message that is too long to wait in memory for its end has its file open.
        Target::Maildir(_) => connections,
        _ => 0,
    };
    // A name may stand for several addresses: both families, as a rule. Each thread has a poller, too.
    let listeners = 2 * configuration.listeners.len() as u64;
    let threads = configuration.threads.get() as u64 * (listeners + 4);
    let admin = if configuration.admin.listen.is_some() {
        ADMIN
    } else {
        0
    };
    connections + closing + files + threads + admin + ALWAYS
}
