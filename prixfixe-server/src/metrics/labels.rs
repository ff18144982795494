//! The values of labels: small fixed sets, each value known when the program is compiled.

use crate::tls::HandshakeError;
use prixfixe_core::{Abort, EnhancedCode, Mechanism, Reply, replies as core_replies};

use crate::replies;

/// Declares an enum whose variants are the values of a label.
macro_rules! label {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            pub(crate) const COUNT: usize = Self::ALL.len();

            /// A count of zero for each.
            #[allow(dead_code, reason = "not all of the labels are counted")]
            pub(crate) const fn zero() -> [(Self, u64); Self::COUNT] {
                [$((Self::$variant, 0),)*]
            }

            /// The value of the label.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

label! {
    /// Why a message failed: `smtp_messages_failed_total{reason}`.
    FailureReason {
        /// The handler refused it with a 5xx.
        Refused = "refused",
        /// The handler refused it with a 4xx other than of the next.
        Deferred = "deferred",
        /// The handler could not keep it: a 4xx with an enhanced status code about the mail system,
        /// X.3.x (RFC 3463 section 3.4), as 452 4.3.1 and 451 4.3.0.
        Storage = "storage",
        /// The handler did not answer in time.
        HandlerTimeout = "handler_timeout",
        /// The handler panicked.
        HandlerPanic = "handler_panic",
        /// It grew over the size limit.
        TooLarge = "too_large",
        /// It had a bare CR or LF.
        BareLineEnd = "bare_line_end",
        /// It had more than 100 Received headers.
        Loop = "loop",
        /// The client was too slow.
        Timeout = "timeout",
        /// The connection was lost, or its client sent no more, before the message was complete or
        /// answered.
        ConnectionLost = "connection_lost",
        /// The client gave it up between two chunks, by RSET, HELO, EHLO, QUIT or too many bad
        /// commands.
        GivenUp = "given_up",
        /// The server stopped before it was complete or answered.
        Shutdown = "shutdown",
    }
}

label! {
    /// What became of a TCP connection: `smtp_connections_total{result}`. Each is counted once,
    /// when that is known.
    ConnectionResult {
        /// It was greeted.
        Accepted = "accepted",
        /// The handler refused the client in place of a greeting.
        Refused = "refused",
        /// It was one over the connection limit.
        OverLimit = "over_limit",
        /// Its client had all the connections that one client may have, or may make in a minute.
        ClientLimit = "client_limit",
        /// A load balancer looked whether the server is there. It is among none of the others.
        HealthCheck = "health_check",
        /// A load balancer sent no PROXY header, or a bad one.
        BadProxyHeader = "bad_proxy_header",
        /// It ended before the greeting: a TLS handshake that failed, a client that left, a server
        /// that stopped.
        Unfinished = "unfinished",
    }
}

label! {
    /// Why a TLS handshake did not come to its end: `smtp_tls_handshakes_total{result}`, where `ok`
    /// is one that did.
    HandshakeFailure {
        /// The two sides have nothing in common, or the client broke the protocol.
        Failed = "failed",
        /// The client was too slow.
        Timeout = "timeout",
        /// The connection ended before the handshake did.
        Closed = "closed",
        /// The client sent clear text in its place.
        ClearText = "clear_text",
    }
}

label! {
    /// What the client took too long over: `smtp_timeouts_by_phase_total{phase}`.
    TimeoutPhase {
        /// A load balancer's PROXY header.
        ProxyHeader = "proxy_header",
        /// A TLS handshake.
        Handshake = "handshake",
        /// A command, or the silence before one.
        Command = "command",
        /// A body or a chunk.
        Message = "message",
    }
}

label! {
    /// What became of a login: `smtp_auth_total{result}`.
    AuthResult {
        /// The client is who it says.
        Ok = "ok",
        /// It is not: the name or the password is wrong.
        Failed = "failed",
        /// It, or it with this name, has failed too often before.
        Blocked = "blocked",
        /// Nobody could tell: a back end is away, or took too long.
        Unavailable = "unavailable",
        /// The client cancelled it, or sent what the mechanism has no use for.
        Aborted = "aborted",
    }
}

label! {
    /// How a client wanted to log in: `smtp_auth_total{mechanism}`.
    AuthMechanism {
        /// PLAIN (RFC 4616).
        Plain = "PLAIN",
        /// LOGIN.
        Login = "LOGIN",
        /// SCRAM-SHA-256 (RFC 7677).
        ScramSha256 = "SCRAM-SHA-256",
        /// The same, bound to the TLS connection.
        ScramSha256Plus = "SCRAM-SHA-256-PLUS",
        /// OAUTHBEARER (RFC 7628).
        OauthBearer = "OAUTHBEARER",
        /// XOAUTH2.
        Xoauth2 = "XOAUTH2",
        /// EXTERNAL (RFC 4422).
        External = "EXTERNAL",
        /// A mechanism of the application's own.
        Other = "other",
    }
}

label! {
    /// What is told in [`Incident`](crate::Incident).
    IncidentKind {
        /// A connection was closed before the greeting.
        ConnectionRefused = "connection_refused",
        /// MAIL was refused by the handler.
        SenderRefused = "sender_refused",
        /// RCPT was refused, by the accepted domains or by the handler.
        RecipientRefused = "recipient_refused",
        /// A command was refused by the rules of the protocol or a limit.
        CommandRefused = "command_refused",
        /// A login failed, or was not taken.
        LoginFailed = "login_failed",
        /// A message was received and not accepted.
        MessageFailed = "message_failed",
        /// A TLS handshake failed.
        TlsFailed = "tls_failed",
        /// A client was too slow with a command.
        Timeout = "timeout",
    }
}

impl FailureReason {
    /// Of a refusal in place of a 250.
    pub(crate) fn of_answer(reply: &Reply) -> Self {
        if *reply == replies::HANDLER_TIMED_OUT {
            Self::HandlerTimeout
        } else if *reply == replies::HANDLER_PANICKED {
            Self::HandlerPanic
        } else if *reply == core_replies::TOO_LARGE {
            Self::TooLarge
        } else if reply.is_permanent() {
            Self::Refused
        } else if matches!(reply.enhanced(), EnhancedCode(4, 3, _)) {
            Self::Storage
        } else {
            Self::Deferred
        }
    }

    /// Of a message that did not come to its end.
    pub(crate) fn of_abort(abort: &Abort) -> Self {
        match abort {
            Abort::Refused(reply) if *reply == core_replies::TOO_LARGE => Self::TooLarge,
            Abort::Refused(reply) if *reply == core_replies::MAIL_LOOP => Self::Loop,
            Abort::Refused(_) => Self::BareLineEnd,
            Abort::Timeout => Self::Timeout,
            Abort::Eof => Self::ConnectionLost,
            _ => Self::GivenUp,
        }
    }
}

impl AuthMechanism {
    pub(crate) fn of(mechanism: &Mechanism) -> Self {
        let own = Self::ALL.iter().find(|it| *mechanism == it.as_str());
        own.copied().unwrap_or(Self::Other)
    }
}

impl AuthResult {
    /// Of a login that is refused with this.
    pub(crate) fn of(refusal: &Reply) -> Self {
        if *refusal == replies::TOO_MANY_FAILED_LOGINS {
            Self::Blocked
        } else if refusal.code() == 535 {
            Self::Failed
        } else if refusal.is_permanent() {
            Self::Aborted
        } else {
            Self::Unavailable
        }
    }
}

impl HandshakeFailure {
    pub(crate) fn of(error: &HandshakeError) -> Self {
        match error {
            HandshakeError::TimedOut => Self::Timeout,
            HandshakeError::Closed => Self::Closed,
            _ => Self::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_of_the_reason_that_its_code_stands_for() {
        let reply = |code, detail| Reply::from_static(code, detail, "");
        let cases = [
            (reply(550, EnhancedCode(5, 7, 1)), FailureReason::Refused),
            (reply(554, EnhancedCode(5, 3, 0)), FailureReason::Refused),
            (reply(450, EnhancedCode(4, 7, 1)), FailureReason::Deferred),
            (reply(452, EnhancedCode(4, 3, 1)), FailureReason::Storage),
            (Reply::transient("disk gone"), FailureReason::Storage),
            (replies::HANDLER_TIMED_OUT, FailureReason::HandlerTimeout),
            (replies::HANDLER_PANICKED, FailureReason::HandlerPanic),
        ];
        for (reply, reason) in cases {
            assert_eq!(FailureReason::of_answer(&reply), reason, "{reply:?}");
        }
    }

    #[test]
    fn an_abort_is_of_its_reason() {
        let cases = [
            (
                Abort::Refused(core_replies::TOO_LARGE),
                FailureReason::TooLarge,
            ),
            (Abort::Refused(core_replies::MAIL_LOOP), FailureReason::Loop),
            (
                Abort::Refused(core_replies::BARE_CR_OR_LF_IN_BODY),
                FailureReason::BareLineEnd,
            ),
            (Abort::Timeout, FailureReason::Timeout),
            (Abort::Eof, FailureReason::ConnectionLost),
            (Abort::Reset, FailureReason::GivenUp),
            (Abort::Closed, FailureReason::GivenUp),
        ];
        for (abort, reason) in cases {
            assert_eq!(FailureReason::of_abort(&abort), reason, "{abort:?}");
        }
    }
}
