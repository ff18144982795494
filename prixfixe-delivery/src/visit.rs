//! A client's connection, as its mail is handed on.

use std::fmt;
use std::sync::Arc;

use prixfixe_server::{Accepted, Mail, Message, Rcpt, Reply, Session, reply};

use crate::attempt::Attempt;
use crate::delivery::{InForce, PreparedRoutes};
use crate::routes::Routes;
use crate::tracked::Tracked;
use crate::{Asked, Failure, Transaction};

/// The session of every handler of this crate.
#[derive(Debug)]
pub struct Visit {
    source: Source,
    way: Way,
}

/// Where the routes of a transaction come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// They never change, and each transaction has one outcome.
    Fixed(Arc<Routes>),
    /// They are those in force when it begins.
    InForce(InForce),
}

/// How far a transaction has come.
#[derive(Debug)]
enum Way {
    /// There is none.
    None,
    /// No target was asked yet.
    Routed(Arc<Routes>),
    /// It goes to this target. Boxed: every idle session has room for it.
    Open(Box<Open>),
    /// A question to the target was given up in the middle, and with it all that the target knew of
    /// the message.
    Lost,
}

struct Open {
    routes: Arc<Routes>,
    target: Arc<Tracked>,
    transaction: Box<dyn Transaction>,
    /// Recipients that it has taken.
    taken: usize,
}

/// No route leads anywhere for this recipient.
const NO_ROUTE: Reply = reply!(550 5.7.1 "No mail for this recipient here");
/// RFC 5321 section 4.5.3.1.10: the client sends the rest in another transaction.
const ANOTHER_WAY: Reply = reply!(452 4.5.3 "Send this recipient in another transaction");
/// The next server may take it for a route of its own.
const ROUTE_IN_LOCAL_PART: Reply = reply!(550 5.7.1 "No routes in local parts");
const LOST: Reply = reply!(451 4.3.0 "The delivery was interrupted, try again later");

impl Visit {
    pub(crate) fn new(source: Source) -> Self {
        Self {
            source,
            way: Way::None,
        }
    }
}

impl Session for Visit {
    /// Where no target has a place for the message its client hears so before it sends it.
    async fn mail(&mut self, mail: Mail<'_>) -> Result<(), Reply> {
        let routes = match &self.source {
            Source::Fixed(routes) => Arc::clone(routes),
            Source::InForce(in_force) => match mail.attached::<PreparedRoutes>() {
                Some(attached) => Arc::clone(&attached.0),
                None => in_force.now(),
            },
        };
        routes.admit(mail)?;
        self.way = Way::Routed(routes);
        Ok(())
    }

    async fn rcpt(&mut self, rcpt: Rcpt<'_>) -> Result<(), Reply> {
        // Where this is dropped in the middle, the transaction is lost.
        let way = std::mem::replace(&mut self.way, Way::Lost);
        // Not `Asked::answer`, whose future would have room for an answer that is there already.
        let (way, result) = match way.rcpt(rcpt) {
            Asked::Now(went) => went,
            Asked::Later(later) => later.await,
        };
        self.way = way;
        result
    }

    async fn message(&mut self, message: Message) -> Result<Accepted, Reply> {
        let Way::Open(open) = std::mem::replace(&mut self.way, Way::None) else {
            return Err(LOST);
        };
        let attempt = Attempt::new(&open.target, &message);
        let outcomes = match &self.source {
            // Boxed: every message would have room for what few need.
            Source::InForce(in_force) if attempt.may_repeat() => {
                Box::pin(attempt.repeatable(in_force.memory(), open.transaction, message)).await
            }
            Source::InForce(_) | Source::Fixed(_) => attempt.make(open.transaction, message).await,
        };
        outcomes.into_answer()
    }

    fn reset(&mut self) {
        self.way = Way::None;
    }
}

/// The way from here, and what the client is told.
type Went = (Way, Result<(), Reply>);

impl Way {
    /// A target on this machine costs neither an allocation nor room in every idle session.
    fn rcpt<'a>(self, rcpt: Rcpt<'a>) -> Asked<'a, Went> {
        let routes = match &self {
            Self::Routed(routes) => routes,
            Self::Open(open) => &open.routes,
            Self::None | Self::Lost => return Asked::Now((Self::Lost, Err(LOST))),
        };
        let target = match target_of(routes, &rcpt) {
            Ok(target) => target,
            Err(reply) => return Asked::Now((self, Err(reply))),
        };
        let is_local = target.target().is_local();
        let is_same = matches!(&self, Self::Open(open) if Arc::ptr_eq(&open.target, target));
        let target = Arc::clone(target);
        match self {
            Self::Open(open) if is_same => match is_local {
                true => Asked::Now(open.rcpt_now(rcpt)),
                false => Asked::later(open.rcpt(rcpt)),
            },
            Self::Open(open) if open.taken > 0 => Asked::Now((Self::Open(open), Err(ANOTHER_WAY))),
            // Nobody goes the other way after all.
            Self::Open(open) => Open::start(open.routes, target, rcpt),
            Self::Routed(routes) => Open::start(routes, target, rcpt),
            Self::None | Self::Lost => Asked::Now((Self::Lost, Err(LOST))),
        }
    }
}

impl Open {
    fn start(routes: Arc<Routes>, target: Arc<Tracked>, rcpt: Rcpt<'_>) -> Asked<'_, Went> {
        match target.target().is_local() {
            true => Asked::Now(Self::begin_now(routes, target, rcpt)),
            false => Asked::later(Self::begin(routes, target, rcpt)),
        }
    }

    async fn begin(routes: Arc<Routes>, target: Arc<Tracked>, rcpt: Rcpt<'_>) -> Went {
        if let Err(reply) = admit(&routes, &target, rcpt) {
            return (Way::Routed(routes), Err(reply));
        }
        let mail = Mail::new(rcpt.client(), rcpt.envelope());
        let begun = target.target().begin(mail).answer().await;
        match Self::begun(routes, target, begun) {
            Ok(open) => open.rcpt(rcpt).await,
            Err(went) => went,
        }
    }

    fn begin_now(routes: Arc<Routes>, target: Arc<Tracked>, rcpt: Rcpt<'_>) -> Went {
        if let Err(reply) = admit(&routes, &target, rcpt) {
            return (Way::Routed(routes), Err(reply));
        }
        let mail = Mail::new(rcpt.client(), rcpt.envelope());
        let begun = target.target().begin(mail).now();
        match Self::begun(
            routes,
            target,
            begun.unwrap_or_else(|| Err(Failure::said(LOST))),
        ) {
            Ok(open) => open.rcpt_now(rcpt),
            Err(went) => went,
        }
    }

    fn begun(
        routes: Arc<Routes>,
        target: Arc<Tracked>,
        begun: Result<Box<dyn Transaction>, Failure>,
    ) -> Result<Box<Self>, Went> {
        match begun {
            Ok(transaction) => Ok(Box::new(Self {
                routes,
                target,
                transaction,
                taken: 0,
            })),
            Err(failure) => {
                target.count_failure(&failure);
                Err((Way::Routed(routes), Err(failure.into_reply())))
            }
        }
    }

    async fn rcpt(mut self: Box<Self>, rcpt: Rcpt<'_>) -> Went {
        let answer = self.transaction.rcpt(rcpt.recipient()).answer().await;
        self.answered(answer)
    }

    fn rcpt_now(mut self: Box<Self>, rcpt: Rcpt<'_>) -> Went {
        let answer = self.transaction.rcpt(rcpt.recipient()).now();
        self.answered(answer.unwrap_or_else(|| Err(Failure::said(LOST))))
    }

    fn answered(mut self: Box<Self>, answer: Result<(), Failure>) -> Went {
        let result = match answer {
            Ok(()) => {
                self.taken += 1;
                Ok(())
            }
            Err(failure) => {
                self.target.count_failure(&failure);
                Err(failure.into_reply())
            }
        };
        (Way::Open(self), result)
    }
}

/// The only target was asked at MAIL.
fn admit(routes: &Routes, target: &Tracked, rcpt: Rcpt<'_>) -> Result<(), Reply> {
    match routes.only() {
        Some(_) => Ok(()),
        None => target
            .target()
            .admit(Mail::new(rcpt.client(), rcpt.envelope())),
    }
}

/// Where a recipient goes, if its client may send there.
fn target_of<'r>(routes: &'r Routes, rcpt: &Rcpt<'_>) -> Result<&'r Arc<Tracked>, Reply> {
    let target = routes.find(rcpt.path()).ok_or(NO_ROUTE)?;
    let is_stranger = || rcpt.client().identity().is_none();
    // RFC 5321 section 3.6.1: `bob%example.com@here` and its kin make a relay of the next server.
    let is_route = || {
        let mailbox = rcpt.path().mailbox();
        mailbox.is_some_and(|mailbox| mailbox.local_part().contains(['%', '!', '@', '/']))
    };
    match target.target().is_relay() && is_stranger() && is_route() {
        true => Err(ROUTE_IN_LOCAL_PART),
        false => Ok(target),
    }
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Open")
            .field("target", &self.target)
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}
