//! What the endpoints ask of an application.

use std::fmt;
use std::sync::Arc;

use prixfixe_delivery::{Delivery, SpoolStatus, Storage, TargetStatus};

/// Where mail goes, as far as the endpoints tell of it.
///
/// They ask whenever somebody asks them: an answer is what is known already, and does not block.
///
/// ```
/// use std::sync::atomic::{AtomicBool, Ordering};
///
/// use prixfixe_admin::Destinations;
///
/// #[derive(Debug, Default)]
/// struct Database {
///     is_lost: AtomicBool,
/// }
///
/// impl Destinations for Database {
///     fn fault(&self) -> Option<String> {
///         self.is_lost.load(Ordering::Relaxed).then(|| "the database is not there".to_owned())
///     }
/// }
/// # assert_eq!(Database::default().fault(), None);
/// ```
pub trait Destinations: fmt::Debug + Send + Sync + 'static {
    /// Why no mail can be delivered at the moment; `None` while it can. With a fault, `/readyz` is
    /// 503.
    fn fault(&self) -> Option<String>;

    /// The file systems that mail is written to.
    fn storage(&self) -> Vec<Storage> {
        Vec::new()
    }

    /// The targets that mail is handed to.
    fn targets(&self) -> Vec<TargetStatus> {
        Vec::new()
    }

    /// What waits for them, where there is a spool.
    fn spool(&self) -> Option<SpoolStatus> {
        None
    }
}

impl Destinations for Delivery {
    fn fault(&self) -> Option<String> {
        Delivery::fault(self).map(|fault| fault.to_string())
    }

    fn storage(&self) -> Vec<Storage> {
        Delivery::storage(self)
    }

    fn targets(&self) -> Vec<TargetStatus> {
        Delivery::targets(self)
    }
}

impl<T: Destinations + ?Sized> Destinations for Arc<T> {
    fn fault(&self) -> Option<String> {
        (**self).fault()
    }

    fn storage(&self) -> Vec<Storage> {
        (**self).storage()
    }

    fn targets(&self) -> Vec<TargetStatus> {
        (**self).targets()
    }

    fn spool(&self) -> Option<SpoolStatus> {
        (**self).spool()
    }
}

/// Nothing is known of where mail goes.
#[derive(Debug)]
pub(crate) struct Unknown;

impl Destinations for Unknown {
    fn fault(&self) -> Option<String> {
        None
    }
}

/// Numbers of the application's own at `/metrics`, behind those of the server.
pub trait Numbers: fmt::Debug + Send + Sync + 'static {
    /// Appends them in the Prometheus text format.
    fn encode(&self, text: &mut String);
}
