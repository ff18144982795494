//! Certificates and policy, as one thing that can be swapped while running.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::{ServerConfig, version};

use crate::certificate::{Certificate, CertificateInfo};
use crate::client_auth::{ClientAuth, ClientPolicy};
use crate::exporter::ExporterSecret;
use crate::resolver::Resolver;
use crate::source::{CertificateSource, Digest, Material, Origin, Pair, digest};
use crate::watch::Watch;
use crate::{TlsError, TlsVersion};

/// Certificates and policy, ready for handshakes, which can be read anew while running. Cheap to
/// clone; the clones are one.
///
/// ```
/// # fn main() -> Result<(), prixfixe_tls::TlsError> {
/// use prixfixe_tls::{CertificateSource, Reloaded, TlsConfig, TlsVersion};
///
/// let config = TlsConfig::builder()
///     .certificate(CertificateSource::self_signed(["mx.example.com"]))
///     .min_version(TlsVersion::Tls13)
///     .build()?;
/// assert_eq!(config.certificates()[0].names, ["mx.example.com"]);
/// assert_eq!(config.reload()?, Reloaded::Unchanged);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct TlsConfig {
    shared: Arc<Shared>,
}

impl TlsConfig {
    /// Starts from the defaults: TLS 1.2 and 1.3, no client certificates, 30 seconds for a
    /// handshake.
    pub fn builder() -> TlsConfigBuilder {
        TlsConfigBuilder::default()
    }

    /// How long a handshake may take.
    #[must_use]
    pub fn handshake_timeout(&self) -> Duration {
        self.shared.policy.handshake_timeout
    }

    /// The certificates in use, the default one first.
    #[must_use]
    pub fn certificates(&self) -> Vec<CertificateInfo> {
        self.generation().certificates.clone()
    }

    /// Reads all files anew. New handshakes use what they hold; sessions under way keep what they
    /// have. Ticket keys are new as well, so that no client resumes a session that the new
    /// certificates would not allow.
    ///
    /// # Errors
    /// As for [`TlsConfigBuilder::build`]; what was in use stays in use. Nothing is logged: that is
    /// for the caller.
    pub fn reload(&self) -> Result<Reloaded, TlsError> {
        self.adopt(&self.shared.read()?)
    }

    /// Starts a thread that looks at the files every `interval` and reloads when their content has
    /// changed and then stayed the same for one interval (so that a certificate isn't taken without
    /// its new key). It logs what came of it, and every day a warning for a certificate that
    /// expires within 30 days. The thread ends when the `Watch` is dropped.
    ///
    /// # Errors
    /// The thread cannot be started, or the interval is zero.
    pub fn watch(&self, interval: Duration) -> std::io::Result<Watch> {
        Watch::start(self.clone(), interval)
    }

    pub(crate) fn generation(&self) -> Arc<Generation> {
        Arc::clone(
            &self
                .shared
                .current
                .read()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    pub(crate) fn read(&self) -> Result<Contents, TlsError> {
        self.shared.read()
    }

    pub(crate) fn adopt(&self, contents: &Contents) -> Result<Reloaded, TlsError> {
        if contents.digest == self.generation().digest {
            return Ok(Reloaded::Unchanged);
        }
        let generation = Arc::new(self.shared.policy.generation(contents)?);
        *self
            .shared
            .current
            .write()
            .unwrap_or_else(PoisonError::into_inner) = generation;
        Ok(Reloaded::Changed)
    }
}

/// What came of a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reloaded {
    /// The files hold what is in use already.
    Unchanged,
    /// New handshakes use what was read.
    Changed,
}

/// Collects what a [`TlsConfig`] is made of.
#[derive(Debug, Default)]
#[must_use]
pub struct TlsConfigBuilder {
    sources: Vec<CertificateSource>,
    policy: Policy,
}

impl TlsConfigBuilder {
    /// How long a handshake may take unless another time is set.
    pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

    /// Adds a certificate. The first is the default; each is for clients that ask for one of its
    /// names.
    pub fn certificate(mut self, source: CertificateSource) -> Self {
        self.sources.push(source);
        self
    }

    /// The lowest version to accept; 1.2 unless set.
    pub const fn min_version(mut self, version: TlsVersion) -> Self {
        self.policy.min_version = version;
        self
    }

    /// Whether clients are asked for a certificate; off unless set.
    pub fn client_auth(mut self, client_auth: ClientAuth) -> Self {
        self.policy.client_auth = client_auth;
        self
    }

    /// How long a handshake may take; 30 seconds unless set.
    pub const fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.policy.handshake_timeout = timeout;
        self
    }

    /// Reads and checks everything. Logs a warning for what is odd but will do: a certificate that
    /// expires within 30 days, a chain out of order, a key that others can read.
    ///
    /// # Errors
    /// Names the file at fault and what is wrong with it.
    pub fn build(self) -> Result<TlsConfig, TlsError> {
        if self.sources.is_empty() {
            return Err(TlsError::NoSource);
        }
        let origins = self
            .sources
            .into_iter()
            .map(Origin::new)
            .collect::<Result<Vec<_>, _>>()?;
        let contents = Contents::read(&origins, &self.policy.client_auth)?;
        let generation = self.policy.generation(&contents)?;
        origins
            .iter()
            .filter_map(Origin::key_file)
            .for_each(warn_of_readers);
        let current = RwLock::new(Arc::new(generation));
        Ok(TlsConfig {
            shared: Arc::new(Shared {
                origins,
                policy: self.policy,
                current,
            }),
        })
    }
}

struct Shared {
    origins: Vec<Origin>,
    policy: Policy,
    current: RwLock<Arc<Generation>>,
}

impl Shared {
    fn read(&self) -> Result<Contents, TlsError> {
        Contents::read(&self.origins, &self.policy.client_auth)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// What files held at one moment.
pub(crate) struct Contents {
    pairs: Vec<Pair>,
    trust_anchors: Option<Material>,
    pub(crate) digest: Digest,
}

impl Contents {
    fn read(origins: &[Origin], client_auth: &ClientAuth) -> Result<Self, TlsError> {
        let pairs = origins
            .iter()
            .map(Origin::read)
            .collect::<Result<Vec<_>, _>>()?;
        let trust_anchors = client_auth
            .trust_anchors()
            .map(|anchors| anchors.read())
            .transpose()?;
        let parts = pairs
            .iter()
            .flat_map(|pair| {
                let password = pair
                    .password
                    .as_ref()
                    .map_or(&[][..], |password| &password.bytes);
                [
                    pair.certificate.bytes.as_slice(),
                    pair.key.bytes.as_slice(),
                    password,
                ]
            })
            .chain(trust_anchors.iter().map(|anchors| anchors.bytes.as_slice()));
        // A digest of digests: no byte can move from one file to the next unseen.
        let digests: Vec<u8> = parts.flat_map(digest).collect();
        Ok(Self {
            pairs,
            trust_anchors,
            digest: digest(&digests),
        })
    }
}

/// What handshakes use until the next reload.
#[derive(Debug)]
pub(crate) struct Generation {
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) certificates: Vec<CertificateInfo>,
    pub(crate) digest: Digest,
    clients: ClientPolicy,
}

impl Generation {
    /// The certificate that a client showed, if the CA vouches for it.
    pub(crate) fn verified_client<'c, 'd>(
        &self,
        chain: &'c [CertificateDer<'d>],
    ) -> Option<&'c CertificateDer<'d>> {
        let now = self.server.time_provider.current_time()?;
        self.clients.verified(chain, now)
    }

    pub(crate) fn warn_of_expiry(&self, now: SystemTime) {
        self.certificates
            .iter()
            .for_each(|certificate| certificate.warn_of_expiry(now));
    }
}

/// What is configured beside certificates.
#[derive(Debug)]
struct Policy {
    min_version: TlsVersion,
    client_auth: ClientAuth,
    handshake_timeout: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            min_version: TlsVersion::Tls12,
            client_auth: ClientAuth::Off,
            handshake_timeout: TlsConfigBuilder::HANDSHAKE_TIMEOUT,
        }
    }
}

impl Policy {
    fn generation(&self, contents: &Contents) -> Result<Generation, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let now = SystemTime::now();
        let certificates = contents
            .pairs
            .iter()
            .map(|pair| Certificate::load(pair, &provider, now))
            .collect::<Result<Vec<_>, _>>()?;
        let clients = self
            .client_auth
            .policy(contents.trust_anchors.as_ref(), &provider)?;
        let server = self.server_config(&certificates, &clients, provider)?;
        let generation = Generation {
            server: Arc::new(server),
            certificates: certificates
                .into_iter()
                .map(|certificate| certificate.info)
                .collect(),
            digest: contents.digest,
            clients,
        };
        generation.warn_of_expiry(now);
        Ok(generation)
    }

    fn server_config(
        &self,
        certificates: &[Certificate],
        clients: &ClientPolicy,
        provider: Arc<CryptoProvider>,
    ) -> Result<ServerConfig, TlsError> {
        let (both, newest) = ([&version::TLS13, &version::TLS12], [&version::TLS13]);
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(match self.min_version {
                TlsVersion::Tls12 => &both,
                TlsVersion::Tls13 => &newest,
            })
            .map_err(TlsError::setup)?
            .with_client_cert_verifier(clients.verifier())
            .with_cert_resolver(Arc::new(Resolver::new(certificates)));
        // The strongest that both have, not the client's first: what auditing tools ask for.
        config.ignore_client_order = true;
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(TlsError::setup)?;
        config.key_log = Arc::new(ExporterSecret);
        // A client that resumes gets a new ticket each time, so that one is enough.
        config.send_tls13_tickets = 1;
        Ok(config)
    }
}

#[cfg(unix)]
fn warn_of_readers(key: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(key).map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o004 != 0 {
        tracing::warn!(key = %key.display(), "private key can be read by everyone on this machine: chmod o-r");
    }
}

#[cfg(not(unix))]
fn warn_of_readers(_: &Path) {}
