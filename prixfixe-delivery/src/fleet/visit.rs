//! A client's connection, whose mail goes into the fleet's spool.

use std::fmt;
use std::sync::Arc;

use prixfixe_server::{Accepted, Client, Handler, Mail, Message, Rcpt, Reply, Session, reply};

use super::Fleet;
use super::report::parts;
use crate::NatsError;
use crate::routes::Routes;
use crate::visit::target_of;

/// The handler that keeps mail in a fleet's spool, and delivers it to targets by routes. Clones share everything.
///
/// A transaction goes as many ways as there are: each target gets the message for its recipients, and a target that is away
/// delays nobody.
#[derive(Clone)]
pub struct FleetDelivery {
    fleet: Fleet,
    concurrency: usize,
}

/// The session of [`FleetDelivery`].
#[derive(Debug)]
pub struct FleetVisit {
    fleet: Fleet,
    /// Those in force when the transaction began.
    routes: Option<Arc<Routes>>,
}

const LOST: Reply = reply!(451 4.3.0 "The delivery was interrupted, try again later");

impl FleetDelivery {
    /// Delivers by these routes, so many messages at once to each target in all the fleet.
    ///
    /// # Errors
    ///
    /// As [`Fleet::deliver`].
    pub async fn new(fleet: Fleet, routes: Routes, concurrency: usize) -> Result<Self, NatsError> {
        let delivery = Self { fleet, concurrency };
        delivery.set_routes(routes).await?;
        Ok(delivery)
    }

    /// Other routes, for transactions and attempts that begin from now on. A name that is gone keeps its mail.
    ///
    /// # Errors
    ///
    /// As [`Fleet::deliver`].
    pub async fn set_routes(&self, routes: Routes) -> Result<(), NatsError> {
        let routes = Arc::new(routes.with_numbers_of(&self.fleet.routes()));
        for target in routes.targets() {
            let target = Arc::clone(target);
            self.fleet.deliver_tracked(target, self.concurrency).await?;
        }
        let names: Vec<&str> = routes.targets().map(|it| it.name()).collect();
        self.fleet.deliver_only(&names).await;
        self.fleet.set_routes(Arc::clone(&routes));
        Ok(())
    }

    /// The spool.
    #[must_use]
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// The targets that mail is routed to, and what this server has delivered there.
    #[must_use]
    pub fn targets(&self) -> Vec<crate::TargetStatus> {
        let routes = self.fleet.routes();
        routes.targets().map(|target| target.status()).collect()
    }
}

impl Handler for FleetDelivery {
    type Session = FleetVisit;

    async fn connect(self: &Arc<Self>, _: &Client) -> Result<FleetVisit, Reply> {
        Ok(FleetVisit {
            fleet: self.fleet.clone(),
            routes: None,
        })
    }

    fn needs_runtime(&self) -> bool {
        true
    }
}

impl Session for FleetVisit {
    /// Where the spool is away or full its client hears so before it sends the message.
    async fn mail(&mut self, mail: Mail<'_>) -> Result<(), Reply> {
        self.fleet.admit(mail)?;
        self.routes = Some(self.fleet.routes());
        Ok(())
    }

    async fn rcpt(&mut self, rcpt: Rcpt<'_>) -> Result<(), Reply> {
        let routes = self.routes.as_ref().ok_or(LOST)?;
        target_of(routes, &rcpt).map(drop)
    }

    async fn message(&mut self, message: Message) -> Result<Accepted, Reply> {
        let routes = self.routes.take().ok_or(LOST)?;
        let parts = parts(&routes, &message);
        let kept = self.fleet.keep(message, &parts).await;
        match kept {
            Ok(()) => Ok(Accepted::default()),
            Err(failure) => {
                if let Some(cause) = failure.detail() {
                    tracing::debug!(cause, "a message was not kept");
                }
                Err(failure.into_reply())
            }
        }
    }

    fn reset(&mut self) {
        self.routes = None;
    }
}

impl fmt::Debug for FleetDelivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FleetDelivery").field(&self.fleet).finish()
    }
}
