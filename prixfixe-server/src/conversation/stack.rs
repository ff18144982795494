//! The checks of a connection and the application's session behind them, as one.

use std::future::Future;
use std::sync::Arc;

use prixfixe_core::{Protocol, Reply};

use crate::check::{self, Checks, Content, Opened};
use crate::hooks::{Command, Data, Hello, Mail, Rcpt};
use crate::message::Head;
use crate::{
    Accepted, Client, Envelope, Handler, Identity, Login, Message, Recipient, Session, replies,
};

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
        let verdict = Arc::new(self.checks.content(Content::of(head, &gathered)).await?);
        head.envelope.judged.set(&verdict);
        #[cfg(feature = "digest")]
        {
            head.sent = Some(Arc::new(crate::message::Sent {
                envelope: Arc::clone(&head.envelope),
                content: gathered.clone(),
            }));
        }
        let named = Arc::clone(&head.envelope);
        let envelope = Arc::make_mut(&mut head.envelope);
        message.body = check::apply(&verdict, &gathered, envelope).await?;
        head.verdict = Some(verdict);
        let changed = named.recipients != head.envelope.recipients
            || named.reverse_path != head.envelope.reverse_path;
        if changed && !head.envelope.recipients.is_empty() {
            Box::pin(self.begin_anew(head, &named)).await?;
        }
        Ok(message)
    }

    /// Asks the application about the envelope that checks have made, as if its client had named
    /// it.
    async fn begin_anew(&mut self, head: &mut Head, named: &Envelope) -> Result<(), Reply> {
        self.session.reset();
        let client = &head.client;
        let envelope = Arc::make_mut(&mut head.envelope);
        let recipients = std::mem::take(&mut envelope.recipients);
        let remains = |it: &Recipient| recipients.iter().any(|other| other.path == it.path);
        let is_redirected = !named.recipients.iter().all(remains);
        self.session.mail(Mail::new(client, envelope)).await?;
        for recipient in recipients {
            let rcpt = Rcpt::new(client, envelope, &recipient);
            let is_new = !named.recipients.iter().any(|it| it.path == recipient.path);
            let answer = match is_new {
                true => self.ask_about_added(rcpt).await,
                false => self.session.rcpt(rcpt).await,
            };
            match answer {
                Ok(()) => envelope.recipients.push(recipient),
                // Whoever moves a message to a place that is none, or none yet, does not throw it
                // away.
                Err(reply) if !is_new || is_redirected || reply.is_transient() => {
                    return Err(reply);
                }
                Err(reply) => {
                    tracing::debug!(%recipient, %reply, "a recipient that a check adds is refused");
                }
            }
        }
        self.session.data(Data::new(client, envelope)).await
    }

    async fn ask_about_added(&mut self, rcpt: Rcpt<'_>) -> Result<(), Reply> {
        let envelope = rcpt.envelope();
        let in_force = &envelope.in_force;
        if !in_force.has_room(envelope.recipients.len()) {
            return Err(replies::TOO_MANY_ADDED);
        }
        // RFC 6531 section 3.5: as a client's own RCPT.
        if !envelope.parameters.smtputf8 && !rcpt.path().to_string().is_ascii() {
            return Err(replies::NEEDS_SMTPUTF8);
        }
        if !in_force.accepts(rcpt.client(), rcpt.path()) {
            return Err(replies::NO_SUCH_DOMAIN);
        }
        self.checks.rcpt(rcpt).await?;
        self.session.rcpt(rcpt).await
    }
}

#[expect(
    clippy::manual_async_fn,
    reason = "each idle connection has room for the futures of these, which would keep their arguments \
              twice, as captured and as used"
)]
impl<S: Session> Session for Stack<S> {
    fn hello(&mut self, hello: Hello<'_>) -> impl Future<Output = Result<(), Reply>> + Send {
        async move {
            self.checks.hello(hello).await?;
            self.session.hello(hello).await
        }
    }

    async fn authenticate(&mut self, login: Login<'_>) -> Result<Identity, Reply> {
        self.session.authenticate(login).await
    }

    fn mail(&mut self, mail: Mail<'_>) -> impl Future<Output = Result<(), Reply>> + Send {
        async move {
            self.checks.mail(mail).await?;
            self.session.mail(mail).await
        }
    }

    fn rcpt(&mut self, rcpt: Rcpt<'_>) -> impl Future<Output = Result<(), Reply>> + Send {
        async move {
            self.checks.rcpt(rcpt).await?;
            self.session.rcpt(rcpt).await
        }
    }

    fn data(&mut self, data: Data<'_>) -> impl Future<Output = Result<(), Reply>> + Send {
        async move {
            self.checks.data(data).await?;
            self.session.data(data).await
        }
    }

    fn message(
        &mut self,
        mut message: Message,
    ) -> impl Future<Output = Result<Accepted, Reply>> + Send {
        async move {
            let mut named = None;
            if self.checks.read_content() {
                named = Some(Arc::clone(&message.head.envelope));
                // Boxed, or every message would pay for its locals: over 1 KiB an allocation has no
                // quick way.
                message = match Box::pin(self.checked(message)).await {
                    Ok(message) => message,
                    // The session has heard of recipients, and hears of no message.
                    Err(reply) => {
                        self.session.reset();
                        return Err(reply);
                    }
                };
            }
            let asked = Arc::clone(&message.head.envelope);
            let is_lmtp = message.client().protocol() == Protocol::Lmtp;
            let recipients = asked.recipients().len();
            // The checks have removed them all: there is nobody to keep it for.
            if recipients == 0 {
                self.session.reset();
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
    }

    async fn command(&mut self, command: Command<'_>) -> Result<Reply, Reply> {
        self.checks.command(command).await?;
        self.session.command(command).await
    }

    fn reset(&mut self) {
        self.checks.reset();
        self.session.reset();
    }
}
