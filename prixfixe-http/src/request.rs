//! What is asked, and its content as it goes out.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use hyper::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Uri};
use prixfixe_server::{Body, Gathered};
use tokio::time::Instant;

/// A request that can be sent more than once.
#[derive(Debug, Clone)]
pub struct Request {
    method: Method,
    /// The path and the query.
    target: Uri,
    headers: HeaderMap,
    content: Vec<Part>,
}

/// A part of a content.
#[derive(Debug, Clone)]
pub enum Part {
    /// Bytes in memory.
    Bytes(Bytes),
    /// A whole gathered content, read as it goes out.
    Gathered(Gathered),
}

impl Part {
    fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Gathered(gathered) => gathered.size(),
        }
    }
}

impl Request {
    /// A request for a path with its query.
    pub fn new(method: Method, target: Uri) -> Self {
        Self {
            method,
            target,
            headers: HeaderMap::new(),
            content: Vec::new(),
        }
    }

    /// One header more.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// The same with this content.
    pub fn content(mut self, content: Vec<Part>) -> Self {
        self.content = content;
        self
    }

    /// The bytes of its content.
    pub fn size(&self) -> u64 {
        self.content.iter().map(Part::size).sum()
    }

    pub(super) fn to_hyper(
        &self,
        host: HeaderValue,
        progress: &Progress,
    ) -> hyper::Request<RequestBody> {
        let size = self.size();
        let mut request = hyper::Request::new(RequestBody {
            parts: self.content.iter().cloned().collect(),
            reading: None,
            left: size,
            progress: progress.clone(),
        });
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.clone();
        let headers = request.headers_mut();
        *headers = self.headers.clone();
        headers.entry(HOST).or_insert(host);
        headers
            .entry(USER_AGENT)
            .or_insert(HeaderValue::from_static(concat!(
                "PrixFixe/",
                env!("CARGO_PKG_VERSION")
            )));
        if size > 0 || !matches!(self.method, Method::GET | Method::HEAD | Method::DELETE) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
        }
        request
    }
}

/// A content on its way.
#[derive(Debug)]
pub(crate) struct RequestBody {
    parts: VecDeque<Part>,
    reading: Option<Body>,
    left: u64,
    progress: Progress,
}

impl hyper::body::Body for RequestBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        loop {
            if let Some(body) = &mut self.reading {
                match ready!(body.poll_chunk(cx)) {
                    Ok(Some(piece)) => return Poll::Ready(Some(Ok(self.take(piece)))),
                    Ok(None) => self.reading = None,
                    Err(error) => {
                        self.progress.lock().failure = Some(error.to_string());
                        return Poll::Ready(Some(Err(std::io::Error::other(error))));
                    }
                }
            }
            match self.parts.pop_front() {
                Some(Part::Bytes(bytes)) if bytes.is_empty() => {}
                Some(Part::Bytes(bytes)) => return Poll::Ready(Some(Ok(self.take(bytes)))),
                Some(Part::Gathered(gathered)) => self.reading = Some(gathered.body()),
                None => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

impl RequestBody {
    fn take(&mut self, piece: Bytes) -> Frame<Bytes> {
        self.left = self.left.saturating_sub(piece.len() as u64);
        let mut state = self.progress.lock();
        state.latest = Instant::now();
        state.is_sent |= self.left == 0;
        drop(state);
        Frame::data(piece)
    }
}

/// How far a content has come, for the one who waits for the response.
#[derive(Debug, Clone)]
pub(crate) struct Progress(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    latest: Instant,
    is_sent: bool,
    failure: Option<String>,
}

impl Progress {
    /// Of a content of this size.
    pub(super) fn new(size: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            latest: Instant::now(),
            is_sent: size == 0,
            failure: None,
        })))
    }

    /// When a piece was taken the last time.
    pub(super) fn latest(&self) -> Instant {
        self.lock().latest
    }

    /// True when all of the content was taken.
    pub(super) fn is_sent(&self) -> bool {
        self.lock().is_sent
    }

    /// Why the content could not be read.
    pub(super) fn failure(&self) -> Option<String> {
        self.lock().failure.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
