//! Reads lines, and runs the commands in them.

use std::time::Instant;

use super::reply::Outcome;
use super::{BDAT, Connection, Turn, front, refused};
use crate::command::Command;
use crate::line::LineError;
use crate::state::{Say, Session, State};
use crate::{Abort, Attribute, Event, MAX_LOGIN_LINE, Reply, idle, parser, replies, sasl, xclient};

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

impl Connection {
    /// Takes the line behind a challenge. Whatever stands in it, it is no command.
    pub(super) fn read_response<'i>(
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
            && let Outcome::SessionEnded = self.reply(reply, output)
        {
            return Turn::Event(Event::AuthAborted(replies::TOO_MANY_ERRORS));
        }
        step.event.map_or(Turn::Again, Turn::Event)
    }

    pub(super) fn read_line<'i>(
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
                let outcome = self.reply(&reply, output);
                if announces_chunk(line) {
                    self.end(Abort::Closed);
                }
                outcome.turn(line, reply)
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
                let outcome = self.reply(&reply, output);
                if error.ends_session() {
                    self.end(Abort::Closed);
                }
                return outcome.turn(line, reply);
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
        let is_refused_already = matches!(self.state, State::ChunkRefused);
        let asks = matches!(command, Command::Mail { .. } | Command::Rcpt { .. });
        let (state, step) = self.state.command(command, session);
        self.state = state;
        if matches!(step.event, Some(Event::StartTls)) && !rest.is_empty() {
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
            refused.forgiven = is_refused_already;
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
