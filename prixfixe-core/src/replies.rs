//! Every reply of the core, in the order in which a session meets them.
//!
//! Public for servers, which need some of them (and may compare with others). The greeting, the
//! replies to HELO and EHLO and 354 have no enhanced status code and a form of their own.

use crate::reply::{push_number, push_printable};
use crate::{Config, EnhancedCode, Protocol, Reply};

const fn reply(code: u16, enhanced: (u8, u16, u16), text: &'static str) -> Reply {
    let (class, subject, detail) = enhanced;
    Reply::from_static(code, EnhancedCode(class, subject, detail), text)
}

/// More connections than the server takes. Not sent by the core, which begins with a connection.
pub const TOO_MANY_CONNECTIONS: Reply =
    reply(421, (4, 3, 2), "Too many connections, try again later");
/// The server is going away (RFC 5321 section 3.8).
pub const SHUTTING_DOWN: Reply = reply(421, (4, 3, 2), "Service shutting down");
/// A command, a body or a chunk took too long.
pub const TIMED_OUT: Reply = reply(421, (4, 4, 2), "Timed out waiting for the client");
/// More bad commands than the limit.
pub const TOO_MANY_ERRORS: Reply = reply(421, (4, 7, 0), "Too many bad commands");
/// More commands that bring no message nearer than the limit.
pub const TOO_MANY_IDLE_COMMANDS: Reply =
    reply(421, (4, 7, 0), "Too many commands without a message");
/// Something failed on this side. Also in place of an answer that contradicts itself.
pub const LOCAL_ERROR: Reply = reply(451, (4, 3, 0), "Local error, try again later");

/// NOOP.
pub const NOOP_OK: Reply = reply(250, (2, 0, 0), "OK");
/// RSET.
pub const RSET_OK: Reply = reply(250, (2, 0, 0), "Reset");
/// VRFY: RFC 5321 section 3.5.3 has this for servers that do not tell.
pub const VRFY_UNKNOWN: Reply = reply(252, (2, 0, 0), "Cannot verify, send mail and see");
/// HELP. One short line: what it says is known to people, and a client may ask for it without end.
pub const HELP: Reply = reply(214, (2, 0, 0), "See RFC 5321");
/// QUIT.
pub const GOODBYE: Reply = reply(221, (2, 0, 0), "Goodbye");
/// STARTTLS.
pub const READY_FOR_TLS: Reply = reply(220, (2, 0, 0), "Ready to start TLS");

/// MAIL.
pub const SENDER_OK: Reply = reply(250, (2, 1, 0), "Sender OK");
/// RCPT.
pub const RECIPIENT_OK: Reply = reply(250, (2, 1, 5), "Recipient OK");
/// A chunk that is not the last.
pub const CHUNK_OK: Reply = reply(250, (2, 0, 0), "Chunk received");
/// The message is in safe hands.
pub const MESSAGE_OK: Reply = reply(250, (2, 0, 0), "Message accepted");

/// No command of SMTP.
pub const UNKNOWN_COMMAND: Reply = reply(500, (5, 5, 1), "Unknown command");
/// No CR LF within [`MAX_LINE`](crate::MAX_LINE) octets.
pub const LINE_TOO_LONG: Reply = reply(500, (5, 5, 2), "Line too long");
/// A CR without LF or a LF without CR in a command (RFC 5321 section 2.3.8).
pub const BARE_CR_OR_LF_IN_COMMAND: Reply =
    reply(500, (5, 5, 2), "Lines end with CR LF, both of them");
/// An argument is missing, superfluous or malformed.
pub const BAD_ARGUMENT: Reply = reply(501, (5, 5, 4), "Bad or missing argument");
/// A parameter is given twice, or its value is no value for it.
pub const BAD_PARAMETER: Reply = reply(501, (5, 5, 4), "Bad or repeated parameter");
/// A parameter that no extension offered here defines (RFC 5321 section 4.1.1.11).
pub const UNKNOWN_PARAMETER: Reply = reply(555, (5, 5, 4), "Unknown parameter");
/// The argument of MAIL is no reverse-path.
pub const BAD_SENDER: Reply = reply(501, (5, 1, 7), "Malformed sender address");
/// The argument of RCPT is no forward-path.
pub const BAD_RECIPIENT: Reply = reply(501, (5, 1, 3), "Malformed recipient address");
/// A command of SMTP that this server does not have.
pub const NOT_IMPLEMENTED: Reply = reply(502, (5, 5, 1), "Command not implemented");
/// The command has no place here (RFC 5321 section 4.1.4).
pub const OUT_OF_ORDER: Reply = reply(503, (5, 5, 1), "Command out of order");
/// MAIL or RCPT before HELO or EHLO.
pub const HELLO_FIRST: Reply = reply(503, (5, 5, 1), "Send EHLO first");
/// DATA after BODY=BINARYMIME (RFC 3030 section 3).
pub const BINARYMIME_NEEDS_BDAT: Reply = reply(503, (5, 5, 1), "BODY=BINARYMIME needs BDAT");
/// TLS is required before MAIL (RFC 3207 section 4).
pub const STARTTLS_FIRST: Reply = reply(530, (5, 7, 0), "Issue STARTTLS first");
/// A login is required before MAIL (RFC 4954 section 6).
pub const LOGIN_FIRST: Reply = reply(530, (5, 7, 0), "Authentication required");
/// AUTH in plaintext, where it is offered under TLS alone (RFC 4954 section 6).
pub const TLS_BEFORE_LOGIN: Reply = reply(538, (5, 7, 11), "Encryption required to log in");
/// AUTH by a mechanism that is not offered.
pub const UNKNOWN_MECHANISM: Reply = reply(504, (5, 5, 4), "Unknown authentication mechanism");
/// A response in a login that is not base64, or does not follow the mechanism.
pub const BAD_RESPONSE: Reply = reply(501, (5, 5, 2), "Malformed authentication response");
/// The client has cancelled its login.
pub const LOGIN_CANCELLED: Reply = reply(501, (5, 7, 0), "Authentication cancelled");
/// A response in a login of more than [`MAX_LOGIN_LINE`](crate::MAX_LOGIN_LINE) octets.
pub const RESPONSE_TOO_LONG: Reply = reply(500, (5, 5, 6), "Authentication response too long");
/// The client is who it says (RFC 4954 section 6).
pub const LOGIN_OK: Reply = reply(235, (2, 7, 0), "Authentication successful");
/// XCLIENT of a client that is no proxy.
pub const XCLIENT_DENIED: Reply = reply(550, (5, 7, 0), "Not authorized to use XCLIENT");
/// An internationalised address without SMTPUTF8 (RFC 6531 section 3.5).
pub const NEEDS_SMTPUTF8: Reply = reply(553, (5, 6, 7), "Non-ASCII address needs SMTPUTF8");
/// One recipient too many: the transaction goes on (RFC 5321 section 4.5.3.1.10).
pub const TOO_MANY_RECIPIENTS: Reply = reply(452, (4, 5, 3), "Too many recipients");
/// `SIZE=`, the chunks or the body are over the limit (RFC 1870 section 6).
pub const TOO_LARGE: Reply = reply(552, (5, 3, 4), "Message too large");
/// A CR without LF or a LF without CR in a body.
pub const BARE_CR_OR_LF_IN_BODY: Reply = reply(550, (5, 5, 2), "Message has a bare CR or LF");
/// More than 100 `Received:` headers (RFC 5321 section 6.3).
pub const MAIL_LOOP: Reply = reply(554, (5, 4, 6), "Too many Received headers, mail loop");
/// Octets behind STARTTLS in clear text: they may be someone else's.
pub const CLEAR_TEXT_AFTER_STARTTLS: Reply = reply(554, (5, 5, 1), "Clear text after STARTTLS");
/// Clear text where TLS comes before anything else (RFC 8314 section 3.3).
pub const TLS_BEFORE_ANYTHING: Reply = reply(554, (5, 5, 1), "TLS comes first on this port");
/// A browser, or something that speaks through one.
pub const NOT_HTTP: Reply = reply(554, (5, 7, 0), "This is not an HTTP server");

/// [`SENDER_OK`], as it goes to the client.
pub(crate) const SENDER_OK_LINE: &[u8] = b"250 2.1.0 Sender OK\r\n";
/// [`RECIPIENT_OK`], as it goes to the client.
pub(crate) const RECIPIENT_OK_LINE: &[u8] = b"250 2.1.5 Recipient OK\r\n";

/// The reply to DATA.
pub(crate) const START_MAIL_INPUT: &[u8] = b"354 Send the message, end it with CR LF . CR LF\r\n";

/// The greeting (RFC 5321 section 4.2: `220 Domain textstring`).
pub(crate) fn greeting(config: &Config, protocol: Protocol, output: &mut Vec<u8>) {
    output.extend_from_slice(b"220 ");
    push_printable(&config.domain, output);
    output.extend_from_slice(match protocol {
        Protocol::Smtp => b" ESMTP ",
        Protocol::Lmtp => b" LMTP ",
    });
    push_printable(&config.product, output);
    output.extend_from_slice(b"\r\n");
}

/// The reply to HELO. Nothing that a client sent stands in a reply, its name neither.
pub(crate) fn hello(config: &Config, output: &mut Vec<u8>) {
    output.extend_from_slice(b"250 ");
    push_printable(&config.domain, output);
    output.extend_from_slice(b"\r\n");
}

/// The reply to EHLO (RFC 5321 section 4.1.1.1: `ehlo-ok-rsp`).
///
/// It is the longest of all, and a client may ask for it without end. So it is copied from parts
/// that are known.
pub(crate) fn extended_hello(
    config: &Config,
    tls: bool,
    authenticated: bool,
    xclient: bool,
    output: &mut Vec<u8>,
) {
    const BEFORE_SIZE: &[u8] = b"\r\n250-PIPELINING\r\n250-SIZE ";
    const BEHIND_SIZE: &[u8] = b"\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n\
        250-CHUNKING\r\n";
    output.reserve(BEFORE_SIZE.len() + BEHIND_SIZE.len() + config.domain.len() + 64);
    output.extend_from_slice(b"250-");
    push_printable(&config.domain, output);
    output.extend_from_slice(BEFORE_SIZE);
    push_number(config.max_message_size, output);
    output.extend_from_slice(BEHIND_SIZE);
    if config.binary_mime {
        output.extend_from_slice(b"250-BINARYMIME\r\n");
    }
    if config.starttls && !tls {
        output.extend_from_slice(b"250-STARTTLS\r\n");
    }
    if let Some(auth) = &config.auth
        && auth.is_offered(tls)
    {
        output.extend_from_slice(b"250-AUTH");
        for mechanism in &auth.mechanisms {
            output.push(b' ');
            output.extend_from_slice(mechanism.as_str().as_bytes());
        }
        output.extend_from_slice(b"\r\n");
    }
    if config.offers_dsn(authenticated) {
        output.extend_from_slice(b"250-DSN\r\n");
    }
    push_limits(config, output);
    if xclient {
        output.extend_from_slice(
            b"250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT\r\n",
        );
    }
    if config.requiretls && tls {
        output.extend_from_slice(b"250-REQUIRETLS\r\n");
    }
    if config.mt_priority {
        output.extend_from_slice(b"250-MT-PRIORITY\r\n");
    }
    for keyword in &config.ehlo_keywords {
        output.extend_from_slice(b"250-");
        output.extend_from_slice(keyword.as_str().as_bytes());
        output.extend_from_slice(b"\r\n");
    }
    output.extend_from_slice(b"250 HELP\r\n");
}

/// The largest number that LIMITS can tell (RFC 9422 section 4: at most six digits, not 0). A limit
/// over it is left out.
const MAX_TOLD_LIMIT: usize = 999_999;

/// The limits in force (RFC 9422).
fn push_limits(config: &Config, output: &mut Vec<u8>) {
    let recipients = (1..=MAX_TOLD_LIMIT).contains(&config.max_recipients);
    if !recipients && !config.one_recipient_domain {
        return;
    }
    output.extend_from_slice(b"250-LIMITS");
    if recipients {
        output.extend_from_slice(b" RCPTMAX=");
        push_number(config.max_recipients as u64, output);
    }
    if config.one_recipient_domain {
        output.extend_from_slice(b" RCPTDOMAINMAX=1");
    }
    output.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello_of(change: impl FnOnce(&mut Config), tls: bool) -> String {
        let mut config = Config::default();
        change(&mut config);
        let mut output = Vec::new();
        extended_hello(&config, tls, false, false, &mut output);
        String::from_utf8(output).unwrap()
    }

    /// RFC 9422 section 4: a limit has one to six digits, and none is 0.
    #[test]
    fn limits_that_can_be_told_are_told() {
        for (recipients, one_domain, line) in [
            (1, false, Some("250-LIMITS RCPTMAX=1\r\n")),
            (999_999, false, Some("250-LIMITS RCPTMAX=999999\r\n")),
            (
                100,
                true,
                Some("250-LIMITS RCPTMAX=100 RCPTDOMAINMAX=1\r\n"),
            ),
            (1_000_000, true, Some("250-LIMITS RCPTDOMAINMAX=1\r\n")),
            (1_000_000, false, None),
            (0, false, None),
        ] {
            let change = |config: &mut Config| {
                config.max_recipients = recipients;
                config.one_recipient_domain = one_domain;
            };
            let hello = hello_of(change, false);
            let told = hello
                .split_inclusive("\r\n")
                .find(|it| it.contains("LIMITS"));
            assert_eq!(told, line);
        }
    }

    #[test]
    fn lines_that_are_known_are_those_of_their_replies() {
        for (line, reply) in [
            (SENDER_OK_LINE, SENDER_OK),
            (RECIPIENT_OK_LINE, RECIPIENT_OK),
        ] {
            let mut output = Vec::new();
            reply.encode(&mut output);
            assert_eq!(output, line);
        }
    }

    #[test]
    fn binarymime_is_offered_unless_it_is_switched_off() {
        let line = "\r\n250-CHUNKING\r\n250-BINARYMIME\r\n";
        assert!(hello_of(|_| {}, false).contains(line));
        assert!(!hello_of(|config| config.binary_mime = false, false).contains("BINARYMIME"));
    }

    /// RFC 8689 section 4.1: only within TLS.
    #[test]
    fn requiretls_is_offered_within_tls_alone() {
        let offers = |offered, tls| {
            let change = |config: &mut Config| config.requiretls = offered;
            hello_of(change, tls).contains("\r\n250-REQUIRETLS\r\n")
        };
        assert!(offers(true, true));
        assert!(!offers(true, false) && !offers(false, true));
        let priority = hello_of(|config| config.mt_priority = true, false);
        assert!(priority.contains("\r\n250-MT-PRIORITY\r\n"));
    }
}
