//! Which recipients there are: a file that names them, and an HTTP server that is asked.

#[cfg(feature = "webhook")]
mod ask;
mod file;

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use prixfixe_server::{Check, CheckSession, Client, DomainPattern, ForwardPath, Mail, Rcpt, Reply};

use crate::RecipientPattern;
use crate::pattern::Index;

#[cfg(feature = "webhook")]
pub use self::ask::{AskOptions, AskRecipients};
pub use self::file::{RecipientsFile, RecipientsFileError};

/// The check of recipients before a handler: a [file](RecipientsFile), and then an HTTP server
/// ([`AskRecipients`]).
///
/// Each that is set must accept a recipient. `postmaster` is always accepted (RFC 5321 section
/// 4.5.1) without a domain, at [domains that are the server's](Self::set_postmaster_domains), and
/// at those that the file names. A transaction is judged by what was set when it began. Clones
/// share everything.
///
/// ```no_run
/// use prixfixe_delivery::{AcceptRecipients, RecipientsFile};
/// use prixfixe_server::{Server, inbox};
///
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let recipients = AcceptRecipients::default();
/// recipients.set_file(Some(RecipientsFile::open("/etc/prixfixe/recipients")?));
/// let server = Server::builder()
///     .listen(([127, 0, 0, 1], 2525))
///     .check(recipients.clone())
///     .handler(inbox().0)
///     .start()?;
/// # drop(server);
/// # Ok(()) }
/// ```
#[derive(Clone, Default)]
pub struct AcceptRecipients(Arc<RwLock<Rules>>);

/// What is set of [`AcceptRecipients`]. Cheap to clone.
///
/// [Attached](prixfixe_server::Settings::attach) to the settings of a server it holds for each
/// transaction that begins from then on, at one moment with everything else there.
#[derive(Clone, Default)]
pub struct RecipientRules(Rules);

#[derive(Clone, Default)]
struct Rules {
    file: Option<Arc<RecipientsFile>>,
    named: Arc<Index>,
    #[cfg(feature = "webhook")]
    ask: Option<Arc<AskRecipients>>,
    relay_for_users: bool,
    /// Where `postmaster` is accepted unasked.
    postmaster: Arc<[DomainPattern]>,
}

impl AcceptRecipients {
    /// What is set now.
    #[must_use]
    pub fn rules(&self) -> RecipientRules {
        RecipientRules(self.now())
    }

    /// All of this from now on.
    pub fn set_rules(&self, rules: RecipientRules) {
        self.write(|current| *current = rules.0);
    }

    /// Where `postmaster` is accepted from now on, whatever else is set: the server's own domain,
    /// and those that it accepts mail for. By default: nowhere. At a domain of somebody else's it
    /// would be that domain's postmaster.
    pub fn set_postmaster_domains(&self, domains: impl IntoIterator<Item = DomainPattern>) {
        let domains: Arc<[DomainPattern]> = domains.into_iter().collect();
        self.write(|rules| rules.postmaster = domains);
    }

    /// The file for recipients from now on; `None`: there is none.
    pub fn set_file(&self, file: Option<RecipientsFile>) {
        self.write(|rules| rules.file = file.map(Arc::new));
    }

    /// The server that is asked from now on; `None`: nobody is.
    #[cfg(feature = "webhook")]
    pub fn set_ask(&self, ask: Option<AskRecipients>) {
        self.write(|rules| rules.ask = ask.map(Arc::new));
    }

    /// Recipients that are known beside those of the file, from now on: those that a route spells
    /// out, say. Nobody else is refused for it. Patterns that spell out no address name nobody.
    pub fn set_named(&self, recipients: impl IntoIterator<Item = RecipientPattern>) {
        let mut named = Index::default();
        for pattern in recipients {
            named.add(&pattern, 0);
        }
        self.write(|rules| rules.named = Arc::new(named));
    }

    /// Whether somebody has named this very recipient: [`set_named`](Self::set_named), a line of
    /// the file that is an address and no pattern, or the server, whose answer is mostly known from
    /// the moment before.
    pub(crate) async fn name(&self, rcpt: Rcpt<'_>) -> Result<bool, Reply> {
        let rules = self.of(rcpt.envelope().attached());
        let RecipientRules(rules) = &*rules;
        let path = rcpt.path();
        let is_in_file = |file: &Arc<RecipientsFile>| file.spells_out(path);
        if rules.named.spells_out(path) || rules.file.as_ref().is_some_and(is_in_file) {
            return Ok(true);
        }
        #[cfg(feature = "webhook")]
        if let Some(ask) = &rules.ask {
            return ask.names(rcpt).await;
        }
        Ok(false)
    }

    /// Whether clients that have logged in may send to anybody from now on: nobody is asked then.
    pub fn set_relay_for_users(&self, relay: bool) {
        self.write(|rules| rules.relay_for_users = relay);
    }

    fn write(&self, change: impl FnOnce(&mut Rules)) {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Those of a transaction, where it has any of its own.
    fn of(&self, attached: Option<Arc<RecipientRules>>) -> Arc<RecipientRules> {
        attached.unwrap_or_else(|| Arc::new(self.rules()))
    }

    fn now(&self) -> Rules {
        let rules = self.0.read();
        rules.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Check for AcceptRecipients {
    type Session = AcceptSession;

    async fn connect(self: &Arc<Self>, _: &Client) -> Result<AcceptSession, Reply> {
        Ok(AcceptSession {
            accept: Self::clone(self),
            rules: None,
        })
    }

    /// A server may be asked later on.
    fn needs_runtime(&self) -> bool {
        cfg!(feature = "webhook")
    }
}

/// One connection, as [`AcceptRecipients`] sees it.
#[derive(Debug)]
pub struct AcceptSession {
    accept: AcceptRecipients,
    /// Those of the transaction: its route is the one of then too, and must not meet what was set
    /// for another one.
    rules: Option<Arc<RecipientRules>>,
}

impl CheckSession for AcceptSession {
    async fn mail(&mut self, mail: Mail<'_>) -> Result<(), Reply> {
        self.rules = Some(self.accept.of(mail.attached()));
        Ok(())
    }

    async fn rcpt(&mut self, rcpt: Rcpt<'_>) -> Result<(), Reply> {
        let rules = self.rules.get_or_insert_with(|| self.accept.of(None));
        rules.0.judge(rcpt).await
    }

    fn is_indifferent(&self) -> bool {
        self.rules.as_ref().is_some_and(|it| it.0.accept_all())
    }

    fn reset(&mut self) {
        self.rules = None;
    }
}

impl Rules {
    /// Nothing is set that could refuse a recipient.
    fn accept_all(&self) -> bool {
        #[cfg(feature = "webhook")]
        let asks = self.ask.is_some();
        #[cfg(not(feature = "webhook"))]
        let asks = false;
        self.file.is_none() && !asks
    }

    async fn judge(&self, rcpt: Rcpt<'_>) -> Result<(), Reply> {
        if self.is_our_postmaster(rcpt.path()) {
            return Ok(());
        }
        if self.relay_for_users && rcpt.client().identity().is_some() {
            return Ok(());
        }
        if let Some(file) = &self.file
            && !file.names(rcpt.path())
        {
            return Err(Reply::NO_SUCH_USER);
        }
        #[cfg(feature = "webhook")]
        if let Some(ask) = &self.ask {
            // Boxed: it is large, and a list alone needs no room for it.
            Box::pin(ask.about(rcpt)).await?;
        }
        Ok(())
    }

    fn is_our_postmaster(&self, path: &ForwardPath) -> bool {
        let Some(mailbox) = path.mailbox() else {
            return true;
        };
        let is_ours = |domains: &[DomainPattern]| {
            let domain = mailbox.domain();
            domains.iter().any(|pattern| pattern.matches(domain))
        };
        is_postmaster(path)
            && (is_ours(&self.postmaster)
                || self.file.as_ref().is_some_and(|it| it.has_domain_of(path)))
    }
}

impl fmt::Debug for RecipientRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

fn is_postmaster(path: &ForwardPath) -> bool {
    match path.mailbox() {
        None => true,
        Some(mailbox) => mailbox.local_part().eq_ignore_ascii_case("postmaster"),
    }
}

impl fmt::Debug for AcceptRecipients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcceptRecipients").finish_non_exhaustive()
    }
}
