//! What the questions of a session are about: one value for each, so that what comes later is a
//! method more.

use std::any::Any;
use std::sync::Arc;

use prixfixe_core::{ForwardPath, MailParameters, RcptParameters, ReversePath};

use crate::{Client, Envelope, Recipient};

/// A client introduces itself: HELO or EHLO.
#[derive(Debug, Clone, Copy)]
pub struct Hello<'a> {
    client: &'a Client,
    name: &'a str,
    extended: bool,
}

impl<'a> Hello<'a> {
    /// The question, for a test of a session.
    #[must_use]
    pub fn new(client: &'a Client, name: &'a str, extended: bool) -> Self {
        Self {
            client,
            name,
            extended,
        }
    }

    /// Who asks. [`Client::helo`] is the name that it gave before, if any.
    #[must_use]
    pub fn client(&self) -> &'a Client {
        self.client
    }

    /// The name, as the client gave it: no more than a claim.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// EHLO rather than HELO.
    #[must_use]
    pub fn is_extended(&self) -> bool {
        self.extended
    }
}

/// A client wants to begin a transaction: MAIL.
#[derive(Debug, Clone, Copy)]
pub struct Mail<'a> {
    client: &'a Client,
    envelope: &'a Envelope,
}

impl<'a> Mail<'a> {
    /// The question, for a test of a session. Of the envelope, only what MAIL says counts.
    #[must_use]
    pub fn new(client: &'a Client, envelope: &'a Envelope) -> Self {
        Self { client, envelope }
    }

    /// Who asks.
    #[must_use]
    pub fn client(&self) -> &'a Client {
        self.client
    }

    /// The sender, or the null reverse-path of a bounce.
    #[must_use]
    pub fn reverse_path(&self) -> &'a ReversePath {
        self.envelope.reverse_path()
    }

    /// What came with it: the announced size, the body type, SMTPUTF8.
    #[must_use]
    pub fn parameters(&self) -> &'a MailParameters {
        self.envelope.parameters()
    }

    /// What is [attached](crate::Settings::attach) to the settings with which this transaction
    /// begins.
    #[must_use]
    pub fn attached<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.envelope.attached()
    }
}

/// A client names a recipient: RCPT.
#[derive(Debug, Clone, Copy)]
pub struct Rcpt<'a> {
    client: &'a Client,
    envelope: &'a Envelope,
    recipient: &'a Recipient,
}

impl<'a> Rcpt<'a> {
    /// The question, for a test of a session.
    #[must_use]
    pub fn new(client: &'a Client, envelope: &'a Envelope, recipient: &'a Recipient) -> Self {
        Self {
            client,
            envelope,
            recipient,
        }
    }

    /// Who asks.
    #[must_use]
    pub fn client(&self) -> &'a Client {
        self.client
    }

    /// The sender, and the recipients that were accepted before.
    #[must_use]
    pub fn envelope(&self) -> &'a Envelope {
        self.envelope
    }

    /// The recipient that is asked about.
    #[must_use]
    pub fn recipient(&self) -> &'a Recipient {
        self.recipient
    }

    /// Where the message would go.
    #[must_use]
    pub fn path(&self) -> &'a ForwardPath {
        self.recipient.path()
    }

    /// What came with it.
    #[must_use]
    pub fn parameters(&self) -> &'a RcptParameters {
        self.recipient.parameters()
    }
}

/// A client is about to send the content: DATA, or the first BDAT.
#[derive(Debug, Clone, Copy)]
pub struct Data<'a> {
    client: &'a Client,
    envelope: &'a Envelope,
}

impl<'a> Data<'a> {
    /// The question, for a test of a session.
    #[must_use]
    pub fn new(client: &'a Client, envelope: &'a Envelope) -> Self {
        Self { client, envelope }
    }

    /// Who asks.
    #[must_use]
    pub fn client(&self) -> &'a Client {
        self.client
    }

    /// From whom and to whom: complete.
    #[must_use]
    pub fn envelope(&self) -> &'a Envelope {
        self.envelope
    }
}

/// A command that is none of SMTP's.
#[derive(Debug, Clone, Copy)]
pub struct Command<'a> {
    client: &'a Client,
    verb: &'a str,
    argument: &'a str,
}

impl<'a> Command<'a> {
    /// The question, for a test of a session.
    #[must_use]
    pub fn new(client: &'a Client, verb: &'a str, argument: &'a str) -> Self {
        Self {
            client,
            verb,
            argument,
        }
    }

    /// Who asks.
    #[must_use]
    pub fn client(&self) -> &'a Client {
        self.client
    }

    /// The verb as it came: letters, digits and `-`, in any case.
    #[must_use]
    pub fn verb(&self) -> &'a str {
        self.verb
    }

    /// What stands behind the space after it. No control characters.
    #[must_use]
    pub fn argument(&self) -> &'a str {
        self.argument
    }
}
