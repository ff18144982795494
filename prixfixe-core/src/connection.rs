//! The connection (stub).
use std::sync::Arc;
use std::time::Instant;

use crate::{Answer, Config, Event, Question};

/// The dialogue with one client.
#[derive(Debug)]
pub struct Connection {
    config: Arc<Config>,
}

#[allow(clippy::todo, unused_variables)]
impl Connection {
    /// A client has connected: the question whether it is wanted is open.
    #[must_use]
    pub fn new(config: Arc<Config>, now: Instant) -> Self {
        Self { config }
    }

    /// Does what can be done with the input.
    pub fn poll_event<'i>(
        &mut self,
        now: Instant,
        input: &mut &'i [u8],
        output: &mut Vec<u8>,
    ) -> Option<Event<'i>> {
        todo!()
    }

    /// Answers the open question. Without one, nothing happens.
    pub fn answer(&mut self, now: Instant, answer: Answer, output: &mut Vec<u8>) {
        todo!()
    }

    /// The client will send no more.
    pub fn receive_eof(&mut self, now: Instant) {
        todo!()
    }

    /// When to call `handle_timeout` at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        todo!()
    }

    /// Ends the session with 421 4.4.2 when the deadline is past.
    pub fn handle_timeout(&mut self, now: Instant, output: &mut Vec<u8>) {
        todo!()
    }

    /// The client's clock stands still.
    pub fn pause(&mut self, now: Instant) {
        todo!()
    }

    /// The client's clock goes on.
    pub fn resume(&mut self, now: Instant) {
        todo!()
    }

    /// The server is going away.
    pub fn shutdown(&mut self, now: Instant, output: &mut Vec<u8>) {
        todo!()
    }

    /// TLS is active from here on.
    pub fn tls_established(&mut self, now: Instant) {
        todo!()
    }

    /// The client sent more in clear text behind STARTTLS.
    pub fn clear_text_after_starttls(&mut self, now: Instant, output: &mut Vec<u8>) {
        todo!()
    }

    /// True when the session is over.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        todo!()
    }

    /// The open question.
    #[must_use]
    pub fn question(&self) -> Option<Question> {
        todo!()
    }

    /// True between MAIL and the end of the transaction.
    #[must_use]
    pub fn in_transaction(&self) -> bool {
        todo!()
    }
}
