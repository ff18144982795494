//! One client's session: the dialogue of `prixfixe-core`, the handler's answers and the body between them.
//!
//! What a session holds is bounded: [`INPUT_LIMIT`], in a login the longest line of one, and one read of input that waits, a body of
//! [`HIGH_WATER`](crate::body::HIGH_WATER) and one read, the envelope, and the replies of 16 KiB and one more.

mod counting;
mod delivery;
mod input;
mod login;
mod question;
mod record;
mod refused_line;
mod room;
mod xclient;

use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use crate::tls::{HandshakeError, TlsInfo, Upgrade};
use prixfixe_core::{Abort, Connection, Event, Question as Open};
use prixfixe_network::{OutputBuffer, Session};

use self::delivery::{Delivery, Transaction};
use self::input::Input;
use self::login::Login;
use self::record::{EndReason, Record};
use crate::clients::Place;
use crate::conversation::{Conversation, Panicked};
use crate::inspect::{Held, Inspect};
use crate::observe::{MessageResult, Observation};
use crate::shared::Shared;
use crate::{Client, TimeoutPhase, replies};

/// While this much input waits behind an open question, no more is read. A whole command line fits.
const INPUT_LIMIT: usize = 4096;

/// A session of the dialogue with one client.
pub(crate) struct SmtpSession {
    shared: Arc<Shared>,
    connection: Connection,
    client: Client,
    /// Of a client of which a proxy has told: that of any other is the front's.
    place: Option<Place>,
    /// That client is over a limit.
    is_over_limit: bool,
    input: Input,
    output: OutputBuffer,
    /// The application's side.
    conversation: Conversation,
    pending: Pending,
    /// From the question about MAIL to the accepted DATA or BDAT.
    transaction: Option<Transaction>,
    /// From STARTTLS, or from the start of a connection that begins with TLS, to the end of the handshake.
    wants_tls: bool,
    /// The connection is among those counted already.
    counted: bool,
    /// The last command was refused: what a client has sent behind it, without waiting, is out of order.
    refused: bool,
    /// The log has the refusal of the chunk that is being skipped.
    chunk_is_told: bool,
    /// The application has more of a body before it than it should: nothing is read meanwhile.
    stalled: bool,
    /// The transport's, as of the last poll: questions are asked while bytes are received, too.
    waker: Waker,
    record: Record,
}

/// What the application owes.
enum Pending {
    Nothing,
    /// The answer to the dialogue's open question, by then.
    Answer(Instant),
    /// The answer to a login, or it waits for the client to go on with it.
    Login(Box<Login>),
    /// What becomes of a message, whose content may still be coming.
    Message(Box<Delivery>),
}

impl SmtpSession {
    pub(crate) fn new(shared: Arc<Shared>, now: Instant, client: Client) -> Self {
        let dialogue = shared.dialogue_with(client.peer());
        let mut connection = Connection::with_protocol(dialogue, client.protocol(), now);
        if client.is_proxy() {
            connection.offer_xclient();
        }
        Self {
            connection,
            client,
            place: None,
            is_over_limit: false,
            input: Input::default(),
            output: OutputBuffer::new(),
            conversation: shared.application.begin(),
            pending: Pending::Nothing,
            transaction: None,
            wants_tls: false,
            counted: false,
            refused: false,
            chunk_is_told: false,
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

    /// Feeds the dialogue and acts on what comes of it, as far as the application's answers are there at once; gives
    /// the number of octets that it took.
    fn advance(&mut self, now: Instant, bytes: &[u8], cx: &mut Context<'_>) -> usize {
        room::with(|room| self.advance_in(room, now, bytes, cx))
    }

    fn advance_in(
        &mut self,
        room: &mut [u8],
        now: Instant,
        bytes: &[u8],
        cx: &mut Context<'_>,
    ) -> usize {
        let mut rest = bytes;
        loop {
            while let Some(event) =
                self.connection
                    .poll_event_with_room(now, &mut rest, self.output.back(), room)
            {
                self.handle_event(now, event, cx);
            }
            if self.connection.question().is_none() || !self.settle_question(now, cx) {
                return bytes.len() - rest.len();
            }
        }
    }

    fn advance_waiting(&mut self, now: Instant, cx: &mut Context<'_>) {
        let mut input = mem::take(&mut self.input);
        let taken = self.advance(now, input.pending(), cx);
        input.consume(taken);
        self.input = input;
    }

    fn handle_event(&mut self, now: Instant, event: Event<'_>, cx: &mut Context<'_>) {
        if !matches!(event, Event::CommandRefused { .. }) {
            self.refused = false;
        }
        match event {
            Event::Body(piece) => self.write_body(piece),
            Event::MessageEnd { .. } => self.finish_message(now),
            Event::MessageAborted(reason) => self.abort_message(now, &reason, cx),
            Event::Reset => {
                self.refuse_large_chunk(now);
                self.end_transaction(now, cx);
            }
            // Nobody waits for the end of what is refused for ever.
            Event::CommandRefused { reply, .. } if reply == replies::TIMED_OUT => {
                self.record.end = EndReason::Timeout;
                self.count_timeout(now, TimeoutPhase::Message);
            }
            Event::CommandRefused { line, reply } => self.refuse_command(now, line, &reply),
            Event::StartTls => self.wants_tls = true,
            Event::Auth {
                mechanism,
                initial_response,
            } => self.begin_login(now, mechanism, initial_response, cx),
            Event::AuthResponse(response) => self.continue_login(now, response, cx),
            Event::AuthAborted(reply) => self.abort_login(now, &reply, cx),
            Event::Xclient(told) => self.become_another(now, &told),
            question => self.ask_event(now, &question, cx),
        }
    }

    /// Answers the open question if the application has; true when the dialogue may go on.
    fn settle_question(&mut self, now: Instant, cx: &mut Context<'_>) -> bool {
        self.settle_delivery(now, cx);
        match (self.connection.question(), &self.pending) {
            (None, _) => return true,
            (Some(Open::Message), _) => return self.settle_message(now),
            (Some(Open::Auth), _) => self.poll_login(now, cx),
            (Some(Open::Connect), Pending::Nothing) => self.ask_connect(now, cx),
            (Some(_), _) => {
                if let Poll::Ready(outcome) = self.conversation.poll(cx) {
                    self.settle(now, outcome, cx);
                }
            }
        }
        self.connection.question().is_none()
    }

    /// Lets the application work on the message under way.
    fn settle_delivery(&mut self, now: Instant, cx: &mut Context<'_>) {
        let Pending::Message(delivery) = &mut self.pending else {
            return;
        };
        if let Err(Panicked) = delivery.poll(&mut self.conversation, cx) {
            self.record
                .handler_panicked(&self.shared.log, now, &self.client, Some(Open::Message));
        }
        if self.connection.question().is_none()
            && let Some(reply) = delivery.closing_reply()
        {
            self.connection.close(reply, self.output.back());
            self.record.end = EndReason::Refused(Box::new(reply.clone()));
            let result = MessageResult::Refused(reply);
            self.record
                .message(self.shared.observer(), now, &self.client, delivery, result);
            self.pending = Pending::Nothing;
        }
    }

    fn write_body(&mut self, piece: &[u8]) {
        self.record.octets += piece.len() as u64;
        if let Pending::Message(delivery) = &mut self.pending {
            delivery.write(piece);
        }
    }

    fn finish_message(&mut self, now: Instant) {
        if let Pending::Message(delivery) = &mut self.pending {
            delivery.finish(now, now + self.shared.handler_timeout);
        }
    }

    /// The message will never be complete.
    fn abort_message(&mut self, now: Instant, reason: &Abort, cx: &mut Context<'_>) {
        if let Pending::Message(delivery) = mem::replace(&mut self.pending, Pending::Nothing) {
            if *reason == Abort::Eof {
                self.record.end = EndReason::Lost;
            }
            let result = MessageResult::Aborted(reason);
            self.record
                .message(self.shared.observer(), now, &self.client, &delivery, result);
            let aborted = delivery.abort(reason, &mut self.conversation, cx);
            self.close_if_broken(now, aborted);
        }
    }

    /// The transaction is over without a message.
    fn end_transaction(&mut self, now: Instant, cx: &mut Context<'_>) {
        if self.transaction.take().is_some() {
            let told = self.conversation.reset(cx);
            self.close_if_broken(now, told);
        }
    }

    fn close_if_broken(&mut self, now: Instant, told: Result<(), Panicked>) {
        if let Err(Panicked) = told {
            self.record
                .handler_panicked(&self.shared.log, now, &self.client, None);
            self.connection
                .close(&replies::HANDLER_PANICKED, self.output.back());
        }
    }

    /// Settles what can be settled and goes on with the input that waits, until neither is possible.
    fn work(&mut self, now: Instant, cx: &mut Context<'_>) {
        if !self.settle_question(now, cx) {
            return;
        }
        let fed = !self.input.is_empty();
        self.advance_waiting(now, cx);
        if fed {
            self.settle_delivery(now, cx);
        }
    }

    /// Ends what took too long; true if something did.
    fn handle_deadlines(&mut self, now: Instant, cx: &mut Context<'_>) -> bool {
        let mut ended = false;
        match &mut self.pending {
            Pending::Answer(deadline) if *deadline <= now => {
                self.record.handler_timed_out(
                    &self.shared.log,
                    now,
                    &self.client,
                    self.connection.question(),
                );
                let outcome = self.conversation.abandon(cx);
                self.settle(now, outcome, cx);
                ended = true;
            }
            Pending::Login(login) if login.deadline.is_some_and(|deadline| deadline <= now) => {
                self.record.handler_timed_out(
                    &self.shared.log,
                    now,
                    &self.client,
                    self.connection.question(),
                );
                let outcome = self.conversation.abandon(cx);
                self.settle_login(now, outcome);
                ended = true;
            }
            Pending::Message(delivery)
                if delivery.deadline().is_some_and(|deadline| deadline <= now) =>
            {
                self.record.handler_timed_out(
                    &self.shared.log,
                    now,
                    &self.client,
                    Some(Open::Message),
                );
                if let Err(Panicked) = delivery.give_up(&mut self.conversation, cx) {
                    self.record.handler_panicked(
                        &self.shared.log,
                        now,
                        &self.client,
                        Some(Open::Message),
                    );
                }
                ended = true;
            }
            _ => {}
        }
        self.end_late_client(now, cx) || ended
    }

    /// Ends the session of a client that took too long; true if it did.
    fn end_late_client(&mut self, now: Instant, cx: &mut Context<'_>) -> bool {
        let deadline = self.connection.deadline();
        let is_late = deadline.is_some_and(|deadline| deadline <= now);
        if is_late {
            let phase = match self.connection.expects_content() {
                true => TimeoutPhase::Message,
                false => TimeoutPhase::Command,
            };
            self.connection.handle_timeout(now, self.output.back());
            self.record.end = EndReason::Timeout;
            self.count_timeout(now, phase);
            self.advance(now, &[], cx);
        }
        is_late
    }

    /// While the application keeps the client waiting, the client's own clock stands still.
    fn watch_body(&mut self, now: Instant, cx: &Context<'_>) {
        let timeout = self.shared.handler_timeout;
        let asked = self.connection.question().is_some();
        self.stalled = match &mut self.pending {
            Pending::Message(delivery) if !asked => delivery.is_stalled(cx, || now + timeout),
            _ => false,
        };
        if self.stalled {
            self.connection.pause(now);
        } else {
            self.connection.resume(now);
        }
    }
}

impl Inspect for SmtpSession {
    fn held(&self) -> Held {
        let (transaction, body) = match &self.pending {
            Pending::Message(delivery) => (Some(&delivery.transaction), delivery.body.waiting()),
            _ => (self.transaction.as_ref(), 0),
        };
        Held {
            under_way: self.connection.in_transaction()
                || matches!(self.pending, Pending::Answer(_) | Pending::Login(_)),
            input: self.input.len(),
            output: self.output.len(),
            body,
            recipients: transaction.map_or(0, |it| it.envelope.recipients().len()),
            tls_input: 0,
            tls_output: 0,
        }
    }
}

impl Session for SmtpSession {
    fn receive(&mut self, now: Instant, bytes: &[u8]) {
        self.shared.counts.octets(bytes.len());
        self.record.has_spoken = true;
        let waker = mem::replace(&mut self.waker, Waker::noop().clone());
        let mut cx = Context::from_waker(&waker);
        if self.input.is_empty() {
            let taken = self.advance(now, bytes, &mut cx);
            self.input.append(bytes.get(taken..).unwrap_or_default());
        } else {
            self.input.append(bytes);
            self.advance_waiting(now, &mut cx);
        }
        self.waker = waker;
    }

    fn receive_eof(&mut self, now: Instant) {
        if self.record.end == EndReason::Lost {
            self.record.end = EndReason::Closed;
        }
        self.connection.receive_eof(now);
    }

    fn poll(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        self.record.seen(now);
        self.waker.clone_from(cx.waker());
        // Commands that wait behind replies which nobody reads are no sign of life: what has just come was looked at when it
        // was received.
        if !self.input.is_empty() {
            self.end_late_client(now, cx);
        }
        self.work(now, cx);
        // An answer that is there counts, however late it is seen.
        if self.handle_deadlines(now, cx) {
            self.work(now, cx);
        }
        self.watch_body(now, cx);
        if self.connection.is_closed() {
            self.place = None;
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn output(&mut self) -> &mut OutputBuffer {
        &mut self.output
    }

    fn wants_read(&self) -> bool {
        self.input.len() < INPUT_LIMIT.max(self.connection.max_line())
            && !self.stalled
            && !self.connection.is_closed()
    }

    fn deadline(&self) -> Option<Instant> {
        let application = match &self.pending {
            Pending::Nothing => None,
            Pending::Answer(deadline) => Some(*deadline),
            Pending::Login(login) => login.deadline,
            Pending::Message(delivery) => delivery.deadline(),
        };
        application.or_else(|| self.connection.deadline())
    }

    fn shutdown(&mut self, now: Instant) {
        self.record.end = EndReason::Shutdown;
        self.connection.shutdown(now, self.output.back());
    }

    fn peer_is_done(&self) -> bool {
        self.connection.has_quit() && self.input.is_empty()
    }
}

impl Upgrade for SmtpSession {
    fn wants_tls(&self) -> bool {
        self.wants_tls
    }

    fn tls_established(&mut self, now: Instant, info: TlsInfo) {
        self.wants_tls = false;
        self.observe(now, &Observation::Handshake(info.version));
        self.client.secured(info);
        self.conversation.set_client(self.client.clone());
        self.connection.tls_established(now);
        self.offer_mechanisms();
    }

    fn clear_text_instead_of_handshake(&mut self, now: Instant) {
        self.wants_tls = false;
        self.refuse_clear_text(now);
        self.connection
            .clear_text_after_starttls(now, self.output.back());
    }

    fn tls_failed(&mut self, now: Instant, error: &HandshakeError) {
        self.wants_tls = false;
        self.record.seen(now);
        self.observe(now, &Observation::HandshakeFailed(error));
        self.record.end = EndReason::Tls(Box::new(error.clone()));
    }
}

impl SmtpSession {
    /// The client ended the session by itself: did it mean to?
    fn find_out_the_end(&mut self) {
        let in_transaction =
            self.transaction.is_some() || matches!(self.pending, Pending::Message(_));
        if self.connection.has_quit() {
            self.record.end = EndReason::Quit;
        } else if self.record.end == EndReason::Closed && in_transaction {
            self.record.end = EndReason::Lost;
        }
    }
}

impl Drop for SmtpSession {
    fn drop(&mut self) {
        self.find_out_the_end();
        if let Pending::Message(delivery) = &mut self.pending {
            delivery.lose(self.record.end == EndReason::Shutdown);
            self.record
                .message_lost(self.shared.observer(), &self.client, delivery);
        }
        self.count_end(self.record.last);
        let was_told = self.connection.is_closed();
        self.record
            .connection_closed(&self.shared.log, &self.client, was_told);
    }
}

#[cfg(test)]
mod tests;
