//! The DNS, as all checks ask it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mail_auth::MessageAuthenticator;
use mail_auth::hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use mail_auth::hickory_resolver::system_conf::read_system_conf;

/// Answers that are kept. A usual one has some hundred bytes; the largest that the DNS allows has
/// 64 KiB.
const CACHED_ANSWERS: u64 = 1024;

/// However long a zone says that an answer holds, it is asked for again after so long.
const KEPT_AT_MOST: Duration = Duration::from_secs(24 * 60 * 60);

/// "There is no such name" is asked again after so long: a sender who mends a record waits no
/// longer.
const MISSING_KEPT_AT_MOST: Duration = Duration::from_secs(5 * 60);

/// The DNS, as all checks ask it: through some name servers, with a cache of 1,024 answers. Cheap
/// to clone; clones share the cache.
///
/// Look-ups need tokio's runtime. A check that has a resolver says so to the server
/// ([`Check::needs_runtime`](prixfixe_server::Check::needs_runtime)).
///
/// ```
/// use prixfixe_policy::Resolver;
///
/// let resolver = Resolver::with_servers([([127, 0, 0, 1], 53).into()])?;
/// # drop(resolver);
/// # Ok::<(), prixfixe_policy::ResolverError>(())
/// ```
#[derive(Clone)]
pub struct Resolver {
    dns: Arc<MessageAuthenticator>,
    timeout: Duration,
}

/// No resolver can be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolverError {
    /// The system's configuration, `/etc/resolv.conf` on Unix, cannot be read or names no server.
    #[error("the system's DNS configuration: {0}")]
    System(String),
    /// The resolver cannot be built.
    #[error("DNS: {0}")]
    Setup(String),
}

impl Resolver {
    /// How long all look-ups for one question may take together, unless [`timeout`](Self::timeout)
    /// says else.
    pub const TIMEOUT: Duration = Duration::from_secs(10);

    /// The name servers that the system uses.
    ///
    /// # Errors
    ///
    /// [`ResolverError::System`] when they cannot be found out.
    pub fn system() -> Result<Self, ResolverError> {
        let system = |error: &dyn fmt::Display| ResolverError::System(error.to_string());
        let (config, _) = read_system_conf().map_err(|error| system(&error))?;
        if config.name_servers().is_empty() {
            return Err(system(&"it names no server"));
        }
        Self::new(config)
    }

    /// These name servers, by UDP, and by TCP where an answer is too large for that.
    ///
    /// # Errors
    ///
    /// [`ResolverError::Setup`] when the resolver cannot be built.
    pub fn with_servers(
        servers: impl IntoIterator<Item = SocketAddr>,
    ) -> Result<Self, ResolverError> {
        let servers = servers.into_iter().map(|server| {
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
            let connections = connections.map(|mut connection| {
                connection.port = server.port();
                connection
            });
            NameServerConfig::new(server.ip(), true, connections.to_vec())
        });
        Self::new(ResolverConfig::from_name_servers(servers.collect()))
    }

    fn new(config: ResolverConfig) -> Result<Self, ResolverError> {
        let mut options = ResolverOpts::default();
        options.cache_size = CACHED_ANSWERS;
        // Two servers that are silent leave time for a third within the time for all.
        options.timeout = Self::TIMEOUT / 5;
        options.attempts = 2;
        options.positive_max_ttl = Some(KEPT_AT_MOST);
        options.negative_max_ttl = Some(MISSING_KEPT_AT_MOST);
        // What the whole world sees is asked, not what this host calls its neighbours.
        options.use_hosts_file = ResolveHosts::Never;
        let dns = MessageAuthenticator::new(config, options);
        let dns = dns.map_err(|error| ResolverError::Setup(error.to_string()))?;
        Ok(Self {
            dns: Arc::new(dns),
            timeout: Self::TIMEOUT,
        })
    }

    /// How long all look-ups for one question may take together. Over it the answer is `temperror`.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    pub(crate) fn dns(&self) -> &MessageAuthenticator {
        &self.dns
    }

    /// What `look` finds, unless it takes too long.
    pub(crate) async fn in_time<T>(&self, look: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(self.timeout, look).await.ok()
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut resolver = f.debug_struct("Resolver");
        resolver.field("timeout", &self.timeout);
        resolver.finish_non_exhaustive()
    }
}
