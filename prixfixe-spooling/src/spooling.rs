//! The spool between the server and its targets, where one is configured.

use std::fmt;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use prixfixe_config::Configuration;
use prixfixe_delivery::bounce::Reports;
use prixfixe_delivery::{
    Delivery, Fleet, FleetAccess, FleetDelivery, FleetUrl, RetrySchedule, Routes, Spool,
    SpoolStatus, Storage, Target as _, TargetStatus,
};
use tokio::runtime::Handle;
use tracing::{error, info, warn};

use crate::queue::answer;
use crate::reported::reported;
use crate::socket::Socket;
use crate::{OpenedTargets, SpoolError, options};

/// A spool that is open, and who writes to senders. Cheap to clone.
#[derive(Clone)]
pub struct Spooling(Arc<Shared>);

struct Shared {
    place: String,
    form: Form,
    reports: Reports,
    runtime: Handle,
    state: Mutex<State>,
}

/// What another configuration needs of files, for [`Spooling::change`].
#[derive(Debug)]
pub struct Prepared(Option<Box<FleetAccess>>);

/// Where the mail is.
enum Form {
    /// In a directory, which is this server's alone.
    Disk(Spool),
    /// In streams that all servers of a fleet share.
    Fleet(FleetDelivery),
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

/// Behind the drain timeout, for the disk's or the stream's last answers. A disk that owes an
/// answer for longer counts as broken elsewhere too.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

/// How often is looked whether they have come.
const LOOK_AT_THE_END: Duration = Duration::from_millis(5);

/// Messages under way to a target at once, in all the fleet, where nothing is said.
const CONCURRENCY: usize = 16;

/// How often is looked whether this process is the one that delivers, before operators can reach
/// it.
const LOOK: Duration = Duration::from_millis(50);

impl Spooling {
    /// Opens the spool that is configured. `None`: there is none. On a disk, delivery begins as
    /// soon as no other process delivers from it.
    ///
    /// # Errors
    ///
    /// [`SpoolError`]: what no waiting mends. Servers that cannot be reached are no error.
    pub fn open(
        configuration: &Configuration,
        routes: Routes,
        opened: &OpenedTargets,
        runtime: &Handle,
    ) -> Result<Self, SpoolError> {
        let reports = Reports::default();
        reports.set(configuration.domain.as_str(), reported(opened));
        let (place, form) = match (&configuration.spool.path, &configuration.spool.url) {
            (Some(path), _) => {
                let options = options::of_disk(configuration, &reports);
                let inside = runtime.enter();
                let spool = Spool::start(path, routes, options);
                drop(inside);
                let place = path.display().to_string();
                let spool = spool.map_err(|error| SpoolError::new(&place, &error))?;
                (place, Form::Disk(spool))
            }
            (None, Some(url)) => {
                let delivery = open_fleet(url, configuration, &reports, routes);
                let place = url.to_string();
                let delivery = runtime.block_on(delivery);
                let delivery = delivery.map_err(|error| SpoolError::new(&place, &error))?;
                (place, Form::Fleet(delivery))
            }
            (None, None) => return Err(SpoolError::new("", &"none is configured")),
        };
        let spooling = Self(Arc::new(Shared {
            place,
            form,
            reports,
            runtime: runtime.clone(),
            state: Mutex::new(State {
                targets: opened.clone(),
                drain: configuration.limits.drain_timeout.get(),
                ..State::default()
            }),
        }));
        spooling.announce()?;
        Ok(spooling)
    }

    fn announce(&self) -> Result<(), SpoolError> {
        let Shared { place, form, .. } = &*self.0;
        match form {
            Form::Fleet(_) => {
                info!(target: "prixfixe", url = place, "the spool of the fleet is in use");
            }
            Form::Disk(_) => {
                let waiting = self.clone();
                thread::Builder::new()
                    .name("spool-control".to_owned())
                    .spawn(move || waiting.open_socket())
                    .map_err(|error| SpoolError::new(place, &error))?;
            }
        }
        Ok(())
    }

    /// Mail to it.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        match &self.0.form {
            Form::Disk(spool) => Delivery::to("spool", spool.clone()),
            Form::Fleet(fleet) => Delivery::to("spool", fleet.clone()),
        }
    }

    /// What waits, in all the fleet where a fleet shares it.
    #[must_use]
    pub fn status(&self) -> SpoolStatus {
        match &self.0.form {
            Form::Disk(spool) => spool.status(),
            Form::Fleet(fleet) => fleet.fleet().queue(),
        }
    }

    /// Those that it delivers to.
    #[must_use]
    pub fn targets(&self) -> Vec<TargetStatus> {
        match &self.0.form {
            Form::Disk(spool) => spool.targets(),
            Form::Fleet(fleet) => fleet.targets(),
        }
    }

    /// Each file system that it or a target writes to.
    #[must_use]
    pub fn storage(&self) -> Vec<Storage> {
        let mut storage = match &self.0.form {
            Form::Disk(spool) => spool.storage(),
            Form::Fleet(fleet) => fleet.storage(),
        };
        let state = self.state();
        let targets = state.targets.values().map(|(_, target)| target);
        storage.extend(targets.flat_map(|target| target.storage()));
        storage
    }

    /// Its numbers, as metrics: reports to senders.
    pub fn encode(&self, text: &mut String) {
        let name = "smtp_bounces_total";
        let help = "Reports to senders, and those that nobody may be told";
        let reports = &self.0.reports;
        // Writing to a String does not fail.
        let _ = writeln!(text, "# HELP {name} {help}.\n# TYPE {name} counter");
        for (result, count) in [("sent", reports.sent()), ("withheld", reports.withheld())] {
            let _ = writeln!(text, "{name}{{result=\"{result}\"}} {count}");
        }
    }

    /// Reads what another configuration names: a fleet's credentials and certificates.
    ///
    /// # Errors
    ///
    /// [`SpoolError`], for a file that cannot be read or holds something else.
    pub fn prepare(&self, configuration: &Configuration) -> Result<Prepared, SpoolError> {
        let Shared { place, form, .. } = &*self.0;
        match form {
            Form::Disk(_) => Ok(Prepared(None)),
            Form::Fleet(fleet) => {
                let connection = options::of_fleet(&configuration.spool).connection;
                let access = fleet.fleet().read_access(&connection);
                let access = access.map_err(|error| SpoolError::new(place, &error))?;
                Ok(Prepared(Some(Box::new(access))))
            }
        }
    }

    /// From now on it goes by these.
    pub fn change(
        &self,
        configuration: &Configuration,
        routes: Routes,
        opened: &OpenedTargets,
        prepared: Prepared,
    ) {
        let Shared {
            form,
            reports,
            runtime,
            ..
        } = &*self.0;
        reports.set(configuration.domain.as_str(), reported(opened));
        match form {
            Form::Disk(spool) => {
                spool.set_options(options::of_disk(configuration, reports));
                spool.set_routes(routes);
            }
            Form::Fleet(fleet) => {
                let spool = &configuration.spool;
                let retry = RetrySchedule::new(spool.pauses());
                fleet.fleet().set_attempts(retry, spool.give_up_after.get());
                fleet.fleet().set_max_size(spool.max_size.get());
                if let Some(access) = prepared.0 {
                    fleet.fleet().set_access(*access);
                }
                let concurrency = options::concurrency_of(configuration);
                let changed = runtime.block_on(fleet.set_routes_with(routes, &concurrency));
                if let Err(error) = changed {
                    warn!(target: "prixfixe", %error, "the spool keeps its routes");
                }
            }
        }
        let mut state = self.state();
        state.targets.clone_from(opened);
        state.drain = configuration.limits.drain_timeout.get();
    }

    /// No new attempts begin; those under way have the drain timeout. Then the spool is a
    /// successor's.
    pub fn leave(&self) {
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
                let Shared { runtime, form, .. } = &*leaving.0;
                // Before the hand-over: from then on the path is the successor's.
                leaving.state().socket = None;
                match form {
                    Form::Disk(spool) => runtime.block_on(spool.stop(drain)),
                    Form::Fleet(fleet) => runtime.block_on(fleet.fleet().stop(drain)),
                }
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

    /// Waits until the spool is a successor's. False: its disk, or its stream, does not answer.
    #[must_use]
    pub fn wait(&self) -> bool {
        self.leave();
        let Some(leaving) = self.state().leaving.take() else {
            return true;
        };
        while !leaving.thread.is_finished() {
            if Instant::now() >= leaving.deadline {
                error!(
                    target: "prixfixe", place = self.0.place, messages = leaving.messages,
                    "the spool does not answer; the next start takes its mail up, and repeats what was under way"
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
        let Shared {
            place,
            form: Form::Disk(spool),
            ..
        } = &*self.0
        else {
            return;
        };
        while !spool.status().is_delivering {
            if self.state().is_leaving {
                return;
            }
            thread::sleep(LOOK);
        }
        let asked = spool.clone();
        // Whoever leaves waits for it: behind the hand-over the path is the successor's.
        let mut state = self.state();
        if state.is_leaving {
            return;
        }
        let opened = Socket::open(
            Path::new(place),
            Arc::new(move |request, output| answer(&asked, request, output)),
        );
        match opened {
            Ok(socket) => state.socket = Some(socket),
            Err(error) => warn!(
                target: "prixfixe", path = place, %error,
                "prixfixe spool cannot reach this server"
            ),
        }
        info!(target: "prixfixe", path = place, "the spool delivers");
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn open_fleet(
    url: &FleetUrl,
    configuration: &Configuration,
    reports: &Reports,
    routes: Routes,
) -> Result<FleetDelivery, prixfixe_delivery::NatsError> {
    let mut of_fleet = options::of_fleet(&configuration.spool);
    of_fleet.bouncer = Arc::new(reports.clone());
    let fleet = Fleet::open(url, of_fleet).await?;
    let concurrency = options::concurrency_of(configuration);
    FleetDelivery::new_with(fleet, routes, CONCURRENCY, &concurrency).await
}

impl fmt::Debug for Spooling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Spooling").field(&self.0.place).finish()
    }
}
