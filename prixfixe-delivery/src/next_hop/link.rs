//! One connection to a next hop: the dialogue of `prixfixe-client`, over a stream.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use prixfixe_client::{Connection, Event, Piece, Reply, ReplyBuf};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout_at};

use super::lent::Lent;
use super::stream::Stream;
use super::trouble::Trouble;

/// One connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) stream: Stream,
    pub(super) dialogue: Connection,
    /// Content that the dialogue sends from where it lies.
    pub(super) lent: Lent,
    input: Input,
    /// Nothing more can be written. What the next hop has said before can still be read.
    is_unwritable: bool,
    /// The stream has nothing of the output left: TLS keeps some.
    is_flushed: bool,
    /// Since when the output waits, and how much of it has gone since then.
    draining: Option<(Instant, usize)>,
    /// How long so much of the output may take.
    patience: Duration,
    opened: Instant,
    idle_since: Instant,
    transactions: u32,
}

/// What was read and is not understood yet.
#[derive(Debug)]
struct Input {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

/// What a next hop has said, as far as it matters here.
#[derive(Debug)]
pub(super) enum Said {
    StartTls,
    Ready,
    LoggedIn,
    LoginRefused(ReplyBuf),
    Mail(Result<(), ReplyBuf>),
    Rcpt(usize, Result<(), ReplyBuf>),
    Data(ReplyBuf),
    Content,
    Chunk(Result<(), ReplyBuf>),
    Message(Option<usize>, ReplyBuf),
    Done,
    Other,
}

/// Where a wait may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    /// The next hop says something.
    Said,
    /// All that can be sent was sent, what was lent too; or it says something.
    Sent,
}

/// The input of one connection. A reply line is at most as long.
const INPUT: usize = 4096;
/// Pieces in one system call.
const SLICES: usize = 16;
/// How much of the output has to leave within the time for one answer: a next hop that takes a byte
/// now and then is no better than one that takes none.
const LEAST: usize = 16 << 10;

impl Link {
    pub(super) fn new(stream: Stream, dialogue: Connection, patience: Duration) -> Self {
        let now = Instant::now();
        Self {
            stream,
            dialogue,
            lent: Lent::default(),
            input: Input {
                buffer: vec![0; INPUT].into_boxed_slice(),
                start: 0,
                end: 0,
            },
            is_unwritable: false,
            is_flushed: true,
            draining: None,
            patience,
            opened: now,
            idle_since: now,
            transactions: 0,
        }
    }

    /// The next thing that the next hop says; sends meanwhile what can be sent.
    pub(super) async fn next(&mut self) -> Result<Said, Trouble> {
        loop {
            if let Some(said) = self.wait(Until::Said).await? {
                return Ok(said);
            }
        }
    }

    /// Sends all there is. Something that the next hop says meanwhile may come first.
    pub(super) async fn flush(&mut self) -> Result<Option<Said>, Trouble> {
        self.wait(Until::Sent).await
    }

    async fn wait(&mut self, until: Until) -> Result<Option<Said>, Trouble> {
        loop {
            if let Some(said) = self.understand()? {
                return Ok(Some(said));
            }
            if until == Until::Sent && self.is_sent() {
                return Ok(None);
            }
            let deadline = self.deadline();
            let moved = poll_fn(|cx| self.poll_move(cx));
            let moved = match deadline {
                Some(deadline) => timeout_at(deadline, moved).await,
                None => Ok(moved.await),
            };
            match moved {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(self.lost(&error)),
                Err(_) => self.out_of_time()?,
            }
        }
    }

    /// What the next hop has said, out of what was read.
    fn understand(&mut self) -> Result<Option<Said>, Trouble> {
        let Input { buffer, start, end } = &mut self.input;
        let mut input = buffer.get(*start..*end).unwrap_or_default();
        let event = self.dialogue.poll_event(now(), &mut input);
        *start = *end - input.len();
        Ok(event?.map(Said::from))
    }

    /// Sends what can be sent. When nothing more can be, reads: then the next hop is waited for,
    /// and not its socket.
    fn poll_move(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_unwritable && self.has_output() {
            match self.poll_send(cx) {
                // It may have said why before it closed.
                Poll::Ready(Err(_)) => self.is_unwritable = true,
                Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
                Poll::Pending => {}
            }
        }
        self.input.poll_fill(Pin::new(&mut self.stream), cx)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.dialogue.wants_transmit() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let (mut used, mut kinds) = (0, [false; SLICES]);
            for piece in self.dialogue.poll_transmit() {
                let Some(room) = slices.get_mut(used..).filter(|room| !room.is_empty()) else {
                    break;
                };
                let (is_lent, more, is_whole) = match piece {
                    Piece::Bytes(bytes) => {
                        if let Some(slice) = room.first_mut() {
                            *slice = IoSlice::new(bytes);
                        }
                        (false, 1, true)
                    }
                    Piece::Lent { offset, length } => {
                        let (bytes, more) = self.lent.fill(offset, length, room);
                        (true, more, bytes == length)
                    }
                };
                kinds
                    .iter_mut()
                    .skip(used)
                    .take(more)
                    .for_each(|kind| *kind = is_lent);
                used += more;
                if !is_whole {
                    break;
                }
            }
            let slices = slices.get(..used).unwrap_or_default();
            let stream = Pin::new(&mut self.stream);
            let count = ready!(stream.poll_write_vectored(cx, slices))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let lent = lent_among(count, slices, &kinds);
            self.is_flushed = false;
            self.lent.advance(lent);
            self.dialogue.handle_transmitted(now(), count);
            self.drained(count);
        }
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.is_flushed = true;
        Poll::Ready(Ok(()))
    }

    fn has_output(&self) -> bool {
        self.dialogue.wants_transmit() || !self.is_flushed
    }

    fn is_sent(&self) -> bool {
        !self.has_output() && self.lent.is_sent()
    }

    /// So much of the output has left.
    fn drained(&mut self, count: usize) {
        if let Some((since, drained)) = &mut self.draining {
            *drained += count;
            if *drained >= LEAST {
                (*since, *drained) = (Instant::now(), 0);
            }
        }
    }

    /// Until when to wait.
    fn deadline(&mut self) -> Option<Instant> {
        let answer = self.dialogue.deadline().map(Instant::from_std);
        if !self.has_output() {
            self.draining = None;
            return answer;
        }
        let (since, _) = *self.draining.get_or_insert((Instant::now(), 0));
        let drained = since + self.patience;
        Some(answer.map_or(drained, |answer| answer.min(drained)))
    }

    /// A deadline has come.
    fn out_of_time(&mut self) -> Result<(), Trouble> {
        self.dialogue.handle_timeout(now())?;
        match self.draining {
            Some((since, _)) if since + self.patience <= Instant::now() => {
                Err(Trouble::new("the server takes what is sent too slowly"))
            }
            _ => Ok(()),
        }
    }

    /// The connection is lost, or at its end.
    fn lost(&mut self, error: &io::Error) -> Trouble {
        let is_end = error.kind() == io::ErrorKind::UnexpectedEof;
        match self.dialogue.receive_eof() {
            Err(closed) if is_end => closed.into(),
            Err(closed) => Trouble::from(closed).because(error),
            Ok(()) => Trouble::new(error.to_string()),
        }
    }

    /// Nothing is under way, and nothing has come that was not asked for, as the end has.
    pub(super) fn is_alive(&mut self) -> bool {
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        let mut cx = Context::from_waker(Waker::noop());
        let is_silent = self.input.is_empty() && !self.is_unwritable;
        is_silent
            && Pin::new(&mut self.stream)
                .poll_read(&mut cx, &mut buffer)
                .is_pending()
    }

    /// A transaction is over.
    pub(super) fn rest(&mut self) {
        self.lent = Lent::default();
        self.transactions += 1;
        self.idle_since = Instant::now();
    }

    pub(super) fn transactions(&self) -> u32 {
        self.transactions
    }

    pub(super) fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    pub(super) fn idle_for(&self) -> Duration {
        self.idle_since.elapsed()
    }

    /// Takes its leave, as far as that needs no waiting.
    pub(super) fn leave(mut self: Box<Self>) {
        if self.dialogue.quit(now()).is_ok() {
            let mut cx = Context::from_waker(Waker::noop());
            let _ = self.poll_send(&mut cx);
        }
    }
}

impl Input {
    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Reads into the buffer, of which all was understood.
    fn poll_fill(
        &mut self,
        stream: Pin<&mut Stream>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let mut buffer = ReadBuf::new(&mut self.buffer);
        ready!(stream.poll_read(cx, &mut buffer))?;
        let count = buffer.filled().len();
        (self.start, self.end) = (0, count);
        Poll::Ready(match count {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        })
    }
}

/// How many of the bytes that were sent are of what was lent.
fn lent_among(count: usize, slices: &[IoSlice<'_>], kinds: &[bool; SLICES]) -> u64 {
    let (mut left, mut lent) = (count, 0);
    for (slice, is_lent) in slices.iter().zip(kinds) {
        let part = slice.len().min(left);
        left -= part;
        if *is_lent {
            lent += part as u64;
        }
    }
    lent
}

/// What the dialogue takes for now: a test's clock where there is one.
pub(super) fn now() -> std::time::Instant {
    Instant::now().into_std()
}

impl From<Event<'_>> for Said {
    fn from(event: Event<'_>) -> Self {
        let answer = |reply: Reply<'_>| match reply.is_positive() {
            true => Ok(()),
            false => Err(reply.to_buf()),
        };
        match event {
            Event::StartTls => Self::StartTls,
            Event::Ready => Self::Ready,
            Event::Authenticated(_) => Self::LoggedIn,
            Event::AuthenticationRefused(reply) => Self::LoginRefused(reply.to_buf()),
            Event::Mail(reply) => Self::Mail(answer(reply)),
            Event::Rcpt { recipient, reply } => Self::Rcpt(recipient, answer(reply)),
            Event::Data(reply) => Self::Data(reply.to_buf()),
            Event::Content => Self::Content,
            Event::Chunk(reply) => Self::Chunk(answer(reply)),
            Event::Message { recipient, reply } => Self::Message(recipient, reply.to_buf()),
            Event::Done => Self::Done,
            _ => Self::Other,
        }
    }
}
