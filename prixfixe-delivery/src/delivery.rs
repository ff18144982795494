//! Mail to targets by routes, as one handler.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use prixfixe_server::{Client, Handler, Reply};

use crate::memory::Memory;
use crate::routes::Routes;
use crate::visit::{Source, Visit};
use crate::{Fault, MinFree, Storage, Target, TargetStatus};

/// The handler that hands mail to [targets](Target) by [routes](Routes). Clones share everything.
///
/// ```no_run
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use prixfixe_delivery::{Delivery, Maildir, MaildirOptions};
/// use prixfixe_server::Server;
///
/// let delivery = Delivery::to("keep", Maildir::open("mail", MaildirOptions::default())?);
/// let server = Server::builder().listen(([127, 0, 0, 1], 2525)).handler(delivery.clone()).start()?;
/// assert!(delivery.targets()[0].fault.is_none());
/// # drop(server);
/// # Ok(())
/// # }
/// ```
///
/// A transaction goes one way: a recipient of another route is `452 4.5.3`, so that its client
/// sends it in another transaction. Where recipients come out differently, a client of SMTP is told
/// `451` while one of them may come out better, and what is final for the others is remembered:
/// 65,536 outcomes for 24 hours, in memory. When the message comes again it goes to the rest alone.
#[derive(Clone)]
pub struct Delivery(InForce);

/// The routes in force, for every session.
#[derive(Clone)]
pub(crate) struct InForce(Arc<Shared>);

/// Routes that are ready for a [`Delivery`], and not in force yet. Clones are one.
///
/// [Attached](prixfixe_server::Settings::attach) to the settings of a server they hold for each
/// transaction that begins from then on, at one moment with everything else there.
#[derive(Debug, Clone)]
pub struct PreparedRoutes(pub(crate) Arc<Routes>);

struct Shared {
    routes: RwLock<Arc<Routes>>,
    memory: Memory,
}

impl Delivery {
    /// By these routes.
    #[must_use]
    pub fn new(routes: Routes) -> Self {
        Self(InForce(Arc::new(Shared {
            routes: RwLock::new(Arc::new(routes)),
            memory: Memory::default(),
        })))
    }

    /// All mail to one target.
    #[must_use]
    pub fn to(name: impl Into<Box<str>>, target: impl Target) -> Self {
        Self::new(Routes::all_to(name, target))
    }

    /// Other routes, for transactions that begin from now on. A target under a name that it had
    /// before keeps its numbers.
    pub fn set_routes(&self, routes: Routes) {
        let prepared = self.prepare(routes);
        self.put(&prepared);
    }

    /// Other routes, to be put in force later: by [`put`](Self::put), and before by
    /// [`Settings::attach`](prixfixe_server::Settings::attach) where they come with other settings.
    /// A target under a name that it has now keeps its numbers.
    #[must_use]
    pub fn prepare(&self, routes: Routes) -> PreparedRoutes {
        PreparedRoutes(Arc::new(routes.with_numbers_of(&self.0.now())))
    }

    /// These routes from now on.
    pub fn put(&self, routes: &PreparedRoutes) {
        *self.0.write() = Arc::clone(&routes.0);
    }

    /// The targets that mail is routed to, and what has become of it.
    #[must_use]
    pub fn targets(&self) -> Vec<TargetStatus> {
        let routes = self.0.now();
        routes.targets().map(|target| target.status()).collect()
    }

    /// True where all mail goes to one target, and that
    /// [was seen to offer DSN](Target::offers_dsn): then a server may offer it
    /// ([`Endpoint::dsn_while`](prixfixe_server::Endpoint::dsn_while)).
    #[must_use]
    pub fn offers_dsn(&self) -> bool {
        let routes = self.0.now();
        let mut targets = routes.targets();
        let first = targets.next();
        targets.next().is_none() && first.is_some_and(|it| it.target().offers_dsn())
    }

    /// Each file system that mail is written to.
    #[must_use]
    pub fn storage(&self) -> Vec<Storage> {
        let routes = self.0.now();
        let storage = routes.targets().flat_map(|it| it.target().storage());
        storage.collect()
    }

    /// As [`Target::set_min_free`], for all targets.
    pub fn set_min_free(&self, min_free: MinFree) {
        for target in self.0.now().targets() {
            target.target().set_min_free(min_free);
        }
    }

    /// As [`Target::set_fsync`], for all targets.
    ///
    /// # Errors
    ///
    /// The first target's that cannot: those before it have changed.
    pub fn set_fsync(&self, fsync: bool) -> Result<(), Fault> {
        let routes = self.0.now();
        let mut targets = routes.targets();
        targets.try_for_each(|target| target.target().set_fsync(fsync))
    }

    /// What stands in the way of all mail: every target has a fault. `None` while one works.
    #[must_use]
    pub fn fault(&self) -> Option<Arc<Fault>> {
        let routes = self.0.now();
        let mut first = None;
        for target in routes.targets() {
            let fault = target.health().fault()?;
            first.get_or_insert(fault);
        }
        first
    }
}

impl InForce {
    pub(crate) fn now(&self) -> Arc<Routes> {
        let routes = self.0.routes.read();
        Arc::clone(&routes.unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Arc<Routes>> {
        let routes = self.0.routes.write();
        routes.unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn memory(&self) -> &Memory {
        &self.0.memory
    }
}

impl Handler for Delivery {
    type Session = Visit;

    async fn connect(self: &Arc<Self>, _: &Client) -> Result<Visit, Reply> {
        Ok(Visit::new(Source::InForce(self.0.clone())))
    }

    /// Routes may change, and lead to the other end of a network then.
    fn needs_runtime(&self) -> bool {
        true
    }
}

/// Each of these is a handler by itself, for all mail.
macro_rules! handlers {
    ($($(#[$meta:meta])* $target:ty $(where $generic:ident: $bound:path)?;)*) => {
        $($(#[$meta])*
        impl$(<$generic: $bound>)? Handler for $target {
            type Session = Visit;

            async fn connect(self: &Arc<Self>, _: &Client) -> Result<Visit, Reply> {
                let routes = Routes::all_to_shared("", Arc::clone(self) as Arc<dyn Target>);
                Ok(Visit::new(Source::Fixed(Arc::new(routes))))
            }
        })*
    };
}

handlers! {
    /// Accepts every client.
    crate::Maildir<F> where F: crate::FileSystem;
    /// Accepts every client.
    crate::Discard;
    /// Accepts every client.
    crate::Stdout;
}

/// Accepts every client.
#[cfg(feature = "fleet")]
impl Handler for crate::FleetDelivery {
    type Session = Visit;

    async fn connect(self: &Arc<Self>, _: &Client) -> Result<Visit, Reply> {
        let routes = Routes::all_to_shared("", Arc::clone(self) as Arc<dyn Target>);
        Ok(Visit::new(Source::Fixed(Arc::new(routes))))
    }

    /// Its servers are at the other end of a network.
    fn needs_runtime(&self) -> bool {
        true
    }
}

/// Accepts every client.
#[cfg(feature = "spool")]
impl<D: prixfixe_spool::Disk> Handler for crate::Spool<D> {
    type Session = Visit;

    async fn connect(self: &Arc<Self>, _: &Client) -> Result<Visit, Reply> {
        let routes = Routes::all_to_shared("", Arc::clone(self) as Arc<dyn Target>);
        Ok(Visit::new(Source::Fixed(Arc::new(routes))))
    }

    /// Large contents are written by threads of tokio's.
    fn needs_runtime(&self) -> bool {
        true
    }
}

impl fmt::Debug for InForce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.now().fmt(f)
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Delivery").field(&self.0).finish()
    }
}
