//! A body as a reader and as a stream, for what takes such.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_core::Stream;
use tokio::io::{AsyncRead, ReadBuf};

use super::{Body, BodyError};

impl AsyncRead for Body {
    /// A content that will never be complete is an error of the kind that fits, with the
    /// [`BodyError`] inside.
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match ready!(self.poll_chunk(cx)) {
            Ok(None) => {}
            Ok(Some(mut piece)) => {
                let part = piece.get(..buffer.remaining()).unwrap_or(&piece);
                buffer.put_slice(part);
                let count = part.len();
                piece.advance(count);
                self.rest = piece;
            }
            Err(error) => return Poll::Ready(Err(error.into())),
        }
        Poll::Ready(Ok(()))
    }
}

impl Stream for Body {
    type Item = Result<Bytes, BodyError>;

    /// A content that will never be complete ends with its error: only an end without one says that
    /// all of it was there.
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.has_failed {
            return Poll::Ready(None);
        }
        let piece = ready!(self.poll_chunk(cx));
        self.has_failed = piece.is_err();
        Poll::Ready(piece.transpose())
    }
}

impl From<BodyError> for io::Error {
    fn from(error: BodyError) -> Self {
        let kind = match error {
            BodyError::Incomplete => io::ErrorKind::UnexpectedEof,
            BodyError::TimedOut => io::ErrorKind::TimedOut,
            BodyError::Refused(_) | BodyError::TooLarge => io::ErrorKind::InvalidData,
            BodyError::Stopped => io::ErrorKind::ConnectionAborted,
        };
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt;

    use super::*;

    /// Every item, to an end that stays one.
    async fn items(mut body: Body) -> Vec<Result<Bytes, BodyError>> {
        let mut items = Vec::new();
        while let Some(item) = poll_fn(|cx| Pin::new(&mut body).poll_next(cx)).await {
            items.push(item);
        }
        assert_eq!(
            poll_fn(|cx| Pin::new(&mut body).poll_next(cx)).await,
            None,
            "an end stays one"
        );
        items
    }

    #[tokio::test]
    async fn a_stream_gives_every_piece_and_ends_with_the_error() {
        let pieces = ["ab", "", "c"];
        let whole = [Ok(Bytes::from("ab")), Ok(Bytes::from("c"))];
        assert_eq!(items(Body::of_pieces(pieces, None)).await, whole);
        let lost = BodyError::Incomplete;
        let mut cut_off = whole.to_vec();
        cut_off.push(Err(lost.clone()));
        assert_eq!(items(Body::of_pieces(pieces, Some(lost))).await, cut_off);
    }

    #[tokio::test]
    async fn an_error_that_a_stream_gave_is_not_forgotten_by_others() {
        let mut body = Body::of_pieces([""; 0], Some(BodyError::TimedOut));
        let first = poll_fn(|cx| Pin::new(&mut body).poll_next(cx)).await;
        assert_eq!(first, Some(Err(BodyError::TimedOut)));
        assert_eq!(body.chunk().await, Err(BodyError::TimedOut));
    }

    #[tokio::test]
    async fn a_reader_gives_every_byte_and_then_the_error() {
        for length in 1..5 {
            let mut body = Body::of_pieces(["ab", "cde"], Some(BodyError::Incomplete));
            let mut read = Vec::new();
            let error = loop {
                let mut buffer = vec![0; length];
                match body.read(&mut buffer).await {
                    Ok(count) => read.extend_from_slice(&buffer[..count]),
                    Err(error) => break error,
                }
            };
            assert_eq!(read, b"abcde", "{length} at a time");
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}
