//! Changes to a message that checks ask for.

use bytes::Bytes;
use prixfixe_core::{ForwardPath, Reply, ReversePath};

use super::Verdict;
use crate::{Body, Envelope, Gathered, Recipient, reply};

/// A change to a message.
///
/// Header fields are named without regard to case. An edit with a name that no field can have (RFC
/// 5322 section 3.6.8) changes nothing. In a value each line break begins a folded line: a value
/// never becomes a field of its own. Other control characters but tabs become `?`.
///
/// Places and occurrences are those of the content that the check has seen: what other edits of the
/// same content add or remove does not shift them. [`Verdict::then`](crate::Verdict::then) says
/// which content that is.
///
/// A changed envelope begins a transaction anew: the handler's session is
/// [reset](crate::Session::reset), and asked about the sender, each recipient and the data again. A
/// recipient that is new has to be in the accepted domains, and each check and the handler are
/// asked about it as about any other. One that they refuse for good is left out, and so is one over
/// [`max_recipients`](crate::Settings::max_recipients) or one that needs SMTPUTF8 in a transaction
/// without it. Where a check has also removed a recipient of the client's, or the refusal is
/// transient, the client receives the refusal: mail that is moved elsewhere is not lost.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Edit {
    /// A header field before all others.
    Prepend {
        /// The field's name.
        name: String,
        /// What stands behind the colon.
        value: String,
    },
    /// A header field before the one at this place, counted from 0; behind the last if there is
    /// none.
    Insert {
        /// The place.
        at: usize,
        /// The field's name.
        name: String,
        /// What stands behind the colon.
        value: String,
    },
    /// Another value for a header field. Without such a field nothing changes.
    Change {
        /// The field's name.
        name: String,
        /// Which field of that name, counted from 0.
        occurrence: usize,
        /// What stands behind the colon.
        value: String,
    },
    /// A header field less.
    Remove {
        /// The field's name.
        name: String,
        /// Which field of that name, counted from 0.
        occurrence: usize,
    },
    /// All header fields of a name less, however many the client has sent.
    RemoveAll {
        /// The name of the fields.
        name: String,
    },
    /// Another body, behind the header's empty line.
    ReplaceBody(Bytes),
    /// One recipient more, unless the message goes there already.
    AddRecipient(Recipient),
    /// One recipient less.
    RemoveRecipient(ForwardPath),
    /// Another sender.
    ChangeSender(ReversePath),
    /// Nobody gets the message, whatever other edits say. Its client hears that it was accepted.
    Discard,
}

/// The largest header that is edited. A header has no such size unless it is made to be a nuisance.
const MAX_HEADER: usize = 1 << 20;

/// The most lines of a header that is edited: each has a place of its own in memory.
const MAX_LINES: usize = 10_000;

const HEADER_TOO_LARGE: Reply = reply!(554 5.6.0 "The message header is too large");

/// The body and the envelope after all edits.
pub(crate) async fn apply(
    verdict: &Verdict,
    gathered: &Gathered,
    envelope: &mut Envelope,
) -> Result<Body, Reply> {
    let edits = verdict.edits();
    edits.iter().for_each(|edit| edit_envelope(edit, envelope));
    if edits.contains(&Edit::Discard) {
        envelope.recipients.clear();
        return Ok(gathered.body());
    }
    Ok(apply_to_content(verdict, gathered)
        .await?
        .unwrap_or_else(|| gathered.body()))
}

/// The content after all edits. `None`: they leave it as it is.
pub(super) async fn apply_to_content(
    verdict: &Verdict,
    gathered: &Gathered,
) -> Result<Option<Body>, Reply> {
    if verdict.edits().iter().all(is_of_envelope) {
        return Ok(None);
    }
    let content = header_of(gathered).await?;
    // A first line that begins with a blank would go on with a header of ours: the client has none
    // then.
    let begins_blank = matches!(content.first(), Some(b' ' | b'\t'));
    let header_length = match begins_blank {
        true => 0,
        false => header_length(&content),
    };
    let mut header = content.get(..header_length).unwrap_or(&content).to_vec();
    let mut body = None;
    // Each step goes by what the one before has made.
    for edits in verdict.steps() {
        if header.len() > MAX_HEADER || memchr::memchr_iter(b'\n', &header).count() > MAX_LINES {
            return Err(HEADER_TOO_LARGE);
        }
        let mut fields = Header::parse(&header);
        for edit in edits.iter().filter(|edit| has_name(edit)) {
            match edit {
                Edit::ReplaceBody(replacement) => body = Some(replacement.clone()),
                edit => fields.edit(edit),
            }
        }
        header = fields.into_bytes();
    }
    let mut front = vec![Bytes::from(header)];
    if begins_blank && body.is_none() {
        front.push(Bytes::from_static(b"\r\n"));
    }
    Ok(Some(match body {
        Some(body) => {
            front.extend([Bytes::from_static(b"\r\n"), body]);
            Body::of_pieces(front, None)
        }
        None => gathered.body_behind(front, header_length),
    }))
}

const fn is_of_envelope(edit: &Edit) -> bool {
    matches!(
        edit,
        Edit::AddRecipient(_) | Edit::RemoveRecipient(_) | Edit::ChangeSender(_) | Edit::Discard
    )
}

fn edit_envelope(edit: &Edit, envelope: &mut Envelope) {
    match edit {
        Edit::AddRecipient(recipient) => {
            let mut recipients = envelope.recipients.iter();
            if !recipients.any(|it| it.path == recipient.path) {
                envelope.recipients.push(recipient.clone());
            }
        }
        Edit::ChangeSender(sender) => envelope.reverse_path = sender.clone(),
        Edit::RemoveRecipient(path) => envelope.recipients.retain(|it| it.path != *path),
        _ => {}
    }
}

/// The content up to the end of its header, or somewhat more.
async fn header_of(gathered: &Gathered) -> Result<Vec<u8>, Reply> {
    let mut content = Vec::new();
    let mut body = gathered.body();
    while let Some(piece) = body.chunk().await? {
        content.extend_from_slice(&piece);
        if header_length(&content) < content.len() {
            break;
        }
        if content.len() > MAX_HEADER {
            // The line of the message has the reply. One of its own would be the client's to
            // repeat.
            return Err(HEADER_TOO_LARGE);
        }
    }
    Ok(content)
}

/// Where the empty line begins; all of it without one.
fn header_length(content: &[u8]) -> usize {
    if content.starts_with(b"\r\n") {
        return 0;
    }
    let end = memchr::memmem::find(content, b"\r\n\r\n");
    end.map_or(content.len(), |end| end + 2)
}

/// A header, field by field, each with its folded lines and its CR LF.
struct Header {
    /// What is put before the client's fields.
    front: Vec<Vec<u8>>,
    fields: Vec<Field>,
    /// What is put behind them.
    back: Vec<Vec<u8>>,
}

/// A field that the client sent, and what becomes of it.
struct Field {
    /// What is put before it.
    before: Vec<Vec<u8>>,
    sent: Vec<u8>,
    fate: Fate,
}

enum Fate {
    Kept,
    Changed(Vec<u8>),
    Removed,
}

impl Header {
    fn parse(text: &[u8]) -> Self {
        let mut fields: Vec<Vec<u8>> = Vec::new();
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            match (line, fields.last_mut()) {
                ([b' ' | b'\t', ..], Some(field)) => field.extend_from_slice(line),
                _ => fields.push(line.to_vec()),
            }
        }
        // A content may end in the middle of its header. What is put behind that is a field of its
        // own.
        if let Some(last) = fields.last_mut()
            && !last.ends_with(b"\r\n")
        {
            last.extend_from_slice(if last.ends_with(b"\r") {
                b"\n"
            } else {
                b"\r\n"
            });
        }
        let field = |sent: Vec<u8>| Field {
            before: Vec::new(),
            sent,
            fate: Fate::Kept,
        };
        Self {
            front: Vec::new(),
            fields: fields.into_iter().map(field).collect(),
            back: Vec::new(),
        }
    }

    fn edit(&mut self, edit: &Edit) {
        match edit {
            Edit::Prepend { name, value } => self.front.push(field(name, value)),
            Edit::Insert { at, name, value } => match self.fields.get_mut(*at) {
                Some(place) => place.before.push(field(name, value)),
                None => self.back.push(field(name, value)),
            },
            Edit::Change {
                name,
                occurrence,
                value,
            } => self.decide(name, *occurrence, Fate::Changed(field(name, value))),
            Edit::Remove { name, occurrence } => self.decide(name, *occurrence, Fate::Removed),
            Edit::RemoveAll { name } => {
                let named = self.fields.iter_mut().filter(|field| field.has_name(name));
                named.for_each(|field| field.fate = Fate::Removed);
            }
            _ => {}
        }
    }

    /// Decides what becomes of a field that the client sent.
    fn decide(&mut self, name: &str, occurrence: usize, fate: Fate) {
        let mut named = self.fields.iter_mut().filter(|field| field.has_name(name));
        if let Some(field) = named.nth(occurrence) {
            field.fate = fate;
        }
    }

    fn into_bytes(self) -> Vec<u8> {
        let fields = self.fields.into_iter();
        let fields = fields.flat_map(|field| {
            let now = match field.fate {
                Fate::Kept => Some(field.sent),
                Fate::Changed(now) => Some(now),
                Fate::Removed => None,
            };
            field.before.into_iter().chain(now)
        });
        // What is prepended last stands first.
        let all = self.front.into_iter().rev().chain(fields).chain(self.back);
        all.flatten().collect()
    }
}

impl Field {
    fn has_name(&self, name: &str) -> bool {
        let colon = memchr::memchr(b':', &self.sent);
        let written = colon.and_then(|colon| self.sent.get(..colon));
        written.is_some_and(|it| it.trim_ascii_end().eq_ignore_ascii_case(name.as_bytes()))
    }
}

/// Whether the field that is meant, if any, has a name that a field can have (RFC 5322 section
/// 3.6.8, `ftext`).
fn has_name(edit: &Edit) -> bool {
    match edit {
        Edit::Prepend { name, .. }
        | Edit::Insert { name, .. }
        | Edit::Change { name, .. }
        | Edit::Remove { name, .. }
        | Edit::RemoveAll { name } => {
            let is_ftext = |byte: u8| byte.is_ascii_graphic() && byte != b':';
            !name.is_empty() && name.bytes().all(is_ftext)
        }
        _ => true,
    }
}

fn field(name: &str, value: &str) -> Vec<u8> {
    let lines = value
        .split(['\r', '\n'])
        .filter(|line| !line.trim().is_empty());
    let value = lines.map(str::trim).collect::<Vec<_>>().join("\r\n\t");
    let is_harmful = |c: char| c.is_control() && !matches!(c, '\t' | '\r' | '\n');
    let value = value.replace(is_harmful, "?");
    format!("{name}: {value}\r\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gather::Gathering;
    use crate::log::tests::Events;

    fn edited(text: &str, edits: &[Edit]) -> String {
        let mut header = Header::parse(text.as_bytes());
        edits.iter().for_each(|edit| header.edit(edit));
        String::from_utf8(header.into_bytes()).unwrap()
    }

    #[test]
    fn header_fields_are_edited_one_after_the_other() {
        let (name, value) = (String::from("Subject"), String::from("new"));
        let header = "To: a\r\nsubject : one\r\n two\r\nSUBJECT: three\r\n";
        let cases = [
            (
                Edit::Prepend {
                    name: name.clone(),
                    value: value.clone(),
                },
                "Subject: new\r\nTo: a\r\nsubject : one\r\n two\r\nSUBJECT: three\r\n",
            ),
            (
                Edit::Insert {
                    at: 1,
                    name: name.clone(),
                    value: value.clone(),
                },
                "To: a\r\nSubject: new\r\nsubject : one\r\n two\r\nSUBJECT: three\r\n",
            ),
            (
                Edit::Insert {
                    at: 9,
                    name: name.clone(),
                    value: value.clone(),
                },
                "To: a\r\nsubject : one\r\n two\r\nSUBJECT: three\r\nSubject: new\r\n",
            ),
            (
                Edit::Change {
                    name: name.clone(),
                    occurrence: 0,
                    value: value.clone(),
                },
                "To: a\r\nSubject: new\r\nSUBJECT: three\r\n",
            ),
            (
                Edit::Change {
                    name: name.clone(),
                    occurrence: 2,
                    value,
                },
                header,
            ),
            (
                Edit::Remove {
                    name: name.clone(),
                    occurrence: 1,
                },
                "To: a\r\nsubject : one\r\n two\r\n",
            ),
            (Edit::RemoveAll { name }, "To: a\r\n"),
        ];
        for (edit, expected) in cases {
            assert_eq!(edited(header, &[edit]), expected);
        }
    }

    #[test]
    fn places_are_those_of_what_the_client_sent() {
        let subject = || String::from("Subject");
        let prepend = |value: &str| Edit::Prepend {
            name: subject(),
            value: value.into(),
        };
        let remove = |occurrence| Edit::Remove {
            name: subject(),
            occurrence,
        };
        let insert = |at, value: &str| Edit::Insert {
            at,
            name: subject(),
            value: value.into(),
        };
        let change = Edit::Change {
            name: subject(),
            occurrence: 1,
            value: "changed".into(),
        };
        let edits = [
            prepend("first"),
            remove(0),
            prepend("second"),
            insert(1, "third"),
            insert(1, "fourth"),
            change,
        ];
        assert_eq!(
            edited("Subject: one\r\nSubject: two\r\n", &edits),
            "Subject: second\r\nSubject: first\r\nSubject: third\r\nSubject: fourth\r\nSubject: changed\r\n"
        );
    }

    #[test]
    fn a_value_never_becomes_a_field_of_its_own() {
        let edit = Edit::Prepend {
            name: "X".into(),
            value: "a\r\nBcc: you\n\n\rEvil:\t1\0\u{85}2\r\n\r\nbody".into(),
        };
        assert_eq!(
            edited("", &[edit]),
            "X: a\r\n\tBcc: you\r\n\tEvil:\t1??2\r\n\tbody\r\n"
        );
    }

    async fn applied(content: &'static str, edit: Edit) -> String {
        let gathering = Gathering::new(1 << 20, None);
        let mut body = Body::of_pieces([content], None);
        let gathered = gathering.gather(&mut body).await.unwrap();
        let mut envelope = Envelope::builder().build();
        let verdict = Verdict::default().edit(edit);
        let mut body = apply(&verdict, &gathered, &mut envelope).await.unwrap();
        let mut result = Vec::new();
        while let Some(piece) = body.chunk().await.unwrap() {
            result.extend_from_slice(&piece);
        }
        String::from_utf8(result).unwrap()
    }

    #[tokio::test]
    async fn what_no_field_can_be_named_changes_nothing() {
        for name in ["", "X:\r\nBcc", "X Y", "X:", "Bücher", "X\0"] {
            let (name, value) = (|| String::from(name), || String::from("a"));
            let (at, occurrence) = (0, 0);
            for edit in [
                Edit::Prepend {
                    name: name(),
                    value: value(),
                },
                Edit::Insert {
                    at,
                    name: name(),
                    value: value(),
                },
                Edit::Change {
                    name: name(),
                    occurrence,
                    value: value(),
                },
                Edit::Remove {
                    name: name(),
                    occurrence,
                },
                Edit::RemoveAll { name: name() },
            ] {
                let content = ": nameless\r\nX Y: a\r\n\r\nb";
                assert_eq!(applied(content, edit.clone()).await, content, "{edit:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_content_goes_on_with_no_header_of_ours_and_none_of_ours_with_it() {
        let ours = || (String::from("X-Ours"), String::from("fail"));
        let prepend = |(name, value)| Edit::Prepend { name, value };
        let append = |(name, value)| Edit::Insert {
            at: 99,
            name,
            value,
        };
        let body = || Edit::ReplaceBody(Bytes::from_static(b"new"));
        for (content, edit, expected) in [
            (
                " ; pass\r\nA: b\r\n\r\nc",
                prepend(ours()),
                "X-Ours: fail\r\n\r\n ; pass\r\nA: b\r\n\r\nc",
            ),
            ("A: b", append(ours()), "A: b\r\nX-Ours: fail\r\n"),
            ("A: b\r", append(ours()), "A: b\r\nX-Ours: fail\r\n"),
            ("A: b", body(), "A: b\r\n\r\nnew"),
            ("\tA: b\r\n", body(), "\r\nnew"),
        ] {
            assert_eq!(applied(content, edit).await, expected, "{content:?}");
        }
    }

    #[test]
    fn a_client_that_sends_a_large_header_writes_no_line_of_its_own() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let edit = Edit::Prepend {
            name: "X-Ours".into(),
            value: "1".into(),
        };
        let events = Events::of(|| {
            let mut envelope = Envelope::builder().build();
            let gathering = Gathering::new(8 << 20, None);
            let mut body = Body::of_pieces([vec![b'x'; MAX_HEADER + 1]], None);
            let gathered = runtime.block_on(gathering.gather(&mut body)).unwrap();
            let verdict = Verdict::default().edit(edit);
            let applied = runtime.block_on(apply(&verdict, &gathered, &mut envelope));
            assert_eq!(applied.unwrap_err(), HEADER_TOO_LARGE);
        });
        assert_eq!(events, [""; 0]);
    }

    #[tokio::test]
    async fn a_header_of_very_many_lines_is_not_edited() {
        for (lines, expected) in [(MAX_LINES - 1, true), (MAX_LINES + 1, false)] {
            let content = "a:\r\n".repeat(lines) + "\r\nbody";
            let gathering = Gathering::new(1 << 20, None);
            let mut body = Body::of_pieces([content], None);
            let gathered = gathering.gather(&mut body).await.unwrap();
            let mut envelope = Envelope::builder().build();
            let edit = Edit::Prepend {
                name: "X-Ours".into(),
                value: "1".into(),
            };
            let verdict = Verdict::default().edit(edit);
            let edited = apply(&verdict, &gathered, &mut envelope).await;
            assert_eq!(edited.is_ok(), expected, "{lines}");
        }
    }

    #[test]
    fn a_header_ends_at_the_first_empty_line() {
        for (content, length) in [
            ("a: b\r\n\r\nc: d\r\n\r\n", 6),
            ("\r\na: b\r\n\r\n", 0),
            ("a: b\r\n", 6),
            ("a: b\r\nc\n\nd\r\n", 12),
        ] {
            assert_eq!(header_length(content.as_bytes()), length, "{content:?}");
        }
    }
}
