//! The checks of a connection and the application's session behind them, as one.

use std::sync::Arc;

use prixfixe_core::{Protocol, Reply};

use crate::check::{self, Checks, Content, Opened};
use crate::hooks::{Command, Data, Hello, Mail, Rcpt};
use crate::{Accepted, Client, Handler, Identity, Login, Message, Session, replies};

/// The checks of a server and its handler.
pub(crate) struct Checked<H> {
    checks: Checks,
    handler: Arc<H>,
}

impl<H> Checked<H> {
    pub(crate) const fn new(checks: Checks, handler: Arc<H>) -> Self {
        Self { checks, handler }
    }
}

impl<H: Handler> Handler for Checked<H> {
    type Session = Stack<H::Session>;

    async fn connect(self: &Arc<Self>, client: &Client) -> Result<Self::Session, Reply> {
        Stack::connect(&self.checks, &self.handler, client).await
    }

    fn needs_runtime(&self) -> bool {
        self.checks.need_runtime() || self.handler.needs_runtime()
    }
}

/// Those of one connection.
pub(crate) struct Stack<S> {
    checks: Opened,
    session: S,
}

impl<S: Session> Stack<S> {
    pub(super) async fn connect<H: Handler<Session = S>>(
        checks: &Checks,
        handler: &Arc<H>,
        client: &Client,
    ) -> Result<Self, Reply> {
        let checks = checks.connect(client).await?;
        let session = handler.connect(client).await?;
        Ok(Self { checks, session })
    }

    /// The message after the checks of its content, and with their edits.
    async fn checked(&mut self, mut message: Message) -> Result<Message, Reply> {
        let gathered = message.gather().await?;
        let head = &mut message.head;
        let content = Content::new(&head.client, &head.envelope, &gathered);
        let verdict = self.checks.content(content).await?;
        #[cfg(feature = "digest")]
        {
            head.sent = Some(Arc::new(crate::message::Sent {
                envelope: Arc::clone(&head.envelope),
                content: gathered.clone(),
            }));
        }
        let envelope = Arc::make_mut(&mut head.envelope);
        message.body = check::apply(verdict.edits(), &gathered, envelope).await?;
        head.verdict = Some(Arc::new(verdict));
        Ok(message)
    }
}

impl<S: Session> Session for Stack<S> {
    async fn hello(&mut self, hello: Hello<'_>) -> Result<(), Reply> {
        self.checks.hello(hello).await?;
        self.session.hello(hello).await
    }

    async fn authenticate(&mut self, login: Login<'_>) -> Result<Identity, Reply> {
        self.session.authenticate(login).await
    }

    async fn mail(&mut self, mail: Mail<'_>) -> Result<(), Reply> {
        self.checks.mail(mail).await?;
        self.session.mail(mail).await
    }

    async fn rcpt(&mut self, rcpt: Rcpt<'_>) -> Result<(), Reply> {
        self.checks.rcpt(rcpt).await?;
        self.session.rcpt(rcpt).await
    }

    async fn data(&mut self, data: Data<'_>) -> Result<(), Reply> {
        self.checks.data(data).await?;
        self.session.data(data).await
    }

    async fn message(&mut self, mut message: Message) -> Result<Accepted, Reply> {
        let mut named = None;
        if self.checks.read_content() {
            named = Some(Arc::clone(&message.head.envelope));
            // Boxed, or every message would pay for its locals: over 1 KiB an allocation has no quick way.
            message = Box::pin(self.checked(message)).await?;
        }
        let asked = Arc::clone(&message.head.envelope);
        let is_lmtp = message.client().protocol() == Protocol::Lmtp;
        let recipients = asked.recipients().len();
        // The checks have removed them all: there is nobody to keep it for.
        if recipients == 0 {
            return Ok(Accepted::default());
        }
        let accepted = self.session.message(message).await?;
        // Who was forgotten has no message.
        if !accepted.concerns(recipients) {
            return Err(replies::LOCAL_ERROR);
        }
        match named {
            Some(named) if is_lmtp => accepted.of_named(named.recipients(), asked.recipients()),
            _ => Ok(accepted),
        }
    }

    async fn command(&mut self, command: Command<'_>) -> Result<Reply, Reply> {
        self.session.command(command).await
    }

    fn reset(&mut self) {
        self.checks.reset();
        self.session.reset();
    }
}
