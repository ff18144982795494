//! One client's session: the dialogue of `prixfixe-core`, the handler's answers and the body between them.
//!
//! What a session holds is bounded: [`INPUT_LIMIT`] and one read of input that waits, a body of
//! [`HIGH_WATER`](crate::body::HIGH_WATER) and one read, the envelope, and the replies of 16 KiB and one more.

mod call;
mod counting;
mod delivery;
mod input;
mod question;
mod record;
mod refused_line;
mod room;
mod transaction;

use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use prixfixe_core::{Connection, Event};
use prixfixe_network::{OutputBuffer, Session};
use prixfixe_tls::{HandshakeError, TlsInfo, Upgrade};

use self::call::Call;
use self::input::{Arrival, Input};
pub(crate) use self::record::Told;
use self::record::{EndReason, Record};
use self::transaction::Transaction;
use crate::client::Greeting;
use crate::shared::Shared;
use crate::simulation::{Held, Inspect};
use crate::{Client, Handler, TimeoutPhase, replies};

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
    /// The last command was refused: what a client has sent behind it, without waiting, is out of order.
    refused: bool,
    /// The log has the refusal of the chunk that is being skipped.
    chunk_is_told: bool,
    /// The handler has more of a body before it than it should: nothing is read meanwhile.
    stalled: bool,
    /// The transport's, as of the last poll: questions are asked while bytes are received, too.
    waker: Waker,
    record: Record,
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

    /// Feeds the dialogue and acts on what comes of it, as far as the handler's answers are there at once; gives the
    /// number of octets that it took.
    fn advance(
        &mut self,
        now: Instant,
        bytes: &[u8],
        arrival: Arrival,
        cx: &mut Context<'_>,
    ) -> usize {
        room::with(|room| self.advance_in(room, now, bytes, arrival, cx))
    }

    fn advance_in(
        &mut self,
        room: &mut [u8],
        now: Instant,
        bytes: &[u8],
        arrival: Arrival,
        cx: &mut Context<'_>,
    ) -> usize {
        let mut rest = bytes;
        loop {
            let mut arrived = arrival.of(bytes.len() - rest.len());
            while let Some(event) =
                self.connection
                    .poll_event_with_room(now, &mut rest, self.output.back(), room)
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
        if !matches!(event, Event::CommandRefused { .. }) {
            self.refused = false;
        }
        match event {
            Event::Hello { name, extended } => {
                self.end_transaction(now, None);
                let greeting = self.client.greeting.as_ref();
                let is_repeated =
                    greeting.is_some_and(|it| it.extended == extended && *it.name == *name);
                if !is_repeated {
                    Arc::make_mut(&mut self.client).greeting = Some(Greeting {
                        name: name.into(),
                        extended,
                    });
                }
            }
            Event::Mail {
                reverse_path,
                parameters,
            } => self.ask_mail(now, arrived, reverse_path.to_owned(), parameters),
            Event::Rcpt { forward_path } => self.ask_rcpt(now, forward_path.to_owned()),
            Event::MessageStart => self.start_message(),
            Event::Body(piece) => self.write_body(piece),
            Event::MessageEnd { .. } => self.finish_message(now),
            Event::MessageAborted(reason) => self.end_transaction(now, Some(reason)),
            Event::Reset => {
                self.refuse_large_chunk(now);
                self.end_transaction(now, None);
            }
            // Nobody waits for the end of what is refused for ever.
            Event::CommandRefused { reply, .. } if reply == replies::TIMED_OUT => {
                self.record.end = EndReason::Timeout;
                self.count_timeout(now, TimeoutPhase::Message);
            }
            Event::CommandRefused { line, reply } => self.refuse_command(now, line, reply),
            Event::StartTls => self.wants_tls = true,
        }
    }

    /// Settles what can be settled and goes on with the input that waits, until neither is possible.
    fn work(&mut self, now: Instant, cx: &mut Context<'_>) {
        if !self.settle_question(now, cx) {
            return;
        }
        let fed = !self.input.is_empty();
        self.advance_waiting(now, cx);
        if fed || self.delivery().is_some_and(|it| it.is_aborted()) {
            self.settle_delivery(now, cx);
        }
    }

    /// Ends what took too long; true if something did.
    fn handle_deadlines(&mut self, now: Instant, cx: &mut Context<'_>) -> bool {
        let mut ended = false;
        if self.call.as_ref().is_some_and(|call| call.deadline <= now) {
            self.call = None;
            self.record
                .handler_timed_out(&self.shared.log, now, &self.client);
            self.refuse_unanswered(now, replies::HANDLER_TIMED_OUT);
            self.answer(now, Err(replies::HANDLER_TIMED_OUT));
            ended = true;
        }
        if let Some(delivery) = self.delivery()
            && delivery.deadline().is_some_and(|deadline| deadline <= now)
        {
            delivery.give_up();
            self.record
                .handler_timed_out(&self.shared.log, now, &self.client);
            ended = true;
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
            self.advance(now, &[], Arrival::at(now), cx);
        }
        is_late
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

impl<H: Handler> Session for SmtpSession<H> {
    fn receive(&mut self, now: Instant, bytes: &[u8]) {
        self.shared.counts.octets(bytes.len());
        self.record.has_spoken = true;
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
        self.refuse_clear_text(now);
        self.connection
            .clear_text_after_starttls(now, self.output.back());
    }

    fn tls_failed(&mut self, now: Instant, error: &HandshakeError) {
        self.wants_tls = false;
        self.record.seen(now);
        self.count_failed_handshake(error);
        self.record.end = EndReason::Tls(Box::new(error.clone()));
    }
}

impl<H> SmtpSession<H> {
    /// The client ended the session by itself: did it mean to?
    fn find_out_the_end(&mut self) {
        if self.connection.has_quit() {
            self.record.end = EndReason::Quit;
        } else if self.record.end == EndReason::Closed && self.transaction.is_some() {
            self.record.end = EndReason::Lost;
        }
    }
}

impl<H> Drop for SmtpSession<H> {
    fn drop(&mut self) {
        self.find_out_the_end();
        if let Some(mut transaction) = self.transaction.take()
            && let Some(delivery) = &mut transaction.delivery
            && !delivery.is_aborted()
        {
            delivery.lose(self.record.end == EndReason::Shutdown);
            self.record
                .message_lost(self.shared.told(), &self.client, &transaction);
        }
        self.count_end();
        let was_told = self.connection.is_closed();
        self.record
            .connection_closed(&self.shared.log, &self.client, was_told);
    }
}

#[cfg(test)]
mod tests;
