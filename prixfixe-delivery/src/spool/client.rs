//! Who sent a message, as it is stored.

use std::net::SocketAddr;

use prixfixe_server::{Client, Credentials, Identity, Peer, Protocol, TlsInfo, TlsVersion};
use serde::{Deserialize, Serialize};

/// The client of a stored message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StoredClient {
    /// Its address, or `unix`; nothing for a message that the program made itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// User, group and process behind a Unix socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<(u32, u32, Option<u32>)>,
    /// The address that it connected to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<SocketAddr>,
    /// The load balancer that it came by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balancer: Option<SocketAddr>,
    /// The name of the endpoint that it came by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// It spoke LMTP.
    #[serde(default)]
    pub lmtp: bool,
    /// The name of its host that stands in `Received`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// What it said in EHLO or HELO.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helo: Option<String>,
    /// That was EHLO.
    #[serde(default)]
    pub extended: bool,
    /// What was agreed on, where it spoke TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<StoredTls>,
    /// Whom it has proved to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// What was agreed on with a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StoredTls {
    /// `1.2` or `1.3`.
    pub version: String,
    /// The cipher suite.
    pub cipher: String,
    /// The subject of the client's certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
}

impl From<&Client> for StoredClient {
    fn from(client: &Client) -> Self {
        let (peer, credentials) = match client.peer() {
            Peer::Ip(address) => (Some(address.to_string()), None),
            Peer::Unix(credentials) => (Some("unix".to_owned()), credentials),
            _ => (None, None),
        };
        Self {
            peer,
            credentials: credentials.map(|it| (it.user, it.group, it.process)),
            local: client.local(),
            balancer: client.balancer().and_then(|balancer| match balancer {
                Peer::Ip(address) => Some(address),
                _ => None,
            }),
            endpoint: client.endpoint().map(ToOwned::to_owned),
            lmtp: client.protocol() == Protocol::Lmtp,
            host: client.shown_name().map(ToOwned::to_owned),
            helo: client.helo().map(ToOwned::to_owned),
            extended: client.is_extended(),
            tls: client.tls().map(|tls| StoredTls {
                version: match tls.version {
                    TlsVersion::Tls12 => "1.2".to_owned(),
                    _ => "1.3".to_owned(),
                },
                cipher: tls.cipher_suite.to_owned(),
                client: tls.client_subject.clone(),
            }),
            user: client.identity().map(|it| it.name().to_owned()),
        }
    }
}

impl StoredClient {
    /// The client that it was.
    #[must_use]
    pub fn client(&self) -> Client {
        let mut client = Client::builder();
        client = match self.peer.as_deref().map(str::parse::<SocketAddr>) {
            Some(Ok(address)) => client.peer(address),
            _ => client.unix(
                self.credentials
                    .map(|(user, group, process)| Credentials::new(user, group, process)),
            ),
        };
        if let Some(local) = self.local {
            client = client.local(local);
        }
        if let Some(balancer) = self.balancer {
            client = client.balancer(balancer);
        }
        if let Some(endpoint) = &self.endpoint {
            client = client.endpoint(&**endpoint);
        }
        if self.lmtp {
            client = client.protocol(Protocol::Lmtp);
        }
        client = match (&self.helo, self.extended) {
            (Some(name), true) => client.ehlo(&**name),
            (Some(name), false) => client.helo(&**name),
            (None, _) => client,
        };
        if let Some(tls) = &self.tls {
            client = client.tls(tls.info());
        }
        if let Some(user) = &self.user {
            client = client.identity(Identity::new(&**user));
        }
        let client = client.build();
        if let Some(host) = &self.host {
            client.found_host_name(host);
        }
        client
    }
}

/// The cipher suites that are spoken here: those of TLS 1.3 as the registry and as rustls writes them.
const CIPHERS: [&str; 12] = [
    "TLS_AES_256_GCM_SHA384",
    "TLS_AES_128_GCM_SHA256",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS13_AES_256_GCM_SHA384",
    "TLS13_AES_128_GCM_SHA256",
    "TLS13_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];

impl StoredTls {
    fn info(&self) -> TlsInfo {
        let version = match &*self.version {
            "1.2" => TlsVersion::Tls12,
            _ => TlsVersion::Tls13,
        };
        let known = CIPHERS.into_iter().find(|it| **it == *self.cipher);
        let mut info = TlsInfo::new(version, known.unwrap_or("unknown"));
        info.client_subject.clone_from(&self.client);
        info
    }
}
