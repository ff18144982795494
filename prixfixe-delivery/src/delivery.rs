//! Any of the targets, as one type.

use std::sync::Arc;

use prixfixe_server::{Accepted, Client, Handler, Mail, Message, Reply, Session};

use crate::stdout::PreparedStdout;
use crate::{
    Discard, Fault, Health, Maildir, MaildirOptions, MinFree, OpenError, PreparedMaildir, Stdout,
    Storage, TargetUrl,
};

/// The handler for a [`TargetUrl`] that is chosen while the program runs. Clones share everything.
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
    pub fn open(target: &TargetUrl, options: MaildirOptions) -> Result<Self, OpenError> {
        Self::prepare(target, options)?.start()
    }

    /// Does all that [`open`](Self::open) does but for the threads: for a program that becomes another user afterwards.
    /// Threads that ran before would make files as the user who started them.
    ///
    /// # Errors
    ///
    /// As `open`.
    pub fn prepare(
        target: &TargetUrl,
        options: MaildirOptions,
    ) -> Result<PreparedDelivery, OpenError> {
        Ok(PreparedDelivery(match target {
            TargetUrl::Maildir(path) => Prepared::Maildir(Maildir::prepare(path, options)?),
            TargetUrl::Discard => Prepared::Discard,
            TargetUrl::Stdout => Prepared::Stdout(PreparedStdout::open()?),
        }))
    }

    /// As [`Maildir::set_min_free`]; nothing for a target that is no Maildir.
    pub fn set_min_free(&self, min_free: MinFree) {
        match self {
            Self::Maildir(maildir) => maildir.set_min_free(min_free),
            Self::Discard(_) | Self::Stdout(_) => {}
        }
    }

    /// Each file system that mail is written to.
    #[must_use]
    pub fn storage(&self) -> Vec<Storage> {
        match self {
            Self::Maildir(maildir) => maildir.storage().into_iter().collect(),
            Self::Discard(_) | Self::Stdout(_) => Vec::new(),
        }
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

/// A [`Delivery`] that can be used, with nobody at work yet.
#[derive(Debug)]
pub struct PreparedDelivery(Prepared);

#[derive(Debug)]
enum Prepared {
    Maildir(PreparedMaildir),
    Discard,
    Stdout(PreparedStdout),
}

impl PreparedDelivery {
    /// Starts the threads.
    ///
    /// # Errors
    ///
    /// [`OpenError::Threads`].
    pub fn start(self) -> Result<Delivery, OpenError> {
        Ok(match self.0 {
            Prepared::Maildir(maildir) => Delivery::Maildir(maildir.start()?),
            Prepared::Discard => Delivery::Discard(Discard::new()),
            Prepared::Stdout(stdout) => Delivery::Stdout(stdout.start()?),
        })
    }
}

impl Handler for Delivery {
    type Session = Self;

    async fn connect(self: &Arc<Self>, _: &Client) -> Result<Self, Reply> {
        Ok(Self::clone(self))
    }
}

impl Session for Delivery {
    async fn mail(&mut self, mail: Mail<'_>) -> Result<(), Reply> {
        match self {
            Self::Maildir(maildir) => maildir.mail(mail).await,
            Self::Discard(discard) => discard.mail(mail).await,
            Self::Stdout(stdout) => stdout.mail(mail).await,
        }
    }

    async fn message(&mut self, message: Message) -> Result<Accepted, Reply> {
        match self {
            Self::Maildir(maildir) => maildir.message(message).await,
            Self::Discard(discard) => discard.message(message).await,
            Self::Stdout(stdout) => stdout.message(message).await,
        }
    }
}
