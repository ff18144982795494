//! What can be set anew while a server runs.

mod auth;

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::tls::TlsConfig;
use prixfixe_core::{BareLineEnds, Config, DomainPattern, EhloKeyword, InvalidDomain};

pub(crate) use self::auth::{Auth, FailureLimits};
pub use self::auth::{AuthMode, AuthSender};
use crate::clients::{ClientLimits, ConnectionLimit};
use crate::endpoint::EndpointRules;
use crate::gather::MESSAGE_MEMORY;
use crate::in_force::Attached;

/// What can be set anew while a server runs, by
/// [`Server::reconfigure`](crate::Server::reconfigure): its name, its limits, the domains that it
/// accepts, its certificates.
///
/// ```
/// use std::time::Duration;
///
/// use prixfixe_server::Settings;
///
/// let settings = Settings::default()
///     .domain("mx.example.com")
///     .max_message_size(50 << 20)
///     .command_timeout(Duration::from_secs(60));
/// ```
#[derive(Debug, Clone)]
#[must_use = "settings change a server when they are given to it"]
pub struct Settings {
    pub(crate) dialogue: Config,
    pub(crate) auth: Auth,
    pub(crate) tls: Option<TlsConfig>,
    pub(crate) accepted_domains: Vec<DomainPattern>,
    pub(crate) relay_for_users: bool,
    pub(crate) attached: Attached,
    /// Of the endpoints, in their order, in place of what they say themselves.
    pub(crate) endpoint_rules: Vec<EndpointRules>,
    /// The first of those asked for that is no domain.
    bad_domain: Option<String>,
    /// The first keyword of EHLO that was there already, or is one too many.
    bad_keyword: Option<EhloKeyword>,
    pub(crate) handler_timeout: Duration,
    pub(crate) early_talker: Duration,
    pub(crate) client_limits: ClientLimits,
    pub(crate) max_connections: usize,
    /// `None`: as the transport has it.
    pub(crate) max_closing: Option<usize>,
    pub(crate) drain_timeout: Duration,
    pub(crate) message_memory: u64,
    pub(crate) temporary: Option<PathBuf>,
}

/// The reply to EHLO is the longest of all, and a client may ask for it without end.
const MAX_EHLO_KEYWORDS: usize = 32;

/// A century: as good as never, and no clock overflows by it.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

impl Settings {
    /// The name that the server gives itself. Default `localhost`.
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.dialogue.domain = domain.into();
        self
    }

    /// Offers STARTTLS with these certificates, and uses them where TLS comes first.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: TlsConfig) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Before TLS, MAIL is refused with `530 5.7.0` (RFC 3207 section 4). Default off.
    #[cfg(feature = "tls")]
    pub fn tls_required(mut self, required: bool) -> Self {
        self.dialogue.tls_required = required;
        self
    }

    /// Connections served at once; one more is told `421 4.3.2`. Default 100.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections;
        self
    }

    /// Connections at once, on top of [`max_connections`](Self::max_connections), whose session is
    /// over and whose last bytes are on their way; beyond that they are closed without waiting for
    /// the client. Default: as many as `max_connections`, and 256. Both together are the sockets to
    /// have descriptors for.
    pub fn max_closing_connections(mut self, connections: usize) -> Self {
        self.max_closing = Some(connections);
        self
    }

    /// Connections of one client served at once; one more is told `421 4.7.0`. 0: as many as there
    /// are.
    ///
    /// Unless it is set it is half of [`max_connections`](Self::max_connections), so that one
    /// address cannot lock out everybody else, and follows it. Clients with a loopback, private
    /// (RFC 1918, RFC 4193) or link-local address have no limit then. Behind a load balancer
    /// without the PROXY protocol all clients share the balancer's address: set this.
    ///
    /// For this and the other limits of a client, that is an IPv4 address or the /64 of an IPv6
    /// address, of the [true client](crate::Client::peer) behind a load balancer. A balancer's
    /// health checks have no such limits. Where TLS comes before anything else the connection is
    /// closed without a reply, as it is over [`max_connections`](Self::max_connections).
    pub fn max_connections_per_client(mut self, connections: u32) -> Self {
        self.client_limits.connections = ConnectionLimit::of(connections);
        self
    }

    /// New connections of one client in a minute; one more is told `421 4.7.0`. After a quiet
    /// minute they may come all at once, after that one each time that its share of a minute has
    /// passed. 0, the default: no limit.
    ///
    /// At most 65,536 clients are counted at once. More than that within a minute are let in
    /// uncounted: refusing them would let whoever has many addresses lock out everybody else.
    #[cfg(feature = "client-limits")]
    pub fn connections_per_minute(mut self, connections: u32) -> Self {
        self.client_limits.connections_per_minute = connections;
        self
    }

    /// Messages of one client in a minute, counted at MAIL; one more is told `450 4.7.1`, and the
    /// session goes on. They may come as [`connections_per_minute`](Self::connections_per_minute)
    /// says. 0, the default: no limit.
    #[cfg(feature = "client-limits")]
    pub fn messages_per_minute(mut self, messages: u32) -> Self {
        self.client_limits.messages_per_minute = messages;
        self
    }

    /// The largest content in octets, as SIZE announces it. Default 10,485,760.
    pub fn max_message_size(mut self, octets: u64) -> Self {
        self.dialogue.max_message_size = octets;
        self
    }

    /// Recipients of one message; one more is told `452 4.5.3`. Default 1,000.
    pub fn max_recipients(mut self, recipients: usize) -> Self {
        self.dialogue.max_recipients = recipients;
        self
    }

    /// Bad commands of one session; one more is told `421 4.7.0` and the connection is closed.
    /// Default 10.
    pub fn max_errors(mut self, errors: u32) -> Self {
        self.dialogue.max_errors = errors;
        self
    }

    /// How long a command, a body or a chunk may take beside the time that `min_data_rate` grants.
    /// Default five minutes.
    pub fn command_timeout(mut self, timeout: Duration) -> Self {
        self.dialogue.command_timeout = timeout;
        self
    }

    /// Commands of one client since its last message that bring no message nearer; one more is told
    /// `421 4.7.0` and the connection is closed. Default 100; 0: no limit.
    ///
    /// NOOP, RSET, VRFY, HELP, HELO, EHLO and unknown commands count, and MAIL and RCPT that are
    /// refused, by the handler too. DATA, BDAT, AUTH, STARTTLS, MAIL and RCPT that are accepted,
    /// and a recipient too many (`452 4.5.3`) never do.
    pub fn max_idle_commands(mut self, commands: u32) -> Self {
        self.dialogue.max_idle_commands = commands;
        self
    }

    /// How long a client may take to come to DATA or BDAT, from the start of the connection or the
    /// end of its last message, whatever else it says; then it is told `421 4.4.2`. Time in which
    /// it waits for the server or the handler does not count. The chunks of one message have this
    /// time together, beside what `min_data_rate` grants. Default ten minutes.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.dialogue.idle_timeout = timeout;
        self
    }

    /// Octets a second that a client sends at least: each octet received adds its share to the time
    /// that is left. 0: none does. Default 500.
    pub fn min_data_rate(mut self, octets_a_second: u32) -> Self {
        self.dialogue.min_data_rate = octets_a_second;
        self
    }

    /// How long the handler may take over one question before the client is told `451 4.3.0`, at a
    /// login `454 4.7.0`. Default five minutes.
    pub fn handler_timeout(mut self, timeout: Duration) -> Self {
        self.handler_timeout = timeout.min(LONGEST_TIMEOUT);
        self
    }

    /// How long a client has to keep quiet before it is greeted, behind the PROXY header and the
    /// handshake of implicit TLS. One that speaks before its greeting receives `554 5.5.1` and is
    /// closed: programs that send spam do not wait. Unix sockets, proxies that speak XCLIENT and
    /// health checks are greeted at once. Default zero: everybody is.
    pub fn early_talker(mut self, time: Duration) -> Self {
        self.early_talker = time.min(LONGEST_TIMEOUT);
        self
    }

    /// The memory in bytes for all messages together that have to be gathered whole, for
    /// [checks](crate::Check) or by [`Message::gather`](crate::Message::gather). What is over it
    /// goes to files. Default 256 MiB.
    pub fn message_memory(mut self, bytes: u64) -> Self {
        self.message_memory = bytes;
        self
    }

    /// The directory of those files, which have no name and are gone with their message. Default:
    /// the system's for temporary files.
    pub fn temporary(mut self, directory: impl Into<PathBuf>) -> Self {
        self.temporary = Some(directory.into());
        self
    }

    /// After a shutdown, how long running transactions may go on. Default 30 seconds.
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.drain_timeout = timeout;
        self
    }

    /// The domains of recipients that are accepted, in place of those set before. Others are
    /// refused with `550 5.7.1` before the handler is asked. None: every domain.
    ///
    /// Case, a final dot and whether an internationalised label is an A-label or a U-label do not
    /// matter. `*.example.com` is every domain below `example.com`, but not that itself.
    /// `postmaster` is accepted at each of them and at the server's own [`domain`](Self::domain).
    /// What is no domain is an error when the server starts.
    pub fn accept_domains(mut self, domains: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        self.set_accepted_domains(domains);
        self
    }

    /// Whether clients that have logged in may send to anybody:
    /// [`accept_domains`](Self::accept_domains) binds the others alone. For a submission server.
    /// Default: no.
    pub fn relay_for_users(mut self, relay: bool) -> Self {
        self.relay_for_users = relay;
        self
    }

    /// Something of the application's own that changes with the settings, in place of what it had
    /// of the same type. Each transaction keeps what was attached when it began
    /// ([`Mail::attached`](crate::Mail::attached)): whatever its checks and its handler look up
    /// there, and the domains that are accepted, are of one moment.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use prixfixe_server::{CheckSession, Mail, Reply, Settings, reply};
    ///
    /// struct Blocked(Vec<String>);
    /// struct ByList;
    ///
    /// impl CheckSession for ByList {
    ///     async fn mail(&mut self, mail: Mail<'_>) -> Result<(), Reply> {
    ///         let sender = mail.reverse_path().to_string();
    ///         match mail.attached::<Blocked>() {
    ///             Some(blocked) if blocked.0.contains(&sender) => Err(reply!(550 5.7.1 "Not from you")),
    ///             _ => Ok(()),
    ///         }
    ///     }
    /// }
    ///
    /// let settings = Settings::default().attach(Arc::new(Blocked(vec!["eve@example.com".into()])));
    /// ```
    pub fn attach<T: Any + Send + Sync>(mut self, value: Arc<T>) -> Self {
        self.attached.put(value);
        self
    }

    /// What holds at each [`Endpoint`](crate::Endpoint), in their order, in place of what it has
    /// said itself: so that it can change while the server runs, for connections that come from
    /// then on. An endpoint beyond these keeps what it had.
    ///
    /// ```
    /// use prixfixe_server::{Endpoint, Server, inbox};
    ///
    /// # fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let endpoint = || Endpoint::new(([127, 0, 0, 1], 2525));
    /// let server = Server::builder().listen(endpoint()).handler(inbox().0).start()?;
    /// let behind_balancers = endpoint().proxy_protocol_from(["10.1.0.0/16".parse()?]).rules();
    /// server.reconfigure(|settings| settings.endpoint_rules([behind_balancers]))?;
    /// # Ok(()) }
    /// ```
    pub fn endpoint_rules(mut self, rules: impl IntoIterator<Item = EndpointRules>) -> Self {
        self.endpoint_rules = rules.into_iter().collect();
        self
    }

    /// What becomes of a content with a bare CR or LF. Default: the message is refused.
    pub fn bare_line_ends(mut self, line_ends: BareLineEnds) -> Self {
        self.dialogue.bare_line_ends = line_ends;
        self
    }

    /// Offers DSN (RFC 3461), for a handler that passes its parameters on or sends notifications.
    /// Without it they are handed on as well, since clients send them unasked; but NOTIFY with
    /// SUCCESS is refused. Default: off.
    pub fn dsn(mut self, offered: bool) -> Self {
        self.dialogue.dsn = offered;
        self
    }

    /// Offers [DSN](Self::dsn) to clients that have logged in, for a handler that sends
    /// notifications to those alone. Where clients have to log in before MAIL it is offered to all.
    /// Default: off.
    pub fn dsn_for_users(mut self, offered: bool) -> Self {
        self.dialogue.dsn_for_users = offered;
        self
    }

    /// Offers BINARYMIME (RFC 3030), a content of any bytes in chunks. Without it `BODY=BINARYMIME`
    /// is refused with 555: for a handler that passes mail on to servers which may not take it.
    /// Default: on.
    pub fn binary_mime(mut self, offered: bool) -> Self {
        self.dialogue.binary_mime = offered;
        self
    }

    /// Says by LIMITS (RFC 9422) that the recipients of one message have to be in one domain, so
    /// that a client sends one message for each domain. The handler is to refuse the others: with
    /// `452 4.5.3`, so that they come in another message. Default: off.
    pub fn one_recipient_domain(mut self, only: bool) -> Self {
        self.dialogue.one_recipient_domain = only;
        self
    }

    /// Offers REQUIRETLS (RFC 8689) within TLS, for a handler that heeds
    /// [`MailParameters::requiretls`](crate::MailParameters::requiretls). Default: off, and the
    /// parameter is refused with 555.
    #[cfg(feature = "tls")]
    pub fn requiretls(mut self, offered: bool) -> Self {
        self.dialogue.requiretls = offered;
        self
    }

    /// Offers MT-PRIORITY (RFC 6710), for a handler that heeds
    /// [`MailParameters::mt_priority`](crate::MailParameters::mt_priority). Default: off, and the
    /// parameter is refused with 555.
    pub fn mt_priority(mut self, offered: bool) -> Self {
        self.dialogue.mt_priority = offered;
        self
    }

    /// Another last word of the greeting. Default: `PrixFixe`.
    pub fn product(mut self, name: impl Into<String>) -> Self {
        self.dialogue.product = name.into();
        self
    }

    /// One keyword more in the reply to EHLO: an extension whose commands the application answers
    /// itself ([`Session::command`](crate::Session::command)), or one that needs no command. The
    /// same keyword twice, or more than 32 of them, are an error when the server starts.
    pub fn ehlo_keyword(mut self, keyword: EhloKeyword) -> Self {
        let keywords = &mut self.dialogue.ehlo_keywords;
        let is_new = !keywords
            .iter()
            .any(|it| it.name().eq_ignore_ascii_case(keyword.name()));
        if is_new && keywords.len() < MAX_EHLO_KEYWORDS {
            keywords.push(keyword);
        } else {
            self.bad_keyword.get_or_insert(keyword);
        }
        self
    }

    /// Offers no TLS any more.
    #[cfg(feature = "tls")]
    pub fn without_tls(mut self) -> Self {
        self.tls = None;
        self
    }

    fn set_accepted_domains(&mut self, domains: impl IntoIterator<Item = impl AsRef<str>>) {
        self.accepted_domains.clear();
        self.bad_domain = None;
        for domain in domains {
            match domain.as_ref().parse() {
                Ok(pattern) => self.accepted_domains.push(pattern),
                Err(InvalidDomain) => {
                    self.bad_domain
                        .get_or_insert_with(|| domain.as_ref().to_owned());
                }
            }
        }
    }

    /// Whether a server can run with them; `implicit_tls`: one of its listeners is for TLS.
    pub(crate) fn check(&self, implicit_tls: bool) -> Result<(), SettingsError> {
        // Passwords never go in plaintext.
        let needs_tls = implicit_tls || self.auth.mode.needs_tls();
        if self.tls.is_none() && (self.dialogue.tls_required || needs_tls) {
            return Err(SettingsError::NoCertificate);
        }
        if !is_domain(&self.dialogue.domain) {
            return Err(SettingsError::Domain(self.dialogue.domain.clone()));
        }
        // Left out of the list it might leave an empty one, which accepts every domain.
        if let Some(domain) = &self.bad_domain {
            return Err(SettingsError::AcceptedDomain(domain.clone()));
        }
        if let Some(keyword) = &self.bad_keyword {
            return Err(SettingsError::EhloKeyword(keyword.name().to_owned()));
        }
        Ok(())
    }
}

impl Default for Settings {
    /// The defaults of a server: see each setter.
    fn default() -> Self {
        Self {
            dialogue: Config::default(),
            auth: Auth::default(),
            tls: None,
            accepted_domains: Vec::new(),
            relay_for_users: false,
            attached: Attached::default(),
            endpoint_rules: Vec::new(),
            bad_domain: None,
            bad_keyword: None,
            handler_timeout: Duration::from_secs(300),
            early_talker: Duration::ZERO,
            client_limits: ClientLimits::default(),
            max_connections: 100,
            max_closing: None,
            drain_timeout: Duration::from_secs(30),
            message_memory: MESSAGE_MEMORY,
            temporary: None,
        }
    }
}

/// The name stands in the greeting and in headers: nothing in it may break a line or a word.
fn is_domain(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && !name.contains(|c: char| c.is_control() || c.is_whitespace())
}

/// Settings that no server can run with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// TLS is asked for, by a listener or as a requirement, and there is no certificate.
    #[error("TLS is asked for, but there is no certificate")]
    NoCertificate,
    /// The domain is empty, too long, or has white space or control characters in it.
    #[error("{0:?} is no domain name")]
    Domain(String),
    /// One of the accepted domains is neither a domain nor `*.` and one.
    #[error("{0:?} is no domain to accept mail for")]
    AcceptedDomain(String),
    /// A keyword of EHLO is given twice, or is one more than 32.
    #[error("the keyword {0} of EHLO is given twice, or there are more than {max}", max = MAX_EHLO_KEYWORDS)]
    EhloKeyword(String),
}
