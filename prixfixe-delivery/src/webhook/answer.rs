//! What a response means for the message, and for the endpoint.

use hyper::StatusCode;
use prixfixe_server::{EnhancedCode, Reply};
use serde::Deserialize;

use super::On4xx;
use crate::Failure;
use crate::upstream::passed_on;

/// What became of a message, and what is to be thought of the endpoint.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It has the message.
    Taken,
    /// Its judgement of this message; it works.
    Judged(Failure),
    /// Trouble with this message, which says little about the next one.
    Unclear(Failure),
    /// It does not work.
    Broken(Failure),
}

/// What is looked at of a response.
pub(super) struct Said<'a> {
    pub(super) status: StatusCode,
    /// Where a redirect leads.
    pub(super) location: Option<&'a str>,
    /// The body, where it is JSON.
    pub(super) json: &'a [u8],
}

const REFUSED: Reply = Reply::from_static(
    550,
    EnhancedCode(5, 7, 1),
    "The recipient's system does not take this message",
);
const TOO_LARGE: Reply = Reply::from_static(
    552,
    EnhancedCode(5, 3, 4),
    "The message is too large for the recipient's system",
);
const BUSY: Reply = Reply::from_static(
    451,
    EnhancedCode(4, 3, 2),
    "The recipient's system is busy, try again later",
);

impl Answer {
    pub(super) fn of(said: &Said<'_>, on_4xx: On4xx) -> Self {
        let status = said.status;
        if status.is_success() {
            return Self::Taken;
        }
        let because = |failure: Failure| failure.because(format!("status {}", status.as_u16()));
        if let Some(reply) = said.reply() {
            return Self::Judged(because(Failure::said(reply)));
        }
        match (status.as_u16(), on_4xx) {
            (406, _) => Self::Judged(because(Failure::said(REFUSED))),
            (429 | 503, _) => Self::Broken(because(Failure::said(BUSY))),
            (408 | 425, _) => Self::Unclear(Failure::unreachable(said.cause())),
            (413, On4xx::Reject) => Self::Judged(because(Failure::said(TOO_LARGE))),
            (400..=499, On4xx::Reject) => Self::Judged(because(Failure::said(REFUSED))),
            (400 | 409 | 411 | 413 | 414 | 422 | 431, On4xx::Defer) => {
                Self::Unclear(Failure::unreachable(said.cause()))
            }
            _ => Self::Broken(Failure::unreachable(said.cause())),
        }
    }
}

impl Said<'_> {
    /// The reply that the endpoint has written itself, beside a 4xx.
    fn reply(&self) -> Option<Reply> {
        #[derive(Deserialize)]
        struct Said {
            reply: String,
        }
        if !self.status.is_client_error() {
            return None;
        }
        let said: Said = serde_json::from_slice(self.json).ok()?;
        parse_reply(&said.reply)
    }

    /// What to look at, for the log.
    fn cause(&self) -> String {
        let cause = match self.status.as_u16() {
            300..=399 => return self.redirect(),
            400 | 422 => "it does not understand this message: look at its log, and at format",
            401 | 407 => {
                "it wants other credentials: look at secret-file, username, password-file and header-file"
            }
            403 => "it forbids this: look at credentials, and at firewalls before it",
            404 => "nothing is at this path: look at the URL, and at the routes of the endpoint",
            405 => "nothing takes POST at this path: look at the URL",
            408 => "it has waited too long for the request: look at the network, and at its limits",
            410 => "the endpoint was switched off",
            411 | 413 => {
                "the message is too large for it or for a proxy before it: raise the limit there, \
                 or lower limits.max-message-size"
            }
            415 => "it does not take this content type: look at format",
            431 => "the headers are too large for it: send to fewer recipients at once",
            500 => "it has failed: look at its log",
            502 | 504 => "a proxy before it has no answer from it: look whether it runs",
            _ => "look at its log",
        };
        format!("status {}: {cause}", self.status.as_u16())
    }

    fn redirect(&self) -> String {
        let status = self.status.as_u16();
        match self.location {
            Some(location) => {
                let shown: String = location.chars().take(200).collect();
                format!(
                    "status {status}: redirects are not followed, write {shown:?} as the URL if that is right"
                )
            }
            None => format!("status {status}: redirects are not followed"),
        }
    }
}

/// `CODE [ENHANCED] TEXT`. A 421 would end a client's session, and a success is none beside a 4xx.
fn parse_reply(text: &str) -> Option<Reply> {
    let (code, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    let code: u16 = code.parse().ok()?;
    if !(400..=599).contains(&code) || code == 421 {
        return None;
    }
    let (word, text) = rest.split_once(' ').unwrap_or((rest, ""));
    match parse_enhanced(word) {
        Some(enhanced) if u16::from(enhanced.0) == code / 100 => {
            passed_on(code, Some(enhanced), or_refused(text))
        }
        Some(_) => None,
        None => passed_on(code, None, or_refused(rest)),
    }
}

fn parse_enhanced(word: &str) -> Option<(u8, u16, u16)> {
    let mut numbers = word.split('.');
    let class = numbers.next()?.parse().ok()?;
    let subject = numbers.next()?.parse().ok()?;
    let detail = numbers.next()?.parse().ok()?;
    numbers.next().is_none().then_some((class, subject, detail))
}

fn or_refused(text: &str) -> &str {
    match text {
        "" => "Refused",
        text => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, json: &str, on_4xx: On4xx) -> Answer {
        let said = Said {
            status: StatusCode::from_u16(status).unwrap(),
            location: None,
            json: json.as_bytes(),
        };
        Answer::of(&said, on_4xx)
    }

    /// The reply's beginning, and what is thought of the endpoint.
    fn shown(answer: &Answer) -> (String, &'static str) {
        let (failure, state) = match answer {
            Answer::Taken => return (String::from("250"), "works"),
            Answer::Judged(failure) => (failure, "works"),
            Answer::Unclear(failure) => (failure, "as before"),
            Answer::Broken(failure) => (failure, "down"),
        };
        let reply = failure.reply();
        (format!("{} {}", reply.code(), reply.enhanced()), state)
    }

    #[test]
    fn each_status_has_its_reply() {
        let rows = [
            (200, "250", "250", "works", "works"),
            (204, "250", "250", "works", "works"),
            (299, "250", "250", "works", "works"),
            (302, "451 4.4.1", "451 4.4.1", "down", "down"),
            (400, "451 4.4.1", "550 5.7.1", "as before", "works"),
            (401, "451 4.4.1", "550 5.7.1", "down", "works"),
            (403, "451 4.4.1", "550 5.7.1", "down", "works"),
            (404, "451 4.4.1", "550 5.7.1", "down", "works"),
            (406, "550 5.7.1", "550 5.7.1", "works", "works"),
            (408, "451 4.4.1", "451 4.4.1", "as before", "as before"),
            (410, "451 4.4.1", "550 5.7.1", "down", "works"),
            (413, "451 4.4.1", "552 5.3.4", "as before", "works"),
            (415, "451 4.4.1", "550 5.7.1", "down", "works"),
            (422, "451 4.4.1", "550 5.7.1", "as before", "works"),
            (425, "451 4.4.1", "451 4.4.1", "as before", "as before"),
            (429, "451 4.3.2", "451 4.3.2", "down", "down"),
            (500, "451 4.4.1", "451 4.4.1", "down", "down"),
            (503, "451 4.3.2", "451 4.3.2", "down", "down"),
            (599, "451 4.4.1", "451 4.4.1", "down", "down"),
        ];
        for (status, deferring, rejecting, state, state_rejecting) in rows {
            let found = answer(status, "", On4xx::Defer);
            assert_eq!(shown(&found), (deferring.to_owned(), state), "{status}");
            let found = answer(status, "", On4xx::Reject);
            assert_eq!(
                shown(&found),
                (rejecting.to_owned(), state_rejecting),
                "{status}"
            );
        }
    }

    #[test]
    fn an_endpoint_may_say_the_reply_itself() {
        let rows = [
            (
                r#"{"reply":"550 5.1.1 no such user"}"#,
                "550 5.1.1 no such user",
            ),
            (r#"{"reply":"452 4.2.2 full", "x": 1}"#, "452 4.2.2 full"),
            (r#"{"reply":"550 gone away"}"#, "550 5.0.0 gone away"),
            (r#"{"reply":"550"}"#, "550 5.0.0 Refused"),
            (r#"{"reply":"550 5.1.1 a\r\n250 b"}"#, "550 5.1.1 a??250 b"),
        ];
        for (json, reply) in rows {
            let Answer::Judged(failure) = answer(404, json, On4xx::Defer) else {
                panic!("{json}");
            };
            assert_eq!(failure.reply().to_string(), reply);
        }
        for json in [
            r#"{"reply":"250 2.0.0 fine"}"#,
            r#"{"reply":"421 4.0.0 bye"}"#,
            r#"{"reply":"550 4.1.1 which"}"#,
            r#"{"reply":"no"}"#,
            r#"{"reply":550}"#,
            "[]",
            "",
        ] {
            assert_eq!(
                shown(&answer(404, json, On4xx::Defer)).0,
                "451 4.4.1",
                "{json}"
            );
        }
        let json = r#"{"reply":"550 5.1.1 no such user"}"#;
        assert_eq!(shown(&answer(500, json, On4xx::Defer)).0, "451 4.4.1");
        assert_eq!(answer(200, json, On4xx::Defer), Answer::Taken);
    }
}
