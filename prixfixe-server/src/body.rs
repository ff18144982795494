//! A message's content on its way from the session to the handler.
//!
//! The two ends share one buffer. The session appends what it reads and stops reading from the
//! socket while more than [`HIGH_WATER`] octets wait; the handler takes all that is there at once.
//! Memory of a piece that the handler drops is used for the next one, of whichever message.

mod memory;
mod read;

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::Gathered;
use crate::gather::Reader;

/// Gives the next piece, as [`Body::poll_chunk`] does.
type PollPiece =
    dyn FnMut(&mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> + Send + Sync + 'static;

/// A content that is read from elsewhere.
struct Foreign(Box<PollPiece>);

impl fmt::Debug for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Foreign")
    }
}

/// While more octets than this wait for the handler, nothing is read from the client.
///
/// A body so holds at most this and one read of the transport.
pub(crate) const HIGH_WATER: usize = 64 * 1024;

/// The content of a message, read piece by piece.
///
/// The transparency dots are removed; line ends are CRLF as sent. While more than 64 KiB wait to be
/// read, nothing is read from the client, so that a message of any size costs that much and one
/// read of the transport on top. Dropping it is fine: the rest is read from the client and thrown
/// away.
///
/// It is a [`tokio::io::AsyncRead`] too, for what copies from one, and a
/// [`Stream`](futures_core::Stream) of its pieces.
#[derive(Debug)]
pub struct Body {
    source: Source,
    /// What [`AsyncRead`](tokio::io::AsyncRead) has taken as a piece and not given yet.
    rest: Bytes,
    /// As a [`Stream`](futures_core::Stream) it gave its error, and is at its end.
    has_failed: bool,
    #[cfg(feature = "digest")]
    watch: Option<Box<crate::digest::Watch>>,
}

#[derive(Debug)]
enum Source {
    /// It is being received.
    Session(Arc<Shared>),
    /// It is there, or as much of it as will ever be.
    Pieces(VecDeque<Bytes>, Option<BodyError>),
    /// Pieces, and behind them what was gathered.
    Gathered(VecDeque<Bytes>, Reader),
    /// It comes from a source of the program's own.
    Foreign(Foreign),
}

/// Why a content did not come to its proper end. What has been read of it is no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// The connection was lost, or the client gave the message up between two chunks.
    #[error("the client went away in the middle of the message")]
    Incomplete,
    /// The client was too slow.
    #[error("the client did not send the message in time")]
    TimedOut,
    /// It is larger than [`collect_up_to`](crate::Message::collect_up_to) allows.
    #[error("the content is too large")]
    TooLarge,
    /// The content broke a rule or a limit; the client gets this reply whatever the handler
    /// answers.
    #[error("the content was refused: {0}")]
    Refused(prixfixe_core::Reply),
    /// The server stopped before the message was complete.
    #[error("the server stopped")]
    Stopped,
}

impl Body {
    /// One that is there already, or breaks off behind these pieces.
    pub(crate) fn of_pieces(
        pieces: impl IntoIterator<Item = impl Into<Bytes>>,
        error: Option<BodyError>,
    ) -> Self {
        let pieces = pieces.into_iter().map(Into::into);
        let pieces = pieces.filter(|piece: &Bytes| !piece.is_empty()).collect();
        Self {
            source: Source::Pieces(pieces, error),
            rest: Bytes::new(),
            has_failed: false,
            #[cfg(feature = "digest")]
            watch: None,
        }
    }

    /// One that is read from a source of the program's own: it gives a piece, `None` behind the
    /// last, and is not asked again after that or after an error.
    pub(crate) fn of_source(
        poll: impl FnMut(&mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self {
            source: Source::Foreign(Foreign(Box::new(poll))),
            rest: Bytes::new(),
            has_failed: false,
            #[cfg(feature = "digest")]
            watch: None,
        }
    }

    pub(crate) fn of_gathered(front: Vec<Bytes>, reader: Reader) -> Self {
        let front = front.into_iter().filter(|piece| !piece.is_empty());
        Self {
            source: Source::Gathered(front.collect(), reader),
            rest: Bytes::new(),
            has_failed: false,
            #[cfg(feature = "digest")]
            watch: None,
        }
    }

    /// The content, where it was gathered and nothing of it was read yet.
    pub(crate) fn unread(&self) -> Option<&Gathered> {
        match &self.source {
            Source::Gathered(front, reader) if front.is_empty() && self.rest.is_empty() => {
                reader.unread()
            }
            _ => None,
        }
    }

    /// The next piece, of any length but zero; `None` after the last.
    ///
    /// # Errors
    ///
    /// [`BodyError`] when the content will never be complete. A lost connection is an error, never
    /// a short message: only `None` says that all of it was there.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        poll_fn(|cx| self.poll_chunk(cx)).await
    }

    /// [`chunk`](Self::chunk), for those who write their futures by hand.
    ///
    /// # Errors
    ///
    /// As `chunk`.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Ok(Some(mem::take(&mut self.rest))));
        }
        let polled = self.poll_source(cx);
        #[cfg(feature = "digest")]
        self.watched(&polled);
        polled
    }

    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
        match &mut self.source {
            Source::Session(shared) => shared.poll_chunk(cx),
            Source::Pieces(pieces, error) => Poll::Ready(match (pieces.pop_front(), error) {
                (Some(piece), _) => Ok(Some(piece)),
                (None, Some(error)) => Err(error.clone()),
                (None, None) => Ok(None),
            }),
            Source::Foreign(foreign) => {
                let polled = (foreign.0)(cx);
                // It ends once, and has no end after that.
                match &polled {
                    Poll::Ready(Ok(None)) => {
                        self.source = Source::Pieces(VecDeque::new(), None);
                    }
                    Poll::Ready(Err(error)) => {
                        self.source = Source::Pieces(VecDeque::new(), Some(error.clone()));
                    }
                    _ => {}
                }
                polled
            }
            Source::Gathered(front, reader) => match front.pop_front() {
                Some(piece) => Poll::Ready(Ok(Some(piece))),
                None => reader.poll_chunk(cx),
            },
        }
    }
}

#[cfg(feature = "digest")]
impl Body {
    /// Shows everything that is read from now on to a digest.
    pub(crate) fn watch(&mut self, watch: crate::digest::Watch) {
        self.watch = Some(Box::new(watch));
    }

    fn watched(&mut self, polled: &Poll<Result<Option<Bytes>, BodyError>>) {
        match (&mut self.watch, polled) {
            (Some(watch), Poll::Ready(Ok(Some(piece)))) => watch.read(piece),
            (watch @ Some(_), Poll::Ready(Ok(None))) => {
                if let Some(watch) = watch.take() {
                    watch.finish();
                }
            }
            _ => {}
        }
    }
}

impl Shared {
    fn poll_chunk(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
        let mut state = self.lock();
        if let Some(End::Broken(error)) = &state.end {
            return Poll::Ready(Err(error.clone()));
        }
        if !state.waiting.is_empty() {
            let chunk = memory::freeze(mem::take(&mut state.waiting));
            state.usual = chunk.len();
            let session = state.session.take();
            drop(state);
            if let Some(session) = session {
                session.wake();
            }
            return Poll::Ready(Ok(Some(chunk)));
        }
        if state.end.is_some() {
            return Poll::Ready(Ok(None));
        }
        match &mut state.reader {
            Some(reader) => reader.clone_from(cx.waker()),
            reader => *reader = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let Source::Session(shared) = &self.source else {
            return;
        };
        let mut state = shared.lock();
        state.abandoned = true;
        state.waiting = Vec::new();
        let session = state.session.take();
        drop(state);
        if let Some(session) = session {
            session.wake();
        }
    }
}

/// The session's end of a [`Body`].
#[derive(Debug)]
pub(crate) struct BodyWriter {
    shared: Arc<Shared>,
}

/// A new content, nothing of it there yet.
pub(crate) fn channel() -> (BodyWriter, Body) {
    let shared = Arc::new(Shared::default());
    (
        BodyWriter {
            shared: Arc::clone(&shared),
        },
        Body {
            source: Source::Session(shared),
            rest: Bytes::new(),
            has_failed: false,
            #[cfg(feature = "digest")]
            watch: None,
        },
    )
}

impl BodyWriter {
    /// Appends a piece; [`wake_reader`](Self::wake_reader) then tells the handler.
    pub(crate) fn write(&self, piece: &[u8]) {
        let mut state = self.shared.lock();
        if !state.abandoned && state.end.is_none() {
            if state.waiting.is_empty() {
                state.waiting = memory::take(piece.len().max(state.usual));
            }
            state.waiting.extend_from_slice(piece);
        }
    }

    /// All of it has been written.
    pub(crate) fn finish(&self) {
        self.end(End::Complete);
    }

    /// It will never be complete.
    pub(crate) fn fail(&self, error: BodyError) {
        self.end(End::Broken(error));
    }

    fn end(&self, end: End) {
        let mut state = self.shared.lock();
        if state.end.is_none() {
            state.end = Some(end);
        }
    }

    /// Wakes whoever waits for a piece and has something to find now, unless it is the task of `cx`
    /// itself: that polls its handler anyway.
    pub(crate) fn wake_reader(&self, cx: &Context<'_>) {
        let mut state = self.shared.lock();
        if state.waiting.is_empty() && state.end.is_none() {
            return;
        }
        let reader = state.reader.take_if(|reader| !reader.will_wake(cx.waker()));
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// The octets that wait for the handler.
    pub(crate) fn waiting(&self) -> usize {
        self.shared.lock().waiting.len()
    }

    /// True while the handler has more before it than it should; the session is then woken when it
    /// has taken it.
    pub(crate) fn is_full(&self, cx: &Context<'_>) -> bool {
        let mut state = self.shared.lock();
        let full = state.waiting.len() > HIGH_WATER;
        if full {
            state.session = Some(cx.waker().clone());
        }
        full
    }
}

impl Drop for BodyWriter {
    fn drop(&mut self) {
        self.fail(BodyError::Stopped);
        let reader = self.shared.lock().reader.take();
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

#[derive(Debug, Default)]
struct Shared(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    /// As much was taken at once the last time, and is likely to be the next time.
    usual: usize,
    end: Option<End>,
    abandoned: bool,
    reader: Option<Waker>,
    session: Option<Waker>,
}

#[derive(Debug)]
enum End {
    Complete,
    Broken(BodyError),
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under the lock; a poisoned one would hold a whole state all
        // the same.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Wakes {
        fn count(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    fn poll(body: &mut Body, wakes: &Arc<Wakes>) -> Poll<Result<Option<Bytes>, BodyError>> {
        body.poll_chunk(&mut Context::from_waker(&Waker::from(Arc::clone(wakes))))
    }

    #[test]
    fn pieces_written_together_are_read_together_and_then_the_end() {
        let (writer, mut body) = channel();
        let wakes = Arc::default();
        writer.write(b"one ");
        writer.write(b"two");
        writer.finish();
        assert_eq!(
            poll(&mut body, &wakes),
            Poll::Ready(Ok(Some(Bytes::from_static(b"one two"))))
        );
        assert_eq!(poll(&mut body, &wakes), Poll::Ready(Ok(None)));
        assert_eq!(poll(&mut body, &wakes), Poll::Ready(Ok(None)));
    }

    #[test]
    fn a_broken_content_hides_what_waited() {
        let (writer, mut body) = channel();
        writer.write(b"half");
        writer.fail(BodyError::Incomplete);
        writer.finish();
        assert_eq!(
            poll(&mut body, &Arc::default()),
            Poll::Ready(Err(BodyError::Incomplete))
        );
    }

    #[test]
    fn a_dropped_writer_is_no_end() {
        let (writer, mut body) = channel();
        let wakes = Arc::default();
        assert!(poll(&mut body, &wakes).is_pending());
        drop(writer);
        assert_eq!(wakes.count(), 1);
        assert_eq!(
            poll(&mut body, &wakes),
            Poll::Ready(Err(BodyError::Stopped))
        );
    }

    #[test]
    fn a_reader_in_another_task_is_woken_and_one_in_the_same_task_is_not() {
        let (writer, mut body) = channel();
        let (reader, session) = (Arc::<Wakes>::default(), Arc::<Wakes>::default());
        let session_waker = Waker::from(Arc::clone(&session));

        assert!(poll(&mut body, &reader).is_pending());
        writer.wake_reader(&Context::from_waker(&session_waker));
        assert_eq!(reader.count(), 0, "there is nothing to find yet");
        writer.write(b"x");
        writer.wake_reader(&Context::from_waker(&session_waker));
        assert_eq!(reader.count(), 1);

        assert!(poll(&mut body, &session).is_ready());
        assert!(
            body.poll_chunk(&mut Context::from_waker(&session_waker))
                .is_pending()
        );
        writer.write(b"y");
        writer.wake_reader(&Context::from_waker(&session_waker));
        assert_eq!(session.count(), 0);
    }

    #[test]
    fn a_full_body_wakes_its_session_when_it_was_read_or_dropped() {
        let session = Arc::<Wakes>::default();
        let waker = Waker::from(Arc::clone(&session));
        let (writer, mut body) = channel();
        writer.write(&[0; HIGH_WATER]);
        assert!(!writer.is_full(&Context::from_waker(&waker)));
        writer.write(b"!");
        assert!(writer.is_full(&Context::from_waker(&waker)));
        assert!(poll(&mut body, &Arc::default()).is_ready());
        assert_eq!(session.count(), 1);

        writer.write(&[0; HIGH_WATER + 1]);
        assert!(writer.is_full(&Context::from_waker(&waker)));
        drop(body);
        assert_eq!(session.count(), 2);
        writer.write(&[0; HIGH_WATER + 1]);
        assert!(
            !writer.is_full(&Context::from_waker(&waker)),
            "nobody will read it"
        );
    }
}
