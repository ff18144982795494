//! Command lines (RFC 5321 section 4.1.1, RFC 3030 section 2, RFC 3207 section 4, RFC 4954 section
//! 4).

use nom::Parser;
use nom::bytes::complete::{tag, take_while1};
use nom::character::complete::{char, digit1, satisfy, space1};
use nom::combinator::{all_consuming, opt, value};
use nom::sequence::preceded;

use super::domain::helo_argument;
use super::mailbox::{forward_path, reverse_path};
use super::{Parameters, ascii_no_case, behind_blanks};
use crate::Protocol;
use crate::command::{Command, CommandError};

type Result<T> = std::result::Result<T, CommandError>;

/// ```abnf
/// command = verb [1*WSP argument]
/// ```
///
/// RFC 5321 has one space there. Postfix and Exim take any number of spaces and tabs too. White
/// space before the end of the line is tolerated (RFC 5321 section 4.1.1).
///
/// LHLO is LMTP's EHLO; each protocol has no idea of the other's (RFC 2033 section 4.1).
pub(crate) fn command(protocol: Protocol, line: &[u8]) -> Result<Command<'_>> {
    let line = trim_end(line);
    // Verbs are short, so no search for the blank pays that prepares itself first.
    let blank = line.iter().position(|byte| matches!(byte, b' ' | b'\t'));
    let (verb, argument) = blank
        .and_then(|at| line.split_at_checked(at))
        .unwrap_or((line, &[]));
    let argument = trim_start(argument);
    let text = std::str::from_utf8(argument);
    let text_or = |error| text.map_err(|_| error);
    // All but two verbs have four letters, which are compared as one number. No octet of a verb is
    // 0.
    let upper = <[u8; 4]>::try_from(verb).map(|verb| verb.map(|byte| byte.to_ascii_uppercase()));
    match &upper.unwrap_or_default() {
        b"MAIL" => mail(text_or(CommandError::Sender)?),
        b"RCPT" => rcpt(text_or(CommandError::Recipient)?),
        b"DATA" => alone(Command::Data, argument),
        b"BDAT" => bdat(text_or(CommandError::ChunkSize)?),
        b"EHLO" if protocol == Protocol::Smtp => ehlo(text_or(CommandError::Argument)?),
        b"HELO" if protocol == Protocol::Smtp => helo(text_or(CommandError::Argument)?),
        b"LHLO" if protocol == Protocol::Lmtp => ehlo(text_or(CommandError::Argument)?),
        b"EHLO" | b"HELO" | b"LHLO" => Err(CommandError::Unknown),
        b"AUTH" => auth(text_or(CommandError::Argument)?),
        b"RSET" => alone(Command::Rset, argument),
        b"QUIT" => alone(Command::Quit, argument),
        b"NOOP" => with_text(Command::Noop, text_or(CommandError::Argument)?),
        b"HELP" => with_text(Command::Help, text_or(CommandError::Argument)?),
        b"VRFY" if argument.is_empty() => Err(CommandError::Argument),
        b"VRFY" => with_text(Command::Vrfy, text_or(CommandError::Argument)?),
        b"EXPN" | b"TURN" | b"ATRN" | b"ETRN" | b"SEND" | b"SOML" | b"SAML" | b"BURL" => {
            Err(CommandError::NotImplemented)
        }
        _ if verb.eq_ignore_ascii_case(b"STARTTLS") => alone(Command::StartTls, argument),
        _ if verb.eq_ignore_ascii_case(b"XCLIENT") => Ok(Command::Xclient {
            argument: text_or(CommandError::Argument)?,
        }),
        _ if is_request_line(line) => Err(CommandError::Http),
        _ => other(verb, argument),
    }
}

/// A command that is none of SMTP's, if it has the form of one.
fn other<'i>(verb: &'i [u8], argument: &'i [u8]) -> Result<Command<'i>> {
    let is_verb = !verb.is_empty()
        && verb
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
    match (str::from_utf8(verb), str::from_utf8(argument)) {
        (Ok(verb), Ok(argument)) if is_verb && !argument.contains(char::is_control) => {
            Ok(Command::Other { verb, argument })
        }
        _ => Err(CommandError::Unknown),
    }
}

fn trim_end(mut line: &[u8]) -> &[u8] {
    while let [before @ .., b' ' | b'\t'] = line {
        line = before;
    }
    line
}

fn trim_start(mut line: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', behind @ ..] = line {
        line = behind;
    }
    line
}

/// ```abnf
/// mail = "MAIL FROM:" Reverse-path [SP Mail-parameters] CRLF
/// ```
fn mail(argument: &str) -> Result<Command<'_>> {
    let path = behind_keyword("FROM:", argument)?;
    let (rest, reverse_path) = reverse_path(path).map_err(|_| CommandError::Sender)?;
    let parameters = Parameters::behind_path(rest).ok_or(CommandError::Argument)?;
    Ok(Command::Mail {
        reverse_path,
        parameters,
    })
}

/// ```abnf
/// rcpt = "RCPT TO:" Forward-path [SP Rcpt-parameters] CRLF
/// ```
fn rcpt(argument: &str) -> Result<Command<'_>> {
    let path = behind_keyword("TO:", argument)?;
    let (rest, forward_path) = forward_path(path).map_err(|_| CommandError::Recipient)?;
    let parameters = Parameters::behind_path(rest).ok_or(CommandError::Argument)?;
    Ok(Command::Rcpt {
        forward_path,
        parameters,
    })
}

/// The path and all that follows, if there is anything.
///
/// Blanks before the path are forbidden by RFC 5321 section 3.3. Many clients send them, and
/// Postfix and Exim take them.
fn behind_keyword<'i>(keyword: &'static str, argument: &'i str) -> Result<&'i str> {
    let (path, _) = ascii_no_case(keyword)(argument).map_err(|_| CommandError::Argument)?;
    match behind_blanks(path) {
        "" => Err(CommandError::Argument),
        path => Ok(path),
    }
}

/// ```abnf
/// ehlo = "EHLO" SP helo-argument CRLF
/// ```
fn ehlo(argument: &str) -> Result<Command<'_>> {
    whole(helo_argument, argument).map(|name| Command::Ehlo { name })
}

/// ```abnf
/// helo = "HELO" SP helo-argument CRLF
/// ```
fn helo(argument: &str) -> Result<Command<'_>> {
    whole(helo_argument, argument).map(|name| Command::Helo { name })
}

/// ```abnf
/// bdat-cmd   = "BDAT" SP chunk-size [ SP end-marker ] CRLF
/// chunk-size = 1*DIGIT
/// end-marker = "LAST"
/// ```
///
/// With any number of blanks, and with any number: one beyond all that can be counted is over any
/// limit. Octets of a chunk follow a line that is none of this form, too, and nobody knows how
/// many.
fn bdat(argument: &str) -> Result<Command<'_>> {
    let chunk_size = digit1.map(|digits: &str| digits.parse().unwrap_or(u64::MAX));
    let end_marker = opt(value((), preceded(space1, ascii_no_case("LAST"))));
    let bdat = (chunk_size, end_marker).map(|(size, last)| Command::Bdat {
        size,
        last: last.is_some(),
    });
    whole(bdat, argument).map_err(|_| CommandError::ChunkSize)
}

/// ```abnf
/// auth-command     = "AUTH" SP sasl-mech [SP initial-response] *(CRLF [base64]) [CRLF cancel-response] CRLF
/// initial-response = base64 / "="
/// ```
///
/// With any number of blanks. What follows in other lines is no part of the command here.
fn auth(argument: &str) -> Result<Command<'_>> {
    let mut words = argument.split([' ', '\t']).filter(|word| !word.is_empty());
    match (words.next(), words.next(), words.next()) {
        (Some(mechanism), initial_response, None) => Ok(Command::Auth {
            mechanism,
            initial_response,
        }),
        _ => Err(CommandError::Argument),
    }
}

/// A command that has no argument.
fn alone<'i>(command: Command<'i>, argument: &[u8]) -> Result<Command<'i>> {
    match argument {
        [] => Ok(command),
        _ => Err(CommandError::Argument),
    }
}

/// A command whose argument does not matter, as long as it is text.
fn with_text<'i>(command: Command<'i>, argument: &str) -> Result<Command<'i>> {
    match argument.contains(char::is_control) {
        false => Ok(command),
        true => Err(CommandError::Argument),
    }
}

/// All of an argument.
fn whole<'i, O>(
    parser: impl Parser<&'i str, Output = O, Error = ()>,
    argument: &'i str,
) -> Result<O> {
    match all_consuming(parser).parse(argument) {
        Ok((_, output)) => Ok(output),
        Err(_) => Err(CommandError::Argument),
    }
}

/// ```abnf
/// request-line = method SP request-target SP HTTP-version
/// HTTP-version = "HTTP/" DIGIT ["." DIGIT]
/// ```
///
/// RFC 9112 section 3. The target may be anything but empty.
fn is_request_line(line: &[u8]) -> bool {
    let Ok(line) = std::str::from_utf8(line) else {
        return false;
    };
    let method = take_while1(|c: char| c.is_ascii_alphabetic());
    let target = take_while1(|c: char| c != ' ');
    let digit = || satisfy(|c| c.is_ascii_digit());
    let version = (tag("HTTP/"), digit(), opt((char('.'), digit())));
    let request_line = (method, char(' '), target, char(' '), version);
    whole(request_line, line).is_ok()
}
