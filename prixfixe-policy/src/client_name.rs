//! The name of a client's host in the DNS.

use std::sync::Arc;
use std::time::Instant;

use prixfixe_core::Reply;
use prixfixe_server::{Check, CheckSession, Client, Data};

use crate::authentication::is_stranger;
use crate::task::Task;
use crate::{Observer, Resolver, spf};

/// The name that the client's host has in the DNS, forward-confirmed: the address leads to the name, and the name back to the
/// address.
///
/// It is looked up when the client connects, while the session goes on, and waited for before the content comes. From then
/// on it is in [`Client::host_name`] and in the `Received` field. A name that a proxy has told by XCLIENT is believed, and
/// nothing is looked up. Nothing is refused for it.
///
/// ```
/// use prixfixe_policy::{ClientName, Resolver};
///
/// let resolver = Resolver::with_servers([([127, 0, 0, 1], 53).into()])?;
/// let check = ClientName::new(resolver);
/// # drop(check);
/// # Ok::<(), prixfixe_policy::ResolverError>(())
/// ```
#[derive(Debug, Clone)]
pub struct ClientName {
    resolver: Resolver,
    observer: Option<Arc<dyn Observer>>,
}

impl ClientName {
    /// The check.
    #[must_use]
    pub fn new(resolver: Resolver) -> Self {
        Self {
            resolver,
            observer: None,
        }
    }

    /// Tells somebody what is found, and how long it took.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    async fn look(&self, client: &Client) {
        let Some(address) = client.peer().ip() else {
            return;
        };
        let began = Instant::now();
        let lookup = spf::proved_name(&self.resolver, address.to_canonical());
        let result = match self.resolver.in_time(lookup).await {
            Some(Some(name)) => {
                client.found_host_name(&name);
                "pass"
            }
            Some(None) => "none",
            None => "temperror",
        };
        if let Some(observer) = &self.observer {
            observer.observed("client-name", result, began.elapsed());
        }
    }
}

impl Check for ClientName {
    type Session = ClientNameSession;

    async fn connect(self: &Arc<Self>, client: &Client) -> Result<ClientNameSession, Reply> {
        if !is_stranger(client) {
            return Ok(ClientNameSession(None));
        }
        if let Some(told) = client.host_name() {
            client.found_host_name(told);
            return Ok(ClientNameSession(None));
        }
        let (check, client) = (Arc::clone(self), client.clone());
        let lookup = Task::spawn(Box::pin(async move { check.look(&client).await }));
        Ok(ClientNameSession(Some(lookup)))
    }

    fn needs_runtime(&self) -> bool {
        true
    }
}

/// One connection, while its client's name is looked up.
#[derive(Debug)]
pub struct ClientNameSession(Option<Task<()>>);

impl CheckSession for ClientNameSession {
    async fn data(&mut self, _: Data<'_>) -> Result<(), Reply> {
        if let Some(lookup) = &mut self.0 {
            // Kept until it is done: the hook may be dropped while it waits.
            lookup.await;
            self.0 = None;
        }
        Ok(())
    }
}
