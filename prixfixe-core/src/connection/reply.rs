//! What the client is told, and how many bad commands it may send.

use super::{Connection, RefusedChunk, Turn, refused};
use crate::state::{Say, Step};
use crate::{Abort, Event, Reply, replies, sasl};
use std::time::Instant;

/// What a reply came to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Said {
    Yes,
    /// A 4xx or 5xx.
    No,
    /// It was one bad command too many: another reply was given.
    TooMuch,
}

impl Said {
    /// What the caller is told of a command that got this reply.
    pub(super) fn turn(self, line: &[u8], reply: Reply) -> Turn<'_> {
        match self {
            Self::Yes => Turn::Again,
            Self::No => refused(line, reply),
            Self::TooMuch => refused(line, replies::TOO_MANY_ERRORS),
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
            Say::Reply(reply) => {
                let said = self.reply(&reply, output);
                // What is refused is no event beside that.
                if event.is_none() {
                    return said.turn(line, reply);
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
            say => self.say(say, output),
        }
        event.map_or(Turn::Again, Turn::Event)
    }

    /// Says what is no reply with an enhanced status code.
    pub(super) fn say(&mut self, say: Say, output: &mut Vec<u8>) {
        match say {
            Say::Greeting => replies::greeting(&self.config, self.protocol, output),
            Say::Hello => {
                self.extended = false;
                replies::hello(&self.config, output);
            }
            Say::ExtendedHello => {
                self.extended = true;
                replies::extended_hello(&self.config, self.tls, self.xclient, output);
            }
            Say::StartMailInput => output.extend_from_slice(replies::START_MAIL_INPUT),
            Say::Challenge(data) => sasl::push_challenge(&data, output),
            Say::Nothing | Say::Reply(_) | Say::Refusal(_) | Say::AfterChunk { .. } => {}
        }
    }

    /// Replies to a command, which is one too many if it is bad and the limit is reached.
    pub(super) fn reply(&mut self, reply: &Reply, output: &mut Vec<u8>) -> Said {
        if matches!(reply.code(), 500..=504 | 555) {
            self.errors = self.errors.saturating_add(1);
            if self.errors > self.config.max_errors {
                replies::TOO_MANY_ERRORS.encode(output);
                self.end(Abort::Closed);
                return Said::TooMuch;
            }
        }
        reply.encode(output);
        match reply.code() {
            ..400 => Said::Yes,
            _ => Said::No,
        }
    }

    /// The client stays and sends no mail: ends the session, and the message between whose chunks it does so.
    #[cold]
    pub(super) fn refuse_idleness<'i>(&mut self, line: &'i [u8], output: &mut Vec<u8>) -> Turn<'i> {
        replies::TOO_MANY_IDLE_COMMANDS.encode(output);
        self.end(Abort::Closed);
        refused(line, replies::TOO_MANY_IDLE_COMMANDS)
    }
}
