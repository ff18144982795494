//! The connection: lines and bodies in, events and replies out, and the time that they take.

mod answer;
mod content;
mod control;
mod line;
mod reply;

use std::sync::Arc;
use std::time::Instant;

use crate::chunk::Chunk;
use crate::idle::Idle;
use crate::line::LineReader;
use crate::state::State;
use crate::time::Unit;
use crate::{Abort, Config, Event, Protocol, Reply};

/// The dialogue with one client. See the [crate's docs](crate) for how to run it.
///
/// It has no buffer, neither for input nor for output: an idle connection costs its own size, which
/// is under 300 octets, and what is asked of its caller is [`MAX_LINE`](crate::MAX_LINE) octets for
/// a line that is not complete.
#[derive(Debug)]
pub struct Connection {
    config: Arc<Config>,
    protocol: Protocol,
    state: State,
    /// Of the transaction under way: how many recipients were accepted by the time its data came.
    recipients: u32,
    lines: LineReader,
    refused_chunk: Option<RefusedChunk>,
    unit: Unit,
    /// The event that is due, where a call that gives none has caused it: how a message was cut
    /// off. [`Abort::Refused`] is none of those ways, and stands for a command that an answer
    /// refused: an enum of its own would make every connection larger.
    untold: Option<Abort>,
    idle: Idle,
    errors: u32,
    extended: bool,
    tls: bool,
    /// It has logged in.
    authenticated: bool,
    xclient: bool,
    eof: bool,
    shutting_down: bool,
}

/// With so many octets in the output, a connection waits until they were flushed. One more reply
/// fits behind.
pub const OUTPUT_HIGH_WATER: usize = 16 * 1024;

/// A chunk that is skipped before it gets its reply.
#[derive(Debug)]
struct RefusedChunk {
    chunk: Chunk,
    reply: Reply,
    /// It follows one that failed: the client could not know, this is not another error of its.
    forgiven: bool,
    /// The reply is to the message, of which the caller was told.
    ends_message: bool,
    /// It was to be a part of a message, which it ends.
    of_message: bool,
}

/// What came of one turn of the loop.
enum Turn<'i> {
    Event(Event<'i>),
    Again,
    /// Nothing more can be done now.
    Wait,
}

/// Kept out of the way of commands that are done.
#[cold]
fn refused(line: &[u8], reply: Reply) -> Turn<'_> {
    Turn::Event(Event::CommandRefused { line, reply })
}

/// What is told of the line of a chunk that was refused. The line itself is gone when the chunk is.
const BDAT: &[u8] = b"BDAT";

fn front(input: &[u8], length: usize) -> &[u8] {
    input.get(..length).unwrap_or(input)
}

impl Connection {
    /// A client has connected: the question whether it is wanted is open, [`answer`](Self::answer)
    /// it. To accept it sends the greeting.
    #[must_use]
    pub fn new(config: Arc<Config>, now: Instant) -> Self {
        Self::with_protocol(config, Protocol::Smtp, now)
    }

    /// As [`new`](Self::new), in another protocol.
    ///
    /// In LMTP, [`Event::Hello`] is by LHLO, and [`Answer::Each`](crate::Answer::Each) gives each
    /// recipient its own reply to [`Question::Message`](crate::Question::Message). Any other answer
    /// to it is said once for each recipient, but for a 421.
    #[must_use]
    pub fn with_protocol(config: Arc<Config>, protocol: Protocol, now: Instant) -> Self {
        Self {
            config,
            protocol,
            recipients: 0,
            state: State::ConnectAsked,
            lines: LineReader::new(),
            refused_chunk: None,
            unit: Unit::new(now),
            untold: None,
            idle: Idle::default(),
            errors: 0,
            extended: false,
            tls: false,
            authenticated: false,
            xclient: false,
            eof: false,
            shutting_down: false,
        }
    }

    /// The client is a proxy that may say by XCLIENT whose session this is, more than once: EHLO
    /// offers it, and [`Event::Xclient`] tells. From any other client it is 550 5.7.0.
    ///
    /// A proxy is believed whatever it says.
    pub fn offer_xclient(&mut self) {
        self.xclient = true;
    }

    /// Takes from the front of `input` what it can do with it, appends replies to `output`, and
    /// gives the next event.
    ///
    /// `None`: nothing more can be done now. What is left in `input` is a line that is not
    /// complete, under [`max_line`](Self::max_line) octets, or has to wait: for the answer to the
    /// open question, or for the output to be flushed. Keep it, and come again with the same octets
    /// in front and more behind them; none is searched twice. Octets of a body stay in `input` only
    /// where they have to wait. Once the connection [is closed](Self::is_closed), what is left is
    /// of no use.
    ///
    /// A client may send commands and never read what it is told. So nothing more is done while
    /// `output` holds [`OUTPUT_HIGH_WATER`] octets or more: flush it and come again.
    pub fn poll_event<'i>(
        &mut self,
        now: Instant,
        input: &mut &'i [u8],
        output: &mut Vec<u8>,
    ) -> Option<Event<'i>> {
        self.poll_event_with_room(now, input, output, &mut [])
    }

    /// As [`poll_event`](Self::poll_event), with fewer events for a content of many small pieces.
    ///
    /// Pieces end where a transparency dot is left out or a line end is repaired, so that a hostile
    /// client can make them as small as it likes. Short ones are put together in the `room`, from
    /// which the event then borrows. Long ones are left where they are. The room may hold anything
    /// before and after; 8 KiB do well, and under 512 octets it is of no use.
    pub fn poll_event_with_room<'i: 'r, 'r>(
        &mut self,
        now: Instant,
        input: &mut &'i [u8],
        output: &mut Vec<u8>,
        room: &'r mut [u8],
    ) -> Option<Event<'r>> {
        let event = self.next_event(now, input, output, room);
        self.watch_idleness(now);
        event
    }

    fn next_event<'i: 'r, 'r>(
        &mut self,
        now: Instant,
        input: &mut &'i [u8],
        output: &mut Vec<u8>,
        room: &'r mut [u8],
    ) -> Option<Event<'r>> {
        let mut room = room;
        loop {
            if self.untold.is_some() {
                return self.tell();
            }
            if output.len() >= OUTPUT_HIGH_WATER {
                return None;
            }
            self.leave_if_idle(output);
            match self.turn(now, input, output, &mut room) {
                Turn::Event(event) => return Some(event),
                Turn::Again => {}
                Turn::Wait if self.eof && self.question().is_none() && !self.is_closed() => {
                    self.end(Abort::Eof);
                }
                Turn::Wait => return None,
            }
        }
    }

    /// The event that is due.
    #[cold]
    fn tell<'r>(&mut self) -> Option<Event<'r>> {
        Some(match self.untold.take()? {
            Abort::Refused(reply) => Event::CommandRefused { line: &[], reply },
            abort => Event::MessageAborted(abort),
        })
    }

    fn turn<'i: 'r, 'r>(
        &mut self,
        now: Instant,
        input: &mut &'i [u8],
        output: &mut Vec<u8>,
        room: &mut &'r mut [u8],
    ) -> Turn<'r> {
        // Looked at before it is taken: it is large, and there is hardly ever one.
        if self.refused_chunk.is_some()
            && let Some(refused) = self.refused_chunk.take()
        {
            return self.skip_chunk(refused, now, input, output);
        }
        if self.state.takes_body() {
            return self.read_body(now, input, output, room);
        }
        if self.state.takes_commands() {
            return self.read_line(now, input, output);
        }
        if self.state.takes_response() {
            return self.read_response(now, input, output);
        }
        Turn::Wait
    }
}
