//! A question to the handler that is not answered yet.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use prixfixe_core::{ForwardPath, MailParameters, Reply, ReversePath};

use crate::{Client, Envelope, Handler};

/// A future of the handler's.
pub(super) type Asked<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What the handler said, together with what it was asked about.
pub(super) enum Outcome {
    Connect(Result<(), Reply>),
    Mail {
        reverse_path: ReversePath,
        parameters: MailParameters,
        started: Instant,
        result: Result<(), Reply>,
    },
    Rcpt {
        forward_path: ForwardPath,
        result: Result<(), Reply>,
    },
}

/// The handler panicked; the panic's message went to the panic hook.
pub(super) struct Panicked;

/// The open question of a command, or of the connection itself.
pub(super) struct Call {
    future: Asked<Outcome>,
    pub(super) deadline: Instant,
}

impl Call {
    pub(super) fn connect<H: Handler>(
        handler: Arc<H>,
        client: Arc<Client>,
        deadline: Instant,
    ) -> Self {
        let future = async move { Outcome::Connect(handler.connect(&client).await) };
        Self {
            future: Box::pin(future),
            deadline,
        }
    }

    pub(super) fn mail<H: Handler>(
        handler: Arc<H>,
        client: Arc<Client>,
        reverse_path: ReversePath,
        parameters: MailParameters,
        started: Instant,
        deadline: Instant,
    ) -> Self {
        let future = async move {
            let result = handler.mail(&client, &reverse_path, &parameters).await;
            Outcome::Mail {
                reverse_path,
                parameters,
                started,
                result,
            }
        };
        Self {
            future: Box::pin(future),
            deadline,
        }
    }

    pub(super) fn rcpt<H: Handler>(
        handler: Arc<H>,
        client: Arc<Client>,
        envelope: Arc<Envelope>,
        forward_path: ForwardPath,
        deadline: Instant,
    ) -> Self {
        let future = async move {
            let result = handler.rcpt(&client, &envelope, &forward_path).await;
            Outcome::Rcpt {
                forward_path,
                result,
            }
        };
        Self {
            future: Box::pin(future),
            deadline,
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Outcome, Panicked>> {
        poll_contained(&mut self.future, cx)
    }
}

/// Polls a future of the handler's; its panic ends here. The future must not be polled again after `Ready`.
pub(super) fn poll_contained<T>(
    future: &mut Asked<T>,
    cx: &mut Context<'_>,
) -> Poll<Result<T, Panicked>> {
    // The future is dropped after a panic, so nobody sees what it left half done.
    match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => Poll::Ready(Ok(ready!(poll))),
        Err(_) => Poll::Ready(Err(Panicked)),
    }
}
