//! Closures that are handlers.

use std::future::Future;
use std::sync::Arc;

use prixfixe_core::Reply;

use super::{Accepted, Handler, Session};
use crate::{Client, Message};

/// The session of a closure that takes each message.
///
/// It shares the closure, so that one that holds what cannot be cloned is a handler too.
#[derive(Debug)]
pub struct Closure<F>(Arc<F>);

impl<F, A> Handler for F
where
    F: Fn(Message) -> A + Send + Sync + 'static,
    A: Future<Output = Result<Accepted, Reply>> + Send,
{
    type Session = Closure<F>;

    async fn connect(self: &Arc<Self>, _: &Client) -> Result<Closure<F>, Reply> {
        Ok(Closure(Arc::clone(self)))
    }
}

impl<F, A> Session for Closure<F>
where
    F: Fn(Message) -> A + Send + Sync + 'static,
    A: Future<Output = Result<Accepted, Reply>> + Send,
{
    async fn message(&mut self, message: Message) -> Result<Accepted, Reply> {
        (self.0)(message).await
    }
}

/// The handler of [`ServerBuilder::sessions`](crate::ServerBuilder::sessions): a closure that makes
/// sessions.
///
/// A second implementation of [`Handler`] for closures would collide with the one for those that
/// take messages.
#[derive(Debug)]
pub struct Sessions<F>(F);

impl<F> Sessions<F> {
    /// The handler that makes its sessions so.
    #[must_use]
    pub fn new<S, A>(new_session: F) -> Self
    where
        F: Fn(Client) -> A + Send + Sync + 'static,
        S: Session,
        A: Future<Output = Result<S, Reply>> + Send,
    {
        Self(new_session)
    }
}

impl<F, S, A> Handler for Sessions<F>
where
    F: Fn(Client) -> A + Send + Sync + 'static,
    S: Session,
    A: Future<Output = Result<S, Reply>> + Send,
{
    type Session = S;

    async fn connect(self: &Arc<Self>, client: &Client) -> Result<S, Reply> {
        (self.0)(client.clone()).await
    }
}
