//! The latest refusals and failures, for people.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt::Display;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use prixfixe_core::printable::Printable;
use prixfixe_core::{ForwardPath, Reply, ReversePath};

use super::labels::IncidentKind;
use super::talkers::{ClientActivity, Talkers};
use crate::MessageId;

/// How many are kept.
pub(crate) const KEPT: usize = 50;

/// The longest text of each part, in characters: what is longer ends in `…`.
const LONGEST_TEXT: usize = 300;

/// A refusal or a failure, as it is told to people. Its texts are [printable](crate::printable).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Incident {
    /// When it happened; of several, the last time.
    pub time: SystemTime,
    /// What it was.
    pub kind: IncidentKind,
    /// The code of the reply, where there was one.
    pub code: Option<u16>,
    /// The rest of the reply, or what happened.
    pub text: String,
    /// The address of the client that it happened to, where it has one.
    pub client: Option<IpAddr>,
    /// The sender, where it is known. Empty for the null reverse-path. Of a MAIL that the dialogue
    /// refused: the argument, as the client sent it.
    pub sender: Option<String>,
    /// The recipient, where it is known; of several, the first. Of a RCPT that the dialogue
    /// refused: the argument.
    pub recipient: Option<String>,
    /// The message that failed; of several in a row, the last.
    pub id: Option<MessageId>,
    /// How often it happened in a row. They are then one.
    pub count: u64,
}

/// The same, as it is noted: it is made a text only when somebody asks.
#[derive(Debug)]
pub(crate) struct RawIncident {
    pub(crate) kind: IncidentKind,
    pub(crate) cause: Cause,
    pub(crate) client: Option<IpAddr>,
    pub(crate) sender: Option<Address<ReversePath>>,
    pub(crate) recipient: Option<Address<ForwardPath>>,
    pub(crate) id: Option<MessageId>,
}

/// An address, or what a client sent in place of one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Address<T> {
    Path(T),
    AsSent(Box<str>),
}

impl<T: Display> Address<T> {
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Path(path) => escaped(&path.to_string()),
            Self::AsSent(text) => escaped(text),
        }
    }
}

impl RawIncident {
    pub(crate) fn new(kind: IncidentKind, cause: Cause, client: Option<IpAddr>) -> Self {
        Self {
            kind,
            cause,
            client,
            sender: None,
            recipient: None,
            id: None,
        }
    }

    /// Whether they are the same to whoever reads them. Each message has an id of its own.
    fn is_like(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.cause == other.cause
            && self.client == other.client
            && self.sender == other.sender
            && self.recipient == other.recipient
    }
}

/// What was said or happened.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Reply(Reply),
    Text(Cow<'static, str>),
}

/// A ring of notes. Nothing comes here on the way of a message that is accepted.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    notes: Mutex<Notes>,
}

#[derive(Debug, Default)]
struct Notes {
    latest: VecDeque<RecentIncident>,
    talkers: Talkers,
}

#[derive(Debug)]
struct RecentIncident {
    note: RawIncident,
    last: SystemTime,
    count: u64,
}

impl Recent {
    /// `generation`: that of [`Talkers`] at this time.
    pub(super) fn note(&self, note: RawIncident, generation: u32) {
        let last = SystemTime::now();
        let mut notes = self.lock();
        notes.talkers.count(note.client, generation, |activity| {
            activity.refused = activity.refused.saturating_add(1);
        });
        match notes.latest.back_mut() {
            // A client that does the same wrong again and again leaves the others' place alone.
            Some(latest) if latest.note.is_like(&note) => {
                latest.last = last;
                latest.count += 1;
                latest.note.id = note.id;
            }
            _ => {
                if notes.latest.len() >= KEPT {
                    notes.latest.pop_front();
                }
                let count = 1;
                notes.latest.push_back(RecentIncident { note, last, count });
            }
        }
    }

    /// The latest first.
    pub(crate) fn incidents(&self) -> Vec<Incident> {
        let notes = self.lock();
        notes
            .latest
            .iter()
            .rev()
            .map(RecentIncident::incident)
            .collect()
    }

    /// How many refusals and failures each client had.
    pub(super) fn clients(&self, generation: u32) -> Vec<ClientActivity> {
        self.lock().talkers.all(generation)
    }

    fn lock(&self) -> MutexGuard<'_, Notes> {
        // A note is there or not, whatever happened to its thread.
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RecentIncident {
    fn incident(&self) -> Incident {
        let note = &self.note;
        let (code, text) = match &note.cause {
            Cause::Reply(reply) => {
                let text = format!("{} {}", reply.enhanced(), reply.text());
                (Some(reply.code()), escaped(text.trim_end()))
            }
            Cause::Text(text) => (None, escaped(text)),
        };
        Incident {
            time: self.last,
            kind: note.kind,
            code,
            text,
            client: note.client,
            sender: note.sender.as_ref().map(Address::shown),
            recipient: note.recipient.as_ref().map(Address::shown),
            id: note.id,
            count: self.count,
        }
    }
}

fn escaped(text: &str) -> String {
    match text.char_indices().nth(LONGEST_TEXT) {
        Some((end, _)) => format!("{}…", Printable(text.get(..end).unwrap_or_default())),
        None => Printable(text).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use prixfixe_core::EnhancedCode;

    use super::*;

    fn note(text: impl Into<Cow<'static, str>>) -> RawIncident {
        RawIncident {
            kind: IncidentKind::TlsFailed,
            cause: Cause::Text(text.into()),
            client: Some(IpAddr::from([192, 0, 2, 1])),
            sender: None,
            recipient: None,
            id: None,
        }
    }

    #[test]
    fn the_latest_are_kept_and_come_first() {
        let recent = Recent::default();
        for number in 0..KEPT + 10 {
            recent.note(note(number.to_string()), 0);
        }
        let texts: Vec<String> = recent.incidents().into_iter().map(|it| it.text).collect();
        let expected: Vec<String> = (10..KEPT + 10).rev().map(|it| it.to_string()).collect();
        assert_eq!(texts, expected);
    }

    #[test]
    fn the_same_in_a_row_is_one() {
        let recent = Recent::default();
        for text in ["a", "a", "a", "b", "a"] {
            recent.note(note(text), 0);
        }
        let counts: Vec<(String, u64)> = recent
            .incidents()
            .into_iter()
            .map(|incident| (incident.text, incident.count))
            .collect();
        assert_eq!(counts, [("a".into(), 1), ("b".into(), 1), ("a".into(), 3)]);
    }

    #[test]
    fn what_reorders_or_hides_text_is_spelled_out_as_in_the_log() {
        let recent = Recent::default();
        recent.note(note("a\u{202e}b\u{200b}"), 0);
        let texts: Vec<String> = recent.incidents().into_iter().map(|it| it.text).collect();
        assert_eq!(texts, [r"a\u{202e}b\u{200b}"]);
    }

    #[test]
    fn a_reply_is_shown_without_control_characters_and_not_at_any_length() {
        let recent = Recent::default();
        let text = format!("\u{1b}[31m\r\nno {}", "x".repeat(1000));
        let reply = Reply::new(550, EnhancedCode(5, 1, 1), text).unwrap();
        let note = RawIncident {
            cause: Cause::Reply(reply),
            ..note("")
        };
        recent.note(note, 0);
        let [incident] = &*recent.incidents() else {
            panic!("there is one");
        };
        assert_eq!(incident.code, Some(550));
        assert!(incident.text.starts_with(r"5.1.1 \u{1b}[31m\r\nno xxx"));
        assert!(incident.text.ends_with('…') && incident.text.chars().count() < 320);
    }
}
