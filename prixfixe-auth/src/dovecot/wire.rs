//! Lines of Dovecot's auth-client protocol, version 1.
//!
//! ```text
//! C: AUTH <id> PLAIN service=smtp secured rip=192.0.2.7 resp=<base64>
//! S: CONT <id> <base64>      C: CONT <id> <base64>
//! S: OK <id> user=ann        S: FAIL <id> user=ann [temp]
//! ```
//!
//! There are tabs in between.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use prixfixe_core::Secret;
use prixfixe_server::Client;
use zeroize::Zeroizing;

/// What we say of one login.
pub(super) enum Request {
    Begin {
        /// Everything up to the response.
        parameters: String,
        response: Option<Secret>,
    },
    Continue(Secret),
}

/// What Dovecot says of one login.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Continue(Vec<u8>),
    Success {
        user: String,
    },
    Failure {
        user: Option<String>,
        /// It could not find out.
        is_temporary: bool,
    },
}

/// A line of its own accord, or about a login.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Version {
        major: u32,
    },
    Mechanism(String),
    Done,
    Answer(u32, Answer),
    /// Of no concern to us.
    Other,
}

/// The line does not follow the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a line that is none of its protocol's")]
pub(super) struct BadLine;

impl Request {
    pub(super) fn new(mechanism: &str, client: &Client, response: Option<Secret>) -> Self {
        // There will be no request for the account by another connection.
        let mut parameters = format!("{mechanism}\tservice=smtp\tnologin");
        let mut add = |name: &str, value: &str| {
            parameters.push('\t');
            parameters.push_str(name);
            escape(value, &mut parameters);
        };
        if let Some(local) = client.local() {
            add("lip=", &local.ip().to_string());
            add("lport=", &local.port().to_string());
        }
        if let prixfixe_server::Peer::Ip(peer) = client.peer() {
            add("rip=", &peer.ip().to_string());
            add("rport=", &peer.port().to_string());
        }
        if let Some(tls) = client.tls() {
            add("secured", "");
            if let Some(name) = &tls.client_name {
                add("valid-client-cert", "");
                add("cert_username=", name);
            }
        }
        Self::Begin {
            parameters,
            response,
        }
    }

    /// The whole line.
    pub(super) fn line(&self, id: u32) -> Zeroizing<Vec<u8>> {
        let (start, response) = match self {
            Self::Begin {
                parameters,
                response: Some(response),
            } => (format!("AUTH\t{id}\t{parameters}\tresp="), &**response),
            Self::Begin {
                parameters,
                response: None,
            } => (format!("AUTH\t{id}\t{parameters}"), &[][..]),
            Self::Continue(response) => (format!("CONT\t{id}\t"), &**response),
        };
        // Room for all of it, or growing would leave a copy behind.
        let length = start.len() + response.len().div_ceil(3) * 4;
        let mut line = Zeroizing::new(Vec::with_capacity(length + 1));
        line.extend_from_slice(start.as_bytes());
        line.resize(length, 0);
        if let Some(room) = line.get_mut(start.len()..) {
            // It has just the room that it needs.
            let _ = BASE64.encode_slice(response, room);
        }
        line.push(b'\n');
        line
    }
}

impl Line {
    /// Reads one, without its end.
    ///
    /// What an answer says may come from a client, and be none: that is the end of this one's
    /// login, and no reason to break off those of the others.
    pub(super) fn parse(line: &[u8]) -> Result<Self, BadLine> {
        let mut parts = line.split(|byte| *byte == b'\t');
        let command = parts.next().unwrap_or_default();
        let mut number = || str::from_utf8(parts.next()?).ok()?.parse().ok();
        match command {
            b"VERSION" => Ok(Self::Version {
                major: number().ok_or(BadLine)?,
            }),
            b"MECH" => {
                let name = parts.next().and_then(|name| str::from_utf8(name).ok());
                Ok(Self::Mechanism(name.ok_or(BadLine)?.to_ascii_uppercase()))
            }
            b"DONE" => Ok(Self::Done),
            b"CONT" => {
                let id = number().ok_or(BadLine)?;
                let challenge = BASE64.decode(parts.next().unwrap_or_default());
                let answer = challenge.map_or(Answer::NONE, Answer::Continue);
                Ok(Self::Answer(id, answer))
            }
            b"OK" => {
                let id = number().ok_or(BadLine)?;
                let user = parts.find_map(user);
                let answer = user.map_or(Answer::NONE, |user| Answer::Success { user });
                Ok(Self::Answer(id, answer))
            }
            b"FAIL" => {
                let id = number().ok_or(BadLine)?;
                let is_temporary = |part: &[u8]| part == b"temp" || part == b"code=temp_fail";
                let failure = Answer::Failure {
                    user: parts.clone().find_map(user),
                    is_temporary: parts.any(is_temporary),
                };
                Ok(Self::Answer(id, failure))
            }
            _ => Ok(Self::Other),
        }
    }
}

impl Answer {
    /// Nothing that is one, so that nobody knows.
    const NONE: Self = Self::Failure {
        user: None,
        is_temporary: true,
    };
}

/// A name is in the log and in headers.
fn user(part: &[u8]) -> Option<String> {
    let user = unescape(str::from_utf8(part.strip_prefix(b"user=")?).ok()?);
    let is_sound = (1..=255).contains(&user.len()) && !user.contains(char::is_control);
    is_sound.then_some(user)
}

/// Dovecot's way to have tabs and line ends in a parameter.
fn escape(text: &str, into: &mut String) {
    for character in text.chars() {
        match character {
            '\0' => into.push_str("\u{1}0"),
            '\u{1}' => into.push_str("\u{1}1"),
            '\t' => into.push_str("\u{1}t"),
            '\r' => into.push_str("\u{1}r"),
            '\n' => into.push_str("\u{1}n"),
            other => into.push(other),
        }
    }
}

fn unescape(text: &str) -> String {
    let mut characters = text.chars();
    let mut unescaped = String::with_capacity(text.len());
    while let Some(character) = characters.next() {
        let meant = match character {
            '\u{1}' => match characters.next() {
                Some('0') => '\0',
                Some('1') => '\u{1}',
                Some('t') => '\t',
                Some('r') => '\r',
                Some('n' | 'l') => '\n',
                Some(other) => other,
                None => break,
            },
            other => other,
        };
        unescaped.push(meant);
    }
    unescaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(line: &str) -> Result<Line, BadLine> {
        Line::parse(line.as_bytes())
    }

    #[test]
    fn lines_of_dovecot() {
        let failure = |user: Option<&str>, is_temporary| Answer::Failure {
            user: user.map(str::to_owned),
            is_temporary,
        };
        let success = Answer::Success {
            user: "ann".to_owned(),
        };
        for (line, expected) in [
            ("VERSION\t1\t2", Ok(Line::Version { major: 1 })),
            (
                "MECH\tplain\tplaintext",
                Ok(Line::Mechanism("PLAIN".to_owned())),
            ),
            ("DONE", Ok(Line::Done)),
            ("SPID\t7", Ok(Line::Other)),
            ("", Ok(Line::Other)),
            (
                "CONT\t7\tYQ==",
                Ok(Line::Answer(7, Answer::Continue(b"a".to_vec()))),
            ),
            (
                "CONT\t7\t",
                Ok(Line::Answer(7, Answer::Continue(Vec::new()))),
            ),
            ("CONT\t7", Ok(Line::Answer(7, Answer::Continue(Vec::new())))),
            ("OK\t7\tuser=ann\tx=y", Ok(Line::Answer(7, success))),
            ("FAIL\t7", Ok(Line::Answer(7, failure(None, false)))),
            (
                "FAIL\t7\tuser=ann",
                Ok(Line::Answer(7, failure(Some("ann"), false))),
            ),
            (
                "FAIL\t7\tuser=ann\ttemp",
                Ok(Line::Answer(7, failure(Some("ann"), true))),
            ),
            (
                "FAIL\t7\tcode=temp_fail",
                Ok(Line::Answer(7, failure(None, true))),
            ),
            (
                "FAIL\t7\tuser=a\u{1}nb",
                Ok(Line::Answer(7, failure(None, false))),
            ),
            ("OK\t7", Ok(Line::Answer(7, Answer::NONE))),
            ("OK\t7\tuser=", Ok(Line::Answer(7, Answer::NONE))),
            ("OK\t7\tuser=a\u{1}nb", Ok(Line::Answer(7, Answer::NONE))),
            ("OK\t\tuser=ann", Err(BadLine)),
            ("CONT\tx\tYQ==", Err(BadLine)),
            ("CONT\t7\t*", Ok(Line::Answer(7, Answer::NONE))),
            ("VERSION", Err(BadLine)),
            ("MECH", Err(BadLine)),
        ] {
            assert_eq!(answer(line), expected, "{line:?}");
        }
        let of_no_text = |line| Line::parse(line);
        let none = Ok(Line::Answer(7, Answer::NONE));
        assert_eq!(of_no_text(b"OK\t7\tuser=\xff"), none);
        let failed = Ok(Line::Answer(7, failure(None, false)));
        assert_eq!(of_no_text(b"FAIL\t7\tuser=\xff"), failed);
        assert_eq!(of_no_text(b"OK\t\xff\tuser=ann"), Err(BadLine));
    }

    #[test]
    fn lines_of_ours() {
        let client = Client::builder()
            .peer(([192, 0, 2, 7], 40_000))
            .local(([192, 0, 2, 1], 587));
        let client = client.build();
        let line = |request: Request| String::from_utf8(request.line(7).to_vec()).unwrap();
        let common = "service=smtp\tnologin\tlip=192.0.2.1\tlport=587\trip=192.0.2.7\trport=40000";
        let begin = |response: Option<&[u8]>| {
            line(Request::new("PLAIN", &client, response.map(Secret::from)))
        };
        assert_eq!(
            begin(Some(b"\0ann\0pw")),
            format!("AUTH\t7\tPLAIN\t{common}\tresp=AGFubgBwdw==\n")
        );
        assert_eq!(
            begin(Some(b"")),
            format!("AUTH\t7\tPLAIN\t{common}\tresp=\n")
        );
        assert_eq!(begin(None), format!("AUTH\t7\tPLAIN\t{common}\n"));
        let answer = Request::Continue(Secret::from(&b"a"[..]));
        assert_eq!(line(answer), "CONT\t7\tYQ==\n");
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(line: Vec<u8>) {
            let _ = Line::parse(&line);
        }

        #[test]
        fn what_is_escaped_is_read_as_it_was(text: String) {
            let mut escaped = String::new();
            escape(&text, &mut escaped);
            prop_assert!(!escaped.contains(['\t', '\n', '\r', '\0']));
            prop_assert_eq!(unescape(&escaped), text);
        }
    }
}
