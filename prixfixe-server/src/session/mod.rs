//! One client's session: the dialogue of `prixfixe-core`, the handler's answers and the body
//! between them.
//!
//! What a session holds is bounded: [`INPUT_LIMIT`], in a login the longest line of one, and one
//! read of input that waits, a body of [`HIGH_WATER`](crate::body::HIGH_WATER) and one read, the
//! envelope, and the replies of 16 KiB and one more.

mod counting;
mod deadlines;
mod delivery;
mod early;
mod input;
mod login;
mod message;
mod question;
mod record;
mod refused_line;
mod room;
mod transport;
mod xclient;

use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use prixfixe_core::{Connection, Event, Question as Open};
use prixfixe_network::OutputBuffer;

use self::delivery::{Delivery, Transaction};
use self::input::Input;
use self::login::Login;
use self::record::{EndReason, Record};
use crate::clients::Permit;
use crate::conversation::Conversation;
use crate::shared::Shared;
use crate::{Client, TimeoutPhase, replies};

/// While this much input waits behind an open question, no more is read. A whole command line fits.
const INPUT_LIMIT: usize = 4096;

/// How long replies wait for others.
const LONGEST_HOLD: Duration = Duration::from_secs(1);

/// A session of the dialogue with one client.
pub(crate) struct SmtpSession {
    shared: Arc<Shared>,
    connection: Connection,
    client: Client,
    /// Of a client of which a proxy has told: that of any other is the gate's. Boxed: few sessions
    /// have one.
    permit: Option<Box<Permit>>,
    /// That client is over a limit.
    is_over_limit: bool,
    input: Input,
    output: OutputBuffer,
    /// The application's side.
    conversation: Conversation,
    pending: Pending,
    /// From the question about MAIL to the accepted DATA or BDAT.
    transaction: Option<Transaction>,
    /// From STARTTLS, or from the start of a connection that begins with TLS, to the end of the
    /// handshake.
    wants_tls: bool,
    /// The connection is among those counted already.
    counted: bool,
    /// The last command was refused: what a client has sent behind it, without waiting, is out of
    /// order.
    refused: bool,
    /// The log has the refusal of the chunk that is being skipped.
    chunk_is_told: bool,
    /// The application has more of a body before it than it should: nothing is read meanwhile.
    stalled: bool,
    /// Octets of replies to MAIL and RCPT among those that wait.
    grouped: u16,
    /// Since when the first of them waits.
    held_since: Option<Instant>,
    /// The transport's, as of the last poll: questions are asked while bytes are received, too.
    waker: Waker,
    record: Record,
}

/// What the application owes.
enum Pending {
    Nothing,
    /// The client is to say nothing until then: it is greeted afterwards.
    Quiet(Instant),
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
        let input = match dialogue.auth {
            Some(_) => Input::default(),
            None => Input::harmless(),
        };
        let mut connection = Connection::with_protocol(dialogue, client.protocol(), now);
        if client.is_proxy() {
            connection.offer_xclient();
        }
        Self {
            connection,
            client,
            permit: None,
            is_over_limit: false,
            input,
            output: OutputBuffer::new(),
            conversation: shared.application.begin(),
            pending: Pending::Nothing,
            transaction: None,
            wants_tls: false,
            counted: false,
            refused: false,
            chunk_is_told: false,
            stalled: false,
            grouped: 0,
            held_since: None,
            waker: Waker::noop().clone(),
            record: Record::new(now),
            shared,
        }
    }

    /// TLS comes before anything else, and the handshake begins.
    pub(crate) fn handshake_begins(&mut self) {
        self.wants_tls = true;
    }

    /// Feeds the dialogue and acts on what comes of it, as far as the application's answers are
    /// there at once; gives the number of octets that it took.
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
            question => self.ask_event(now, question, cx),
        }
    }

    /// Answers the open question if the application has; true when the dialogue may go on.
    fn settle_question(&mut self, now: Instant, cx: &mut Context<'_>) -> bool {
        self.settle_delivery(now, cx);
        match (self.connection.question(), &self.pending) {
            (None, _) => return true,
            (Some(Open::Message), _) => return self.settle_message(now),
            (Some(Open::Auth), _) => self.poll_login(now, cx),
            (Some(Open::Connect), Pending::Nothing) => self.greet(now, cx),
            (Some(Open::Connect), Pending::Quiet(_)) => {}
            (Some(_), _) => {
                if let Poll::Ready(outcome) = self.conversation.poll(cx) {
                    self.settle(now, outcome, cx);
                }
            }
        }
        self.connection.question().is_none()
    }

    /// Replies to MAIL and RCPT leave together, while the client has more before it than it can
    /// have waited for. RFC 2920 section 3.2: they may be kept until the input is empty, and no
    /// other reply may. A client that waits long for slow answers takes the server for dead.
    fn hold_grouped(&mut self, now: Instant) {
        let is_asked = self.connection.question() == Some(Open::Rcpt) && !self.input.is_empty();
        let is_grouped = is_asked && self.output.held_len() == usize::from(self.grouped);
        let is_recent = |since| now.saturating_duration_since(since) < LONGEST_HOLD;
        let is_held = is_grouped && self.held_since.is_none_or(is_recent);
        self.output.hold(is_held);
        if !is_held {
            self.grouped = 0;
            self.held_since = None;
        } else if self.grouped > 0 {
            self.held_since.get_or_insert(now);
        }
    }

    /// Settles what can be settled and goes on with the input that waits, until neither is
    /// possible.
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
}

#[cfg(test)]
mod tests;
