//! What goes wrong with a next hop, and whose fault it is.

use prixfixe_client::{Error, Fault, Reply, ReplyBuf, Stage};

use crate::Failure;
use crate::upstream::passed_on;

/// A connection that is of no use any more.
#[derive(Debug)]
pub(super) struct Trouble {
    text: String,
    kind: Kind,
    /// The next hop may have the message.
    pub(super) in_doubt: bool,
}

#[derive(Debug)]
enum Kind {
    /// The next hop has closed it.
    Gone,
    /// It has said so, at this point of the dialogue.
    Refused(Stage, ReplyBuf),
    /// There is no TLS, and there may be a connection without.
    NoTls,
    Other,
}

impl Trouble {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            kind: Kind::Other,
            in_doubt: false,
        }
    }

    /// The handshake failed.
    pub(super) fn no_tls(text: impl Into<String>) -> Self {
        Self {
            kind: Kind::NoTls,
            ..Self::new(text)
        }
    }

    /// Whether another connection may do better: the next hop has closed this one while it was
    /// idle.
    pub(super) fn is_gone(&self) -> bool {
        match &self.kind {
            Kind::Gone => true,
            Kind::Refused(_, reply) => reply.code() == 421,
            _ => false,
        }
    }

    pub(super) fn is_no_tls(&self) -> bool {
        matches!(self.kind, Kind::NoTls)
    }

    /// The client's answer, where the next hop has judged the mail with its last words: a refusal
    /// of a content that was still on its way ends a connection too.
    pub(super) fn verdict(&self) -> Option<Failure> {
        match &self.kind {
            Kind::Refused(stage, reply) if is_about_mail(*stage, reply.code()) => {
                Some(said(reply.as_reply()))
            }
            _ => None,
        }
    }

    /// What our client, or our queue, may conclude.
    pub(super) fn failure(&self) -> Failure {
        match self.in_doubt {
            true => Failure::unknown(self.text.clone()),
            false => Failure::unreachable(self.text.clone()),
        }
    }

    /// The same, with the system's words for it.
    pub(super) fn because(mut self, error: &std::io::Error) -> Self {
        self.text = format!("{}: {error}", self.text);
        self
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        let (text, kind) = match error.fault() {
            Fault::Refused(reply) => (
                our_matter(error.stage(), reply.as_reply()),
                Kind::Refused(error.stage(), reply.clone()),
            ),
            Fault::Closed => (error.to_string(), Kind::Gone),
            _ => (error.to_string(), Kind::Other),
        };
        Self {
            text,
            kind,
            in_doubt: error.in_doubt(),
        }
    }
}

/// A reply that is none about the mail, with what to mend.
pub(super) fn our_matter(stage: Stage, reply: Reply<'_>) -> String {
    let advice = match (reply.code(), stage) {
        (421, _) => "",
        (530, _) if said_starttls(reply) => {
            ": it wants TLS, so write tls = \"require\" or \"verify\""
        }
        (530, _) => ": it wants a login, so write username and password-file",
        (534 | 535 | 538, _) => ": look at username and password-file",
        (454, Stage::StartTls) => ": its TLS is broken",
        (_, Stage::Greeting | Stage::Hello) => ": it refuses this server",
        (500..=504 | 555, _) => ": it does not understand what was sent",
        _ => "",
    };
    // Its words in a login may be the password.
    match stage {
        Stage::Auth => format!("the server said {}, {stage}{advice}", reply.code()),
        _ => format!("the server said {reply}, {stage}{advice}"),
    }
}

fn said_starttls(reply: Reply<'_>) -> bool {
    let mut lines = reply.lines();
    lines.any(|line| {
        line.to_ascii_uppercase()
            .windows(3)
            .any(|word| word == b"TLS")
    })
}

/// Whether a refusal judges the mail. Everything else is a matter between us and the next hop.
pub(super) fn is_about_mail(stage: Stage, code: u16) -> bool {
    match (stage, code) {
        (_, 421 | 454 | 500..=504 | 530 | 534 | 535 | 538 | 555) => false,
        (Stage::Mail, code) => code == 452 || (550..=554).contains(&code),
        (Stage::Rcpt | Stage::Data | Stage::Content, 400..=599) => true,
        _ => false,
    }
}

/// The next hop's own judgement: its code and enhanced code, its text made safe.
pub(super) fn said(reply: Reply<'_>) -> Failure {
    let enhanced = reply.enhanced();
    let prefix = enhanced.map(|code| code.to_string());
    let mut text = Vec::new();
    for line in reply.lines() {
        let line = match &prefix {
            Some(prefix) => line.strip_prefix(prefix.as_bytes()).unwrap_or(line),
            None => line,
        };
        let line = line.trim_ascii();
        if !line.is_empty() {
            if !text.is_empty() {
                text.push(b' ');
            }
            text.extend_from_slice(line);
        }
    }
    if text.is_empty() {
        text.extend_from_slice(b"refused");
    }
    let text = String::from_utf8_lossy(&text);
    let numbers = enhanced.map(|code| (code.0, code.1, code.2));
    match passed_on(reply.code(), numbers, &text) {
        Some(passed) => Failure::said(passed).because(format!("the server said {reply}")),
        None => Failure::unreachable(format!(
            "the server said {reply}, which makes no sense here"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_between_the_mail_and_us_is_where_the_contract_draws_it() {
        use Stage::{Auth, Content, Data, Greeting, Hello, Mail, Rcpt, StartTls};
        for (stage, client, ours) in [
            (
                Mail,
                &[452, 550, 551, 552, 553, 554][..],
                &[450, 451, 501, 555, 421, 549][..],
            ),
            (
                Rcpt,
                &[450, 451, 452, 550, 552, 553, 554, 571],
                &[421, 454, 503, 530, 555],
            ),
            (Data, &[451, 550, 554], &[421, 500, 502, 503, 538]),
            (
                Content,
                &[450, 451, 452, 550, 552, 554],
                &[421, 454, 500, 534, 535],
            ),
            (Greeting, &[], &[421, 450, 554, 550]),
            (Hello, &[], &[421, 550, 502]),
            (StartTls, &[], &[454, 550]),
            (Auth, &[], &[454, 535, 550]),
        ] {
            for code in client {
                assert!(is_about_mail(stage, *code), "{stage:?} {code}");
            }
            for code in ours {
                assert!(!is_about_mail(stage, *code), "{stage:?} {code}");
            }
        }
    }
}
