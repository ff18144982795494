//! What is stored of a message beside its content.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prixfixe_server::{BodyType, Digest, Envelope, Message, MessageId, Recipient, Ret};
use serde::{Deserialize, Serialize};

use super::client::StoredClient;

/// All that is known of a message but its content: enough to make the [`Message`] again that was received.
///
/// It is stored as JSON. `version` says which form it has; what a later version adds is left out where it is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StoredEnvelope {
    /// The form of all this: 1.
    pub version: u32,
    /// The name that the message had in its `250` and has in its `Received` header.
    pub id: String,
    /// Its [digest](Message::digest), in hexadecimal.
    pub digest: String,
    /// When it was received, in milliseconds since 1970.
    pub received: u64,
    /// When an operator had it tried anew, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retried: Option<u64>,
    /// Bytes of its content.
    pub size: u64,
    /// The name of the server that received it.
    pub domain: String,
    /// The sender; empty for the null reverse-path.
    pub from: String,
    /// All recipients of the transaction, in their order.
    pub recipients: Vec<StoredRecipient>,
    /// The targets that it goes to.
    pub targets: Vec<StoredTarget>,
    /// Who sent it.
    pub client: StoredClient,
    /// `8BITMIME` or `BINARYMIME`, where it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The size that the client announced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announced: Option<u64>,
    /// Addresses and header fields may be internationalised.
    #[serde(default, skip_serializing_if = "is_false")]
    pub smtputf8: bool,
    /// It is to go on over TLS alone.
    #[serde(default, skip_serializing_if = "is_false")]
    pub requiretls: bool,
    /// Its priority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mt_priority: Option<i8>,
    /// `FULL` or `HDRS`: what a notification is to return.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ret: Option<String>,
    /// The sender's own name for the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envid: Option<String>,
    /// What checks found, SPF, DKIM and DMARC for instance.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<StoredFinding>,
}

/// A recipient, with what came with RCPT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StoredRecipient {
    /// The address.
    pub to: String,
    /// `NEVER`, or some of `SUCCESS`, `FAILURE` and `DELAY`, where it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<String>,
    /// The recipient that the sender named at first, in the form that ORCPT has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orcpt: Option<String>,
}

/// A target, and who of the recipients is to get the message there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StoredTarget {
    /// Its configured name.
    pub name: String,
    /// Their places in [`StoredEnvelope::recipients`].
    pub recipients: Vec<u32>,
}

/// Something that a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StoredFinding {
    /// What was looked for, such as `spf`.
    pub name: String,
    /// What was found, such as `pass`.
    pub value: String,
    /// What was looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub properties: Vec<(String, String)>,
}

/// What is stored is no envelope of this version.
#[derive(Debug, thiserror::Error)]
#[error("the envelope cannot be read: {0}")]
pub struct InvalidEnvelope(pub(super) String);

/// The form that is written.
const VERSION: u32 = 1;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_false(value: &bool) -> bool {
    !value
}

impl StoredEnvelope {
    /// What is to be stored of a message.
    #[must_use]
    pub fn new(message: &Message, digest: Digest, size: u64, targets: Vec<StoredTarget>) -> Self {
        let envelope = message.envelope();
        let parameters = envelope.parameters();
        Self {
            version: VERSION,
            id: message.id().to_string(),
            digest: digest.to_string(),
            received: milliseconds(message.received_at()),
            retried: None,
            size,
            domain: message.domain().to_owned(),
            from: envelope.reverse_path().to_string(),
            recipients: envelope.recipients().iter().map(Into::into).collect(),
            targets,
            client: StoredClient::from(message.client()),
            body: match parameters.body {
                BodyType::EightBitMime => Some("8BITMIME".to_owned()),
                BodyType::BinaryMime => Some("BINARYMIME".to_owned()),
                _ => None,
            },
            announced: parameters.size,
            smtputf8: parameters.smtputf8,
            requiretls: parameters.requiretls,
            mt_priority: parameters.mt_priority,
            ret: parameters.ret.map(|ret| match ret {
                Ret::Full => "FULL".to_owned(),
                _ => "HDRS".to_owned(),
            }),
            envid: parameters.envid.as_deref().map(ToOwned::to_owned),
            findings: findings(message),
        }
    }

    /// The bytes that are stored.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Room for most: memory that grows is copied.
        let mut bytes = Vec::with_capacity(1024);
        // Texts, numbers and lists of them: nothing that JSON cannot say.
        match serde_json::to_writer(&mut bytes, self) {
            Ok(()) => bytes,
            Err(_) => Vec::new(),
        }
    }

    /// Bytes of memory that it holds beside its own: room that is taken and not used counts.
    pub(super) fn memory(&self) -> usize {
        let client = &self.client;
        let texts = [&self.id, &self.digest, &self.domain, &self.from];
        let others = [&self.body, &self.ret, &self.envid];
        let of_client = [
            &client.peer,
            &client.endpoint,
            &client.host,
            &client.helo,
            &client.user,
        ];
        let tls = client.tls.as_ref();
        let tls = tls.map_or(0, |it| it.version.capacity() + it.cipher.capacity());
        let subject = client.tls.as_ref().and_then(|it| it.client.as_ref());
        let texts = texts.into_iter().map(String::capacity).sum::<usize>();
        let optional = others.into_iter().chain(of_client);
        let optional = optional.flatten().chain(subject);
        texts
            + optional.map(String::capacity).sum::<usize>()
            + tls
            + room_of(&self.recipients)
            + self
                .recipients
                .iter()
                .map(StoredRecipient::memory)
                .sum::<usize>()
            + room_of(&self.targets)
            + self.targets.iter().map(StoredTarget::memory).sum::<usize>()
            + room_of(&self.findings)
            + self
                .findings
                .iter()
                .map(StoredFinding::memory)
                .sum::<usize>()
    }

    /// What was stored.
    ///
    /// # Errors
    ///
    /// [`InvalidEnvelope`]: they are those of a later version, or of something else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidEnvelope> {
        let envelope: Self =
            serde_json::from_slice(bytes).map_err(|error| InvalidEnvelope(error.to_string()))?;
        match envelope.version {
            VERSION => Ok(envelope),
            version => Err(InvalidEnvelope(format!("it has the form {version}"))),
        }
    }

    /// When it was received.
    #[must_use]
    pub fn received_at(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.received)
    }

    /// From when on it is tried, in milliseconds since 1970.
    #[must_use]
    pub fn tried_since(&self) -> u64 {
        self.retried.unwrap_or(self.received)
    }

    /// The recipients of a target.
    pub fn recipients_of<'a>(
        &'a self,
        target: &'a StoredTarget,
    ) -> impl Iterator<Item = &'a StoredRecipient> {
        let places = target.recipients.iter();
        places.filter_map(|place| self.recipients.get(usize::try_from(*place).ok()?))
    }

    /// True where DMARC found that it comes from whom its `From` says.
    #[must_use]
    pub fn passed_dmarc(&self) -> bool {
        let mut findings = self.findings.iter();
        findings.any(|finding| finding.name == "dmarc" && finding.value == "pass")
    }

    /// The message, with this content, for the recipients at these places.
    ///
    /// # Errors
    ///
    /// [`InvalidEnvelope`] where an address, a name or a number of it is none.
    pub fn message(
        &self,
        places: &[u32],
        content: impl FnOnce(prixfixe_server::MessageBuilder) -> prixfixe_server::MessageBuilder,
    ) -> Result<Message, InvalidEnvelope> {
        let wrong = |what: &'static str| move || InvalidEnvelope(format!("its {what} is none"));
        let mut envelope = Envelope::builder()
            .from(&self.from)
            .map_err(|error| InvalidEnvelope(error.to_string()))?
            .parameters(self.parameters());
        let recipients: Vec<Recipient> = self
            .recipients
            .iter()
            .map(StoredRecipient::recipient)
            .collect::<Result<_, _>>()?;
        let chosen: Vec<Recipient> = places
            .iter()
            .filter_map(|place| recipients.get(usize::try_from(*place).ok()?).cloned())
            .collect();
        for recipient in recipients {
            envelope = envelope.recipient(recipient);
        }
        let id: MessageId = self.id.parse().map_err(|_| wrong("id")())?;
        let digest: Digest = self.digest.parse().map_err(|_| wrong("digest")())?;
        let builder = Message::builder(self.client.client(), envelope.build())
            .id(id)
            .received_at(self.received_at())
            .domain(&*self.domain)
            .verdict(self.verdict())
            .digest(digest);
        let message = content(builder).build();
        Ok(message.with_recipients(chosen))
    }

    fn parameters(&self) -> prixfixe_server::MailParameters {
        let mut parameters = prixfixe_server::MailParameters::default();
        parameters.size = self.announced;
        parameters.body = match self.body.as_deref() {
            Some("8BITMIME") => BodyType::EightBitMime,
            Some("BINARYMIME") => BodyType::BinaryMime,
            _ => BodyType::SevenBit,
        };
        parameters.smtputf8 = self.smtputf8;
        parameters.requiretls = self.requiretls;
        parameters.mt_priority = self.mt_priority;
        parameters.ret = self.ret.as_deref().map(|ret| match ret {
            "FULL" => Ret::Full,
            _ => Ret::Headers,
        });
        parameters.envid = self.envid.as_deref().map(Into::into);
        parameters
    }

    fn verdict(&self) -> prixfixe_server::Verdict {
        let found = self.findings.iter().map(|finding| {
            let new = prixfixe_server::Finding::new(&*finding.name, &*finding.value);
            let properties = finding.properties.iter();
            properties.fold(new, |new, (name, value)| new.property(&**name, &**value))
        });
        found.fold(
            prixfixe_server::Verdict::default(),
            prixfixe_server::Verdict::found,
        )
    }
}

impl StoredTarget {
    /// A target, and the places of its recipients.
    #[must_use]
    pub fn new(name: impl Into<String>, recipients: Vec<u32>) -> Self {
        Self {
            name: name.into(),
            recipients,
        }
    }
}

/// Bytes of memory of a list, without what its members hold.
fn room_of<T>(list: &Vec<T>) -> usize {
    list.capacity() * size_of::<T>()
}

impl StoredRecipient {
    fn memory(&self) -> usize {
        let optional = [&self.notify, &self.orcpt];
        let optional = optional.into_iter().flatten();
        self.to.capacity() + optional.map(String::capacity).sum::<usize>()
    }
}

impl StoredTarget {
    fn memory(&self) -> usize {
        self.name.capacity() + room_of(&self.recipients)
    }
}

impl StoredFinding {
    fn memory(&self) -> usize {
        let properties = self.properties.iter();
        let texts = properties.map(|(name, value)| name.capacity() + value.capacity());
        let texts = texts.sum::<usize>();
        self.name.capacity() + self.value.capacity() + room_of(&self.properties) + texts
    }
}

pub(super) fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn findings(message: &Message) -> Vec<StoredFinding> {
    let findings = message.verdict().findings().iter();
    let stored = findings.map(|finding| StoredFinding {
        name: finding.name.to_string(),
        value: finding.value.to_string(),
        properties: finding
            .properties
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect(),
    });
    stored.collect()
}

impl From<&Recipient> for StoredRecipient {
    fn from(recipient: &Recipient) -> Self {
        let parameters = recipient.parameters();
        Self {
            to: recipient.to_string(),
            notify: parameters.notify.map(|notify| notify.to_string()),
            orcpt: parameters.orcpt.as_ref().map(encoded),
        }
    }
}

impl StoredRecipient {
    /// The recipient that it was.
    ///
    /// # Errors
    ///
    /// [`InvalidEnvelope`] where the address is none.
    pub fn recipient(&self) -> Result<Recipient, InvalidEnvelope> {
        let path: prixfixe_server::ForwardPath = self
            .to
            .parse()
            .map_err(|_| InvalidEnvelope(format!("{:?} is no address", self.to)))?;
        let mut parameters = prixfixe_server::RcptParameters::default();
        parameters.notify = self.notify.as_deref().and_then(|it| it.parse().ok());
        parameters.orcpt = self.orcpt.as_deref().and_then(|it| it.parse().ok());
        Ok(Recipient::new(path).with_parameters(parameters))
    }
}

/// The form that ORCPT has in a transaction with SMTPUTF8 (RFC 3461 section 4, RFC 6533 section 3).
fn encoded(orcpt: &prixfixe_server::OriginalRecipient) -> String {
    let is_utf8 = orcpt.address_type().eq_ignore_ascii_case("utf-8");
    let mut text = format!("{};", orcpt.address_type());
    for letter in orcpt.address().chars() {
        let is_plain = match is_utf8 {
            true => !matches!(letter, '\\' | '+' | '=' | ' '),
            false => matches!(letter, '!'..='~') && !matches!(letter, '+' | '='),
        };
        text.push_str(&match (is_plain, is_utf8) {
            (true, _) => letter.to_string(),
            (false, true) => format!("\\x{{{:X}}}", u32::from(letter)),
            (false, false) => format!("+{:02X}", u32::from(letter)),
        });
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use prixfixe_server::{Client, Finding, Identity, TlsInfo, TlsVersion, Verdict};

    use super::*;

    fn received() -> Message {
        let client = Client::builder()
            .peer(([203, 0, 113, 9], 40_000))
            .ehlo("mail.example.com")
            .tls(TlsInfo::new(TlsVersion::Tls13, "TLS13_AES_256_GCM_SHA384"))
            .identity(Identity::new("ann"))
            .build();
        client.found_host_name("mx.example.com");
        let mut parameters = prixfixe_server::MailParameters::default();
        parameters.size = Some(5);
        parameters.body = BodyType::EightBitMime;
        parameters.smtputf8 = true;
        parameters.ret = Some(Ret::Headers);
        parameters.envid = Some("QQ1".into());
        let mut rcpt = prixfixe_server::RcptParameters::default();
        rcpt.notify = Some("FAILURE,DELAY".parse().unwrap());
        rcpt.orcpt = Some("rfc822;bob+2Bnews@example.com".parse().unwrap());
        let bob: prixfixe_server::ForwardPath = "bob@example.org".parse().unwrap();
        let envelope = Envelope::builder()
            .from("ann@example.com")
            .unwrap()
            .parameters(parameters)
            .recipient(Recipient::new(bob).with_parameters(rcpt))
            .to("postmaster")
            .unwrap()
            .to("j\u{f6}rg@example.net")
            .unwrap()
            .build();
        let spf = Finding::new("spf", "pass").property("smtp.mailfrom", "example.com");
        Message::builder(client, envelope)
            .domain("mx.example.org")
            .verdict(Verdict::default().found(spf))
            .pieces(["Hello"])
            .build()
    }

    #[tokio::test]
    async fn a_message_that_was_stored_is_the_one_that_was_received() {
        let mut message = received();
        let digest = message.digest().await.unwrap();
        let targets = vec![StoredTarget::new("hook", vec![0, 1, 2])];
        let stored = StoredEnvelope::new(&message, digest, 5, targets);
        let read = StoredEnvelope::from_bytes(&stored.to_bytes()).unwrap();
        assert_eq!(read, stored);

        let again = read.message(&[0, 1, 2], |it| it.pieces(["Hello"])).unwrap();
        assert_eq!(again.id(), message.id());
        assert_eq!(again.envelope(), message.envelope());
        assert_eq!(again.envelope().digest(), Some(digest));
        assert_eq!(again.verdict().findings(), message.verdict().findings());
        assert_eq!(again.received_header(), message.received_header());
        assert_eq!(again.client().identity(), message.client().identity());
        assert_eq!(again.client().tls(), message.client().tls());
        assert!(!again.is_part());
    }

    #[tokio::test]
    async fn a_copy_for_some_recipients_keeps_the_digest_of_all() {
        let mut message = received();
        let digest = message.digest().await.unwrap();
        let stored = StoredEnvelope::new(&message, digest, 5, Vec::new());
        let copy = stored.message(&[2, 9], |it| it.pieces(["Hello"])).unwrap();
        assert_eq!(copy.envelope().recipients().len(), 1);
        assert_eq!(copy.envelope().digest(), Some(digest));
        assert!(copy.is_part());
    }

    #[test]
    fn an_original_recipient_is_read_as_it_was_said() {
        for text in [
            "rfc822;bob+2Bnews@example.com",
            "utf-8;a\\x{2B}b@x",
            "utf-8;j\u{f6}rg@example.com",
            "x-local;bob;two",
        ] {
            let orcpt: prixfixe_server::OriginalRecipient = text.parse().unwrap();
            assert_eq!(encoded(&orcpt).parse(), Ok(orcpt), "{text}");
        }
    }

    #[test]
    fn what_is_no_envelope_of_this_version_is_refused() {
        for bytes in [&b""[..], b"{}", b"{\"version\":2}", b"\xff"] {
            assert!(StoredEnvelope::from_bytes(bytes).is_err());
        }
    }
}
