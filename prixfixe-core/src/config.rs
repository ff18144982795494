//! What a connection offers and where its limits lie.

use std::time::Duration;

use crate::{EhloKeyword, Mechanism};

/// What a connection offers and where its limits lie. All connections of a server share one.
///
/// ```
/// use prixfixe_core::Config;
///
/// let mut config = Config::new("mx.example.com");
/// config.max_recipients = 100;
/// assert_eq!(config.max_message_size, 10_485_760);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// The server's own name, in the greeting and in the reply to HELO and EHLO.
    pub domain: String,
    /// How many octets the content of a message may have, its last CR LF included, transparency
    /// dots removed and bare line ends repaired. 0: no limit, as the SIZE extension has it (RFC
    /// 1870 section 4).
    pub max_message_size: u64,
    /// How many recipients a message may have. RFC 5321 section 4.5.3.1.8 asks for at least 100.
    pub max_recipients: usize,
    /// How many bad commands a client is allowed: the one after them ends the session.
    ///
    /// A bad command is one that earned 500 to 504 or 555. What a handler refuses, a recipient too
    /// many or a message too large is none.
    pub max_errors: u32,
    /// How long a command, a body or a chunk may take, before what
    /// [`min_data_rate`](Self::min_data_rate) adds. RFC 5321 section 4.5.3.2.7 asks for 5 minutes.
    pub command_timeout: Duration,
    /// How many commands a client may send since its last message that bring no message nearer:
    /// NOOP, RSET, VRFY, HELP, EXPN, HELO, EHLO, unknown commands, and MAIL and RCPT that are
    /// refused. The one after them ends the session. 0: no limit.
    ///
    /// DATA, BDAT, AUTH, STARTTLS, and MAIL and RCPT that are accepted never count, and neither
    /// does a recipient too many (`452 4.5.3`), which a client need not know of.
    pub max_idle_commands: u32,
    /// How long a client may take to come to DATA or BDAT, since the connection began or since its
    /// last message, whatever else it says. The time that it waits for an answer does not count.
    /// The chunks of one message together have this time, too, and what
    /// [`min_data_rate`](Self::min_data_rate) adds for their octets.
    pub idle_timeout: Duration,
    /// Octets a second that a client has to send at least: each octet of a command, a body or a
    /// chunk adds its share of time to the deadline. 0: no minimum, a body or a chunk may take as
    /// long as octets keep coming. What is refused already gets no time for its octets.
    pub min_data_rate: u32,
    /// What becomes of a content with a bare CR or LF.
    pub bare_line_ends: BareLineEnds,
    /// Offer STARTTLS while TLS is not active.
    pub starttls: bool,
    /// The last word of the greeting, which names the software.
    pub product: String,
    /// What EHLO offers besides what this crate does: extensions of the caller's, whose commands
    /// come as [`Event::Command`](crate::Event::Command).
    pub ehlo_keywords: Vec<EhloKeyword>,
    /// Offer DSN (RFC 3461), for a handler that passes its parameters on or sends notifications.
    /// Without it they are read and handed on as well, since clients send them unasked; but NOTIFY
    /// with SUCCESS is 555.
    pub dsn: bool,
    /// The same for clients that have logged in, and, where they have to before MAIL, for all: few
    /// ask again what is offered when they have.
    pub dsn_for_users: bool,
    /// Offer BINARYMIME (RFC 3030 section 3). Without it `BODY=BINARYMIME` is 555: for a handler
    /// whose next hop may not take such a content.
    pub binary_mime: bool,
    /// Say by LIMITS (RFC 9422) that the recipients of one transaction have to be in one domain. It
    /// is for the handler to refuse others. LIMITS tells [`max_recipients`](Self::max_recipients)
    /// in any case.
    pub one_recipient_domain: bool,
    /// Offer REQUIRETLS (RFC 8689) while TLS is active, for a handler that heeds it. Without it the
    /// parameter is 555.
    pub requiretls: bool,
    /// Offer MT-PRIORITY (RFC 6710), for a handler that heeds it. Without it the parameter is 555.
    pub mt_priority: bool,
    /// Refuse MAIL with 530 while TLS is not active (RFC 3207 section 4).
    pub tls_required: bool,
    /// Offer AUTH (RFC 4954). `None`: it is 502.
    pub auth: Option<Auth>,
}

/// How clients log in.
///
/// ```
/// use prixfixe_core::{Auth, Config, Mechanism};
///
/// let mut config = Config::new("mx.example.com");
/// config.auth = Some(Auth::new([Mechanism::PLAIN]));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Auth {
    /// What is offered; AUTH by any other mechanism is 504. See
    /// [`Connection::set_auth_mechanisms`](crate::Connection::set_auth_mechanisms) for one client.
    pub mechanisms: Vec<Mechanism>,
    /// Offer it while TLS is not active, too. Without it AUTH in plaintext is 538, and not offered.
    pub in_plaintext: bool,
    /// Refuse MAIL with 530 before a login.
    pub required: bool,
}

impl Auth {
    /// These mechanisms, under TLS alone, for those who like.
    pub fn new(mechanisms: impl IntoIterator<Item = Mechanism>) -> Self {
        Self {
            mechanisms: mechanisms.into_iter().collect(),
            ..Self::default()
        }
    }

    /// True where a client hears of it.
    pub(crate) fn is_offered(&self, tls: bool) -> bool {
        (tls || self.in_plaintext) && !self.mechanisms.is_empty()
    }
}

/// What becomes of a content with a bare CR or a bare LF, which no line of mail has (RFC 5321
/// section 2.3.8).
///
/// It makes no difference to where a message ends: that is CR LF . CR LF and nothing else, or the
/// last octet of the last chunk. A content declared with `BODY=BINARYMIME` is taken as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum BareLineEnds {
    /// The message is refused with 550 5.5.2, after its end.
    #[default]
    Refuse,
    /// Each of them becomes CR LF: for programs and devices that send lines with LF alone.
    ///
    /// What is delivered is then not what was sent, so that signatures may break. On a mail
    /// exchanger every client is a mail server, which sends no such lines: refuse them there.
    Repair,
}

impl Config {
    /// The default limits under a name.
    #[must_use]
    pub fn new(domain: impl Into<String>) -> Self {
        Self {
            domain: domain.into(),
            max_message_size: 10_485_760,
            max_recipients: 1000,
            max_errors: 10,
            command_timeout: Duration::from_secs(300),
            max_idle_commands: 100,
            idle_timeout: Duration::from_secs(600),
            min_data_rate: 500,
            bare_line_ends: BareLineEnds::Refuse,
            starttls: false,
            dsn: false,
            dsn_for_users: false,
            binary_mime: true,
            product: "PrixFixe".to_owned(),
            ehlo_keywords: Vec::new(),
            one_recipient_domain: false,
            requiretls: false,
            mt_priority: false,
            tls_required: false,
            auth: None,
        }
    }

    /// Whether DSN is offered to a client that has logged in, or has not.
    pub(crate) fn offers_dsn(&self, authenticated: bool) -> bool {
        let is_required = self.auth.as_ref().is_some_and(|auth| auth.required);
        self.dsn || self.dsn_for_users && (authenticated || is_required)
    }

    /// The largest content that is taken, in octets.
    pub(crate) fn size_limit(&self) -> u64 {
        match self.max_message_size {
            0 => u64::MAX,
            limit => limit,
        }
    }

    /// How much is read of what is refused already, in octets: another message, and enough of one
    /// that a small limit is told as what it is.
    pub(crate) fn refused_limit(&self) -> u64 {
        self.size_limit().max(64 * 1024)
    }
}

impl Default for Config {
    /// The default limits of a server named `localhost`.
    fn default() -> Self {
        Self::new("localhost")
    }
}
