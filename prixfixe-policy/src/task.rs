//! Work that goes on while the client does, and ends with whoever waits for it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use prixfixe_http::BoxFuture;
use tokio::task::JoinHandle;

/// A task of tokio's that is aborted when it is dropped. Awaited once, it gives what came out of it; nothing if it
/// panicked or the runtime has gone.
#[derive(Debug)]
pub(crate) struct Task<T>(JoinHandle<T>);

impl<T: Send + 'static> Task<T> {
    /// Starts it on the runtime that is in force here.
    pub(crate) fn spawn(work: BoxFuture<'static, T>) -> Self {
        Self(tokio::spawn(work))
    }
}

impl<T> Future for Task<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(Result::ok)
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
