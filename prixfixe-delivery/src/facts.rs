//! What is known of a copy of a message beside its content.

use jiff::Timestamp;
use prixfixe_server::{Client, Digest, MailParameters, Message, Notify, Recipient, Ret};
use serde::Serialize;

use crate::authentication::Authentication;

/// The envelope of a copy, and where it came from. `recipients` are those of the copy alone: nobody
/// else's address is disclosed.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) id: String,
    pub(crate) digest: String,
    pub(crate) received: Timestamp,
    pub(crate) size: u64,
    pub(crate) client: Client,
    /// Empty: the null reverse-path.
    pub(crate) from: String,
    pub(crate) recipients: Vec<Recipient>,
    pub(crate) parameters: MailParameters,
    /// Nothing without policy.
    pub(crate) authentication: Option<Authentication>,
}

impl Facts {
    pub(crate) fn new(
        message: &Message,
        digest: Digest,
        size: u64,
        recipients: Vec<Recipient>,
    ) -> Self {
        let envelope = message.envelope();
        Self {
            id: message.id().to_string(),
            digest: digest.to_string(),
            received: Timestamp::try_from(message.received_at()).unwrap_or_default(),
            size,
            client: message.client().clone(),
            from: envelope.reverse_path().to_string(),
            recipients,
            parameters: envelope.parameters().clone(),
            authentication: Authentication::of(message.verdict()),
        }
    }

    /// When it was received, to the millisecond.
    pub(crate) fn received_text(&self) -> String {
        format!("{:.3}", self.received)
    }

    pub(crate) fn to(&self) -> impl Iterator<Item = String> {
        self.recipients.iter().map(ToString::to_string)
    }

    /// The recipients as services write them in one field.
    #[cfg(feature = "webhook")]
    pub(crate) fn to_text(&self) -> String {
        self.to().collect::<Vec<_>>().join(",")
    }

    pub(crate) fn user(&self) -> Option<&str> {
        self.client.identity().map(|identity| identity.name())
    }

    /// The version of TLS, such as `1.3`.
    pub(crate) fn tls_version(&self) -> Option<&'static str> {
        let version = self.client.tls()?.version.as_str();
        Some(version.strip_prefix("TLSv").unwrap_or(version))
    }
}

/// The envelope as JSON has it.
#[derive(Debug, Serialize)]
pub(crate) struct Envelope<'a> {
    from: &'a str,
    to: Vec<String>,
    helo: Option<&'a str>,
    peer: String,
    balancer: Option<String>,
    user: Option<&'a str>,
    smtputf8: bool,
    dsn: Dsn<'a>,
}

#[derive(Debug, Serialize)]
struct Dsn<'a> {
    ret: Option<&'static str>,
    envid: Option<&'a str>,
    recipients: Vec<DsnRecipient>,
}

#[derive(Debug, Serialize)]
struct DsnRecipient {
    to: String,
    notify: Vec<&'static str>,
    orcpt: Option<String>,
}

/// What was agreed with the client.
#[derive(Debug, Serialize)]
pub(crate) struct Tls<'a> {
    version: &'static str,
    cipher: &'static str,
    client: Option<&'a str>,
}

impl<'a> From<&'a Facts> for Envelope<'a> {
    fn from(facts: &'a Facts) -> Self {
        let parameters = &facts.parameters;
        Self {
            from: &facts.from,
            to: facts.to().collect(),
            helo: facts.client.helo(),
            peer: facts.client.peer().to_string(),
            balancer: facts.client.balancer().map(|it| it.to_string()),
            user: facts.user(),
            smtputf8: parameters.smtputf8,
            dsn: Dsn {
                ret: parameters.ret.and_then(ret),
                envid: parameters.envid.as_deref(),
                recipients: facts.recipients.iter().map(dsn_recipient).collect(),
            },
        }
    }
}

fn ret(ret: Ret) -> Option<&'static str> {
    match ret {
        Ret::Full => Some("FULL"),
        Ret::Headers => Some("HDRS"),
        _ => None,
    }
}

fn dsn_recipient(recipient: &Recipient) -> DsnRecipient {
    let parameters = recipient.parameters();
    DsnRecipient {
        to: recipient.to_string(),
        notify: parameters.notify.map(notify).unwrap_or_default(),
        orcpt: parameters
            .orcpt
            .as_ref()
            .map(|orcpt| format!("{};{}", orcpt.address_type(), orcpt.address())),
    }
}

fn notify(notify: Notify) -> Vec<&'static str> {
    let words = [
        (notify.is_never(), "NEVER"),
        (notify.success(), "SUCCESS"),
        (notify.failure(), "FAILURE"),
        (notify.delay(), "DELAY"),
    ];
    let wanted = words.into_iter().filter(|(is_wanted, _)| *is_wanted);
    wanted.map(|(_, word)| word).collect()
}

impl Facts {
    pub(crate) fn tls(&self) -> Option<Tls<'_>> {
        let tls = self.client.tls()?;
        Some(Tls {
            version: self.tls_version()?,
            cipher: tls.cipher_suite,
            client: tls.client_subject.as_deref(),
        })
    }
}
