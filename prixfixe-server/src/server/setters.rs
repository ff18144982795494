//! What can be set anew while a server runs, in its description: each setter is that of
//! [`Settings`](crate::Settings).

use std::path::PathBuf;
use std::time::Duration;

use prixfixe_core::{BareLineEnds, EhloKeyword, Mechanism};

use super::ServerBuilder;
#[cfg(feature = "tls")]
use crate::tls::TlsConfig;
use crate::{AuthMode, AuthSender, Authenticator};

impl<H> ServerBuilder<H> {
    /// The name that the server gives itself. Default `localhost`.
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.settings = self.settings.domain(domain);
        self
    }

    /// Offers STARTTLS with these certificates, and uses them where TLS comes first.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: TlsConfig) -> Self {
        self.settings = self.settings.tls(tls);
        self
    }

    /// Before TLS, MAIL is refused with `530 5.7.0` (RFC 3207 section 4). Default off.
    #[cfg(feature = "tls")]
    pub fn tls_required(mut self, required: bool) -> Self {
        self.settings = self.settings.tls_required(required);
        self
    }

    /// Connections served at once; one more is told `421 4.3.2`. Default 100.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.settings = self.settings.max_connections(connections);
        self
    }

    /// Connections at once, on top of [`max_connections`](Self::max_connections), whose session is
    /// over and whose last bytes are on their way; beyond that they are closed without waiting for
    /// the client. Default: as many as `max_connections`, and 256. Both together are the sockets to
    /// have descriptors for.
    pub fn max_closing_connections(mut self, connections: usize) -> Self {
        self.settings = self.settings.max_closing_connections(connections);
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
        self.settings = self.settings.max_connections_per_client(connections);
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
        self.settings = self.settings.connections_per_minute(connections);
        self
    }

    /// Messages of one client in a minute, counted at MAIL; one more is told `450 4.7.1`, and the
    /// session goes on. They may come as [`connections_per_minute`](Self::connections_per_minute)
    /// says. 0, the default: no limit.
    #[cfg(feature = "client-limits")]
    pub fn messages_per_minute(mut self, messages: u32) -> Self {
        self.settings = self.settings.messages_per_minute(messages);
        self
    }

    /// The largest content in octets, as SIZE announces it. Default 10,485,760.
    pub fn max_message_size(mut self, octets: u64) -> Self {
        self.settings = self.settings.max_message_size(octets);
        self
    }

    /// Recipients of one message; one more is told `452 4.5.3`. Default 1,000.
    pub fn max_recipients(mut self, recipients: usize) -> Self {
        self.settings = self.settings.max_recipients(recipients);
        self
    }

    /// Bad commands of one session; one more is told `421 4.7.0` and the connection is closed.
    /// Default 10.
    pub fn max_errors(mut self, errors: u32) -> Self {
        self.settings = self.settings.max_errors(errors);
        self
    }

    /// How long a command, a body or a chunk may take beside the time that `min_data_rate` grants.
    /// Default five minutes.
    pub fn command_timeout(mut self, timeout: Duration) -> Self {
        self.settings = self.settings.command_timeout(timeout);
        self
    }

    /// Commands of one client since its last message that bring no message nearer; one more is told
    /// `421 4.7.0` and the connection is closed. Default 100; 0: no limit.
    ///
    /// NOOP, RSET, VRFY, HELP, HELO, EHLO and unknown commands count, and MAIL and RCPT that are
    /// refused, by the handler too. DATA, BDAT, AUTH, STARTTLS, MAIL and RCPT that are accepted,
    /// and a recipient too many (`452 4.5.3`) never do.
    pub fn max_idle_commands(mut self, commands: u32) -> Self {
        self.settings = self.settings.max_idle_commands(commands);
        self
    }

    /// How long a client may take to come to DATA or BDAT, from the start of the connection or the
    /// end of its last message, whatever else it says; then it is told `421 4.4.2`. Time in which
    /// it waits for the server or the handler does not count. The chunks of one message have this
    /// time together, beside what `min_data_rate` grants. Default ten minutes.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.settings = self.settings.idle_timeout(timeout);
        self
    }

    /// Octets a second that a client sends at least: each octet received adds its share to the time
    /// that is left. 0: none does. Default 500.
    pub fn min_data_rate(mut self, octets_a_second: u32) -> Self {
        self.settings = self.settings.min_data_rate(octets_a_second);
        self
    }

    /// How long the handler may take over one question before the client is told `451 4.3.0`, at a
    /// login `454 4.7.0`. Default five minutes.
    pub fn handler_timeout(mut self, timeout: Duration) -> Self {
        self.settings = self.settings.handler_timeout(timeout);
        self
    }

    /// The memory in bytes for all messages together that have to be gathered whole, for
    /// [checks](crate::Check) or by [`Message::gather`](crate::Message::gather). What is over it
    /// goes to files. Default 256 MiB.
    pub fn message_memory(mut self, bytes: u64) -> Self {
        self.settings = self.settings.message_memory(bytes);
        self
    }

    /// The directory of those files, which have no name and are gone with their message. Default:
    /// the system's for temporary files.
    pub fn temporary(mut self, directory: impl Into<PathBuf>) -> Self {
        self.settings = self.settings.temporary(directory);
        self
    }

    /// After a shutdown, how long running transactions may go on. Default 30 seconds.
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.settings = self.settings.drain_timeout(timeout);
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
        self.settings = self.settings.accept_domains(domains);
        self
    }

    /// Whether clients that have logged in may send to anybody:
    /// [`accept_domains`](Self::accept_domains) binds the others alone. For a submission server.
    /// Default: no.
    pub fn relay_for_users(mut self, relay: bool) -> Self {
        self.settings = self.settings.relay_for_users(relay);
        self
    }

    /// Offers DSN (RFC 3461), for a handler that passes its parameters on or sends notifications.
    /// Without it they are handed on as well, since clients send them unasked; but NOTIFY with
    /// SUCCESS is refused. Default: off.
    pub fn dsn(mut self, offered: bool) -> Self {
        self.settings = self.settings.dsn(offered);
        self
    }

    /// Offers [DSN](Self::dsn) to clients that have logged in, for a handler that sends
    /// notifications to those alone. Where clients have to log in before MAIL it is offered to all.
    /// Default: off.
    pub fn dsn_for_users(mut self, offered: bool) -> Self {
        self.settings = self.settings.dsn_for_users(offered);
        self
    }

    /// Offers BINARYMIME (RFC 3030), a content of any bytes in chunks. Without it `BODY=BINARYMIME`
    /// is refused with 555: for a handler that passes mail on to servers which may not take it.
    /// Default: on.
    pub fn binary_mime(mut self, offered: bool) -> Self {
        self.settings = self.settings.binary_mime(offered);
        self
    }

    /// Says by LIMITS (RFC 9422) that the recipients of one message have to be in one domain, so
    /// that a client sends one message for each domain. The handler is to refuse the others: with
    /// `452 4.5.3`, so that they come in another message. Default: off.
    pub fn one_recipient_domain(mut self, only: bool) -> Self {
        self.settings = self.settings.one_recipient_domain(only);
        self
    }

    /// Offers REQUIRETLS (RFC 8689) within TLS, for a handler that heeds
    /// [`MailParameters::requiretls`](crate::MailParameters::requiretls). Default: off, and the
    /// parameter is refused with 555.
    #[cfg(feature = "tls")]
    pub fn requiretls(mut self, offered: bool) -> Self {
        self.settings = self.settings.requiretls(offered);
        self
    }

    /// Offers MT-PRIORITY (RFC 6710), for a handler that heeds
    /// [`MailParameters::mt_priority`](crate::MailParameters::mt_priority). Default: off, and the
    /// parameter is refused with 555.
    pub fn mt_priority(mut self, offered: bool) -> Self {
        self.settings = self.settings.mt_priority(offered);
        self
    }

    /// Another last word of the greeting. Default: `PrixFixe`.
    pub fn product(mut self, name: impl Into<String>) -> Self {
        self.settings = self.settings.product(name);
        self
    }

    /// One keyword more in the reply to EHLO: an extension whose commands the application answers
    /// itself ([`Session::command`](crate::Session::command)), or one that needs no command. The
    /// same keyword twice, or more than 32 of them, are an error when the server starts.
    pub fn ehlo_keyword(mut self, keyword: EhloKeyword) -> Self {
        self.settings = self.settings.ehlo_keyword(keyword);
        self
    }

    /// What becomes of a content with a bare CR or LF. Default: the message is refused.
    pub fn bare_line_ends(mut self, line_ends: BareLineEnds) -> Self {
        self.settings = self.settings.bare_line_ends(line_ends);
        self
    }

    /// Whether clients may or must log in. Default: off. See
    /// [`Settings::auth`](crate::Settings::auth).
    pub fn auth(mut self, mode: AuthMode) -> Self {
        self.settings = self.settings.auth(mode);
        self
    }

    /// Who checks logins, in place of [`Session::authenticate`](crate::Session::authenticate).
    pub fn authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.settings = self.settings.authenticator(authenticator);
        self
    }

    /// The mechanisms that [`Session::authenticate`](crate::Session::authenticate) speaks, the
    /// preferred one first. They are offered where no [`authenticator`](Self::authenticator) is
    /// set.
    pub fn auth_mechanisms(mut self, mechanisms: impl IntoIterator<Item = Mechanism>) -> Self {
        self.settings = self.settings.auth_mechanisms(mechanisms);
        self
    }

    /// How long a client has to keep quiet before it is greeted. Default: not at all. See
    /// [`Settings::early_talker`](crate::Settings::early_talker).
    pub fn early_talker(mut self, time: Duration) -> Self {
        self.settings = self.settings.early_talker(time);
        self
    }

    /// What a client that has logged in may send as. Default: anything.
    pub fn auth_sender(mut self, sender: AuthSender) -> Self {
        self.settings = self.settings.auth_sender(sender);
        self
    }

    /// Failed logins of one client with one name in ten minutes. Default 5, for clients from afar.
    /// See [`Settings::auth_max_failures`](crate::Settings::auth_max_failures).
    pub fn auth_max_failures(mut self, failures: u32) -> Self {
        self.settings = self.settings.auth_max_failures(failures);
        self
    }

    /// Failed logins of one client in ten minutes, whatever the names. Default 50, for clients from
    /// afar. See [`Settings::auth_max_client_failures`](crate::Settings::auth_max_client_failures).
    pub fn auth_max_client_failures(mut self, failures: u32) -> Self {
        self.settings = self.settings.auth_max_client_failures(failures);
        self
    }
}
