//! The spool between the server and its targets, where one is configured.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use prixfixe_delivery::bounce::{ReportedTarget, Reports};
use prixfixe_delivery::{
    RetrySchedule, Routes, Spool, SpoolOptions, SpoolStatus, Storage, Target as _, TargetStatus,
};
use tokio::runtime::{Handle, Runtime};
use tracing::{error, info, warn};

use crate::error::Error;
use crate::spool::answer;
use crate::spool::socket::Socket;
use crate::targets::OpenedTargets;
use prixfixe_config::Configuration;

/// A spool that is open, and who writes to senders. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Spooling(Arc<Shared>);

struct Shared {
    path: PathBuf,
    spool: Spool,
    reports: Reports,
    runtime: Handle,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    targets: OpenedTargets,
    /// For deliveries under way, once no more begin.
    drain: Duration,
    socket: Option<Socket>,
    leaving: Option<Leaving>,
    is_leaving: bool,
}

/// On the way to give the spool up.
struct Leaving {
    thread: JoinHandle<()>,
    /// By then it is done, or its disk does not answer.
    deadline: Instant,
    /// Messages that were in the spool.
    messages: u64,
}

/// Behind the drain timeout, for the disk's last answers. One that owes an answer for longer counts as broken elsewhere too.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

/// How often is looked whether they have come.
const LOOK_AT_THE_END: Duration = Duration::from_millis(5);

/// How often is looked whether this process is the one that delivers, before operators can reach it.
const LOOK: Duration = Duration::from_millis(50);

impl Spooling {
    /// Opens it. Delivery begins as soon as no other process delivers from it.
    pub(crate) fn open(
        path: &Path,
        configuration: &Configuration,
        routes: Routes,
        opened: &OpenedTargets,
        runtime: &Runtime,
    ) -> Result<Self, Error> {
        let reports = Reports::default();
        reports.set(configuration.domain.as_str(), reported(opened));
        let options = options(configuration, &reports);
        let inside = runtime.enter();
        let spool = Spool::start(path, routes, options).map_err(|error| Error::Spool {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        drop(inside);
        let spooling = Self(Arc::new(Shared {
            path: path.to_owned(),
            spool,
            reports,
            runtime: runtime.handle().clone(),
            state: Mutex::new(State {
                targets: opened.clone(),
                drain: configuration.limits.drain_timeout.get(),
                ..State::default()
            }),
        }));
        let waiting = spooling.clone();
        thread::Builder::new()
            .name("spool-control".to_owned())
            .spawn(move || waiting.open_socket())
            .map_err(Error::Threads)?;
        Ok(spooling)
    }

    pub(crate) fn spool(&self) -> &Spool {
        &self.0.spool
    }

    pub(crate) fn reports(&self) -> &Reports {
        &self.0.reports
    }

    pub(crate) fn status(&self) -> SpoolStatus {
        self.0.spool.status()
    }

    /// Those that it delivers to.
    pub(crate) fn targets(&self) -> Vec<TargetStatus> {
        self.0.spool.targets()
    }

    /// Each file system that it or a target writes to.
    pub(crate) fn storage(&self) -> Vec<Storage> {
        let mut storage = self.0.spool.storage();
        let state = self.state();
        let targets = state.targets.values().map(|(_, target)| target);
        storage.extend(targets.flat_map(|target| target.storage()));
        storage
    }

    /// From now on it goes by these.
    pub(crate) fn change(
        &self,
        configuration: &Configuration,
        routes: Routes,
        opened: &OpenedTargets,
    ) {
        let Shared { spool, reports, .. } = &*self.0;
        reports.set(configuration.domain.as_str(), reported(opened));
        spool.set_options(options(configuration, reports));
        spool.set_routes(routes);
        let mut state = self.state();
        state.targets.clone_from(opened);
        state.drain = configuration.limits.drain_timeout.get();
    }

    /// No new attempts begin; those under way have the drain timeout. Then the spool is a successor's.
    pub(crate) fn leave(&self) {
        let mut state = self.state();
        state.is_leaving = true;
        if state.leaving.is_some() {
            return;
        }
        let (leaving, drain) = (self.clone(), state.drain);
        let status = self.status();
        let spawned = thread::Builder::new()
            .name("spool-drain".to_owned())
            .spawn(move || {
                let Shared { runtime, spool, .. } = &*leaving.0;
                // Before the hand-over: from then on the path is the successor's.
                leaving.state().socket = None;
                runtime.block_on(spool.stop(drain));
            });
        match spawned {
            Ok(thread) => {
                state.leaving = Some(Leaving {
                    thread,
                    deadline: Instant::now() + drain + LAST_ANSWERS,
                    messages: status.ready + status.waiting + status.held,
                });
            }
            // What is under way is repeated by the successor.
            Err(error) => warn!(target: "prixfixe", %error, "cannot start a thread"),
        }
    }

    /// Waits until the spool is a successor's. False: its disk does not answer.
    pub(crate) fn wait(&self) -> bool {
        self.leave();
        let Some(leaving) = self.state().leaving.take() else {
            return true;
        };
        while !leaving.thread.is_finished() {
            if Instant::now() >= leaving.deadline {
                error!(
                    target: "prixfixe", path = %self.0.path.display(), messages = leaving.messages,
                    "the spool's disk does not answer; the next start takes its mail up, and repeats what was under way"
                );
                return false;
            }
            thread::sleep(LOOK_AT_THE_END);
        }
        // A panic there was told by the hook already.
        let _ = leaving.thread.join();
        true
    }

    fn open_socket(&self) {
        let Shared { path, spool, .. } = &*self.0;
        while !spool.status().is_delivering {
            if self.state().is_leaving {
                return;
            }
            thread::sleep(LOOK);
        }
        let asked = self.clone();
        let opened = Socket::open(
            path,
            Arc::new(move |request, output| answer(asked.spool(), request, output)),
        );
        match opened {
            Ok(socket) => {
                let mut state = self.state();
                if !state.is_leaving {
                    state.socket = Some(socket);
                }
            }
            Err(error) => warn!(
                target: "prixfixe", path = %path.display(), %error,
                "prixfixe spool cannot reach this server"
            ),
        }
        info!(target: "prixfixe", path = %path.display(), "the spool delivers");
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn options(configuration: &Configuration, reports: &Reports) -> SpoolOptions {
    let spool = &configuration.spool;
    let mut options = SpoolOptions::default();
    options.log.max_size = spool.max_size.get();
    options.retry = RetrySchedule::new(spool.pauses());
    options.give_up_after = spool.give_up_after.get();
    options.min_free = configuration.delivery.min_free();
    options.bouncer = Arc::new(reports.clone());
    let targets = configuration.routed_targets().into_iter();
    options.concurrency_of = targets
        .filter_map(|target| Some((target.name, target.concurrency?.size())))
        .collect();
    options
}

/// Mail servers: what they refuse their senders may hear of.
fn reported(opened: &OpenedTargets) -> Vec<(String, ReportedTarget)> {
    let targets = opened.iter().filter_map(|(name, (target, opened))| {
        let url = target.url.as_ref()?;
        let is_final = match url.scheme() {
            "lmtp" => true,
            "smtp" | "smtps" => false,
            _ => return None,
        };
        let host = host(url.as_str());
        let target = ReportedTarget::new(host, is_final, Arc::clone(opened));
        Some((name.clone(), target))
    });
    targets.collect()
}

/// The name of a next hop, without its port.
fn host(url: &str) -> &str {
    let place = url.split_once(':').map_or(url, |(_, place)| place);
    match place.rsplit_once(':') {
        // A socket of this host.
        _ if place.starts_with('/') => "localhost",
        Some(("unix", _)) => "localhost",
        Some((host, port)) if port.bytes().all(|it| it.is_ascii_digit()) => host,
        _ => place,
    }
}

impl fmt::Debug for Spooling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Spooling").field(&self.0.path).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::host;

    #[test]
    fn a_report_names_the_host() {
        for (url, expected) in [
            ("smtp:relay.example.com:587", "relay.example.com"),
            ("smtps:relay.example.com", "relay.example.com"),
            ("smtp:[2001:db8::1]:25", "[2001:db8::1]"),
            ("smtp:[2001:db8::1]", "[2001:db8::1]"),
            ("lmtp:/run/dovecot/lmtp", "localhost"),
            ("lmtp:unix:/run/dovecot/lmtp", "localhost"),
        ] {
            assert_eq!(host(url), expected, "{url}");
        }
    }
}
