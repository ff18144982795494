//! What replies do to a transaction.

use std::collections::VecDeque;
use std::time::Instant;

use super::{Class, Outcome, Pending, Sending, Told};
use crate::config::Protocol;
use crate::connection::Connection;
use crate::expected::{Command, Expect};

/// What the replies of a transaction have said so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    is_mail_accepted: bool,
    recipients: usize,
    /// Those that were accepted and that no reply to the content has been about.
    accepted: VecDeque<usize>,
    /// A chunk was refused for somebody.
    is_chunk_refused: bool,
}

impl Connection {
    /// Nothing more of the transaction is sent. It is over when what was sent has been answered.
    pub(crate) fn doom(&mut self) {
        // What is held back behind a transaction that was doomed before is RSET or QUIT.
        if self.sending != Sending::Doomed {
            self.expected.drop_held();
            self.outbox.truncate();
            self.sending = Sending::Doomed;
        }
        self.conclude();
    }

    pub(super) fn receive_in_transaction(
        &mut self,
        now: Instant,
        expect: Expect,
        class: Class,
    ) -> Outcome {
        let is_refused = class == Class::Negative;
        match (expect.command, class) {
            (Command::Data, Class::Intermediate) => self.begin_content(now),
            (Command::Data, Class::Positive) | (_, Class::Intermediate) => {
                Err(self.out_of_place(class))
            }
            (Command::Mail, _) => {
                self.expected.pop();
                self.tally.is_mail_accepted = !is_refused;
                if is_refused {
                    self.doom();
                }
                self.release();
                Ok(Some(Told::Mail))
            }
            (Command::Rcpt, _) => {
                let recipient = self.tally.recipient(!is_refused);
                self.expected.pop();
                self.after_recipient();
                self.release();
                Ok(Some(Told::Rcpt(recipient)))
            }
            (Command::Data, Class::Negative) => {
                self.expected.pop();
                self.doom();
                Ok(Some(Told::Data))
            }
            (Command::Empty, _) => {
                // The server's transaction ended with it.
                self.tally.clear();
                self.answered();
                self.conclude();
                Ok(None)
            }
            (Command::Chunk { last: false }, _) => self.receive_chunk(is_refused),
            (Command::Chunk { last: true } | Command::Message, _) => {
                self.receive_message(expect.command, is_refused)
            }
            _ => Err(self.out_of_place(class)),
        }
    }

    /// All recipients may have been answered now.
    fn after_recipient(&mut self) {
        match self.expected.front() {
            Some(expect) if expect.command == Command::Rcpt => {}
            // What would follow has not left yet, and nobody was accepted for it.
            Some(expect)
                if matches!(expect.command, Command::Data | Command::Chunk { .. })
                    && self.tally.is_nobody_accepted()
                    && self.expected.is_front_held() =>
            {
                self.doom();
            }
            None if self.sending == (Sending::Chunks { begun: false }) => {
                if self.tally.is_nobody_accepted() {
                    self.doom();
                } else {
                    self.pending = Some(Pending::Content);
                }
            }
            _ => self.conclude(),
        }
    }

    /// The 354 has come.
    fn begin_content(&mut self, now: Instant) -> Outcome {
        let is_for_nobody = self.tally.is_nobody_accepted() || self.sending == Sending::Doomed;
        if is_for_nobody && self.config.protocol() == Protocol::Lmtp {
            // RFC 2033 section 4.2: it must be a 503, and how many replies would follow nobody
            // knows.
            return Err(self.out_of_place(Class::Intermediate));
        }
        self.expected.pop();
        if is_for_nobody {
            // RFC 2920 section 3.1: it is sent an empty message.
            self.sending = Sending::Doomed;
            self.say(now, Command::Empty, b".\r\n");
            return Ok(None);
        }
        self.sending = Sending::content();
        self.enqueue(now, Command::Message);
        if let Some(expect) = self.expected.front_mut() {
            // Until the caller has given all of it.
            expect.end = u64::MAX;
        }
        Ok(Some(Told::Content))
    }

    fn receive_chunk(&mut self, is_refused: bool) -> Outcome {
        if !is_refused && self.tally.is_nobody_accepted() {
            return Err(self.out_of_place(Class::Positive));
        }
        self.expected.pop();
        if is_refused {
            self.doom();
        }
        self.release();
        Ok(Some(Told::Chunk))
    }

    /// A reply to the end of a content.
    fn receive_message(&mut self, command: Command, is_refused: bool) -> Outcome {
        let is_chunk = command != Command::Message;
        let is_failed = is_chunk && self.sending == Sending::Doomed;
        if !is_refused && (self.tally.is_nobody_accepted() || is_failed) {
            return Err(self.out_of_place(Class::Positive));
        }
        let recipient = match self.config.protocol() {
            Protocol::Smtp => None,
            // RFC 2033 section 4.2: one reply for each recipient, in their order.
            Protocol::Lmtp => self.tally.accepted.pop_front(),
        };
        self.tally.is_chunk_refused |= is_refused && is_chunk;
        if recipient.is_none() || self.tally.is_nobody_accepted() {
            self.expected.pop();
            self.needs_reset |= self.tally.is_chunk_refused;
            if is_chunk {
                self.sending = Sending::Idle;
            }
            self.finish();
            self.release();
        }
        Ok(Some(Told::Message(recipient)))
    }

    /// A doomed transaction is over when everything was answered.
    pub(super) fn conclude(&mut self) {
        if self.sending == Sending::Doomed && self.expected.is_empty() {
            self.needs_reset = self.tally.is_open();
            self.sending = Sending::Idle;
            self.finish();
        }
    }

    pub(super) fn conclude_reset(&mut self) {
        self.conclude();
        if self.expected.is_empty() {
            self.needs_reset = false;
        }
    }

    fn finish(&mut self) {
        self.tally.clear();
        self.pending = Some(Pending::Done);
    }
}

impl Tally {
    pub(crate) fn is_nobody_accepted(&self) -> bool {
        self.accepted.is_empty()
    }

    pub(super) fn has_several_accepted(&self) -> bool {
        self.accepted.len() > 1
    }

    /// The next recipient was answered; gives its number.
    fn recipient(&mut self, is_accepted: bool) -> usize {
        let recipient = self.recipients;
        self.recipients += 1;
        if is_accepted {
            self.accepted.push_back(recipient);
        }
        recipient
    }

    /// The server holds a transaction.
    fn is_open(&self) -> bool {
        self.is_mail_accepted || !self.accepted.is_empty()
    }

    fn clear(&mut self) {
        self.is_mail_accepted = false;
        self.recipients = 0;
        self.accepted.clear();
        self.is_chunk_refused = false;
    }
}
