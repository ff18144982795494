//! Messages, made ready for the wire before the first is sent.
//!
//! While the load runs, sending a message is handing out pieces of memory that are there already:
//! nothing is formatted, stuffed or copied then.

use std::fs;
use std::io;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memchr::memchr_iter;
use prixfixe_client::{BodyType, Mail, Rcpt, Stuffer};

use crate::plan::PlanError;

/// Messages of varying size are drawn from a pool of this many.
const POOL: u64 = 64;
/// The pool takes no more memory than about this, however large its messages are.
const POOL_OCTETS: u64 = 64 << 20;
/// Files are held in memory, up to this in all.
const MAX_FILES_OCTETS: u64 = 1 << 30;
/// A CRLF: the smallest message.
const MIN_SIZE: u64 = 2;
/// Messages are made in memory.
const MAX_SIZE: u64 = 1 << 30;
/// Lines of generated text, without CRLF.
const LINE: usize = 76;

/// One message, ready for the wire.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// Octets of content, before the transparency dots: what SIZE counts.
    pub(crate) size: u64,
    /// True when it can only be sent to a server that offers 8BITMIME.
    pub(crate) eight_bit: bool,
    pub(crate) mail: Mail<'static>,
    pub(crate) recipients: Arc<[Rcpt<'static>]>,
    pub(crate) body: Body,
}

/// How the content travels.
#[derive(Debug)]
pub(crate) enum Body {
    /// After 354: dot-stuffed, the end of data included (RFC 5321 section 4.5.2).
    Data(Vec<u8>),
    /// As it is, in chunks of at most so many bytes (RFC 3030 section 2).
    Chunks { content: Vec<u8>, size: usize },
}

/// Who writes to whom, and how.
#[derive(Debug, Clone)]
pub(crate) struct Addressing {
    mail: Mail<'static>,
    recipients: Arc<[Rcpt<'static>]>,
    transfer: Transfer,
}

/// The command by which contents travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transfer {
    /// DATA (RFC 5321 section 4.1.1.4).
    Data,
    /// BDAT (RFC 3030).
    Bdat {
        /// Bytes of a chunk at most; `None`: the whole message is one.
        chunk: Option<NonZeroUsize>,
    },
}

/// Where contents come from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Content {
    /// Generated, of one size in bytes.
    Size(u64),
    /// Generated, of sizes spread evenly over a range.
    Sizes(RangeInclusive<u64>),
    /// Files, and the files in directories; of a Maildir those in `new` and `cur`. They are sent in
    /// turn.
    Files(Vec<PathBuf>),
}

/// Why there is nothing to send.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContentError {
    /// A size that no message can have.
    #[error("no message has a size of {least} to {most} bytes; give {MIN_SIZE} bytes to 1 GiB")]
    Size {
        /// The smallest size asked for.
        least: u64,
        /// The largest size asked for.
        most: u64,
    },
    /// A file or a directory cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is no message in a file or a directory.
    #[error("no message in {}", .0.display())]
    Empty(PathBuf),
    /// Files are held in memory, and these are too many or too large.
    #[error("the messages are over 1 GiB in all; name fewer files")]
    TooLarge,
}

impl Prepared {
    /// Makes `content` ready. Its last line is completed and a lone LF becomes CRLF; a lone CR
    /// stays.
    pub(crate) fn new(content: &[u8], addressing: &Addressing) -> Self {
        let content = with_crlf(content);
        let size = content.len() as u64;
        let eight_bit = !content.is_ascii();
        let body_type = if eight_bit {
            BodyType::EightBitMime
        } else {
            BodyType::SevenBit
        };
        let body = match addressing.transfer {
            Transfer::Data => Body::Data(stuffed(&content)),
            Transfer::Bdat { chunk } => Body::Chunks {
                content,
                size: chunk.map_or(usize::MAX, NonZeroUsize::get),
            },
        };
        Self {
            size,
            eight_bit,
            mail: addressing.mail.clone().size(size).body(body_type),
            recipients: Arc::clone(&addressing.recipients),
            body,
        }
    }

    /// All messages of a content. `seed` decides the generated text and the sizes in a range.
    pub(crate) fn pool(
        content: &Content,
        addressing: &Addressing,
        seed: u64,
    ) -> Result<Vec<Self>, ContentError> {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut generate = |size| Self::new(&generated(size, addressing, &mut random), addressing);
        match content {
            Content::Size(size) => {
                check_sizes(*size, *size)?;
                Ok(vec![generate(*size)])
            }
            Content::Sizes(sizes) => {
                let (least, most) = (*sizes.start(), *sizes.end());
                check_sizes(least, most)?;
                let mean = (least / 2 + most / 2).max(1);
                let count = (POOL_OCTETS / mean).clamp(4, POOL);
                // Evenly over the range rather than at random: the mean of a short run is the mean
                // of the range.
                let size = |i| {
                    least
                        + u64::try_from(u128::from(most - least) * i / u128::from(count - 1))
                            .unwrap_or(0)
                };
                Ok((0..u128::from(count)).map(|i| generate(size(i))).collect())
            }
            Content::Files(paths) => from_files(paths, addressing),
        }
    }
}

impl Addressing {
    /// From a reverse-path, which may be empty, to so many recipients; `{n}` in the forward-path
    /// stands for the number of each.
    pub(crate) fn new(
        from: &str,
        to: &str,
        recipients: u32,
        transfer: Transfer,
    ) -> Result<Self, PlanError> {
        let mut mail = Mail::new(from.to_owned()).map_err(PlanError::From)?;
        let recipient = |n: u32| Rcpt::new(to.replace("{n}", &n.to_string()));
        let recipients: Result<_, _> = (0..recipients).map(recipient).collect();
        if !to.is_ascii() {
            mail = mail.smtp_utf8();
        }
        Ok(Self {
            mail,
            recipients: recipients.map_err(PlanError::To)?,
            transfer,
        })
    }

    /// The server has to offer SMTPUTF8.
    pub(crate) fn is_internationalised(&self) -> bool {
        let mut recipients = self.recipients.iter();
        !self.mail.reverse_path().is_ascii() || recipients.any(|to| !to.forward_path().is_ascii())
    }
}

impl Body {
    /// What is sent of it, but for the commands.
    pub(crate) fn content(&self) -> &[u8] {
        match self {
            Self::Data(content) | Self::Chunks { content, .. } => content,
        }
    }
}

fn check_sizes(least: u64, most: u64) -> Result<(), ContentError> {
    if MIN_SIZE <= least && least <= most && most <= MAX_SIZE {
        Ok(())
    } else {
        Err(ContentError::Size { least, most })
    }
}

/// RFC 5321 section 4.5.2.
fn stuffed(content: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(content.len() + content.len() / 64 + 5);
    let mut stuffer = Stuffer::new();
    stuffer.stuff(content, &mut wire);
    stuffer.finish(&mut wire);
    wire
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

/// A message of exactly `size` octets (at least 2): a header, and lines of text of which some begin
/// with a dot.
fn generated(size: u64, addressing: &Addressing, random: &mut fastrand::Rng) -> Vec<u8> {
    let size = usize::try_from(size).unwrap_or(usize::MAX).max(2);
    let to = addressing.recipients.first().map_or("", Rcpt::forward_path);
    let header = format!(
        "From: <{}>\r\nTo: <{to}>\r\nSubject: prixfixe bench\r\nMessage-ID: <{:016x}@bench.invalid>\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n",
        addressing.mail.reverse_path(),
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

/// A file is itself; a Maildir is the files in its `new` and `cur`; another directory is the files
/// in it.
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
    use prixfixe_test_support::meaning;

    use super::*;

    fn addressing(transfer: Transfer) -> Addressing {
        Addressing::new("a@example.com", "b{n}@example.com", 2, transfer).unwrap()
    }

    fn prepared(content: &[u8], transfer: Transfer) -> Prepared {
        Prepared::new(content, &addressing(transfer))
    }

    fn data(content: &[u8]) -> Vec<u8> {
        match prepared(content, Transfer::Data).body {
            Body::Data(wire) => wire,
            Body::Chunks { .. } => unreachable!("DATA was asked for"),
        }
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
                let read = meaning(&data(&content), false);
                assert!(read.ended && read.rest.is_empty(), "{content:?}");
                assert_eq!(read.content.as_ref(), Some(&whole), "{content:?}");
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
    fn recipients_are_numbered_and_addresses_checked() {
        let message = prepared(b"one\r\n", Transfer::Data);
        let recipients: Vec<_> = message.recipients.iter().map(Rcpt::forward_path).collect();
        assert_eq!(recipients, ["b0@example.com", "b1@example.com"]);
        let new = |from, to| Addressing::new(from, to, 1, Transfer::Data);
        assert!(new("", "b@x").is_ok_and(|addressing| !addressing.is_internationalised()));
        assert!(new("", "j\u{f6}rg@x").is_ok_and(|addressing| addressing.is_internationalised()));
        assert!(matches!(
            new("a@x>\r\nQUIT", "b@x"),
            Err(PlanError::From(_))
        ));
        assert!(matches!(new("a@x", ""), Err(PlanError::To(_))));
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
            Prepared::pool(&Content::Sizes(100..=2000), &addressing(Transfer::Data), 7).unwrap();
        assert_eq!(pool.first().map(|message| message.size), Some(100));
        assert_eq!(pool.last().map(|message| message.size), Some(2000));
        assert!(pool.windows(2).all(|pair| pair[0].size <= pair[1].size));
    }

    #[test]
    fn files_directories_and_maildirs_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        fs::write(path.join("one.eml"), "one\n").unwrap();
        let plain = Content::Files(vec![path.to_owned()]);
        let read = |content: &Content| Prepared::pool(content, &addressing(Transfer::Data), 0);
        assert_eq!(read(&plain).unwrap().len(), 1);
        for name in ["new", "cur"] {
            fs::create_dir(path.join(name)).unwrap();
            fs::write(path.join(name).join("m"), "message\n").unwrap();
        }
        assert_eq!(read(&plain).unwrap().len(), 2);
        let missing = path.join("missing");
        let error = read(&Content::Files(vec![missing.clone()])).unwrap_err();
        assert!(error.to_string().contains(&*missing.to_string_lossy()));
        let empty = tempfile::tempdir().unwrap();
        assert!(matches!(
            read(&Content::Files(vec![empty.path().to_owned()])),
            Err(ContentError::Empty(_))
        ));
    }
}
