//! Reads content: bodies, chunks, and what of them is refused already.

use std::time::Instant;

use super::reply::Outcome;
use super::{BDAT, Connection, RefusedChunk, Turn, front, refused};
use crate::state::{Say, State};
use crate::{Abort, Event, replies};

impl Connection {
    pub(super) fn skip_chunk<'i>(
        &mut self,
        mut refused: RefusedChunk,
        now: Instant,
        input: &mut &'i [u8],
        output: &mut Vec<u8>,
    ) -> Turn<'i> {
        let mut window = front(input, self.refused_room());
        let skipped = refused.chunk.read(&mut window).len();
        self.unit.more_octets(now, skipped as u64);
        *input = input.get(skipped..).unwrap_or_default();
        if !refused.chunk.is_complete() {
            if !input.is_empty() {
                return self.give_up_refused(output);
            }
            self.refused_chunk = Some(refused);
            return Turn::Wait;
        }
        if refused.of_message {
            self.idle.begin_anew(now);
        }
        let outcome = match refused.forgiven {
            true => {
                refused.reply.encode(output);
                Outcome::Done
            }
            false => self.reply(&refused.reply, output),
        };
        // The last chunk is the end of the data, of whose recipients each gets its reply.
        if refused.of_message
            && refused.chunk.is_last()
            && !matches!(outcome, Outcome::SessionEnded)
        {
            self.repeat(&refused.reply, output);
        }
        self.unit.next(now);
        match refused.ends_message {
            true => Turn::Again,
            false => outcome.turn(BDAT, refused.reply),
        }
    }

    pub(super) fn read_body<'i: 'r, 'r>(
        &mut self,
        now: Instant,
        input: &mut &'i [u8],
        output: &mut Vec<u8>,
        room: &mut &'r mut [u8],
    ) -> Turn<'r> {
        let in_data = matches!(self.state, State::Data(_));
        let mut window = front(input, self.body_room(in_data));
        let before = window.len();
        let (state, step) = self.state.body(&mut window, room);
        self.state = state;
        let octets = before - window.len();
        *input = input.get(octets..).unwrap_or_default();
        self.unit.more_octets(now, octets as u64);
        if !in_data {
            self.idle.octets(now, octets as u64, &self.config);
        }
        let Some(step) = step else {
            return match input.is_empty() {
                true => Turn::Wait,
                false => self.give_up_refused(output),
            };
        };
        let is_refused = matches!(step.event, Some(Event::MessageAborted(_)));
        if is_refused {
            self.unit.refuse(now);
        } else if !self.state.takes_body() {
            self.unit.next(now);
        }
        // Its end was waited for since it was refused.
        if in_data && !self.state.takes_body() && self.question().is_none() {
            self.idle.begin_anew(now);
        }
        if let (Say::Reply(reply), None) = (&step.say, &step.event) {
            // If this is a refusal, the caller was told when it was found out.
            let outcome = self.reply(reply, output);
            if in_data && !matches!(outcome, Outcome::SessionEnded) {
                self.repeat(reply, output);
            }
            return Turn::Again;
        }
        self.take(step, &[], now, output)
    }

    /// Ends the session where more comes of what was refused than a message may have: nobody has to
    /// read on for ever.
    #[cold]
    pub(super) fn give_up_refused<'i>(&mut self, output: &mut Vec<u8>) -> Turn<'i> {
        replies::TIMED_OUT.encode(output);
        self.end(Abort::Timeout);
        refused(&[], replies::TIMED_OUT)
    }

    /// How many octets of a body are looked at now: the second time that one goes over the size
    /// limit is the end of it, wherever its pieces were cut.
    fn body_room(&self, in_data: bool) -> usize {
        if !in_data {
            // A chunk that is over the limit never begins.
            return usize::MAX;
        }
        self.refused_room()
    }

    /// How many more octets of a body or a chunk are read, if it is refused: up to twice the limit,
    /// so that a client whose message is too large hears so, by DATA and by BDAT, and does not come
    /// again with it.
    fn refused_room(&self) -> usize {
        let limit = self.config.size_limit();
        self.unit
            .room(limit.saturating_add(self.config.refused_limit()))
    }
}
