//! What rspamd says of a message.

use std::collections::{BTreeMap, HashMap};

use prixfixe_core::Reply;
use prixfixe_server::Edit;
use serde::{Deserialize, Deserializer};

/// The longest text of rspamd's that a client is told.
const MAX_TEXT: usize = 400;

/// What `/checkv2` answers, as far as it matters here.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Answer {
    pub(super) action: Action,
    #[serde(default)]
    pub(super) score: f64,
    #[serde(default)]
    pub(super) required_score: f64,
    /// With `rewrite subject`.
    #[serde(default)]
    subject: Option<String>,
    #[serde(default)]
    messages: Messages,
    #[serde(default)]
    milter: Milter,
}

/// The most changes that an answer may ask for.
const MAX_EDITS: usize = 1_000;

/// An answer that is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("its answer is not understood ({0}); is there rspamd at that URL?")]
    Json(serde_json::Error),
    #[error("its answer changes {0} header fields, over {max}", max = MAX_EDITS)]
    Edits(usize),
}

/// What rspamd would have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Action {
    #[default]
    Nothing,
    Greylist,
    AddHeader,
    RewriteSubject,
    SoftReject,
    Reject,
    Quarantine,
    Discard,
    /// One that an operator has made up: for others to see.
    Other,
}

#[derive(Debug, Default, Deserialize)]
struct Messages {
    /// For the client.
    #[serde(default)]
    smtp_message: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Milter {
    add_headers: BTreeMap<String, OneOrMany<Added>>,
    remove_headers: BTreeMap<String, OneOrMany<i64>>,
}

/// One, or a list of them.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    Many(Vec<T>),
    One(T),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Added {
    Text(String),
    Placed {
        value: String,
        /// The place among all fields. Below zero, as without: behind the last.
        #[serde(default, alias = "index")]
        order: Option<i64>,
    },
}

impl<T> OneOrMany<T> {
    fn as_slice(&self) -> &[T] {
        match self {
            Self::Many(many) => many,
            Self::One(one) => std::slice::from_ref(one),
        }
    }
}

impl Action {
    const ALL: [(Self, &'static str); 9] = [
        (Self::Nothing, "no action"),
        (Self::Greylist, "greylist"),
        (Self::AddHeader, "add header"),
        (Self::RewriteSubject, "rewrite subject"),
        (Self::SoftReject, "soft reject"),
        (Self::Reject, "reject"),
        (Self::Quarantine, "quarantine"),
        (Self::Discard, "discard"),
        (Self::Other, "other"),
    ];

    pub(super) fn as_str(self) -> &'static str {
        let known = Self::ALL.iter().find(|(action, _)| *action == self);
        known.map_or("other", |(_, word)| word)
    }
}

impl<'de> Deserialize<'de> for Action {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let known = Self::ALL.iter().find(|(_, word)| *word == text);
        Ok(known.map_or(Self::Other, |(action, _)| *action))
    }
}

impl Milter {
    /// How many changes it is at the most.
    fn edits(&self) -> usize {
        let added = self.add_headers.values().map(|it| it.as_slice().len());
        let removed = self.remove_headers.values().map(|it| it.as_slice().len());
        added.chain(removed).sum()
    }
}

impl Answer {
    pub(super) fn read(body: &[u8]) -> Result<Self, Unreadable> {
        let answer: Self = serde_json::from_slice(body).map_err(Unreadable::Json)?;
        match answer.milter.edits() {
            edits if edits > MAX_EDITS => Err(Unreadable::Edits(edits)),
            _ => Ok(answer),
        }
    }

    /// What the client is told: rspamd's own words where it has any, made safe.
    pub(super) fn reply(&self, usual: Reply) -> Reply {
        let text = self.messages.smtp_message.as_deref().unwrap_or_default();
        let safe = text.trim().chars().map(|letter| match letter {
            ' '..='~' => letter,
            _ => '?',
        });
        let text: String = safe.take(MAX_TEXT).collect();
        match text.is_empty() {
            true => usual,
            false => Reply::new(usual.code(), usual.enhanced(), text).unwrap_or(usual),
        }
    }

    /// What it wants changed in a message with this header. `is_received`: it was shown our
    /// `Received` before it.
    pub(super) fn edits(&self, header: &[u8], is_received: bool) -> Vec<Edit> {
        let mut edits = Vec::new();
        let fields = match self.milter.remove_headers.is_empty() {
            true => HashMap::new(),
            false => counts(header),
        };
        for (name, numbers) in &self.milter.remove_headers {
            let count = fields.get(&name.to_ascii_lowercase().into_bytes());
            let count = count.copied().unwrap_or_default();
            let numbers = numbers.as_slice().iter();
            edits.extend(numbers.filter_map(|it| removed(name, *it, count, is_received)));
        }
        // What is asked for twice is there once: rspamd's own fields replace those of the client's.
        match self.action {
            Action::AddHeader => edits.extend(replaced("X-Spam", "Yes")),
            Action::Quarantine => edits.extend(replaced("X-Quarantine", "rspamd")),
            Action::RewriteSubject => {
                let subject = self.subject.as_deref();
                edits.extend(subject.into_iter().flat_map(|it| replaced("Subject", it)));
            }
            _ => {}
        }
        for (name, values) in &self.milter.add_headers {
            edits.extend(
                values
                    .as_slice()
                    .iter()
                    .map(|it| it.edit(name, is_received)),
            );
        }
        edits
    }
}

impl Added {
    fn edit(&self, name: &str, is_received: bool) -> Edit {
        let (value, order) = match self {
            Self::Text(value) => (value, None),
            Self::Placed { value, order } => (value, *order),
        };
        let place = order.and_then(|order| usize::try_from(order).ok());
        Edit::Insert {
            // Ours stays on top of all.
            at: place.map_or(usize::MAX, |it| it.saturating_sub(usize::from(is_received))),
            name: name.to_owned(),
            value: value.clone(),
        }
    }
}

/// All of them for 0, the first for 1, the last for -1.
fn removed(name: &str, number: i64, count: usize, is_received: bool) -> Option<Edit> {
    let is_ours = is_received && name.eq_ignore_ascii_case("Received");
    let occurrence = match number {
        0 => return Some(Edit::RemoveAll { name: name.into() }),
        1.. => usize::try_from(number)
            .ok()?
            .checked_sub(1 + usize::from(is_ours))?,
        _ => {
            let from_end = usize::try_from(number.unsigned_abs()).ok()?;
            count.checked_sub(from_end)?
        }
    };
    Some(Edit::Remove {
        name: name.into(),
        occurrence,
    })
}

/// How many fields there are of each name, in small letters.
fn counts(header: &[u8]) -> HashMap<Vec<u8>, usize> {
    let mut counts = HashMap::new();
    let lines = header.split(|byte| *byte == b'\n');
    for name in lines.filter_map(|line| line.split(|byte| *byte == b':').next()) {
        let name = name.trim_ascii_end().to_ascii_lowercase();
        *counts.entry(name).or_default() += 1;
    }
    counts
}

fn replaced(name: &str, value: &str) -> [Edit; 2] {
    let (name, value) = (String::from(name), String::from(value));
    let removed = Edit::RemoveAll { name: name.clone() };
    let at = usize::MAX;
    [removed, Edit::Insert { at, name, value }]
}
