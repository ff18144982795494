//! The connection: lines and bodies in, events and replies out, and the time that they take.

use std::sync::Arc;
use std::time::Instant;

use crate::chunk::Chunk;
use crate::command::Command;
use crate::idle::{self, Idle};
use crate::line::{LineError, LineReader};
use crate::parser;
use crate::state::{Say, Session, State, Step};
use crate::time::Unit;
use crate::{
    Abort, Answer, Attribute, Config, Event, MAX_LINE, MAX_LOGIN_LINE, Mechanism, Protocol,
    Question, Reply, replies, sasl, xclient,
};

/// The dialogue with one client. See the [crate's docs](crate) for how to run it.
///
/// It has no buffer, neither for input nor for output: an idle connection costs its own size, which is under
/// 300 octets, and what is asked of its caller is [`MAX_LINE`](crate::MAX_LINE) octets for a line that is not
/// complete.
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
    /// What the caller is still to be told: how a message was cut off. [`Abort::Refused`] is none of those ways, and
    /// stands for a command that an answer refused.
    untold: Option<Abort>,
    idle: Idle,
    errors: u32,
    extended: bool,
    tls: bool,
    /// It has logged in.
    authenticated: bool,
    xclient: bool,
    eof: bool,
    quit: bool,
    shutting_down: bool,
}

/// With so many octets in the output, a connection waits until they were flushed. One more reply fits behind.
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

/// A refused line that is a BDAT: the octets of a chunk follow it, and nobody knows how many.
fn announces_chunk(line: &[u8]) -> bool {
    line.split_at_checked(BDAT.len())
        .is_some_and(|(verb, rest)| {
            verb.eq_ignore_ascii_case(BDAT)
                && !rest
                    .first()
                    .is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
        })
}

/// What is told of a refused line that begins so: a password may stand behind it.
const AUTH: &[u8] = b"AUTH";

/// As much of a line as its refusal tells.
fn shown(line: &[u8]) -> &[u8] {
    match line.split_at_checked(AUTH.len()) {
        Some((verb, _)) if verb.eq_ignore_ascii_case(AUTH) => AUTH,
        _ => line,
    }
}

fn front(input: &[u8], length: usize) -> &[u8] {
    input.get(..length).unwrap_or(input)
}

/// What a reply came to.
#[derive(Debug, Clone, Copy)]
enum Said {
    Yes,
    /// A 4xx or 5xx.
    No,
    /// It was one bad command too many: another reply was given.
    TooMuch,
}

impl Said {
    /// What the caller is told of a command that got this reply.
    fn turn(self, line: &[u8], reply: Reply) -> Turn<'_> {
        match self {
            Self::Yes => Turn::Again,
            Self::No => refused(line, reply),
            Self::TooMuch => refused(line, replies::TOO_MANY_ERRORS),
        }
    }
}

impl Connection {
    /// A client has connected: the question whether it is wanted is open, [`answer`](Self::answer) it. To
    /// accept it sends the greeting.
    #[must_use]
    pub fn new(config: Arc<Config>, now: Instant) -> Self {
        Self::with_protocol(config, Protocol::Smtp, now)
    }

    /// As [`new`](Self::new), in another protocol.
    ///
    /// In LMTP, [`Event::Hello`] is by LHLO, and [`Answer::Each`] gives each recipient its own reply to
    /// [`Question::Message`]. Any other answer to it is said once for each recipient, but for a 421.
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
            quit: false,
            shutting_down: false,
        }
    }

    /// The client is a proxy that may say by XCLIENT whose session this is, more than once: EHLO offers it, and
    /// [`Event::Xclient`] tells. From any other client it is 550 5.7.0.
    ///
    /// A proxy is believed whatever it says.
    pub fn offer_xclient(&mut self) {
        self.xclient = true;
    }

    /// Takes from the front of `input` what it can do with it, appends replies to `output`, and gives the
    /// next event.
    ///
    /// `None`: nothing more can be done now. What is left in `input` is a line that is not complete, under
    /// [`max_line`](Self::max_line) octets, or has to wait: for the answer to the open question, or for the
    /// output to be flushed. Keep it, and come again with the same octets in front and more behind them; none
    /// is searched twice. Octets of a body stay in `input` only where they have to wait. Once the connection
    /// [is closed](Self::is_closed), what is left is of no use.
    ///
    /// A client may send commands and never read what it is told. So nothing more is done while `output` holds
    /// [`OUTPUT_HIGH_WATER`] octets or more: flush it and come again.
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
    /// Pieces end where a transparency dot is left out or a line end is repaired, so that a hostile client can make
    /// them as small as it likes. Short ones are put together in the `room`, from which the event then borrows. Long
    /// ones are left where they are. The room may hold anything before and after; 8 KiB do well, and under 512 octets
    /// it is of no use.
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
            match self.untold.take() {
                None => {}
                Some(Abort::Refused(reply)) => {
                    return Some(Event::CommandRefused { line: &[], reply });
                }
                Some(abort) => return Some(Event::MessageAborted(abort)),
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

    /// Answers the open question. Without one, nothing happens: the session may have been closed by then.
    pub fn answer(&mut self, now: Instant, answer: Answer, output: &mut Vec<u8>) {
        let question = self.question();
        let (answer, each) = self.outcomes(answer);
        let Some((state, say)) = self.state.answered(answer, &self.config) else {
            return;
        };
        self.state = state;
        let is_positive = matches!(&say, Say::Reply(reply) if reply.is_positive());
        // A refusal by the handler is no bad command, so it is not counted as one.
        match say {
            Say::Reply(reply) if self.idles_by_refusal(question, &reply) => {
                self.refuse_idleness(&[], output);
            }
            Say::Reply(_) if !each.is_empty() => {
                for reply in &each {
                    reply.encode(output);
                }
            }
            Say::Reply(reply) => {
                reply.encode(output);
                if question == Some(Question::Message) {
                    self.repeat(&reply, output);
                }
            }
            Say::Refusal(reply) => match self.reply(&reply, output) {
                Said::Yes => {}
                Said::No => self.untold = Some(Abort::Refused(reply)),
                Said::TooMuch => self.untold = Some(Abort::Refused(replies::TOO_MANY_ERRORS)),
            },
            Say::AfterChunk { chunk, reply } => {
                self.refused_chunk = Some(RefusedChunk {
                    chunk,
                    reply,
                    forgiven: true,
                    ends_message: true,
                    of_message: true,
                });
            }
            Say::Greeting if self.shutting_down => {}
            say => self.say(say, output),
        }
        match question {
            Some(Question::Auth) => self.authenticated = is_positive,
            Some(Question::Data) if self.state.takes_body() => self.idle.message_begins(now),
            Some(Question::Message) => self.idle.begin_anew(now),
            _ => {}
        }
        self.unit.next(now);
        if self.refused_chunk.is_some() {
            self.unit.refuse(now);
        }
        self.leave_if_idle(output);
        self.watch_idleness(now);
    }

    /// The answer to the dialogue, and the replies to the recipients where they differ.
    ///
    /// In the middle of several replies the session cannot end, so that one which would end it becomes 451.
    fn outcomes(&self, answer: Answer) -> (Answer, Vec<Reply>) {
        let is_lmtp = self.protocol == Protocol::Lmtp;
        let Answer::Each(mut replies) = answer else {
            return (answer, Vec::new());
        };
        if !is_lmtp
            || self.question() != Some(Question::Message)
            || u32::try_from(replies.len()) != Ok(self.recipients)
        {
            return (Answer::Each(replies), Vec::new());
        }
        for reply in &mut replies {
            let is_outcome = reply.is_positive() || reply.is_transient() || reply.is_permanent();
            if !is_outcome || reply.code() == 421 || reply.closes() {
                *reply = replies::LOCAL_ERROR;
            }
        }
        (Answer::Accept, replies)
    }

    /// The reply to the data has left: in LMTP that was the first recipient's, and the others get theirs
    /// (RFC 2033 section 4.2). A 421 ends the session and is said once.
    fn repeat(&self, reply: &Reply, output: &mut Vec<u8>) {
        if self.protocol == Protocol::Lmtp && reply.code() != 421 {
            for _ in 1..self.recipients {
                reply.encode(output);
            }
        }
    }

    /// An answer to MAIL or RCPT that is one refusal too many since the last message.
    fn idles_by_refusal(&mut self, question: Option<Question>, reply: &Reply) -> bool {
        matches!(question, Some(Question::Mail | Question::Rcpt))
            && !self.is_closed()
            && idle::counts_refusal(reply)
            && !self.idle.allows_command(self.config.max_idle_commands)
    }

    /// The client will send no more; it may still read. What it has sent is worked off first: keep calling
    /// [`poll_event`](Self::poll_event), which closes the connection when it is at the end, and gives
    /// [`Event::MessageAborted`] if that is in the middle of a message.
    pub fn receive_eof(&mut self, _now: Instant) {
        self.eof = true;
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) at the latest. It changes with every call that
    /// has `now`. `None`: the client is not waited for, since a question is open, input is
    /// [paused](Self::pause), or the connection is closed.
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

    /// The data of a message that has its own end. Chunks are no such data: a message of many of them, each slow, could last
    /// for ever.
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
    /// During a TLS handshake nothing is sent: there is no telling what the client would take it for. A
    /// message under way shows as [`Event::MessageAborted`] by the next [`poll_event`](Self::poll_event).
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

    /// The server is going away: ends the session with 421 4.3.2 (RFC 5321 section 3.8), at once when it is
    /// idle, else as soon as the transaction under way has ended.
    pub fn shutdown(&mut self, _now: Instant, output: &mut Vec<u8>) {
        self.shutting_down = true;
        self.leave_if_idle(output);
    }

    /// The TLS connection is there: after [`Event::StartTls`], or for implicit TLS before the first
    /// question is answered. All that the client said before is forgotten (RFC 3207 section 4.2).
    pub fn tls_established(&mut self, now: Instant) {
        self.state = self.state.tls_established();
        self.lines = LineReader::new();
        self.extended = false;
        self.authenticated = false;
        self.tls = true;
        self.unit.next(now);
    }

    /// The mechanisms that this client is offered, in place of those of the [configuration](crate::Auth::mechanisms): some depend on
    /// its TLS connection. Without AUTH in the configuration, nothing happens.
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

    /// The longest line that may come next, in octets, CR LF included: [`MAX_LOGIN_LINE`] where the response to a challenge
    /// does, else [`MAX_LINE`].
    #[must_use]
    pub fn max_line(&self) -> usize {
        match self.state.takes_response() {
            true => MAX_LOGIN_LINE,
            false => MAX_LINE,
        }
    }

    /// The client sent more in clear text behind STARTTLS: ends the session with 554 5.5.1. Run inside TLS,
    /// those octets would be someone else's words in the client's mouth.
    ///
    /// [`poll_event`](Self::poll_event) does so by itself for what stands behind STARTTLS in `input`. This
    /// is for callers that hold more than they lent. Before the greeting, where only implicit TLS can have been
    /// due, the reply says that instead.
    pub fn clear_text_after_starttls(&mut self, _now: Instant, output: &mut Vec<u8>) {
        let reply = match self.state {
            State::ConnectAsked => replies::TLS_BEFORE_ANYTHING,
            _ => replies::CLEAR_TEXT_AFTER_STARTTLS,
        };
        reply.encode(output);
        self.end(Abort::Closed);
    }

    /// Ends the session with this reply, whatever is under way. A message shows as
    /// [`Event::MessageAborted`] by the next [`poll_event`](Self::poll_event).
    pub fn close(&mut self, reply: &Reply, output: &mut Vec<u8>) {
        if !self.is_closed() {
            reply.encode(output);
            self.end(Abort::Closed);
        }
    }

    /// True when the session is over: ask [`poll_event`](Self::poll_event) for a last
    /// [`Event::MessageAborted`], flush the output, then close.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// True when the session ended by QUIT: the client means to send no more (RFC 5321 section 4.1.1.10), so that its
    /// side of the connection needn't be waited for.
    #[must_use]
    pub fn has_quit(&self) -> bool {
        self.quit
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

    fn turn<'i: 'r, 'r>(
        &mut self,
        now: Instant,
        input: &mut &'i [u8],
        output: &mut Vec<u8>,
        room: &mut &'r mut [u8],
    ) -> Turn<'r> {
        if let Some(refused) = self.refused_chunk.take() {
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

    /// Takes the line behind a challenge. Whatever stands in it, it is no command.
    fn read_response<'i>(
        &mut self,
        now: Instant,
        input: &mut &'i [u8],
        output: &mut Vec<u8>,
    ) -> Turn<'i> {
        let Some(line) = self.lines.read_up_to(MAX_LOGIN_LINE, input) else {
            self.unit.octets(now, input.len() as u64);
            return Turn::Wait;
        };
        self.unit.next(now);
        if line.is_err() {
            self.unit.refuse(now);
        }
        let line = line.map_err(LineError::reply_to_response);
        let (state, step) = self.state.response(line.and_then(sasl::response));
        self.state = state;
        if let Say::Reply(reply) = &step.say
            && let Said::TooMuch = self.reply(reply, output)
        {
            return Turn::Event(Event::AuthAborted(replies::TOO_MANY_ERRORS));
        }
        step.event.map_or(Turn::Again, Turn::Event)
    }

    fn skip_chunk<'i>(
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
        let said = match refused.forgiven {
            true => {
                refused.reply.encode(output);
                Said::Yes
            }
            false => self.reply(&refused.reply, output),
        };
        // The last chunk is the end of the data, of whose recipients each gets its reply.
        if refused.of_message && refused.chunk.is_last() && !matches!(said, Said::TooMuch) {
            self.repeat(&refused.reply, output);
        }
        self.unit.next(now);
        match refused.ends_message {
            true => Turn::Again,
            false => said.turn(BDAT, refused.reply),
        }
    }

    fn read_body<'i: 'r, 'r>(
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
            let said = self.reply(reply, output);
            if in_data && !matches!(said, Said::TooMuch) {
                self.repeat(reply, output);
            }
            return Turn::Again;
        }
        self.take(step, &[], now, output)
    }

    fn read_line<'i>(
        &mut self,
        now: Instant,
        input: &mut &'i [u8],
        output: &mut Vec<u8>,
    ) -> Turn<'i> {
        if self.lines.is_skipping() {
            let mut window = front(input, self.unit.room(self.config.refused_limit()));
            let before = window.len();
            let is_over = self.lines.skip(&mut window);
            let skipped = before - window.len();
            self.unit.more_octets(now, skipped as u64);
            *input = input.get(skipped..).unwrap_or_default();
            if !is_over {
                return match input.is_empty() {
                    true => Turn::Wait,
                    false => self.give_up_refused(output),
                };
            }
            self.unit.next(now);
        }
        let mut rest = *input;
        match self.lines.read(&mut rest) {
            None => {
                self.unit.octets(now, input.len() as u64);
                Turn::Wait
            }
            Some(Err(error)) => {
                let line = shown(front(input, input.len() - rest.len()));
                self.unit.next(now);
                self.unit.refuse(now);
                *input = rest;
                if !self.idle.allows_command(self.config.max_idle_commands) {
                    return self.refuse_idleness(line, output);
                }
                let reply = error.reply();
                let said = self.reply(&reply, output);
                if announces_chunk(line) {
                    self.end(Abort::Closed);
                }
                said.turn(line, reply)
            }
            Some(Ok(line)) => self.run(line, rest, now, input, output),
        }
    }

    /// Runs a command line, behind which `rest` stands.
    fn run<'i>(
        &mut self,
        line: &'i [u8],
        rest: &'i [u8],
        now: Instant,
        input: &mut &'i [u8],
        output: &mut Vec<u8>,
    ) -> Turn<'i> {
        self.unit.next(now);
        let command = parser::command(self.protocol, line);
        if let Some((state, abort)) = command
            .ok()
            .and_then(|command| self.state.interrupted(&command))
        {
            // The line stays in the input: it is run when the caller has been told.
            self.state = state;
            self.idle.message_is_given_up();
            return Turn::Event(Event::MessageAborted(abort));
        }
        *input = rest;
        let line = shown(line);
        if idle::counts(command.as_ref())
            && !self.idle.allows_command(self.config.max_idle_commands)
        {
            return self.refuse_idleness(line, output);
        }
        let command = match command {
            Ok(command) => command,
            Err(error) => {
                let reply = error.into();
                let said = self.reply(&reply, output);
                if error.ends_session() {
                    self.end(Abort::Closed);
                }
                return said.turn(line, reply);
            }
        };
        if let Command::Xclient { argument } = command
            && self.xclient
        {
            return self.become_another(argument, line, now, output);
        }
        let session = Session {
            config: &self.config,
            extended: self.extended,
            tls: self.tls,
            authenticated: self.authenticated,
        };
        if let Some(recipients) = self.state.recipients() {
            self.recipients = u32::try_from(recipients).unwrap_or(u32::MAX);
        }
        let failed = self.state == State::Failed;
        let asks = matches!(command, Command::Mail { .. } | Command::Rcpt { .. });
        self.quit = matches!(command, Command::Quit);
        let (state, step) = self.state.command(command, session);
        self.state = state;
        if step.event == Some(Event::StartTls) && !rest.is_empty() {
            self.clear_text_after_starttls(now, output);
            return refused(line, replies::CLEAR_TEXT_AFTER_STARTTLS);
        }
        if asks
            && let Say::Reply(reply) = &step.say
            && idle::counts_refusal(reply)
            && !self.idle.allows_command(self.config.max_idle_commands)
        {
            return self.refuse_idleness(line, output);
        }
        let turn = self.take(step, line, now, output);
        if let Some(refused) = &mut self.refused_chunk {
            refused.forgiven = failed;
        }
        turn
    }

    /// The session begins anew, with the client that XCLIENT names.
    fn become_another<'i>(
        &mut self,
        argument: &str,
        line: &'i [u8],
        now: Instant,
        output: &mut Vec<u8>,
    ) -> Turn<'i> {
        let refusal = match (self.state.renewed(), xclient::parse(argument)) {
            (Some(state), Some(told)) => {
                self.state = state;
                self.extended = false;
                self.errors = 0;
                self.idle.begin_anew(now);
                self.authenticated = match told.login {
                    Attribute::Is(_) => true,
                    // Another client has not logged in because the one before it had.
                    Attribute::Unsaid => self.authenticated && told.address.is_unsaid(),
                    Attribute::Unavailable | Attribute::Unknown => false,
                };
                return Turn::Event(Event::Xclient(Box::new(told)));
            }
            (None, _) => replies::OUT_OF_ORDER,
            (_, None) => replies::BAD_ARGUMENT,
        };
        self.reply(&refusal, output).turn(line, refusal)
    }

    /// Does what comes of a line, or of a piece of a body, which has none.
    fn take<'i>(
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
    fn say(&mut self, say: Say, output: &mut Vec<u8>) {
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
    fn reply(&mut self, reply: &Reply, output: &mut Vec<u8>) -> Said {
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
    fn refuse_idleness<'i>(&mut self, line: &'i [u8], output: &mut Vec<u8>) -> Turn<'i> {
        replies::TOO_MANY_IDLE_COMMANDS.encode(output);
        self.end(Abort::Closed);
        refused(line, replies::TOO_MANY_IDLE_COMMANDS)
    }

    /// Ends the session where more comes of what was refused than a message may have: nobody has to read on for ever.
    #[cold]
    fn give_up_refused<'i>(&mut self, output: &mut Vec<u8>) -> Turn<'i> {
        replies::TIMED_OUT.encode(output);
        self.end(Abort::Timeout);
        refused(&[], replies::TIMED_OUT)
    }

    /// How many octets of a body are looked at now: the second time that one goes over the size limit is the end of it,
    /// wherever its pieces were cut.
    fn body_room(&self, in_data: bool) -> usize {
        if !in_data {
            // A chunk that is over the limit never begins.
            return usize::MAX;
        }
        self.refused_room()
    }

    /// How many more octets of a body or a chunk are read, if it is refused: up to twice the limit, so that a client
    /// whose message is too large hears so, by DATA and by BDAT, and does not come again with it.
    fn refused_room(&self) -> usize {
        let limit = self.config.size_limit();
        self.unit
            .room(limit.saturating_add(self.config.refused_limit()))
    }

    /// The client's time without a message counts while it is waited for, and not while it waits for us.
    fn watch_idleness(&mut self, now: Instant) {
        let is_waited_for = self.question().is_none() && !self.unit.is_paused();
        self.idle.run(now, is_waited_for);
    }

    fn leave_if_idle(&mut self, output: &mut Vec<u8>) {
        if self.shutting_down && self.state.is_idle() && self.refused_chunk.is_none() {
            replies::SHUTTING_DOWN.encode(output);
            self.end(Abort::Closed);
        }
    }

    fn end(&mut self, abort: Abort) {
        if self.state.in_message() {
            self.untold = Some(abort);
        }
        self.state = self.state.closed();
        self.refused_chunk = None;
    }
}

impl LineError {
    const fn reply(self) -> Reply {
        match self {
            Self::TooLong => replies::LINE_TOO_LONG,
            Self::BareCrOrLf => replies::BARE_CR_OR_LF_IN_COMMAND,
        }
    }

    const fn reply_to_response(self) -> Reply {
        match self {
            Self::TooLong => replies::RESPONSE_TOO_LONG,
            Self::BareCrOrLf => replies::BARE_CR_OR_LF_IN_COMMAND,
        }
    }
}
