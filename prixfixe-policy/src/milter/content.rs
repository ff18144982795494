//! A message, told to a milter: its header field by field, its body in pieces.

use prixfixe_core::Reply;
use prixfixe_milter::{Answer, Macros, Modification};
use prixfixe_server::{Content, Gathered, reply};

use super::Milter;
use super::link::{Failure, Link};
use crate::message::Header;

const HEADER_TOO_LARGE: Reply = reply!(554 5.6.0 "The message header is too large");
const UNREADABLE: Reply = reply!(451 4.3.0 "The message cannot be read again");

/// The largest header, and the most fields, that a milter is told: those that are edited.
const MAX_HEADER: usize = 1 << 20;
const MAX_FIELDS: usize = 10_000;

/// What a milter makes of a message.
pub(super) struct Seen {
    pub(super) answer: Answer,
    pub(super) changes: Vec<Modification>,
}

/// A header, and what of it is told as such.
pub(super) struct Fields {
    header: Header,
    /// Where each field begins and ends.
    fields: Vec<(usize, usize)>,
    /// Where the body begins, as the milter sees it: what is no field is told with it, so that
    /// nothing is hidden.
    end: usize,
}

/// Reads the header of a message.
pub(super) async fn header(gathered: &Gathered) -> Result<Fields, Reply> {
    let header = Header::read(gathered).await.map_err(|_| UNREADABLE)?;
    let bytes = header.as_bytes();
    let (mut fields, mut at): (Vec<(usize, usize)>, _) = (Vec::new(), 0);
    let mut is_whole = false;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let next = at + line.len();
        match line {
            b"\r\n" => is_whole = true,
            [b' ' | b'\t', ..] if !fields.is_empty() => {
                fields
                    .iter_mut()
                    .last()
                    .into_iter()
                    .for_each(|it| it.1 = next);
            }
            _ if name_length(line).is_some() => fields.push((at, next)),
            _ => break,
        }
        at = next;
        if is_whole {
            break;
        }
    }
    if fields.len() > MAX_FIELDS || bytes.len() > MAX_HEADER {
        return Err(HEADER_TOO_LARGE);
    }
    Ok(Fields {
        header,
        fields,
        end: at,
    })
}

/// How long a field's name is (RFC 5322 section 2.2), without blanks before its colon.
fn name_length(field: &[u8]) -> Option<usize> {
    let colon = memchr::memchr(b':', field)?;
    let name = field.get(..colon)?.trim_ascii_end();
    let is_name = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
    is_name.then_some(name.len())
}

impl Fields {
    /// Each name, and what stands behind the colon, with its blank and without its last line's end.
    fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let bytes = self.header.as_bytes();
        self.fields.iter().filter_map(|(begin, end)| {
            let field = bytes.get(*begin..*end)?;
            let name = field.get(..name_length(field)?)?;
            let colon = memchr::memchr(b':', field)?;
            let value = field.get(colon + 1..)?;
            let value = value.strip_suffix(b"\n").unwrap_or(value);
            Some((name, value.strip_suffix(b"\r").unwrap_or(value)))
        })
    }

    /// How many fields there are of that name.
    pub(super) fn count(&self, name: &str) -> usize {
        let is_it = |it: &(&[u8], &[u8])| it.0.eq_ignore_ascii_case(name.as_bytes());
        self.iter().filter(is_it).count()
    }
}

/// Tells the milter all of a message.
pub(super) async fn tell(
    link: &mut Link,
    content: Content<'_>,
    header: &Fields,
    check: &Milter,
) -> Result<Seen, Failure> {
    let mut macros = Macros::default();
    macros.set("j", &*check.name);
    if let Some(id) = content.id() {
        macros.set("i", id.to_string());
    }
    let mut changes = Vec::new();
    let keeps_space = link.milter().keeps_leading_space();
    for (name, value) in header.iter() {
        let value: Vec<u8> = value
            .iter()
            .copied()
            .filter(|byte| *byte != b'\r')
            .collect();
        let value = match keeps_space {
            true => &*value,
            false => value.trim_ascii_start(),
        };
        let answer = link.say(|it| it.header(name, value), &mut changes).await?;
        if let Some(answer) = answer.and_then(settles) {
            return Ok(Seen { answer, changes });
        }
    }
    let answer = link
        .say(|it| it.end_of_header(&macros), &mut changes)
        .await?;
    if let Some(answer) = answer.and_then(settles) {
        return Ok(Seen { answer, changes });
    }
    if let Some(answer) = tell_body(link, content.gathered(), header.end, &mut changes).await? {
        return Ok(Seen { answer, changes });
    }
    let answer = link
        .say(|it| it.end_of_message(&macros), &mut changes)
        .await?;
    let answer = answer.unwrap_or(Answer::Accept);
    Ok(Seen { answer, changes })
}

async fn tell_body(
    link: &mut Link,
    gathered: &Gathered,
    mut before: usize,
    changes: &mut Vec<Modification>,
) -> Result<Option<Answer>, Failure> {
    let mut body = gathered.body();
    while let Some(piece) = body.chunk().await.map_err(|_| Failure::Unreadable)? {
        let part = piece.get(before.min(piece.len())..).unwrap_or_default();
        before -= piece.len() - part.len();
        for part in part.chunks(link.milter().max_data()) {
            let answer = link.say(|it| it.body(part), changes).await?;
            if let Some(answer) = answer.and_then(settles) {
                return Ok(Some(answer));
            }
        }
    }
    Ok(None)
}

/// An answer that leaves nothing more to tell.
fn settles(answer: Answer) -> Option<Answer> {
    match answer {
        Answer::Continue | Answer::Skip => None,
        answer => Some(answer),
    }
}
