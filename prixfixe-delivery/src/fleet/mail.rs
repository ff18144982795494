//! The envelope of a message as the stream has it: JSON, so that people can read it there.

use std::fmt::Write;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::jetstream::object_store::Object;
use bytes::Bytes;
use prixfixe_server::{
    BodyError, BodyType, Client, Digest, Envelope, Finding, Identity, MailParameters, Message,
    MessageId, OriginalRecipient, Peer, Protocol, RcptParameters, Recipient, Reply, Ret, TlsInfo, TlsVersion, Verdict,
};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, ReadBuf};

/// An envelope that was read.
#[derive(Debug)]
pub(super) struct Kept {
    written: Written,
    recipients: Vec<Recipient>,
    /// Without the recipients of a part: a message made of it then knows that there were others.
    envelope: Envelope,
    id: MessageId,
    digest: Digest,
    received_at: SystemTime,
}

/// Where a content comes from.
pub(super) enum Content {
    Here(Bytes),
    /// It is streamed.
    Object(Box<Object>),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Written {
    id: String,
    digest: String,
    /// Milliseconds since 1970.
    received: u64,
    domain: String,
    from: String,
    to: Vec<To>,
    #[serde(default, skip_serializing_if = "is_false")]
    part: bool,
    #[serde(default)]
    parameters: Parameters,
    client: From,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    findings: Vec<Found>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct To {
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    notify: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    orcpt: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Parameters {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    smtputf8: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ret: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    envid: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    requiretls: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mt_priority: Option<i8>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct From {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    peer: Option<SocketAddr>,
    #[serde(default, skip_serializing_if = "is_false")]
    unix: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    balancer: Option<SocketAddr>,
    #[serde(default, skip_serializing_if = "is_false")]
    lmtp: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    helo: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    extended: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tls: Option<Tls>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Tls {
    version: String,
    cipher: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Found {
    name: String,
    value: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    properties: Vec<(String, String)>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_false(it: &bool) -> bool {
    !it
}

/// The envelope of a message, whose digest is known, for these of its recipients.
pub(super) fn write(message: &Message, digest: &str, recipients: &[Recipient]) -> Vec<u8> {
    let envelope = message.envelope();
    let since = message.received_at().duration_since(UNIX_EPOCH);
    let written = Written {
        id: message.id().to_string(),
        digest: digest.to_owned(),
        received: u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX),
        domain: message.domain().to_owned(),
        from: envelope.reverse_path().to_string(),
        to: recipients.iter().map(to).collect(),
        part: message.is_part() || recipients != envelope.recipients(),
        parameters: parameters(envelope.parameters()),
        client: client(message.client()),
        findings: message.verdict().findings().iter().map(found).collect(),
    };
    // Strings and numbers alone: it does not fail.
    serde_json::to_vec(&written).unwrap_or_default()
}

fn to(recipient: &Recipient) -> To {
    let RcptParameters { notify, orcpt, .. } = recipient.parameters();
    To {
        path: recipient.to_string(),
        notify: notify.as_ref().map(ToString::to_string),
        orcpt: orcpt.as_ref().map(xtext),
    }
}

/// The form that stands behind `ORCPT=` (RFC 3461 section 4.2).
fn xtext(original: &OriginalRecipient) -> String {
    let mut text = format!("{};", original.address_type());
    for letter in original.address().chars() {
        match letter {
            '+' | '=' | '\\' | '\0'..=' ' | '\x7f' => {
                // Writing to a String does not fail.
                let _ = write!(text, "+{:02X}", u32::from(letter));
            }
            _ => text.push(letter),
        }
    }
    text
}

fn parameters(parameters: &MailParameters) -> Parameters {
    Parameters {
        body: match parameters.body {
            BodyType::EightBitMime => Some("8BITMIME".to_owned()),
            BodyType::BinaryMime => Some("BINARYMIME".to_owned()),
            _ => None,
        },
        smtputf8: parameters.smtputf8,
        ret: parameters.ret.map(|ret| match ret {
            Ret::Full => "FULL".to_owned(),
            _ => "HDRS".to_owned(),
        }),
        envid: parameters.envid.as_deref().map(str::to_owned),
        requiretls: parameters.requiretls,
        mt_priority: parameters.mt_priority,
    }
}

fn client(client: &Client) -> From {
    From {
        peer: address(client.peer()),
        unix: matches!(client.peer(), Peer::Unix(_)),
        balancer: client.balancer().and_then(address),
        lmtp: client.protocol() == Protocol::Lmtp,
        helo: client.helo().map(str::to_owned),
        extended: client.is_extended(),
        tls: client.tls().map(|tls| Tls {
            version: tls.version.as_str().to_owned(),
            cipher: tls.cipher_suite.to_owned(),
            subject: tls.client_subject.clone(),
        }),
        user: client.identity().map(|it| it.name().to_owned()),
    }
}

fn address(peer: Peer) -> Option<SocketAddr> {
    match peer {
        Peer::Ip(address) => Some(address),
        _ => None,
    }
}

fn found(finding: &Finding) -> Found {
    let properties = finding.properties.iter();
    Found {
        name: finding.name.to_string(),
        value: finding.value.to_string(),
        properties: properties
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect(),
    }
}

impl Kept {
    /// `None` where it is no envelope of ours.
    pub(super) fn read(envelope: &[u8]) -> Option<Self> {
        let written: Written = serde_json::from_slice(envelope).ok()?;
        let recipients: Option<Vec<Recipient>> = written.to.iter().map(To::read).collect();
        let recipients = recipients?;
        let mut builder = Envelope::builder().parameters(written.parameters.read());
        if !written.from.is_empty() {
            builder = builder.from(&written.from).ok()?;
        }
        let builder = match written.part {
            true => builder,
            false => recipients
                .iter()
                .fold(builder, |builder, it| builder.recipient(it.clone())),
        };
        Some(Self {
            envelope: builder.build(),
            id: written.id.parse().ok()?,
            digest: written.digest.parse().ok()?,
            received_at: UNIX_EPOCH.checked_add(Duration::from_millis(written.received))?,
            written,
            recipients,
        })
    }

    pub(super) fn recipients(&self) -> &[Recipient] {
        &self.recipients
    }

    pub(super) fn received_at(&self) -> SystemTime {
        self.received_at
    }

    /// The message, as it came, for these recipients.
    pub(super) fn message(&self, content: Content) -> Message {
        let builder = Message::builder(self.written.client.read(), self.envelope.clone())
            .id(self.id)
            .received_at(self.received_at)
            .domain(self.written.domain.as_str())
            .verdict(self.written.verdict())
            .digest(self.digest);
        let message = match content {
            Content::Here(content) => builder.pieces([content]),
            Content::Object(object) => builder.source(source(*object)),
        };
        message.build().with_recipients(self.recipients.clone())
    }

    /// The same envelope for some of its recipients.
    pub(super) fn with_recipients(&self, recipients: &[Recipient]) -> Bytes {
        let written = Written {
            to: recipients.iter().map(to).collect(),
            part: self.written.part || recipients != self.recipients,
            ..self.written.clone()
        };
        Bytes::from(serde_json::to_vec(&written).unwrap_or_default())
    }
}

impl To {
    fn read(&self) -> Option<Recipient> {
        let mut parameters = RcptParameters::NONE;
        if let Some(notify) = &self.notify {
            parameters.notify = Some(notify.parse().ok()?);
        }
        if let Some(orcpt) = &self.orcpt {
            parameters.orcpt = Some(orcpt.parse().ok()?);
        }
        Some(Recipient::new(self.path.parse().ok()?).with_parameters(parameters))
    }
}

impl Parameters {
    fn read(&self) -> MailParameters {
        let mut parameters = MailParameters::default();
        parameters.body = match self.body.as_deref() {
            Some("8BITMIME") => BodyType::EightBitMime,
            Some("BINARYMIME") => BodyType::BinaryMime,
            _ => BodyType::SevenBit,
        };
        parameters.smtputf8 = self.smtputf8;
        parameters.ret = match self.ret.as_deref() {
            Some("FULL") => Some(Ret::Full),
            Some("HDRS") => Some(Ret::Headers),
            _ => None,
        };
        parameters.envid = self.envid.as_deref().map(Into::into);
        parameters.requiretls = self.requiretls;
        parameters.mt_priority = self.mt_priority;
        parameters
    }
}

impl From {
    fn read(&self) -> Client {
        let mut builder = Client::builder();
        if let Some(peer) = self.peer {
            builder = builder.peer(peer);
        }
        if self.unix {
            builder = builder.unix(None);
        }
        if let Some(balancer) = self.balancer {
            builder = builder.balancer(balancer);
        }
        if self.lmtp {
            builder = builder.protocol(Protocol::Lmtp);
        }
        if let Some(helo) = &self.helo {
            builder = match self.extended {
                true => builder.ehlo(helo.as_str()),
                false => builder.helo(helo.as_str()),
            };
        }
        if let Some(tls) = &self.tls {
            builder = builder.tls(tls.read());
        }
        if let Some(user) = &self.user {
            builder = builder.identity(Identity::new(user.as_str()));
        }
        builder.build()
    }
}

/// Those that rustls has (RFC 8446 appendix B.4, RFC 5289, RFC 7905).
const CIPHERS: [&str; 9] = [
    "TLS13_AES_128_GCM_SHA256",
    "TLS13_AES_256_GCM_SHA384",
    "TLS13_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];

impl Tls {
    fn read(&self) -> TlsInfo {
        let version = match &*self.version {
            "TLSv1.2" => TlsVersion::Tls12,
            _ => TlsVersion::Tls13,
        };
        let name = |it: &str| it.replacen("TLS13_", "TLS_", 1);
        let cipher = CIPHERS.into_iter().find(|it| name(it) == name(&self.cipher));
        let mut info = TlsInfo::new(version, cipher.unwrap_or("unknown"));
        info.client_subject.clone_from(&self.subject);
        info
    }
}

impl Written {
    fn verdict(&self) -> Verdict {
        self.findings.iter().fold(Verdict::default(), |verdict, it| {
            let finding = Finding::new(it.name.as_str(), it.value.as_str());
            let properties = it.properties.iter();
            verdict.found(properties.fold(finding, |finding, (name, value)| {
                finding.property(name.as_str(), value.as_str())
            }))
        })
    }
}

/// How much of an object is read at once.
const PIECE: usize = 64 << 10;

/// The pieces of an object.
fn source(
    mut object: impl AsyncRead + Unpin + Send + 'static,
) -> impl FnMut(&mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> + Send + 'static {
    let mut piece = vec![0; PIECE];
    move |cx| {
        let mut read = ReadBuf::new(&mut piece);
        match ready!(Pin::new(&mut object).poll_read(cx, &mut read)) {
            Ok(()) if read.filled().is_empty() => Poll::Ready(Ok(None)),
            Ok(()) => Poll::Ready(Ok(Some(Bytes::copy_from_slice(read.filled())))),
            Err(error) => {
                tracing::warn!(cause = %error, "cannot read an object of the spool");
                Poll::Ready(Err(BodyError::Refused(Reply::TRY_LATER)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_envelope_is_read_as_it_was_written() {
        let mut tls = TlsInfo::new(TlsVersion::Tls13, CIPHERS[0]);
        tls.client_subject = Some("CN=ann".to_owned());
        let client = Client::builder()
            .peer(([192, 0, 2, 1], 40_112))
            .balancer(([192, 0, 2, 9], 1))
            .ehlo("mail.example.com")
            .tls(tls)
            .identity(Identity::new("ann"))
            .build();
        let mut of_mail = MailParameters::default();
        of_mail.body = BodyType::EightBitMime;
        of_mail.ret = Some(Ret::Headers);
        of_mail.envid = Some("x y".into());
        let mut of_rcpt = RcptParameters::NONE;
        of_rcpt.notify = Some("SUCCESS,DELAY".parse().unwrap());
        of_rcpt.orcpt = Some("rfc822;bob+2Bnews+3D@example.org".parse().unwrap());
        let bob = Recipient::new("bob@example.org".parse().unwrap()).with_parameters(of_rcpt);
        let envelope = Envelope::builder()
            .from("\"a b\"@example.com")
            .unwrap()
            .parameters(of_mail)
            .recipient(bob)
            .to("postmaster")
            .unwrap()
            .build();
        let mut message = Message::new(client, envelope, ["Subject: x\r\n"]);
        let digest = message.digest().await.unwrap().to_string();
        let whole = write(&message, &digest, message.envelope().recipients());
        let kept = Kept::read(&whole).unwrap();
        let content = || Content::Here(Bytes::from_static(b"Subject: x\r\n"));
        let mut restored = kept.message(content());
        assert_eq!(restored.envelope(), message.envelope());
        assert_eq!(restored.received_header(), message.received_header());
        assert_eq!(restored.digest().await.unwrap().to_string(), digest);
        assert!(!restored.is_part());
        let tls = restored.client().tls().unwrap();
        assert_eq!(tls.cipher_suite, CIPHERS[0]);

        let rest = kept.with_recipients(&kept.recipients()[1..]);
        let rest = Kept::read(&rest).unwrap();
        assert_eq!(rest.recipients(), &message.envelope().recipients()[1..]);
        let mut part = rest.message(content());
        assert!(part.is_part());
        assert_eq!(part.digest().await.unwrap().to_string(), digest);
    }

    #[test]
    fn what_is_no_envelope_is_none() {
        for text in ["", "{}", "x", r#"{"id":"x"}"#] {
            assert!(Kept::read(text.as_bytes()).is_none(), "{text}");
        }
    }
}
