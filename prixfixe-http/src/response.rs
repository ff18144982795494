//! What the other side answers, within bounds.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Incoming};
use hyper::header::HeaderMap;
use hyper::{StatusCode, http};
use tokio::time::{Instant, timeout_at};

use crate::connect::Connection;
use crate::request::Progress;
use crate::{Client, HttpError, MAX_BODY};

/// How long the rest of a body is waited for that nobody wants.
const DRAIN: Duration = Duration::from_secs(1);

/// The head of a response, and a body that has not been read. Dropping it closes the connection.
#[derive(Debug)]
pub struct Response {
    head: http::response::Parts,
    body: Incoming,
    connection: Connection,
    client: Client,
    progress: Progress,
    deadline: Instant,
    patience: Duration,
}

impl Response {
    pub(super) fn new(
        response: hyper::Response<Incoming>,
        connection: Connection,
        client: Client,
        progress: Progress,
        patience: Duration,
    ) -> Self {
        let (head, body) = response.into_parts();
        Self {
            head,
            body,
            connection,
            client,
            progress,
            deadline: Instant::now() + patience,
            patience,
        }
    }

    /// What it comes to.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.head.status
    }

    /// What else is said of it.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// Reads the body, [`MAX_BODY`] of it at the most; of a longer one that is all there is.
    ///
    /// # Errors
    ///
    /// [`HttpError`] where it breaks off or does not come in time.
    pub async fn read(self) -> Result<Bytes, HttpError> {
        self.read_up_to(MAX_BODY).await
    }

    /// As [`read`](Self::read), with another limit.
    ///
    /// # Errors
    ///
    /// As those of [`read`](Self::read).
    pub async fn read_up_to(mut self, limit: usize) -> Result<Bytes, HttpError> {
        let deadline = self.deadline;
        match self.read_until(deadline, limit).await {
            Ok(Read::Whole(body)) => {
                self.give_back();
                Ok(body)
            }
            Ok(Read::Part(body)) => Ok(body),
            Ok(Read::Late) => Err(HttpError::TimedOut(self.patience)),
            Err(error) => Err(HttpError::lost(&error, &self.progress)),
        }
    }

    /// Nobody wants the body: it is read a little, so that the connection can be used again.
    pub async fn discard(mut self) {
        if let Ok(Read::Whole(_)) = self.read_until(Instant::now() + DRAIN, MAX_BODY).await {
            self.give_back();
        }
    }

    async fn read_until(&mut self, deadline: Instant, limit: usize) -> hyper::Result<Read> {
        let mut whole = BytesMut::new();
        loop {
            let body = &mut self.body;
            let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx));
            let Ok(frame) = timeout_at(deadline, frame).await else {
                return Ok(Read::Late);
            };
            let Some(frame) = frame else {
                return Ok(Read::Whole(whole.freeze()));
            };
            // Trailers say nothing to us.
            let Ok(piece) = frame?.into_data() else {
                continue;
            };
            let room = limit - whole.len();
            whole.extend_from_slice(piece.get(..room).unwrap_or(&piece));
            if piece.len() > room {
                return Ok(Read::Part(whole.freeze()));
            }
        }
    }

    /// A connection whose request is still going out has answered early, and cannot be used again.
    fn give_back(self) {
        if self.progress.is_sent() {
            self.client.keep(self.connection);
        }
    }
}

enum Read {
    Whole(Bytes),
    Part(Bytes),
    Late,
}
