//! Any of the targets, as one type.

use std::sync::Arc;

use prixfixe_server::{Accepted, Client, Handler, Message, Reply, Session};

use crate::{Discard, Fault, Health, Maildir, MaildirOptions, OpenError, Stdout, Target};

/// The handler for a [`Target`] that is chosen while the program runs. Clones share everything.
///
/// ```no_run
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use prixfixe_delivery::{Delivery, MaildirOptions};
/// use prixfixe_server::Server;
///
/// let delivery = Delivery::open(&"maildir:./mail".parse()?, MaildirOptions::default())?;
/// let server = Server::builder().listen(([127, 0, 0, 1], 2525)).handler(delivery.clone()).start()?;
/// assert!(delivery.health().fault().is_none());
/// # drop(server);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Delivery {
    /// Into files.
    Maildir(Maildir),
    /// Nowhere.
    Discard(Discard),
    /// To the standard output.
    Stdout(Stdout),
}

impl Delivery {
    /// Makes the handler ready. Blocks while it looks at the disk. The options are for a Maildir alone.
    ///
    /// # Errors
    ///
    /// [`OpenError`] when the target cannot be used.
    pub fn open(target: &Target, options: MaildirOptions) -> Result<Self, OpenError> {
        Ok(match target {
            Target::Maildir(path) => Self::Maildir(Maildir::open(path, options)?),
            Target::Discard => Self::Discard(Discard::new()),
            Target::Stdout => Self::Stdout(Stdout::open()?),
        })
    }

    /// As [`Maildir::set_fsync`]; nothing for a target that is no Maildir.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn set_fsync(&self, fsync: bool) -> Result<(), Fault> {
        match self {
            Self::Maildir(maildir) => maildir.set_fsync(fsync),
            Self::Discard(_) | Self::Stdout(_) => Ok(()),
        }
    }

    /// Whether mail can be kept: what a readiness check asks.
    #[must_use]
    pub fn health(&self) -> Health {
        match self {
            Self::Maildir(maildir) => maildir.health(),
            Self::Discard(_) => Health::always_good(),
            Self::Stdout(stdout) => stdout.health(),
        }
    }
}

impl Handler for Delivery {
    type Session = Self;

    async fn connect(self: &Arc<Self>, _: &Client) -> Result<Self, Reply> {
        Ok(Self::clone(self))
    }
}

impl Session for Delivery {
    async fn message(&mut self, message: Message) -> Result<Accepted, Reply> {
        match self {
            Self::Maildir(maildir) => maildir.message(message).await,
            Self::Discard(discard) => discard.message(message).await,
            Self::Stdout(stdout) => stdout.message(message).await,
        }
    }
}
