//! The future that owns a session.

use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use prixfixe_core::Reply;
use tracing::info_span;

use super::stack::Stack;
use super::{About, Answer, LoginQuestion, Question, Told, is_abandoned, told};
use crate::check::Checks;
use crate::hooks::{Command, Data, Hello, Mail, Rcpt};
use crate::{Accepted, Client, Handler, Identity, Login, Session, replies};

/// A span around each question to the application, so that its own log lines have the peer and the
/// message's id.
macro_rules! question_span {
    ($name:literal, $client:expr $(, $field:ident = $value:expr)*) => {
        info_span!(
            target: "prixfixe::question",
            $name,
            connection = %$client.id(),
            peer = %$client.peer()
            $(, $field = %$value)*
        )
    };
}

/// Runs a hook inside its span, unless it is to be dropped: then there is no answer.
///
/// No function: the future of one would have room for the hook twice, as its argument and as what
/// it pins.
macro_rules! asked {
    ($span:expr, $hook:expr) => {{
        let span = $span;
        let mut hook = pin!($hook);
        poll_fn(|cx| {
            if is_abandoned() {
                return Poll::Ready(None);
            }
            let _entered = span.enter();
            hook.as_mut().poll(cx).map(Some)
        })
        .await
    }};
}

/// The conversation with a handler about a connection.
#[expect(
    clippy::manual_async_fn,
    reason = "each idle connection has room for it, and it would keep its arguments twice"
)]
pub(super) fn run<H: Handler>(
    handler: Arc<H>,
    checks: Checks,
) -> impl Future<Output = ()> + Send + use<H> {
    async move {
        let mut client = connected().await;
        let connected = {
            let span = question_span!("connect", client);
            asked!(span, Stack::connect(&checks, &handler, &client))
        };
        drop((handler, checks));
        let mut session = match connected.unwrap_or(Err(replies::HANDLER_TIMED_OUT)) {
            Ok(session) => session,
            Err(reply) => {
                give(Err(reply));
                // The connection is closed, and this dropped with it.
                return pending().await;
            }
        };
        give(Ok(Accepted::default()));
        loop {
            answer_next(&mut session, &mut client).await;
        }
    }
}

#[expect(
    clippy::manual_async_fn,
    reason = "each idle connection has room for it, and it would keep its arguments twice"
)]
fn answer_next<S: Session>(
    session: &mut Stack<S>,
    client: &mut Client,
) -> impl Future<Output = ()> + Send {
    async move {
        let question = match next().await {
            Told::Question(question) => question,
            Told::Connect(newer) | Told::Client(newer) => {
                *client = newer;
                return;
            }
        };
        match question {
            Question::Hello(greeting) => {
                let span = question_span!("hello", client);
                let hello = Hello::new(client, &greeting.name, greeting.extended);
                let result = asked!(span, session.hello(hello));
                let result = late(result).map(|()| client.greeted(greeting));
                super::give(Answer {
                    result: result.map(|()| Accepted::default()),
                    about: About::Client(client.clone()),
                });
            }
            Question::Mail(envelope) => {
                let span = question_span!("mail", client);
                let result = asked!(span, session.mail(Mail::new(client, &envelope)));
                drop(envelope);
                settle(session, result);
            }
            Question::Rcpt(envelope, recipient) => {
                let span = question_span!("rcpt", client);
                let rcpt = Rcpt::new(client, &envelope, &recipient);
                let result = asked!(span, session.rcpt(rcpt));
                drop(envelope);
                let result = late(result);
                super::give(Answer {
                    result: result.map(|()| Accepted::default()),
                    about: About::Recipient(recipient),
                });
            }
            Question::Data(envelope) => {
                let span = question_span!("data", client);
                let result = asked!(span, session.data(Data::new(client, &envelope)));
                drop(envelope);
                // A refusal here ends the transaction, of which the session is told by itself.
                give(late(result).map(|()| Accepted::default()));
            }
            Question::Message(message) => {
                let span = question_span!("message", client, id = message.id());
                // Boxed, or every idle connection would have room for the largest local of
                // `message`.
                let result = asked!(span, Box::pin(session.message(*message)));
                give(in_time(session, result));
            }
            Question::Login(login) => {
                let span = question_span!("authenticate", client, mechanism = login.mechanism);
                // Boxed as a message's is.
                let result = asked!(span, Box::pin(authenticate(session, client, *login)));
                let result = result.unwrap_or(Err(Reply::LOGIN_UNAVAILABLE));
                let result = result.map(|identity| client.identified(identity));
                super::give(Answer {
                    result: result.map(|()| Accepted::default()),
                    about: About::Client(client.clone()),
                });
            }
            Question::Command { verb, argument } => {
                let span = question_span!("command", client);
                let command = Command::new(client, &verb, &argument);
                // Boxed as a message's is: such commands are rare.
                let result = asked!(span, Box::pin(session.command(command)));
                give(late(result).map(Accepted::with_reply));
            }
            Question::Reset => session.reset(),
        }
    }
}

/// Asks whoever checks logins.
async fn authenticate<S: Session>(
    session: &mut Stack<S>,
    client: &Client,
    question: LoginQuestion,
) -> Result<Identity, Reply> {
    let LoginQuestion {
        mechanism,
        initial_response,
        exchange,
        authenticator,
    } = question;
    let login = Login::new(client, mechanism, initial_response, &exchange);
    match authenticator {
        Some(authenticator) => authenticator.authenticate(login).await,
        None => session.authenticate(login).await,
    }
}

/// Waits for a client.
fn connected() -> impl Future<Output = Client> {
    poll_fn(|_| match told() {
        Some(Told::Connect(client)) => Poll::Ready(client),
        _ => Poll::Pending,
    })
}

/// Waits for the next question.
fn next() -> impl Future<Output = Told> {
    poll_fn(|_| told().map_or(Poll::Pending, Poll::Ready))
}

/// The answer of a hook that may have been dropped. The transaction, if there is one, goes on
/// without it: what the session knows of the recipients before has to stay.
fn late<T>(result: Option<Result<T, Reply>>) -> Result<T, Reply> {
    result.unwrap_or(Err(replies::HANDLER_TIMED_OUT))
}

/// The answer of a hook without which there is no transaction any more.
fn in_time<S: Session, T>(
    session: &mut Stack<S>,
    result: Option<Result<T, Reply>>,
) -> Result<T, Reply> {
    result.unwrap_or_else(|| {
        session.reset();
        Err(replies::HANDLER_TIMED_OUT)
    })
}

fn settle<S: Session>(session: &mut Stack<S>, result: Option<Result<(), Reply>>) {
    give(in_time(session, result).map(|()| Accepted::default()));
}

fn give(result: Result<Accepted, Reply>) {
    super::give(Answer {
        result,
        about: About::Nothing,
    });
}
