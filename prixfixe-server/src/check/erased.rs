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

macro_rules! hooks {
    ($($hook:ident($argument:ident);)*) => {
        trait Answers: Send {
            $(fn $hook<'a>(&'a mut self, argument: $argument<'a>) -> Boxed<'a, ()>;)*
            fn content<'a>(&'a mut self, content: Content<'a>) -> Boxed<'a, Verdict>;
            fn reads_content(&self) -> bool;
            fn sees_edits(&self) -> bool;
            fn is_indifferent(&self) -> bool;
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

            fn sees_edits(&self) -> bool {
                self.0.sees_edits()
            }

            fn is_indifferent(&self) -> bool {
                self.0.is_indifferent()
            }

            fn reset(&mut self) {
                self.0.reset();
            }
        }
    };
}

hooks! {
    hello(Hello);
    mail(Mail);
    rcpt(Rcpt);
    data(Data);
    command(Command);
}

#[expect(
    clippy::manual_async_fn,
    reason = "each idle connection has room for the futures of these, which would keep their arguments \
              twice, as captured and as used"
)]
impl Opened {
    pub(crate) fn hello(
        &mut self,
        hello: Hello<'_>,
    ) -> impl Future<Output = Result<(), Reply>> + Send {
        async move {
            for check in &mut self.0 {
                check.hello(hello).await?;
            }
            Ok(())
        }
    }

    pub(crate) fn mail(
        &mut self,
        mail: Mail<'_>,
    ) -> impl Future<Output = Result<(), Reply>> + Send {
        async move {
            for check in &mut self.0 {
                check.mail(mail).await?;
            }
            Ok(())
        }
    }

    pub(crate) fn rcpt(
        &mut self,
        rcpt: Rcpt<'_>,
    ) -> impl Future<Output = Result<(), Reply>> + Send {
        async move {
            for check in self.interested() {
                check.rcpt(rcpt).await?;
            }
            Ok(())
        }
    }

    pub(crate) fn data(
        &mut self,
        data: Data<'_>,
    ) -> impl Future<Output = Result<(), Reply>> + Send {
        async move {
            for check in self.interested() {
                check.data(data).await?;
            }
            Ok(())
        }
    }

    pub(crate) async fn command(&mut self, command: Command<'_>) -> Result<(), Reply> {
        for check in &mut self.0 {
            check.command(command).await?;
        }
        Ok(())
    }

    /// Those for which the transaction goes on.
    fn interested(&mut self) -> impl Iterator<Item = &mut Box<dyn Answers>> {
        self.0.iter_mut().filter(|check| !check.is_indifferent())
    }

    pub(crate) fn read_content(&self) -> bool {
        let mut checks = self.0.iter();
        checks.any(|check| !check.is_indifferent() && check.reads_content())
    }

    /// Asks those that look at the content; what all of them found.
    pub(crate) async fn content(&mut self, content: Content<'_>) -> Result<Verdict, Reply> {
        let mut verdict = Verdict::default();
        for check in self.interested() {
            if !check.reads_content() {
                continue;
            }
            if check.sees_edits() || verdict.has_steps() {
                let edited = content.edited(&verdict).await?;
                let found = check.content(content.with(&edited)).await?;
                verdict = verdict.then(found);
            } else {
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
