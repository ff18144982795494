//! The spool as a target, whose mail goes on by routes.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use prixfixe_server::{Mail, Message, Recipient, Reply};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::Fleet;
use super::accept::Part;
use crate::routes::Routes;
use crate::spool::store::{admit, split};
use crate::{
    Asked, BoxFuture, Delivered, Failure, Health, NatsError, Outcomes, Target, TargetStatus,
    Transaction,
};

/// Mail that is kept in a fleet's spool and delivered to targets by routes: a [`Target`] and a
/// handler. Clones share everything.
///
/// ```no_run
/// use prixfixe_delivery::{Fleet, FleetDelivery, FleetOptions, Maildir, MaildirOptions, Routes};
/// use prixfixe_server::Server;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let url = "nats://nats-1,nats-2,nats-3".parse()?;
/// let fleet = Fleet::open(&url, FleetOptions::default()).await?;
/// let routes = Routes::all_to("keep", Maildir::open("mail", MaildirOptions::default())?);
/// let delivery = FleetDelivery::new(fleet, routes, 16).await?;
/// let server = Server::builder().listen(([127, 0, 0, 1], 2525)).handler(delivery.clone()).start()?;
/// server.stopped().await;
/// delivery.fleet().stop(std::time::Duration::from_secs(30)).await;
/// # Ok(())
/// # }
/// ```
///
/// A transaction goes as many ways as there are: each target gets the message for its recipients,
/// and a target that is away delays nobody.
#[derive(Clone)]
pub struct FleetDelivery {
    fleet: Fleet,
    concurrency: usize,
    _counting: Arc<Counting>,
}

/// The task that counts, until nobody needs it.
struct Counting(AbortHandle);

impl Drop for Counting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl FleetDelivery {
    /// Delivers by these routes, so many messages at once to each target in all the fleet.
    ///
    /// # Errors
    ///
    /// As [`Fleet::deliver`].
    pub async fn new(fleet: Fleet, routes: Routes, concurrency: usize) -> Result<Self, NatsError> {
        Self::new_with(fleet, routes, concurrency, &HashMap::new()).await
    }

    /// The same, with a concurrency of their own for single targets, by their names.
    ///
    /// # Errors
    ///
    /// As [`Fleet::deliver`].
    pub fn new_with(
        fleet: Fleet,
        routes: Routes,
        concurrency: usize,
        concurrency_of: &HashMap<String, usize>,
    ) -> BoxFuture<'_, Result<Self, NatsError>> {
        Box::pin(async move {
            let inner = Arc::clone(&fleet.0.inner);
            let (begin, is_routed) = oneshot::channel();
            let counting = tokio::spawn(async move {
                // Before there are routes every target is an unknown one.
                if is_routed.await.is_ok() {
                    inner.count().await;
                }
            });
            let delivery = Self {
                fleet,
                concurrency,
                _counting: Arc::new(Counting(counting.abort_handle())),
            };
            delivery.set_routes_with(routes, concurrency_of).await?;
            let _ = begin.send(());
            Ok(delivery)
        })
    }

    /// Other routes, for transactions and attempts that begin from now on. A name that is gone
    /// keeps its mail.
    ///
    /// # Errors
    ///
    /// As [`Fleet::deliver`].
    pub async fn set_routes(&self, routes: Routes) -> Result<(), NatsError> {
        self.set_routes_with(routes, &HashMap::new()).await
    }

    /// The same, with a concurrency of their own for single targets, by their names.
    ///
    /// # Errors
    ///
    /// As [`Fleet::deliver`].
    pub fn set_routes_with<'f>(
        &'f self,
        routes: Routes,
        concurrency_of: &'f HashMap<String, usize>,
    ) -> BoxFuture<'f, Result<(), NatsError>> {
        Box::pin(async move {
            let routes = Arc::new(routes.with_numbers_of(&self.fleet.routes()));
            // What is in the stream may be for one that no route leads to any more.
            for target in routes.all_targets() {
                let target = Arc::clone(target);
                let own = concurrency_of.get(target.name()).copied();
                let concurrency = own.unwrap_or(self.concurrency);
                self.fleet.deliver_tracked(target, concurrency).await?;
            }
            let names: Vec<&str> = routes.all_targets().iter().map(|it| it.name()).collect();
            self.fleet.deliver_only(&names).await;
            self.fleet.set_routes(routes);
            Ok(())
        })
    }

    /// The spool.
    #[must_use]
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// The targets, and what this server has delivered there.
    #[must_use]
    pub fn targets(&self) -> Vec<TargetStatus> {
        let routes = self.fleet.routes();
        routes.all_targets().iter().map(|it| it.status()).collect()
    }
}

impl Target for FleetDelivery {
    fn admit(&self, mail: Mail<'_>) -> Result<(), Reply> {
        self.fleet.admit(mail)
    }

    fn begin<'a>(&'a self, mail: Mail<'a>) -> Asked<'a, Result<Box<dyn Transaction>, Failure>> {
        Asked::Now(Ok(Box::new(Incoming {
            fleet: self.fleet.clone(),
            routes: self.fleet.routes(),
            is_stranger: mail.client().identity().is_none(),
        })))
    }

    fn health(&self) -> Health {
        self.fleet.health()
    }

    fn is_local(&self) -> bool {
        true
    }
}

/// A message on its way in, by the routes that were in force when it began.
struct Incoming {
    fleet: Fleet,
    routes: Arc<Routes>,
    is_stranger: bool,
}

impl Transaction for Incoming {
    fn rcpt<'a>(&'a mut self, recipient: &'a Recipient) -> Asked<'a, Result<(), Failure>> {
        Asked::Now(admit(&self.routes, recipient, self.is_stranger))
    }

    fn deliver(self: Box<Self>, message: Message) -> BoxFuture<'static, Outcomes> {
        Box::pin(async move {
            let kept = match parts(&self.routes, &message) {
                Ok(parts) => self.fleet.keep(message, &parts).await,
                Err(failure) => Err(failure),
            };
            Outcomes::All(kept.map(|()| Delivered::default()))
        })
    }
}

/// Who of a message's recipients goes where.
pub(super) fn parts(routes: &Routes, message: &Message) -> Result<Vec<Part>, Failure> {
    let recipients = message.envelope().recipients();
    let at = |place: u32| recipients.get(usize::try_from(place).ok()?).cloned();
    let targets = split(routes, recipients)?.into_iter();
    Ok(targets
        .map(|target| Part {
            target: target.name,
            recipients: target.recipients.into_iter().filter_map(at).collect(),
        })
        .collect())
}

impl fmt::Debug for FleetDelivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FleetDelivery").field(&self.fleet).finish()
    }
}
