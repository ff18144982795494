//! What the caller tells a connection beside answers, and what it may ask: time, TLS, logins, the
//! end.

use std::sync::Arc;
use std::time::Instant;

use super::Connection;
use crate::line::LineReader;
use crate::state::State;
use crate::{Abort, MAX_LINE, MAX_LOGIN_LINE, Mechanism, Question, Reply, replies};

impl Connection {
    /// The client will send no more; it may still read. What it has sent is worked off first: keep
    /// calling [`poll_event`](Self::poll_event), which closes the connection when it is at the end,
    /// and gives [`Event::MessageAborted`](crate::Event::MessageAborted) if that is in the middle
    /// of a message.
    pub fn receive_eof(&mut self, _now: Instant) {
        self.eof = true;
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) at the latest. It changes with every
    /// call that has `now`. `None`: the client is not waited for, since a question is open, input
    /// is [paused](Self::pause), or the connection is closed.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        if self.question().is_some() || self.is_closed() {
            return None;
        }
        let unit = self.unit.deadline(&self.config, self.expects_content());
        let idle = match self.is_in_message_data() {
            true => None,
            false => self.idle.deadline(self.config.idle_timeout),
        };
        match (unit, idle) {
            (Some(unit), Some(idle)) => Some(unit.min(idle)),
            (unit, idle) => unit.or(idle),
        }
    }

    /// The data of a message that has its own end. Chunks are no such data: a message of many of
    /// them, each slow, could last for ever.
    fn is_in_message_data(&self) -> bool {
        let refused = self.refused_chunk.as_ref();
        matches!(self.state, State::Data(_)) || refused.is_some_and(|refused| refused.of_message)
    }

    /// True while what comes next belongs to a body or chunk, be it one that was refused already.
    #[must_use]
    pub fn expects_content(&self) -> bool {
        self.state.takes_body() || self.refused_chunk.is_some()
    }

    /// Ends the session with 421 4.4.2 when the deadline is past. Called early, it does nothing.
    ///
    /// During a TLS handshake nothing is sent: there is no telling what the client would take it
    /// for. A message under way shows as [`Event::MessageAborted`](crate::Event::MessageAborted) by
    /// the next [`poll_event`](Self::poll_event).
    pub fn handle_timeout(&mut self, now: Instant, output: &mut Vec<u8>) {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        if self.state != State::StartTls {
            replies::TIMED_OUT.encode(output);
        }
        self.end(Abort::Timeout);
    }

    /// The server is not reading: the client's clock stands still. Twice is once.
    pub fn pause(&mut self, now: Instant) {
        self.unit.pause(now);
        self.watch_idleness(now);
    }

    /// The server reads on, the client's clock too. Without a pause, nothing happens.
    pub fn resume(&mut self, now: Instant) {
        self.unit.resume(now);
        self.watch_idleness(now);
    }

    /// The server is going away: ends the session with 421 4.3.2 (RFC 5321 section 3.8), at once
    /// when it is idle, else as soon as the transaction under way has ended.
    pub fn shutdown(&mut self, _now: Instant, output: &mut Vec<u8>) {
        self.shutting_down = true;
        self.leave_if_idle(output);
    }

    /// The TLS connection is there: after [`Event::StartTls`](crate::Event::StartTls), or for
    /// implicit TLS before the first question is answered. All that the client said before is
    /// forgotten (RFC 3207 section 4.2).
    pub fn tls_established(&mut self, now: Instant) {
        self.state = self.state.tls_established();
        self.lines = LineReader::new();
        self.extended = false;
        self.authenticated = false;
        self.tls = true;
        self.unit.next(now);
    }

    /// The mechanisms that this client is offered, in place of those of the
    /// [configuration](crate::Auth::mechanisms): some depend on its TLS connection. Without AUTH in
    /// the configuration, nothing happens.
    pub fn set_auth_mechanisms(&mut self, mechanisms: Vec<Mechanism>) {
        let auth = self.config.auth.as_ref();
        if auth.is_some_and(|auth| auth.mechanisms != mechanisms)
            && let Some(auth) = &mut Arc::make_mut(&mut self.config).auth
        {
            auth.mechanisms = mechanisms;
        }
    }

    /// True once a login was accepted, and until STARTTLS.
    #[must_use]
    pub fn is_authenticated(&self) -> bool {
        self.authenticated
    }

    /// Who the client is was learned by other means, such as a proxy that is trusted: as if it had
    /// logged in, or as if it had not.
    pub fn set_authenticated(&mut self, authenticated: bool) {
        self.authenticated = authenticated;
    }

    /// The longest line that may come next, in octets, CR LF included: [`MAX_LOGIN_LINE`] where the
    /// response to a challenge does, else [`MAX_LINE`].
    #[must_use]
    pub fn max_line(&self) -> usize {
        match self.state.takes_response() {
            true => MAX_LOGIN_LINE,
            false => MAX_LINE,
        }
    }

    /// The client sent more in clear text behind STARTTLS: ends the session with 554 5.5.1. Run
    /// inside TLS, those octets would be someone else's words in the client's mouth.
    ///
    /// [`poll_event`](Self::poll_event) does so by itself for what stands behind STARTTLS in
    /// `input`. This is for callers that hold more than they lent. Before the greeting, where only
    /// implicit TLS can have been due, the reply says that instead.
    pub fn clear_text_after_starttls(&mut self, _now: Instant, output: &mut Vec<u8>) {
        let reply = match self.state {
            State::ConnectAsked => replies::TLS_BEFORE_ANYTHING,
            _ => replies::CLEAR_TEXT_AFTER_STARTTLS,
        };
        reply.encode(output);
        self.end(Abort::Closed);
    }

    /// Ends the session with this reply, whatever is under way. A message shows as
    /// [`Event::MessageAborted`](crate::Event::MessageAborted) by the next
    /// [`poll_event`](Self::poll_event).
    pub fn close(&mut self, reply: &Reply, output: &mut Vec<u8>) {
        if !self.is_closed() {
            reply.encode(output);
            self.end(Abort::Closed);
        }
    }

    /// True when the session is over: ask [`poll_event`](Self::poll_event) for a last
    /// [`Event::MessageAborted`](crate::Event::MessageAborted), flush the output, then close.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state.is_closed()
    }

    /// True when the session ended by QUIT: the client means to send no more (RFC 5321 section
    /// 4.1.1.10), so that its side of the connection needn't be waited for.
    #[must_use]
    pub fn has_quit(&self) -> bool {
        self.state == State::Quit
    }

    /// The open question. While there is one, input waits.
    #[must_use]
    pub fn question(&self) -> Option<Question> {
        self.state.question()
    }

    /// True from MAIL to the end of the transaction.
    #[must_use]
    pub fn in_transaction(&self) -> bool {
        self.state.in_transaction()
    }

    /// The client's time without a message counts while it is waited for, and not while it waits
    /// for us.
    pub(super) fn watch_idleness(&mut self, now: Instant) {
        let is_waited_for = self.question().is_none() && !self.unit.is_paused();
        self.idle.run(now, is_waited_for);
    }

    pub(super) fn leave_if_idle(&mut self, output: &mut Vec<u8>) {
        if self.shutting_down && self.state.is_idle() && self.refused_chunk.is_none() {
            replies::SHUTTING_DOWN.encode(output);
            self.end(Abort::Closed);
        }
    }

    pub(super) fn end(&mut self, abort: Abort) {
        if self.state.in_message() {
            self.untold = Some(abort);
        }
        self.state = self.state.closed();
        self.refused_chunk = None;
    }
}
