//! A body as a reader, for what copies from one.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use tokio::io::{AsyncRead, ReadBuf};

use super::{Body, BodyError};

impl AsyncRead for Body {
    /// A content that will never be complete is an error of the kind that fits, with the [`BodyError`] inside.
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
