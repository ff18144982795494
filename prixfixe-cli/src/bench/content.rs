//! Messages, made ready for the wire before the first is sent.
//!
//! While the load runs, sending a message is handing out pieces of memory that are there already: nothing is
//! formatted, stuffed or copied then.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use memchr::{memchr_iter, memmem};

/// Messages of varying size are drawn from a pool of this many.
const POOL: u64 = 64;
/// The pool takes no more memory than about this, however large its messages are.
const POOL_OCTETS: u64 = 64 << 20;
/// Files are held in memory, up to this in all.
const MAX_FILES_OCTETS: u64 = 1 << 30;
/// Lines of generated text, without CRLF.
const LINE: usize = 76;

/// One message, ready for the wire.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// Octets of content, before the transparency dots: what SIZE counts.
    pub(crate) size: u64,
    /// True when it can only be sent to a server that offers 8BITMIME.
    pub(crate) eight_bit: bool,
    pub(crate) recipients: usize,
    plain: Envelope,
    with_size: Envelope,
    pub(crate) body: Body,
}

/// How the content travels.
#[derive(Debug)]
pub(crate) enum Body {
    /// After 354: dot-stuffed, the end of data included (RFC 5321 section 4.5.2).
    Data(Bytes),
    /// BDAT commands, each with its octets behind it (RFC 3030 section 2).
    Chunks(Vec<Bytes>),
}

/// The commands before the content: MAIL, RCPT for each recipient, and DATA unless BDAT is used.
#[derive(Debug)]
pub(crate) struct Envelope {
    all: Bytes,
    commands: Vec<Bytes>,
}

/// Who writes to whom, and how.
#[derive(Debug, Clone)]
pub(crate) struct Addressing {
    /// The reverse-path; may be empty.
    pub(crate) from: String,
    /// The forward-path; `{n}` stands for the number of the recipient.
    pub(crate) to: String,
    pub(crate) recipients: u32,
    pub(crate) transfer: Transfer,
}

/// DATA, or BDAT in chunks of at most so many octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transfer {
    Data,
    Bdat { chunk: usize },
}

/// Where contents come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// Generated, of one size.
    Size(u64),
    /// Generated, of sizes spread evenly over a range, both ends included.
    Range(u64, u64),
    /// Files, and the files in directories.
    Files(Vec<PathBuf>),
}

/// Why there is nothing to send.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContentError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("no message in {}", .0.display())]
    Empty(PathBuf),
    #[error("the messages are over 1 GiB in all; name fewer files")]
    TooLarge,
}

impl Prepared {
    /// Makes `content` ready. Its last line is completed and a lone LF becomes CRLF; a lone CR stays.
    pub(crate) fn new(content: &[u8], addressing: &Addressing) -> Self {
        let content = with_crlf(content);
        let size = content.len() as u64;
        let eight_bit = !content.is_ascii();
        let body = match addressing.transfer {
            Transfer::Data => Body::Data(stuffed(&content).into()),
            Transfer::Bdat { chunk } => Body::Chunks(chunks(&content, chunk)),
        };
        let body_type = if eight_bit { " BODY=8BITMIME" } else { "" };
        Self {
            size,
            eight_bit,
            recipients: addressing.recipients as usize,
            plain: Envelope::new(addressing, body_type),
            with_size: Envelope::new(addressing, &format!("{body_type} SIZE={size}")),
            body,
        }
    }

    /// The commands before the content.
    pub(crate) fn envelope(&self, server_offers_size: bool) -> &Envelope {
        if server_offers_size {
            &self.with_size
        } else {
            &self.plain
        }
    }

    /// All messages of a source. `seed` decides the generated text and the sizes in a range.
    pub(crate) fn pool(
        source: &Source,
        addressing: &Addressing,
        seed: u64,
    ) -> Result<Vec<Self>, ContentError> {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut generate = |size| Self::new(&generated(size, addressing, &mut random), addressing);
        match source {
            Source::Size(size) => Ok(vec![generate(*size)]),
            Source::Range(least, most) => {
                let mean = (least / 2 + most / 2).max(1);
                let count = (POOL_OCTETS / mean).clamp(4, POOL);
                // Evenly over the range rather than at random: the mean of a short run is the mean of the range.
                let size = |i| {
                    least
                        + u64::try_from(u128::from(most - least) * i / u128::from(count - 1))
                            .unwrap_or(0)
                };
                Ok((0..u128::from(count)).map(|i| generate(size(i))).collect())
            }
            Source::Files(paths) => from_files(paths, addressing),
        }
    }
}

impl Envelope {
    fn new(addressing: &Addressing, parameters: &str) -> Self {
        let mut text = format!("MAIL FROM:<{}>{parameters}\r\n", addressing.from);
        let mut ends = vec![text.len()];
        for n in 0..addressing.recipients {
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "RCPT TO:<{}>\r\n",
                addressing.to.replace("{n}", &n.to_string())
            );
            ends.push(text.len());
        }
        if addressing.transfer == Transfer::Data {
            text.push_str("DATA\r\n");
            ends.push(text.len());
        }
        let all = Bytes::from(text);
        let mut start = 0;
        let mut command = |end| all.slice(std::mem::replace(&mut start, end)..end);
        let commands = ends.into_iter().map(&mut command).collect();
        Self { all, commands }
    }

    /// All commands, for one write.
    pub(crate) fn all(&self) -> Bytes {
        self.all.clone()
    }

    /// One command: MAIL is the first, then RCPT for each recipient, then DATA.
    pub(crate) fn command(&self, index: usize) -> Bytes {
        self.commands.get(index).cloned().unwrap_or_default()
    }
}

/// RFC 5321 section 4.5.2: a line that begins with a dot gets another; a line with a lone dot ends the data.
fn stuffed(content: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(content.len() + content.len() / 64 + 5);
    let mut start = 0;
    if content.first() == Some(&b'.') {
        wire.push(b'.');
    }
    // Only CRLF ends a line: after a lone LF a dot is an ordinary character, and adding one would change the content.
    for at in memmem::find_iter(content, b"\r\n.") {
        let dot = at + 2;
        wire.extend_from_slice(content.get(start..dot).unwrap_or_default());
        wire.push(b'.');
        start = dot;
    }
    wire.extend_from_slice(content.get(start..).unwrap_or_default());
    wire.extend_from_slice(b".\r\n");
    wire
}

fn chunks(content: &[u8], size: usize) -> Vec<Bytes> {
    let count = content.chunks(size).len();
    let wire = |(i, octets): (usize, &[u8])| {
        let last = if i + 1 == count { " LAST" } else { "" };
        let mut wire = format!("BDAT {}{last}\r\n", octets.len()).into_bytes();
        wire.extend_from_slice(octets);
        Bytes::from(wire)
    };
    content.chunks(size).enumerate().map(wire).collect()
}

/// A file from a Maildir has LF line ends; SMTP has CRLF.
fn with_crlf(content: &[u8]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(content.len() + 2);
    let mut start = 0;
    for end in memchr_iter(b'\n', content) {
        let line = content.get(start..end).unwrap_or_default();
        lines.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
        lines.extend_from_slice(b"\r\n");
        start = end + 1;
    }
    let rest = content.get(start..).unwrap_or_default();
    if !rest.is_empty() {
        lines.extend_from_slice(rest);
        lines.extend_from_slice(b"\r\n");
    }
    lines
}

/// A message of exactly `size` octets (at least 2): a header, and lines of text of which some begin with a dot.
fn generated(size: u64, addressing: &Addressing, random: &mut fastrand::Rng) -> Vec<u8> {
    let size = usize::try_from(size).unwrap_or(usize::MAX).max(2);
    let to = addressing.to.replace("{n}", "0");
    let header = format!(
        "From: <{}>\r\nTo: <{to}>\r\nSubject: prixfixe bench\r\nMessage-ID: <{:016x}@bench.invalid>\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n",
        addressing.from,
        random.u64(..)
    );
    let mut content = Vec::with_capacity(size);
    // What is left must be room for lines, and one octet is none.
    if header.len() + 2 <= size || header.len() == size {
        content.extend_from_slice(header.as_bytes());
    }
    while content.len() < size {
        let line = match size - content.len() {
            rest if rest >= 2 * (LINE + 2) => LINE,
            // Never leaves one octet, which could not be a line.
            rest if rest > LINE + 2 => rest / 2 - 2,
            rest => rest.saturating_sub(2),
        };
        content.extend((0..line).map(|_| letter(random)));
        content.extend_from_slice(b"\r\n");
    }
    content
}

fn letter(random: &mut fastrand::Rng) -> u8 {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789. ";
    LETTERS
        .get(random.usize(..LETTERS.len()))
        .copied()
        .unwrap_or(b'x')
}

fn from_files(paths: &[PathBuf], addressing: &Addressing) -> Result<Vec<Prepared>, ContentError> {
    let mut messages = Vec::new();
    let mut total = 0;
    for path in paths {
        let before = messages.len();
        for file in files_in(path)? {
            let content =
                fs::read(&file).map_err(|source| ContentError::Read { path: file, source })?;
            total += content.len() as u64;
            if total > MAX_FILES_OCTETS {
                return Err(ContentError::TooLarge);
            }
            if !content.is_empty() {
                messages.push(Prepared::new(&content, addressing));
            }
        }
        if messages.len() == before {
            return Err(ContentError::Empty(path.clone()));
        }
    }
    Ok(messages)
}

/// A file is itself; a Maildir is the files in its `new` and `cur`; another directory is the files in it.
fn files_in(path: &Path) -> Result<Vec<PathBuf>, ContentError> {
    let fail = |source| ContentError::Read {
        path: path.to_owned(),
        source,
    };
    if !fs::metadata(path).map_err(fail)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let maildir = [path.join("new"), path.join("cur")];
    let directories = if maildir.iter().all(|directory| directory.is_dir()) {
        maildir.to_vec()
    } else {
        vec![path.to_owned()]
    };
    let mut files = Vec::new();
    for directory in directories {
        for entry in fs::read_dir(directory).map_err(fail)? {
            let file = entry.map_err(fail)?.path();
            if file.is_file() {
                files.push(file);
            }
        }
    }
    // The order of a directory is not the same everywhere; a run with the same seed should be.
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addressing(transfer: Transfer) -> Addressing {
        Addressing {
            from: "a@example.com".into(),
            to: "b{n}@example.com".into(),
            recipients: 2,
            transfer,
        }
    }

    fn prepared(content: &[u8], transfer: Transfer) -> Prepared {
        Prepared::new(content, &addressing(transfer))
    }

    fn data(content: &[u8]) -> Vec<u8> {
        match prepared(content, Transfer::Data).body {
            Body::Data(wire) => wire.to_vec(),
            Body::Chunks(_) => unreachable!("DATA was asked for"),
        }
    }

    /// RFC 5321 section 4.5.2, from the receiver's side: the slow, obvious way.
    fn received(wire: &[u8]) -> Vec<u8> {
        let text = String::from_utf8(wire.to_vec()).unwrap();
        let mut content = String::new();
        for line in text.split_inclusive("\r\n") {
            if line == ".\r\n" {
                return content.into_bytes();
            }
            content.push_str(line.strip_prefix('.').unwrap_or(line));
        }
        unreachable!("no end of data in {text:?}")
    }

    #[test]
    fn stuffing_is_undone_by_a_receiver_for_every_small_content() {
        let alphabet = [&b"."[..], b"\r\n", b"x", b".."];
        for length in 0..6 {
            for mut number in 0..alphabet.len().pow(length) {
                let mut content = Vec::new();
                for _ in 0..length {
                    content.extend_from_slice(alphabet[number % alphabet.len()]);
                    number /= alphabet.len();
                }
                let whole = with_crlf(&content);
                let wire = data(&content);
                assert_eq!(received(&wire), whole, "{content:?}");
                assert_eq!(prepared(&content, Transfer::Data).size, whole.len() as u64);
            }
        }
    }

    #[test]
    fn line_ends_become_crlf_and_a_lone_cr_stays() {
        assert_eq!(with_crlf(b"a\nb\r\nc"), b"a\r\nb\r\nc\r\n");
        assert_eq!(with_crlf(b"a\rb\n"), b"a\rb\r\n");
        assert_eq!(with_crlf(b""), b"");
        assert_eq!(data(b".a\n.\n..\n"), b"..a\r\n..\r\n...\r\n.\r\n");
    }

    #[test]
    fn chunks_carry_the_content_and_only_the_last_says_so() {
        let Body::Chunks(chunks) = prepared(b".one\r\ntwo\r\n", Transfer::Bdat { chunk: 4 }).body
        else {
            unreachable!("BDAT was asked for")
        };
        assert_eq!(
            chunks,
            [
                &b"BDAT 4\r\n.one"[..],
                b"BDAT 4\r\n\r\ntw",
                b"BDAT 3 LAST\r\no\r\n"
            ]
        );
    }

    #[test]
    fn the_envelope_is_its_commands_in_a_row() {
        let message = prepared("h\u{e9}\r\n".as_bytes(), Transfer::Data);
        assert!(message.eight_bit);
        let envelope = message.envelope(true);
        let commands: Vec<Bytes> = (0..4).map(|i| envelope.command(i)).collect();
        assert_eq!(
            commands[0],
            "MAIL FROM:<a@example.com> BODY=8BITMIME SIZE=5\r\n"
        );
        assert_eq!(commands[2], "RCPT TO:<b1@example.com>\r\n");
        assert_eq!(commands[3], "DATA\r\n");
        assert_eq!(commands.concat(), envelope.all());
        assert_eq!(
            message.envelope(false).command(0),
            "MAIL FROM:<a@example.com> BODY=8BITMIME\r\n"
        );
    }

    #[test]
    fn generated_messages_have_exactly_the_size_asked_for_and_repeat_with_the_seed() {
        let addressing = addressing(Transfer::Data);
        for size in (2..700).chain([1024, 10_240, 102_400]) {
            let message = generated(size, &addressing, &mut fastrand::Rng::with_seed(1));
            assert_eq!(message.len() as u64, size);
            assert!(message.ends_with(b"\r\n"), "{size}");
            assert_eq!(with_crlf(&message), message, "{size}");
            assert_eq!(
                message,
                generated(size, &addressing, &mut fastrand::Rng::with_seed(1))
            );
        }
    }

    #[test]
    fn a_range_is_covered_from_end_to_end() {
        let pool =
            Prepared::pool(&Source::Range(100, 2000), &addressing(Transfer::Data), 7).unwrap();
        assert_eq!(pool.first().map(|message| message.size), Some(100));
        assert_eq!(pool.last().map(|message| message.size), Some(2000));
        assert!(pool.windows(2).all(|pair| pair[0].size <= pair[1].size));
    }

    #[test]
    fn files_directories_and_maildirs_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        fs::write(path.join("one.eml"), "one\n").unwrap();
        let plain = Source::Files(vec![path.to_owned()]);
        let read = |source: &Source| Prepared::pool(source, &addressing(Transfer::Data), 0);
        assert_eq!(read(&plain).unwrap().len(), 1);
        for name in ["new", "cur"] {
            fs::create_dir(path.join(name)).unwrap();
            fs::write(path.join(name).join("m"), "message\n").unwrap();
        }
        assert_eq!(read(&plain).unwrap().len(), 2);
        let missing = path.join("missing");
        let error = read(&Source::Files(vec![missing.clone()])).unwrap_err();
        assert!(error.to_string().contains(&*missing.to_string_lossy()));
        let empty = tempfile::tempdir().unwrap();
        assert!(matches!(
            read(&Source::Files(vec![empty.path().to_owned()])),
            Err(ContentError::Empty(_))
        ));
    }
}
