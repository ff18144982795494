//! The targets that mail is routed to: opened at the start, and again where the configuration has
//! changed.

use std::collections::HashMap;
use std::sync::Arc;

use prixfixe_config::Configuration;
use prixfixe_config::look_up_group;
use prixfixe_config::targets::Target;
use prixfixe_delivery::{
    AcceptRecipients, Around, Delivery, Fault, MinFree, PreparedRoutes, PreparedTarget, Routes,
    Target as Opened, TargetUrl,
};
use prixfixe_spooling::{OpenedTargets, Spooling};
use tokio::runtime::{Builder, Runtime};

use crate::error::Error;

/// What can be opened before the process becomes another user.
pub(crate) struct Prepared(Vec<(Target, PreparedTarget)>);

impl Prepared {
    /// `recipients` are those that are known; who they are is to be said later.
    pub(crate) fn new(
        configuration: &Configuration,
        recipients: &AcceptRecipients,
    ) -> Result<Self, Error> {
        let around = around(configuration, recipients)?;
        let mut prepared = Vec::new();
        for target in configuration.routed_targets() {
            let opened = prepare(&target, &around)?;
            prepared.push((target, opened));
        }
        Ok(Self(prepared))
    }

    /// Starts them all: their threads belong to whoever the process is.
    pub(crate) fn start(
        self,
        configuration: &Configuration,
        recipients: &AcceptRecipients,
    ) -> Result<Targets, Error> {
        let mut runtime = Surroundings::default();
        let mut opened = HashMap::new();
        for (target, prepared) in self.0 {
            let started = runtime.start(&target, prepared)?;
            opened.insert(target.name.clone(), (target, started));
        }
        let routes = routes(configuration, &opened)?;
        let (delivery, spool) = match configuration.spool.is_on() {
            true => {
                let runtime = runtime.runtime()?.handle();
                let spool = Spooling::open(configuration, routes, &opened, runtime)?;
                (spool.delivery(), Some(spool))
            }
            false => (Delivery::new(routes), None),
        };
        Ok(Targets {
            runtime,
            opened,
            delivery,
            spool,
            recipients: recipients.clone(),
            maildirs: maildirs(configuration),
        })
    }
}

/// For connections that outlive the thread of a session, and for what watches over them. Begun for
/// the first target that has any.
#[derive(Default)]
struct Surroundings(Option<Runtime>);

impl Surroundings {
    fn start(
        &mut self,
        target: &Target,
        prepared: PreparedTarget,
    ) -> Result<Arc<dyn Opened>, Error> {
        let started = match url(target).is_remote() {
            true => self.runtime()?.block_on(prepared.start()),
            false => pollster::block_on(prepared.start()),
        };
        started.map_err(|error| Error::from((target.name.as_str(), error)))
    }

    fn runtime(&mut self) -> Result<&Runtime, Error> {
        if self.0.is_none() {
            let runtime = Builder::new_multi_thread()
                .worker_threads(1)
                .thread_name("prixfixe-targets")
                .enable_all()
                .build();
            self.0 = Some(runtime.map_err(Error::EventLoop)?);
        }
        self.0.as_ref().ok_or(Error::Stopped)
    }
}

/// The targets in use.
pub(crate) struct Targets {
    runtime: Surroundings,
    opened: OpenedTargets,
    delivery: Delivery,
    /// Between the delivery and the targets.
    spool: Option<Spooling>,
    recipients: AcceptRecipients,
    /// What concerns Maildirs and is no target's own.
    maildirs: Maildirs,
}

/// Whose files they are, and where the server's own postmaster is.
type Maildirs = (Option<u32>, Option<String>, String);

/// Targets and routes that are ready, and not in force yet.
pub(crate) struct Next {
    opened: OpenedTargets,
    routes: NextRoutes,
    maildirs: Maildirs,
}

enum NextRoutes {
    /// Each transaction goes by those of its beginning.
    OfTransactions(PreparedRoutes),
    /// The spool takes every transaction, and goes by those of now.
    OfSpool(Box<Routes>, prixfixe_spooling::Prepared),
}

impl Next {
    /// What a transaction takes at its beginning.
    pub(crate) fn of_transactions(&self) -> Option<PreparedRoutes> {
        match &self.routes {
            NextRoutes::OfTransactions(routes) => Some(routes.clone()),
            NextRoutes::OfSpool(..) => None,
        }
    }
}

impl Targets {
    pub(crate) fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    pub(crate) fn spool(&self) -> Option<&Spooling> {
        self.spool.as_ref()
    }

    /// As [`Delivery::set_fsync`], whatever is before the targets.
    pub(crate) fn set_fsync(&self, fsync: bool) -> Result<(), Fault> {
        let mut targets = self.opened.values().map(|(_, target)| target);
        targets.try_for_each(|target| target.set_fsync(fsync))
    }

    /// As [`Delivery::set_min_free`], whatever is before the targets.
    pub(crate) fn set_min_free(&self, min_free: MinFree) {
        for (_, target) in self.opened.values() {
            target.set_min_free(min_free);
        }
    }

    /// Opens what a configuration asks for and is not open yet.
    pub(crate) fn prepare(&mut self, configuration: &Configuration) -> Result<Next, Error> {
        let around = around(configuration, &self.recipients)?;
        let is_same_around = self.maildirs == maildirs(configuration);
        let mut opened = HashMap::new();
        for target in configuration.routed_targets() {
            let is_maildir = url(&target).maildir_path().is_some();
            let same = self
                .opened
                .get(&target.name)
                .filter(|(it, _)| *it == target && (is_same_around || !is_maildir));
            let started = match same {
                Some((_, started)) => Arc::clone(started),
                None => self.runtime.start(&target, prepare(&target, &around)?)?,
            };
            opened.insert(target.name.clone(), (target, started));
        }
        let routes = routes(configuration, &opened)?;
        let routes = match &self.spool {
            Some(spool) => NextRoutes::OfSpool(Box::new(routes), spool.prepare(configuration)?),
            None => NextRoutes::OfTransactions(self.delivery.prepare(routes)),
        };
        let maildirs = maildirs(configuration);
        Ok(Next {
            opened,
            routes,
            maildirs,
        })
    }

    /// From now on mail goes by these. What is no longer used ends with the messages under way.
    pub(crate) fn replace(&mut self, configuration: &Configuration, next: Next) {
        match (next.routes, &self.spool) {
            (NextRoutes::OfSpool(routes, files), Some(spool)) => {
                spool.change(configuration, *routes, &next.opened, files);
            }
            (NextRoutes::OfTransactions(routes), _) => self.delivery.put(&routes),
            // The spool was there when they were made.
            (NextRoutes::OfSpool(..), None) => {}
        }
        self.opened = next.opened;
        self.maildirs = next.maildirs;
    }
}

fn maildirs(configuration: &Configuration) -> Maildirs {
    let delivery = &configuration.delivery;
    let mode = delivery.mode.map(|mode| mode.0);
    (mode, delivery.group.clone(), configuration.domain.clone())
}

fn around(configuration: &Configuration, recipients: &AcceptRecipients) -> Result<Around, Error> {
    let delivery = &configuration.delivery;
    let mut around = Around::default();
    around.domain.clone_from(&configuration.domain);
    around.recipients = recipients.clone();
    let group = delivery.group.as_deref().map(look_up_group).transpose()?;
    around.maildir.mode = delivery.mode.map(|mode| mode.0);
    around.maildir.group = group;
    around.maildir.fsync = delivery.fsync;
    around.maildir.min_free = delivery.min_free();
    Ok(around)
}

fn prepare(target: &Target, around: &Around) -> Result<PreparedTarget, Error> {
    target.group.as_deref().map(look_up_group).transpose()?;
    let opened = url(target).prepare(&target.name, &target.options(), around);
    opened.map_err(|error| Error::from((target.name.as_str(), error)))
}

/// The configuration has seen to it that there is one.
fn url(target: &Target) -> TargetUrl {
    let url = target.url.clone();
    url.unwrap_or_else(|| TargetUrl::maildir("./mail"))
}

fn routes(configuration: &Configuration, opened: &OpenedTargets) -> Result<Routes, Error> {
    let mut routes = Routes::new(configuration.domain.as_str());
    let mut opened: Vec<_> = opened.iter().collect();
    opened.sort_unstable_by_key(|(name, _)| *name);
    for (name, (_, target)) in opened {
        routes = routes.shared_target(name.as_str(), Arc::clone(target));
    }
    if configuration.routes.is_empty() {
        return Ok(routes.rest(configuration.default_name())?);
    }
    for route in &configuration.routes {
        // Without a spool it is one.
        let names: Vec<&str> = route.to.iter().map(String::as_str).collect();
        routes = match &*route.recipients {
            [] => routes.rest_to_all(&names)?,
            recipients => routes.route_to_all(recipients.iter().cloned(), &names)?,
        };
    }
    Ok(routes)
}
