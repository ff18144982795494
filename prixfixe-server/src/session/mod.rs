//! One client's session: the dialogue of `prixfixe-core`, the handler's answers and the body between them.
//!
//! What a session holds is bounded: [`INPUT_LIMIT`] and one read of input that waits, a body of
//! [`HIGH_WATER`](crate::body::HIGH_WATER) and one read, the envelope, and the replies of 16 KiB and one more.

mod call;
mod counting;
mod delivery;
mod input;
mod record;

use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Instant, SystemTime};

use prixfixe_core::{
    Abort, Answer, Connection, Event, ForwardPath, MailParameters, Question, Reply, ReversePath,
};
use prixfixe_network::{OutputBuffer, Session};
use prixfixe_tls::{HandshakeError, TlsInfo, Upgrade};

use self::call::{Call, Outcome, Panicked};
use self::counting::as_sent;
use self::delivery::Delivery;
use self::input::{Arrival, Input};
use self::record::{EndReason, MessageResult, Record};
use crate::client::Greeting;
use crate::message::Head;
use crate::shared::Shared;
use crate::simulation::{Held, Inspect};
use crate::{Client, Envelope, Handler, MessageId, TimeoutPhase, replies};

/// While this much input waits behind an open question, no more is read. A whole command line fits.
const INPUT_LIMIT: usize = 4096;

/// A session of the dialogue with one client.
pub(crate) struct SmtpSession<H> {
    shared: Arc<Shared<H>>,
    connection: Connection,
    client: Arc<Client>,
    input: Input,
    output: OutputBuffer,
    call: Option<Call>,
    transaction: Option<Box<Transaction>>,
    /// From STARTTLS, or from the start of a connection that begins with TLS, to the end of the handshake.
    wants_tls: bool,
    /// The connection is among those counted already.
    counted: bool,
    /// A command was refused since the last that began or ended a transaction: what a client has sent behind it is out of order.
    refused: bool,
    /// The handler has more of a body before it than it should: nothing is read meanwhile.
    stalled: bool,
    /// The transport's, as of the last poll: questions are asked while bytes are received, too.
    waker: Waker,
    record: Record,
}

/// A transaction, from the accepted MAIL on.
struct Transaction {
    envelope: Arc<Envelope>,
    /// When the first octet of MAIL came.
    started: Instant,
    /// When the content came to its end.
    finished: Option<Instant>,
    /// Octets of content so far.
    size: u64,
    /// From DATA, or the first BDAT, on.
    delivery: Option<Delivery>,
}

impl<H: Handler> SmtpSession<H> {
    pub(crate) fn new(shared: Arc<Shared<H>>, now: Instant, client: Client) -> Self {
        let connection = Connection::new(Arc::clone(&shared.dialogue), now);
        Self {
            connection,
            client: Arc::new(client),
            input: Input::default(),
            output: OutputBuffer::new(),
            call: None,
            transaction: None,
            wants_tls: false,
            counted: false,
            refused: false,
            stalled: false,
            waker: Waker::noop().clone(),
            record: Record::new(now),
            shared,
        }
    }

    /// TLS comes before anything else, and the handshake begins.
    pub(crate) fn handshake_begins(&mut self) {
        self.wants_tls = true;
    }

    /// Feeds the dialogue and acts on what comes of it, as far as the handler's answers are there at once; gives the
    /// number of octets that it took.
    fn advance(
        &mut self,
        now: Instant,
        bytes: &[u8],
        arrival: Arrival,
        cx: &mut Context<'_>,
    ) -> usize {
        let mut rest = bytes;
        loop {
            let mut arrived = arrival.of(bytes.len() - rest.len());
            while let Some(event) = self
                .connection
                .poll_event(now, &mut rest, self.output.back())
            {
                self.handle_event(now, arrived, event);
                arrived = arrival.of(bytes.len() - rest.len());
            }
            if self.connection.question().is_none() || !self.settle_question(now, cx) {
                return bytes.len() - rest.len();
            }
        }
    }

    fn advance_waiting(&mut self, now: Instant, cx: &mut Context<'_>) {
        let mut input = mem::take(&mut self.input);
        let arrival = input.arrival().unwrap_or(Arrival::at(now));
        let taken = self.advance(now, input.pending(), arrival, cx);
        input.consume(taken);
        self.input = input;
    }

    fn handle_event(&mut self, now: Instant, arrived: Instant, event: Event<'_>) {
        match event {
            Event::Hello { name, extended } => {
                self.refused = false;
                self.end_transaction(now, None);
                let client = Arc::make_mut(&mut self.client);
                client.greeting = Some(Greeting {
                    name: name.into(),
                    extended,
                });
            }
            Event::Mail {
                reverse_path,
                parameters,
            } => {
                self.refused = false;
                self.ask_mail(now, arrived, reverse_path.to_owned(), parameters);
            }
            Event::Rcpt { forward_path } => self.ask_rcpt(now, forward_path.to_owned()),
            Event::MessageStart => self.start_message(),
            Event::Body(piece) => self.write_body(piece),
            Event::MessageEnd { .. } => {
                let deadline = now + self.shared.handler_timeout;
                if let Some(transaction) = &mut self.transaction {
                    transaction.finished = Some(now);
                    if let Some(delivery) = &mut transaction.delivery {
                        delivery.finish(deadline);
                    }
                }
            }
            Event::MessageAborted(reason) => {
                self.refused = false;
                self.end_transaction(now, Some(reason));
            }
            Event::Reset => {
                self.refused = false;
                self.end_transaction(now, None);
            }
            Event::CommandRefused(reply) => self.count_refused_command(reply),
            Event::StartTls => self.wants_tls = true,
        }
    }

    fn ask_connect(&mut self, now: Instant) {
        let deadline = now + self.shared.handler_timeout;
        self.call = Some(Call::connect(
            Arc::clone(&self.shared.handler),
            Arc::clone(&self.client),
            deadline,
        ));
    }

    fn ask_mail(
        &mut self,
        now: Instant,
        arrived: Instant,
        reverse_path: ReversePath,
        parameters: MailParameters,
    ) {
        let is_limited = !self.client.is_health_check();
        if is_limited
            && !self
                .shared
                .clients
                .allows_message(now, self.client.peer.ip())
        {
            let reply = replies::TOO_MANY_MESSAGES;
            self.refuse_sender(reverse_path, &reply);
            return self.answer(now, Err(reply));
        }
        let deadline = now + self.shared.handler_timeout;
        let (handler, client) = (Arc::clone(&self.shared.handler), Arc::clone(&self.client));
        self.call = Some(Call::mail(
            handler,
            client,
            reverse_path,
            parameters,
            arrived,
            deadline,
        ));
    }

    fn ask_rcpt(&mut self, now: Instant, forward_path: ForwardPath) {
        let Some(transaction) = &self.transaction else {
            // The dialogue asks about recipients only inside a transaction.
            return self.answer(now, Err(replies::LOCAL_ERROR));
        };
        if !self.shared.accepts_domain_of(&forward_path) {
            self.refuse_recipient(forward_path, &replies::NO_SUCH_DOMAIN);
            return self.answer(now, Err(replies::NO_SUCH_DOMAIN));
        }
        let deadline = now + self.shared.handler_timeout;
        let (handler, client) = (Arc::clone(&self.shared.handler), Arc::clone(&self.client));
        let envelope = Arc::clone(&transaction.envelope);
        self.call = Some(Call::rcpt(
            handler,
            client,
            envelope,
            forward_path,
            deadline,
        ));
    }

    fn start_message(&mut self) {
        let Some(transaction) = &mut self.transaction else {
            return;
        };
        let received_at = SystemTime::now();
        let head = Head {
            id: MessageId::new(received_at),
            received_at,
            domain: Arc::clone(&self.shared.domain),
            client: Arc::clone(&self.client),
            envelope: Arc::clone(&transaction.envelope),
        };
        transaction.delivery = Some(Delivery::new(Arc::clone(&self.shared.handler), head));
    }

    fn write_body(&mut self, piece: &[u8]) {
        let size = piece.len() as u64;
        self.record.octets += size;
        if let Some(transaction) = &mut self.transaction {
            transaction.size += size;
            if let Some(delivery) = &transaction.delivery {
                delivery.body.write(piece);
            }
        }
    }

    fn delivery(&mut self) -> Option<&mut Delivery> {
        self.transaction.as_mut()?.delivery.as_mut()
    }

    /// The transaction is over without an answer of the handler's.
    fn end_transaction(&mut self, now: Instant, reason: Option<Abort>) {
        let Some(transaction) = &mut self.transaction else {
            return;
        };
        match (&mut transaction.delivery, reason) {
            (Some(delivery), Some(reason)) => {
                delivery.abort(&reason);
                let result = MessageResult::Aborted(&reason);
                self.record
                    .message(&self.shared.counts, now, &self.client, transaction, result);
            }
            _ => self.transaction = None,
        }
    }

    /// Answers a question about anything but a message.
    fn answer(&mut self, now: Instant, result: Result<(), Reply>) {
        self.count_answer(result.as_ref().err());
        let answer = match result {
            Ok(()) => Answer::Accept,
            Err(reply) => Answer::Refuse(reply),
        };
        self.connection.answer(now, answer, self.output.back());
    }

    /// Answers the open question if the handler has; true when the dialogue may go on.
    fn settle_question(&mut self, now: Instant, cx: &mut Context<'_>) -> bool {
        self.settle_delivery(cx);
        match self.connection.question() {
            None => true,
            Some(Question::Message) => self.settle_message(now),
            Some(Question::Connect) if self.call.is_none() => {
                self.ask_connect(now);
                self.settle_call(now, cx)
            }
            Some(Question::Connect | Question::Mail | Question::Rcpt) => self.settle_call(now, cx),
        }
    }

    /// Lets the handler of the message under way work on what is there, for the last time if that was aborted.
    fn settle_delivery(&mut self, cx: &mut Context<'_>) {
        let Some(delivery) = self.delivery() else {
            return;
        };
        if delivery.is_aborted() {
            delivery.settle_abort(cx);
            self.transaction = None;
        } else if let Err(Panicked) = delivery.poll(cx) {
            self.record.handler_panicked(&self.client);
        }
    }

    fn settle_call(&mut self, now: Instant, cx: &mut Context<'_>) -> bool {
        let Some(call) = &mut self.call else {
            self.answer(now, Err(replies::LOCAL_ERROR));
            return true;
        };
        let Poll::Ready(outcome) = call.poll(cx) else {
            return false;
        };
        self.call = None;
        let result = match outcome {
            Ok(Outcome::Connect(result)) => result,
            Ok(Outcome::Mail {
                reverse_path,
                parameters,
                started,
                result,
            }) => {
                match &result {
                    Ok(()) => {
                        self.transaction =
                            Some(Transaction::begin(reverse_path, parameters, started))
                    }
                    Err(reply) => self.refuse_sender(reverse_path, reply),
                }
                result
            }
            Ok(Outcome::Rcpt {
                forward_path,
                result,
            }) => {
                match (&result, &mut self.transaction) {
                    (Ok(()), Some(transaction)) => transaction.add(forward_path),
                    (Err(reply), _) => self.refuse_recipient(forward_path, reply),
                    (Ok(()), None) => {}
                }
                result
            }
            Err(Panicked) => {
                self.record.handler_panicked(&self.client);
                self.note_unanswered(replies::HANDLER_PANICKED);
                Err(replies::HANDLER_PANICKED)
            }
        };
        self.answer(now, result);
        true
    }

    fn settle_message(&mut self, now: Instant) -> bool {
        self.refused = false;
        let Some(mut transaction) = self.transaction.take() else {
            self.answer(now, Err(replies::LOCAL_ERROR));
            return true;
        };
        let answer = transaction
            .delivery
            .as_mut()
            .map(|delivery| (delivery.id, delivery.take_answer()));
        let (id, result) = match answer {
            Some((id, Some(result))) => (id, result),
            Some((_, None)) => {
                self.transaction = Some(transaction);
                return false;
            }
            None => {
                self.answer(now, Err(replies::LOCAL_ERROR));
                return true;
            }
        };
        let answer = match result {
            Ok(accepted) => {
                let result = MessageResult::Accepted;
                self.record
                    .message(&self.shared.counts, now, &self.client, &transaction, result);
                Answer::AcceptWith(accepted.into_reply(id))
            }
            Err(reply) => {
                let result = MessageResult::Refused(as_sent(&reply));
                self.record
                    .message(&self.shared.counts, now, &self.client, &transaction, result);
                Answer::Refuse(reply)
            }
        };
        self.connection.answer(now, answer, self.output.back());
        true
    }

    /// Settles what can be settled and goes on with the input that waits, until neither is possible.
    fn work(&mut self, now: Instant, cx: &mut Context<'_>) {
        if !self.settle_question(now, cx) {
            return;
        }
        let fed = !self.input.is_empty();
        self.advance_waiting(now, cx);
        if fed || self.delivery().is_some_and(|it| it.is_aborted()) {
            self.settle_delivery(cx);
        }
    }

    /// Ends what took too long; true if something did.
    fn handle_deadlines(&mut self, now: Instant, cx: &mut Context<'_>) -> bool {
        let mut ended = false;
        if self.call.as_ref().is_some_and(|call| call.deadline <= now) {
            self.call = None;
            self.record.handler_timed_out(&self.client);
            self.note_unanswered(replies::HANDLER_TIMED_OUT);
            self.answer(now, Err(replies::HANDLER_TIMED_OUT));
            ended = true;
        }
        if let Some(delivery) = self.delivery()
            && delivery.deadline().is_some_and(|deadline| deadline <= now)
        {
            delivery.give_up();
            self.record.handler_timed_out(&self.client);
            ended = true;
        }
        if self
            .connection
            .deadline()
            .is_some_and(|deadline| deadline <= now)
        {
            let phase = match self.connection.expects_content() {
                true => TimeoutPhase::Message,
                false => TimeoutPhase::Command,
            };
            self.connection.handle_timeout(now, self.output.back());
            self.record.end = EndReason::Timeout;
            self.count_timeout(phase);
            self.advance(now, &[], Arrival::at(now), cx);
            ended = true;
        }
        ended
    }

    /// While the handler keeps the client waiting, the client's own clock stands still.
    fn watch_body(&mut self, now: Instant, cx: &Context<'_>) {
        let timeout = self.shared.handler_timeout;
        let asked = self.connection.question().is_some();
        let stalled = match self.delivery() {
            Some(delivery) if !asked => delivery.is_stalled(cx, || now + timeout),
            _ => false,
        };
        self.stalled = stalled;
        if stalled {
            self.connection.pause(now);
        } else {
            self.connection.resume(now);
        }
    }
}

impl<H: Handler> Inspect for SmtpSession<H> {
    fn held(&self) -> Held {
        let transaction = self.transaction.as_ref();
        let delivery = transaction.and_then(|it| it.delivery.as_ref());
        Held {
            under_way: self.connection.in_transaction() || self.call.is_some(),
            input: self.input.len(),
            output: self.output.len(),
            body: delivery.map_or(0, |delivery| delivery.body.waiting()),
            recipients: transaction.map_or(0, |it| it.envelope.forward_paths.len()),
            tls_input: 0,
            tls_output: 0,
        }
    }
}

impl Transaction {
    fn begin(reverse_path: ReversePath, parameters: MailParameters, started: Instant) -> Box<Self> {
        let envelope = Arc::new(Envelope {
            reverse_path,
            parameters,
            forward_paths: Vec::new(),
        });
        Box::new(Self {
            envelope,
            started,
            finished: None,
            size: 0,
            delivery: None,
        })
    }

    fn add(&mut self, forward_path: ForwardPath) {
        // The handler's future is gone, so the envelope is not shared unless the handler kept it.
        Arc::make_mut(&mut self.envelope)
            .forward_paths
            .push(forward_path);
    }
}

impl<H: Handler> Session for SmtpSession<H> {
    fn receive(&mut self, now: Instant, bytes: &[u8]) {
        self.shared.counts.octets(bytes.len());
        let waker = mem::replace(&mut self.waker, Waker::noop().clone());
        let mut cx = Context::from_waker(&waker);
        if self.input.is_empty() {
            let taken = self.advance(now, bytes, Arrival::at(now), &mut cx);
            self.input
                .append(now, bytes.get(taken..).unwrap_or_default());
        } else {
            self.input.append(now, bytes);
            self.advance_waiting(now, &mut cx);
        }
        self.waker = waker;
    }

    fn receive_eof(&mut self, now: Instant) {
        self.connection.receive_eof(now);
    }

    fn poll(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        self.record.seen(now);
        self.waker.clone_from(cx.waker());
        self.work(now, cx);
        // An answer that is there counts, however late it is seen.
        if self.handle_deadlines(now, cx) {
            self.work(now, cx);
        }
        self.watch_body(now, cx);
        if self.connection.is_closed() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn output(&mut self) -> &mut OutputBuffer {
        &mut self.output
    }

    fn wants_read(&self) -> bool {
        self.input.len() < INPUT_LIMIT && !self.stalled && !self.connection.is_closed()
    }

    fn deadline(&self) -> Option<Instant> {
        let handler = match (
            &self.call,
            self.transaction
                .as_ref()
                .and_then(|it| it.delivery.as_ref()),
        ) {
            (Some(call), _) => Some(call.deadline),
            (None, Some(delivery)) => delivery.deadline(),
            (None, None) => None,
        };
        handler.or_else(|| self.connection.deadline())
    }

    fn shutdown(&mut self, now: Instant) {
        self.record.end = EndReason::Shutdown;
        self.connection.shutdown(now, self.output.back());
    }

    fn peer_is_done(&self) -> bool {
        self.connection.has_quit() && self.input.is_empty()
    }
}

impl<H: Handler> Upgrade for SmtpSession<H> {
    fn wants_tls(&self) -> bool {
        self.wants_tls
    }

    fn tls_established(&mut self, now: Instant, info: TlsInfo) {
        self.wants_tls = false;
        self.shared.counts.handshake(info.version);
        self.transaction = None;
        let client = Arc::make_mut(&mut self.client);
        client.tls = Some(Box::new(info));
        // RFC 3207 section 4.2: what was learned in clear is forgotten.
        client.greeting = None;
        self.connection.tls_established(now);
    }

    fn clear_text_instead_of_handshake(&mut self, now: Instant) {
        self.wants_tls = false;
        self.count_clear_text();
        self.connection
            .clear_text_after_starttls(now, self.output.back());
    }

    fn tls_failed(&mut self, _now: Instant, error: &HandshakeError) {
        self.wants_tls = false;
        self.count_failed_handshake(error);
        self.record.end = EndReason::Tls(error.to_string().into());
    }
}

impl<H> Drop for SmtpSession<H> {
    fn drop(&mut self) {
        if let Some(mut transaction) = self.transaction.take()
            && let Some(delivery) = &mut transaction.delivery
            && !delivery.is_aborted()
        {
            delivery.lose(self.record.end == EndReason::Shutdown);
            self.record
                .message_lost(&self.shared.counts, &self.client, &transaction);
        }
        self.count_end();
        self.record.connection_closed(&self.client);
    }
}

#[cfg(test)]
mod tests;
