//! From whom and to whom.

use std::any::Any;
use std::sync::Arc;

use prixfixe_core::{ForwardPath, InvalidMailbox, MailParameters, RcptParameters, ReversePath};

use crate::in_force::Taken;

/// The envelope of a transaction (RFC 5321 section 2.3.1): what MAIL and the accepted RCPT commands
/// said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    pub(crate) reverse_path: ReversePath,
    pub(crate) parameters: MailParameters,
    pub(crate) recipients: Vec<Recipient>,
    /// For the log.
    pub(crate) judged: crate::check::Judged,
    pub(crate) in_force: Taken,
    #[cfg(feature = "digest")]
    pub(crate) digest: crate::digest::Known,
}

/// A recipient that was accepted, or is asked about: what RCPT said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    pub(crate) path: ForwardPath,
    /// Apart where there are any: every connection has room for a recipient, and few recipients
    /// have them.
    parameters: Option<Box<RcptParameters>>,
}

/// Of a recipient without any.
static NO_PARAMETERS: RcptParameters = RcptParameters::NONE;

impl Envelope {
    /// Describes an envelope of a test's, or of a program that makes messages itself.
    ///
    /// ```
    /// use prixfixe_server::Envelope;
    ///
    /// let envelope = Envelope::builder().from("ann@example.com")?.to("bob@example.org")?.build();
    /// assert_eq!(envelope.recipients().len(), 1);
    /// # Ok::<(), prixfixe_server::InvalidMailbox>(())
    /// ```
    pub fn builder() -> EnvelopeBuilder {
        EnvelopeBuilder(Self::new(ReversePath::Null, MailParameters::default()))
    }

    pub(crate) fn new(reverse_path: ReversePath, parameters: MailParameters) -> Self {
        Self {
            reverse_path,
            parameters,
            recipients: Vec::new(),
            judged: crate::check::Judged::default(),
            in_force: Taken::default(),
            #[cfg(feature = "digest")]
            digest: crate::digest::Known::default(),
        }
    }

    /// The sender, or the null reverse-path of a bounce.
    #[must_use]
    pub fn reverse_path(&self) -> &ReversePath {
        &self.reverse_path
    }

    /// What came with MAIL: the announced size, the body type, SMTPUTF8, RET and ENVID.
    #[must_use]
    pub fn parameters(&self) -> &MailParameters {
        &self.parameters
    }

    /// The recipients that were accepted so far, in order. Of a message: all of them, at least one.
    #[must_use]
    pub fn recipients(&self) -> &[Recipient] {
        &self.recipients
    }

    /// What was [attached](crate::Settings::attach) to the settings when the transaction began.
    #[must_use]
    pub fn attached<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.in_force.get()
    }

    /// The [digest](crate::Message::digest) of the message, where somebody has asked for it.
    #[cfg(feature = "digest")]
    #[must_use]
    pub fn digest(&self) -> Option<crate::Digest> {
        self.digest.get()
    }

    /// The digest for the log.
    pub(crate) fn known_digest(&self) -> Option<impl std::fmt::Display + use<>> {
        #[cfg(feature = "digest")]
        return self.digest.get();
        #[cfg(not(feature = "digest"))]
        None::<crate::MessageId>
    }
}

impl Recipient {
    /// A recipient of that path, without parameters.
    #[must_use]
    pub fn new(path: ForwardPath) -> Self {
        Self {
            path,
            parameters: None,
        }
    }

    /// The same recipient with parameters.
    #[must_use]
    pub fn with_parameters(mut self, parameters: RcptParameters) -> Self {
        let is_any = parameters != NO_PARAMETERS;
        self.parameters = is_any.then(|| Box::new(parameters));
        self
    }

    /// Where the message goes.
    #[must_use]
    pub fn path(&self) -> &ForwardPath {
        &self.path
    }

    /// What came with RCPT: what the sender wants to hear of, and whom it named at first (RFC
    /// 3461).
    #[must_use]
    pub fn parameters(&self) -> &RcptParameters {
        self.parameters.as_deref().unwrap_or(&NO_PARAMETERS)
    }
}

impl From<ForwardPath> for Recipient {
    fn from(path: ForwardPath) -> Self {
        Self::new(path)
    }
}

impl std::fmt::Display for Recipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.path.fmt(f)
    }
}

/// Describes an [`Envelope`].
#[derive(Debug, Clone)]
#[must_use = "`build` makes the envelope"]
pub struct EnvelopeBuilder(Envelope);

impl EnvelopeBuilder {
    /// The sender; an empty text is the null reverse-path, which is there without this.
    ///
    /// # Errors
    ///
    /// When the text is no address.
    pub fn from(mut self, sender: &str) -> Result<Self, InvalidMailbox> {
        self.0.reverse_path = sender.parse()?;
        Ok(self)
    }

    /// The parameters of MAIL.
    pub fn parameters(mut self, parameters: MailParameters) -> Self {
        self.0.parameters = parameters;
        self
    }

    /// One recipient more.
    ///
    /// # Errors
    ///
    /// When the text is no address.
    pub fn to(self, recipient: &str) -> Result<Self, InvalidMailbox> {
        Ok(self.recipient(recipient.parse::<ForwardPath>()?))
    }

    /// One recipient more.
    pub fn recipient(mut self, recipient: impl Into<Recipient>) -> Self {
        self.0.recipients.push(recipient.into());
        self
    }

    /// The envelope.
    #[must_use]
    pub fn build(self) -> Envelope {
        self.0
    }
}
