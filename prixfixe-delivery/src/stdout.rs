//! Mail as lines of JSON.

use std::fmt;
#[cfg(unix)]
use std::fs::File;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use prixfixe_server::{CollectedMessage, Digest, Identity, Mail, Message, Recipient, Reply};
use serde::Serialize;
use tokio::sync::oneshot;

use crate::authentication::Authentication;
use crate::health::{Keeper, Kept, Monitor, Ticket};
use crate::{
    Asked, BoxFuture, Delivered, Failure, Fault, Health, OpenError, Outcomes, StoreError, Target,
    Transaction,
};

/// Writes every message as one line of JSON, to the standard output or another writer.
///
/// | key | value |
/// |---|---|
/// | `id` | the message's id, as in the reply to its client |
/// | `received` | when it came, RFC 3339 in UTC |
/// | `peer` | the client's address and port |
/// | `helo` | the name that the client gave, or null |
/// | `tls` | the version, such as `TLSv1.3`; null in clear text |
/// | `user` | who has logged in, or null |
/// | `from` | the sender; empty for a bounce |
/// | `to` | the recipients |
/// | `size` | octets of the content |
/// | `digest` | the [digest](prixfixe_server::Digest), the same when the client sends the message again |
/// | `authentication` | what policy found of the sender, as in the JSON of a webhook; null without policy |
/// | `message` | the content, without trace headers (all of theirs is in the other keys) |
/// | `message_base64` | in place of `message` where the content isn't UTF-8 |
///
/// A message is accepted when its line was written and flushed. One thread writes, so that lines do
/// not mix. Where a write fails the next line begins with a line end of its own, so that it is not
/// glued to half of another: a reader should skip empty lines and those that were cut off. What is
/// written cannot be taken back, so that now and then a refused message may be there whole; as its
/// client sends it again, it is then there twice.
///
/// Whether a content is UTF-8 is known at its end only. So each message is held in memory, which
/// can cost the server's `max_message_size` a connection, and for the one that is written its line
/// besides, up to six times as long where it is all control characters. Large mail belongs in a
/// Maildir. A message whose client has gone before its line was begun is not written.
#[derive(Clone)]
pub struct Stdout {
    shared: Arc<Shared>,
}

struct Shared {
    lines: Sender<Line>,
    sink: Arc<Sink>,
    _keeper: Keeper,
}

struct Line {
    message: CollectedMessage,
    digest: Digest,
    answer: oneshot::Sender<Result<(), StoreError>>,
    ticket: Ticket,
}

/// Messages that wait for the thread; beyond it their clients wait.
const QUEUE_LENGTH: usize = 64;

const PROBE_INTERVAL: Duration = Duration::from_secs(5);

impl Stdout {
    /// Writes to the standard output.
    ///
    /// # Errors
    ///
    /// [`OpenError`] when it is closed or nobody reads it any more, or no thread can be started.
    pub fn open() -> Result<Self, OpenError> {
        PreparedStdout::open()?.start()
    }

    /// Writes to a writer of your own: it should hold nothing back after an error.
    ///
    /// # Errors
    ///
    /// [`OpenError`] when no thread can be started.
    pub fn to_writer(writer: impl Write + Send + 'static) -> Result<Self, OpenError> {
        PreparedStdout::new(writer, PROBE_INTERVAL).start()
    }

    /// Whether lines can be written.
    #[must_use]
    pub fn health(&self) -> Health {
        self.shared.sink.monitor.health()
    }
}

/// Standard output that can be written to, with nobody at work yet.
pub(crate) struct PreparedStdout {
    sink: Arc<Sink>,
    probe_interval: Duration,
}

impl PreparedStdout {
    pub(crate) fn open() -> Result<Self, OpenError> {
        let failed = |error| Fault::new("write to", STANDARD_OUTPUT, error);
        let output = standard_output().map_err(failed)?;
        let reader = Reader::of(&output).map_err(failed)?;
        reader.check().map_err(failed)?;
        Ok(Self {
            sink: Arc::new(Sink::new(output, reader)),
            probe_interval: PROBE_INTERVAL,
        })
    }

    fn new(writer: impl Write + Send + 'static, probe_interval: Duration) -> Self {
        Self {
            sink: Arc::new(Sink::new(writer, Reader::default())),
            probe_interval,
        }
    }

    pub(crate) fn start(self) -> Result<Stdout, OpenError> {
        let sink = self.sink;
        let (lines, receiver) = async_channel::bounded(QUEUE_LENGTH);
        thread::Builder::new()
            .name(String::from("stdout"))
            .spawn({
                let sink = Arc::clone(&sink);
                move || work(&sink, &receiver)
            })
            .map_err(OpenError::Threads)?;
        let keeper = Keeper::spawn("stdout", Arc::clone(&sink), self.probe_interval)
            .map_err(OpenError::Threads)?;
        Ok(Stdout {
            shared: Arc::new(Shared {
                lines,
                sink,
                _keeper: keeper,
            }),
        })
    }
}

impl fmt::Debug for PreparedStdout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedStdout").finish_non_exhaustive()
    }
}

/// MAIL is refused while a write has been owed for too long ([`Health`]).
impl Target for Stdout {
    fn admit(&self, _: Mail<'_>) -> Result<(), Reply> {
        self.shared.sink.monitor.admit()
    }

    fn begin<'a>(&'a self, _: Mail<'a>) -> Asked<'a, Result<Box<dyn Transaction>, Failure>> {
        Asked::Now(Ok(Box::new(self.clone())))
    }

    fn health(&self) -> Health {
        self.health()
    }

    fn is_local(&self) -> bool {
        true
    }
}

impl Transaction for Stdout {
    fn rcpt<'a>(&'a mut self, _: &'a Recipient) -> Asked<'a, Result<(), Failure>> {
        Asked::Now(Ok(()))
    }

    fn deliver(self: Box<Self>, message: Message) -> BoxFuture<'static, Outcomes> {
        Box::pin(async move {
            let written = self.write(message).await;
            Outcomes::All(
                written
                    .map(|()| Delivered::default())
                    .map_err(Failure::said),
            )
        })
    }
}

impl Stdout {
    async fn write(&self, mut message: Message) -> Result<(), Reply> {
        let digest = message.digest().await?;
        let message = message.collect().await?;
        let (answer, written) = oneshot::channel();
        let ticket = self.shared.sink.monitor.ticket();
        self.shared
            .lines
            .send(Line {
                message,
                digest,
                answer,
                ticket,
            })
            .await
            .map_err(|_| StoreError::Stopped)?;
        written.await.unwrap_or(Err(StoreError::Stopped))?;
        Ok(())
    }
}

impl fmt::Debug for Stdout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stdout").finish_non_exhaustive()
    }
}

/// A panic, of a writer of somebody's own say, costs the message at hand: its answer is dropped,
/// and so it is refused.
fn work(sink: &Sink, lines: &Receiver<Line>) {
    while let Ok(line) = lines.recv_blocking() {
        if catch_unwind(AssertUnwindSafe(|| write_line(sink, line))).is_err() {
            tracing::error!("the delivery thread panicked; the message is refused and it goes on");
        }
    }
}

fn write_line(sink: &Sink, line: Line) {
    let Line {
        message,
        digest,
        answer,
        mut ticket,
    } = line;
    if answer.is_closed() {
        return;
    }
    ticket.begin(Instant::now());
    let result = encode(&message, &digest).and_then(|line| sink.write(&line));
    drop(ticket);
    // A client that went away will send the message again, as after any reply that is lost (RFC
    // 1047).
    let _ = answer.send(match result {
        Ok(()) => {
            sink.monitor.succeeded();
            Ok(())
        }
        Err(error) => Err(sink
            .monitor
            .refused(Fault::new("write to", STANDARD_OUTPUT, error))),
    });
}

const STANDARD_OUTPUT: &str = "the standard output";

struct Sink {
    output: Mutex<Output>,
    reader: Reader,
    monitor: Monitor,
}

struct Output {
    writer: Box<dyn Write + Send>,
    /// A write has failed: what it has left may be half a line.
    torn: bool,
}

impl Sink {
    fn new(writer: impl Write + Send + 'static, reader: Reader) -> Self {
        let output = Output {
            writer: Box::new(writer),
            torn: false,
        };
        Self {
            output: Mutex::new(output),
            reader,
            monitor: Monitor::new(STANDARD_OUTPUT),
        }
    }

    /// Writes a line, the line end included.
    fn write(&self, line: &[u8]) -> io::Result<()> {
        self.output
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write(line)
    }
}

impl Output {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        self.mend()?;
        self.torn = true;
        self.writer.write_all(line)?;
        self.writer.flush()?;
        self.torn = false;
        Ok(())
    }

    /// Ends a line that was cut off.
    fn mend(&mut self) -> io::Result<()> {
        if self.torn {
            self.writer.write_all(b"\n")?;
            self.writer.flush()?;
            self.torn = false;
        }
        Ok(())
    }
}

impl Kept for Sink {
    fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    /// The one thing that can be written without a message: the end of the line that was cut off.
    fn probe(self: &Arc<Self>) -> Result<(), Fault> {
        let mended = self
            .output
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .mend();
        mended
            .and_then(|()| self.reader.check())
            .map_err(|error| Fault::new("write to", STANDARD_OUTPUT, error))
    }

    fn look(&self) -> Result<(), Fault> {
        let checked = self.reader.check();
        checked.map_err(|error| Fault::new("write to", STANDARD_OUTPUT, error))
    }
}

#[derive(Serialize)]
struct Record<'a> {
    id: &'a str,
    received: String,
    peer: String,
    helo: Option<&'a str>,
    tls: Option<&'static str>,
    user: Option<&'a str>,
    from: String,
    to: Vec<String>,
    size: usize,
    digest: String,
    authentication: Option<Authentication>,
    #[serde(flatten)]
    content: Content<'a>,
}

#[derive(Serialize)]
enum Content<'a> {
    #[serde(rename = "message")]
    Text(&'a str),
    #[serde(rename = "message_base64")]
    Base64(String),
}

fn encode(message: &CollectedMessage, digest: &Digest) -> io::Result<Vec<u8>> {
    let id = message.id();
    let content = message.content();
    let envelope = message.envelope();
    let record = Record {
        id: id.as_str(),
        received: Timestamp::try_from(message.received_at())
            .unwrap_or_default()
            .to_string(),
        peer: message.client().peer().to_string(),
        helo: message.client().helo(),
        tls: message.client().tls().map(|tls| tls.version.as_str()),
        user: message.client().identity().map(Identity::name),
        from: envelope.reverse_path().to_string(),
        to: envelope
            .recipients()
            .iter()
            .map(ToString::to_string)
            .collect(),
        size: content.len(),
        digest: digest.to_string(),
        authentication: Authentication::of(message.verdict()),
        content: match std::str::from_utf8(content) {
            Ok(text) => Content::Text(text),
            Err(_) => Content::Base64(STANDARD.encode(content)),
        },
    };
    let mut line = Vec::with_capacity(content.len() + content.len() / 16 + 512);
    serde_json::to_writer(&mut line, &record)?;
    line.push(b'\n');
    Ok(line)
}

/// Without the buffer that `std::io::stdout` has: what it holds back after a failed write it would
/// write later, when the client was told that its message is refused.
#[cfg(unix)]
fn standard_output() -> io::Result<File> {
    use std::os::fd::AsFd;

    let output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    if stands_for_a_closed_one(&output)? {
        let problem = "it is closed; leave it open, or drop mail with discard:";
        return Err(io::Error::new(io::ErrorKind::NotConnected, problem));
    }
    Ok(output)
}

/// Rust opens the null device, to read and to write, in place of a standard stream that is closed
/// at start. Who means to drop what is written has it opened to write.
#[cfg(unix)]
fn stands_for_a_closed_one(output: &File) -> io::Result<bool> {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};

    let (found, null) = (output.metadata()?, std::fs::metadata("/dev/null")?);
    let is_null = found.file_type().is_char_device() && found.rdev() == null.rdev();
    let flags = rustix::fs::fcntl_getfl(output)?;
    Ok(is_null && flags.contains(rustix::fs::OFlags::RDWR))
}

#[cfg(not(unix))]
fn standard_output() -> io::Result<io::Stdout> {
    Ok(io::stdout())
}

/// Whoever is at the other end, where that can be seen without writing.
#[derive(Default)]
struct Reader(#[cfg(unix)] Option<File>);

impl Reader {
    #[cfg(unix)]
    fn of(output: &File) -> io::Result<Self> {
        output.try_clone().map(|output| Self(Some(output)))
    }

    #[cfg(not(unix))]
    fn of(_: &io::Stdout) -> io::Result<Self> {
        Ok(Self())
    }

    /// Fails where nobody reads any more.
    #[cfg(unix)]
    fn check(&self) -> io::Result<()> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};

        let Some(output) = &self.0 else {
            return Ok(());
        };
        let mut asked = [PollFd::new(output, PollFlags::empty())];
        poll(&mut asked, Some(&Timespec::default()))?;
        let gone = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
        match asked.iter().any(|one| one.revents().intersects(gone)) {
            true => Err(io::ErrorKind::BrokenPipe.into()),
            false => Ok(()),
        }
    }

    #[cfg(not(unix))]
    fn check(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
