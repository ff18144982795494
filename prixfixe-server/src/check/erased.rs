//! Checks of any type, and the sessions that they have for one connection.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use prixfixe_core::Reply;

use super::{Check, CheckSession, Content, Verdict};
use crate::Client;
use crate::hooks::{Command, Data, Hello, Mail, Rcpt};

type Boxed<'a, T> = Pin<Box<dyn Future<Output = Result<T, Reply>> + Send + 'a>>;

/// The checks of a server, in their order. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Checks(Arc<Vec<Arc<dyn Connects>>>);

impl Checks {
    pub(crate) fn push<C: Check>(&mut self, check: C) {
        Arc::make_mut(&mut self.0).push(Arc::new(Erased(Arc::new(check))));
    }

    /// One of them needs a runtime of tokio's.
    pub(crate) fn need_runtime(&self) -> bool {
        self.0.iter().any(|check| check.needs_runtime())
    }

    /// The sessions for a client, unless a check refuses it.
    pub(crate) async fn connect(&self, client: &Client) -> Result<Opened, Reply> {
        let mut opened = Vec::with_capacity(self.0.len());
        for check in self.0.iter() {
            opened.push(check.connect(client).await?);
        }
        Ok(Opened(opened))
    }
}

/// The sessions of all checks for one connection.
pub(crate) struct Opened(Vec<Box<dyn Answers>>);

macro_rules! ask_all {
    ($($hook:ident($argument:ident);)*) => {
        impl Opened {
            $(pub(crate) async fn $hook(&mut self, argument: $argument<'_>) -> Result<(), Reply> {
                for check in &mut self.0 {
                    check.$hook(argument).await?;
                }
                Ok(())
            })*
        }

        trait Answers: Send {
            $(fn $hook<'a>(&'a mut self, argument: $argument<'a>) -> Boxed<'a, ()>;)*
            fn content<'a>(&'a mut self, content: Content<'a>) -> Boxed<'a, Verdict>;
            fn reads_content(&self) -> bool;
            fn reset(&mut self);
        }

        impl<S: CheckSession> Answers for Whole<S> {
            $(fn $hook<'a>(&'a mut self, argument: $argument<'a>) -> Boxed<'a, ()> {
                Box::pin(self.0.$hook(argument))
            })*

            fn content<'a>(&'a mut self, content: Content<'a>) -> Boxed<'a, Verdict> {
                Box::pin(self.0.content(content))
            }

            fn reads_content(&self) -> bool {
                self.0.reads_content()
            }

            fn reset(&mut self) {
                self.0.reset();
            }
        }
    };
}

ask_all! {
    hello(Hello);
    mail(Mail);
    rcpt(Rcpt);
    data(Data);
    command(Command);
}

impl Opened {
    pub(crate) fn read_content(&self) -> bool {
        self.0.iter().any(|check| check.reads_content())
    }

    /// Asks those that look at the content; what all of them found.
    pub(crate) async fn content(&mut self, content: Content<'_>) -> Result<Verdict, Reply> {
        let mut verdict = Verdict::default();
        for check in &mut self.0 {
            if check.reads_content() {
                verdict.append(check.content(content).await?);
            }
        }
        Ok(verdict)
    }

    pub(crate) fn reset(&mut self) {
        self.0.iter_mut().for_each(|check| check.reset());
    }
}

/// A type of its own, so that the trait above is not one of every session's.
struct Whole<S>(S);

impl fmt::Debug for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Checks").field(&self.0.len()).finish()
    }
}

trait Connects: Send + Sync {
    fn connect<'a>(&'a self, client: &'a Client) -> Boxed<'a, Box<dyn Answers>>;
    fn needs_runtime(&self) -> bool;
}

struct Erased<C>(Arc<C>);

impl<C: Check> Connects for Erased<C> {
    fn connect<'a>(&'a self, client: &'a Client) -> Boxed<'a, Box<dyn Answers>> {
        Box::pin(async {
            let session = self.0.connect(client).await?;
            Ok(Box::new(Whole(session)) as Box<dyn Answers>)
        })
    }

    fn needs_runtime(&self) -> bool {
        self.0.needs_runtime()
    }
}
