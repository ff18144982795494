//! What a transaction takes when it begins, and keeps to its end.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use prixfixe_core::ForwardPath;

use crate::accepted::AcceptedDomains;
use crate::{Client, Settings};

/// What a transaction takes at MAIL, all of it at once.
pub(crate) struct AtMail {
    pub(crate) accepted_domains: AcceptedDomains,
    pub(crate) relay_for_users: bool,
    /// How often a listener has come to ask for logins that asked for none before.
    pub(crate) login_epoch: u32,
    /// How often a listener has come to check passwords that took any before.
    pub(crate) anybody_epoch: u32,
    max_recipients: usize,
    attached: Attached,
}

/// Values of the application's own, at most one of a type.
#[derive(Clone, Default)]
pub(crate) struct Attached(Vec<Arc<dyn Any + Send + Sync>>);

/// What is in force now, for every session of a server.
#[derive(Clone)]
pub(crate) struct InForce(Arc<RwLock<Arc<AtMail>>>);

/// What was in force when a transaction began. It is no part of an envelope's value.
#[derive(Clone, Default)]
pub(crate) struct Taken(Option<Arc<AtMail>>);

impl AtMail {
    pub(crate) fn new(settings: &Settings, login_epoch: u32, anybody_epoch: u32) -> Self {
        let domain = &settings.dialogue.domain;
        Self {
            accepted_domains: AcceptedDomains::new(domain, &settings.accepted_domains),
            relay_for_users: settings.relay_for_users,
            login_epoch,
            anybody_epoch,
            max_recipients: settings.dialogue.max_recipients,
            attached: settings.attached.clone(),
        }
    }
}

impl AtMail {
    /// Whether mail for a recipient is taken from a client, for all that the settings say.
    pub(crate) fn accepts(&self, client: &Client, recipient: &ForwardPath) -> bool {
        let is_user = self.relay_for_users && client.identity().is_some();
        is_user || self.accepted_domains.accept(recipient)
    }
}

impl Attached {
    /// In place of one of the same type.
    pub(crate) fn put<T: Any + Send + Sync>(&mut self, value: Arc<T>) {
        self.0.retain(|it| !it.as_ref().is::<T>());
        self.0.push(value);
    }

    fn get<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let found = self.0.iter().find(|it| it.as_ref().is::<T>());
        Arc::clone(found?).downcast().ok()
    }
}

impl InForce {
    pub(crate) fn new(at_mail: AtMail) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(at_mail))))
    }

    pub(crate) fn now(&self) -> Arc<AtMail> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The same place, with something else in it from now on.
    pub(crate) fn replaced(&self, at_mail: AtMail) -> Self {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(at_mail);
        self.clone()
    }
}

impl Taken {
    /// [`AtMail::accepts`]. Where nothing was taken, nothing is refused.
    pub(crate) fn accepts(&self, client: &Client, recipient: &ForwardPath) -> bool {
        let at_mail = self.0.as_ref();
        at_mail.is_none_or(|it| it.accepts(client, recipient))
    }

    /// Whether a message may have one recipient more than these.
    pub(crate) fn has_room(&self, recipients: usize) -> bool {
        let at_mail = self.0.as_ref();
        at_mail.is_none_or(|it| recipients < it.max_recipients)
    }

    pub(crate) fn get<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.0.as_ref()?.attached.get()
    }
}

impl From<Arc<AtMail>> for Taken {
    fn from(at_mail: Arc<AtMail>) -> Self {
        Self(Some(at_mail))
    }
}

impl PartialEq for Taken {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Taken {}

impl fmt::Debug for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Taken" } else { "Nothing" })
    }
}

impl fmt::Debug for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Attached").field(&self.0.len()).finish()
    }
}
