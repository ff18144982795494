//! What the client is told, and how many bad commands it may send.

use super::{Connection, RefusedChunk, Turn, refused};
use crate::state::{Say, Step, Text};
use crate::{Abort, Event, Reply, replies, sasl};
use std::time::Instant;

/// What a reply came to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Outcome {
    Done,
    /// A 4xx or 5xx.
    Refused,
    /// It was one bad command too many: another reply was given.
    SessionEnded,
}

impl Outcome {
    /// What the caller is told of a command that got this reply.
    pub(super) fn turn(self, line: &[u8], reply: Reply) -> Turn<'_> {
        match self {
            Self::Done => Turn::Again,
            Self::Refused => refused(line, reply),
            Self::SessionEnded => refused(line, replies::TOO_MANY_ERRORS),
        }
    }
}

impl Connection {
    /// Does what comes of a line, or of a piece of a body, which has none.
    pub(super) fn take<'i>(
        &mut self,
        step: Step<'i>,
        line: &'i [u8],
        now: Instant,
        output: &mut Vec<u8>,
    ) -> Turn<'i> {
        let Step { say, event } = step;
        match say {
            Say::Nothing => {}
            Say::Reply(reply) | Say::Refusal(reply) => {
                let outcome = self.reply(&reply, output);
                // What is refused is no event beside that.
                if event.is_none() {
                    return outcome.turn(line, reply);
                }
            }
            Say::AfterChunk { chunk, reply } => {
                self.unit.refuse(now);
                self.refused_chunk = Some(RefusedChunk {
                    chunk,
                    reply,
                    forgiven: false,
                    ends_message: matches!(event, Some(Event::MessageAborted(_))),
                    of_message: event.is_some(),
                });
            }
            Say::Text(text) => self.say(text, output),
        }
        event.map_or(Turn::Again, Turn::Event)
    }

    /// Says what is no reply with an enhanced status code.
    pub(super) fn say(&mut self, text: Text, output: &mut Vec<u8>) {
        match text {
            Text::Greeting => replies::greeting(&self.config, self.protocol, output),
            Text::Hello => {
                self.extended = false;
                replies::hello(&self.config, output);
            }
            Text::ExtendedHello => {
                self.extended = true;
                replies::extended_hello(
                    &self.config,
                    self.tls,
                    self.authenticated,
                    self.xclient,
                    output,
                );
            }
            Text::StartMailInput => output.extend_from_slice(replies::START_MAIL_INPUT),
            Text::Challenge(data) => sasl::push_challenge(&data, output),
        }
    }

    /// Replies to a command, which is one too many if it is bad and the limit is reached.
    pub(super) fn reply(&mut self, reply: &Reply, output: &mut Vec<u8>) -> Outcome {
        if matches!(reply.code(), 500..=504 | 555) {
            self.errors = self.errors.saturating_add(1);
            if self.errors > self.config.max_errors {
                replies::TOO_MANY_ERRORS.encode(output);
                self.end(Abort::Closed);
                return Outcome::SessionEnded;
            }
        }
        reply.encode(output);
        match reply.code() {
            ..400 => Outcome::Done,
            _ => Outcome::Refused,
        }
    }

    /// The client stays and sends no mail: ends the session, and the message between whose chunks
    /// it does so.
    #[cold]
    pub(super) fn refuse_idleness<'i>(&mut self, line: &'i [u8], output: &mut Vec<u8>) -> Turn<'i> {
        replies::TOO_MANY_IDLE_COMMANDS.encode(output);
        self.end(Abort::Closed);
        refused(line, replies::TOO_MANY_IDLE_COMMANDS)
    }
}
