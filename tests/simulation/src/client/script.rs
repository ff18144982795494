//! What a client does next.

use std::fmt::Write as _;

use prixfixe_test_support::stuffed;

use super::model::{At, Sent};
use super::odd::odd_command;
use super::wire::Wire;
use super::{Client, Session, View};
use crate::content::{Form, Verdict, verdict};
use crate::handler::{handling_word, word};
use crate::network::{Notice, Way};
use crate::runtime::SECOND;
use crate::scenario::{Act, Answer, Leave, MessagePlan, Mishap, Security, What};

/// Where a client is in its script.
#[derive(Debug)]
pub enum Phase {
    Greeting,
    /// EHLO, STARTTLS, EHLO.
    Introduction,
    Ready,
    Odd,
    Message(Box<Sending>),
    Leaving,
}

/// What follows when all that was to be sent has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    Reset,
    Vanish,
    HalfClose,
    Mute,
    Deaf,
    /// The pace was for this alone.
    Hurry,
}

/// A message on its way.
#[derive(Debug)]
pub struct Sending {
    token: u32,
    octets: Vec<u8>,
    verdict: Verdict,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Recipients(usize),
    Data,
    /// From this octet on.
    Chunks(usize),
    Done,
}

impl Client {
    /// Does what is next in the script. False: nothing is, before something happens.
    pub(super) fn proceed(&mut self, session: &mut Session, view: &mut View<'_>) -> bool {
        if !session.expected.is_empty()
            || session.mute
            || session.half_closed
            || session.model.at == At::Closed
        {
            return false;
        }
        if session.until.is_some_and(|until| until > view.now) {
            return false;
        }
        session.until = None;
        match std::mem::replace(&mut session.phase, Phase::Ready) {
            Phase::Greeting => {
                session.phase = Phase::Introduction;
                self.hello(session);
            }
            Phase::Introduction => self.introduce(session, view),
            Phase::Odd => self.next_step(),
            Phase::Ready if !matches!(session.model.at, At::Ready) => {
                session.push(b"RSET\r\n", Sent::Reset)
            }
            Phase::Ready => self.next_act(session, view),
            Phase::Message(sending) => self.go_on(session, *sending, view),
            Phase::Leaving => {
                session.phase = Phase::Leaving;
                return false;
            }
        }
        true
    }

    fn hello(&self, session: &mut Session) {
        session.model.tls_offered =
            matches!(session.wire, Wire::Clear) && self.plan.security != Security::Implicit;
        let command = if self.plan.old { "HELO" } else { "EHLO" };
        session.push(
            format!("{command} c{}.example\r\n", self.plan.number).as_bytes(),
            Sent::Hello,
        );
    }

    fn introduce(&mut self, session: &mut Session, view: &mut View<'_>) {
        match (self.plan.security, &session.wire, session.model.at) {
            (Security::StartTls, Wire::Clear, At::StartTls) => match Wire::tls(view.tls) {
                Ok(wire) => {
                    session.wire = wire;
                    session.model.at = At::Start;
                    session.phase = Phase::Introduction;
                    self.hello(session);
                }
                Err(error) => self.violated(view, error),
            },
            (Security::StartTls, Wire::Clear, _) => {
                session.phase = Phase::Introduction;
                session.push(b"STARTTLS\r\n", Sent::StartTls);
            }
            _ => {}
        }
    }

    fn next_act(&mut self, session: &mut Session, view: &mut View<'_>) {
        let Some(step) = self.plan.steps.get(self.step) else {
            return self.leave(session);
        };
        let number = self.plan.number;
        view.trace.line(view.now, || format!("c{number} {step}"));
        match step.act.clone() {
            Act::Message(plan) => self.begin(session, &plan, view),
            Act::Odd(odd) => odd_command(session, odd, view),
            Act::Pause(time) => {
                session.until = Some(view.now + time);
                session.may_time_out |= time >= view.limits.command_timeout * 9 / 10;
                session.phase = Phase::Odd;
            }
            Act::Deaf(count) => {
                for _ in 0..count {
                    session.push(b"NOOP\r\n", Sent::Noop);
                }
                session.phase = Phase::Odd;
                // Before anything is sent: no reply is read.
                session.deaf = true;
                session.may_time_out = true;
                session.cut = true;
                session.after = Some(After::Deaf);
            }
        }
    }

    fn leave(&mut self, session: &mut Session) {
        session.phase = Phase::Leaving;
        match self.plan.leave {
            Leave::Quit => session.push(b"QUIT\r\n", Sent::Quit),
            Leave::QuitAndGone => {
                session.push(b"QUIT\r\n", Sent::Quit);
                session.after = Some(After::Reset);
            }
            Leave::HalfClose => session.after = Some(After::HalfClose),
            Leave::Reset => session.after = Some(After::Reset),
            Leave::Vanish => session.after = Some(After::Vanish),
        }
    }

    /// All has left that was to. True: the connection is over.
    pub(super) fn finish(
        &mut self,
        session: &mut Session,
        after: After,
        view: &mut View<'_>,
    ) -> bool {
        let number = self.plan.number;
        if after != After::Hurry {
            view.trace.line(view.now, || format!("c{number} {after:?}"));
        }
        match after {
            After::Hurry => session.pace = None,
            After::Mute => {
                session.mute = true;
                session.may_time_out = true;
            }
            After::Deaf => {}
            After::HalfClose => {
                session.half_closed = true;
                session.wire.close(&mut session.out);
                session.transmit(view);
                view.link.finish(Way::ToServer, view.now);
            }
            After::Reset => {
                let at = view.link.delay(view.now);
                view.link.notices.push((at, Notice::Reset(Way::ToServer)));
                session.cut = true;
                return true;
            }
            After::Vanish => {
                view.link.vanished = true;
                session.cut = true;
                return true;
            }
        }
        false
    }

    fn begin(&mut self, session: &mut Session, plan: &MessagePlan, view: &mut View<'_>) {
        let token = view.ledger.next();
        let sender = format!(
            "{}.{}.{token}@c{}.example",
            word(plan.sender),
            handling_word(plan.handling),
            self.plan.number
        );
        let recipient =
            |(place, answer): (usize, &Answer)| format!("{}.{place}@r.example", word(*answer));
        let accepted = plan
            .recipients
            .iter()
            .enumerate()
            .filter(|(_, answer)| matches!(answer, Answer::Yes | Answer::Slow));
        let recipients = accepted
            .map(recipient)
            .take(view.limits.max_recipients)
            .collect();
        view.ledger
            .begin(self.plan.number, sender.clone(), recipients, plan.content);
        let octets = plan.content.octets(token);
        let binary = plan.content.form == Form::Binary;
        let verdict = verdict(&octets, binary, view.limits.max_message_size);
        let mut command = format!("MAIL FROM:<{sender}>");
        if plan.huge {
            let _ = write!(command, " SIZE={}", view.limits.max_message_size + 1);
        }
        if binary {
            command.push_str(" BODY=BINARYMIME");
        }
        command.push_str("\r\n");
        session.push(
            command.as_bytes(),
            Sent::Mail {
                answer: plan.sender,
                huge: plan.huge,
                binary,
            },
        );
        let mut sending = Sending {
            token,
            octets,
            verdict,
            stage: Stage::Recipients(0),
        };
        if plan.pipelined {
            for place in 0..plan.recipients.len() {
                push_recipient(session, plan, place);
            }
            if plan.chunked.is_some() && plan.mishap.is_none() {
                sending.stage = Stage::Chunks(0);
                while sending.stage != Stage::Done {
                    self.push_chunk(session, plan, &mut sending, view);
                }
            } else if plan.chunked.is_some() {
                sending.stage = Stage::Chunks(0);
            } else {
                session.push(b"DATA\r\n", Sent::Data);
                sending.stage = Stage::Data;
            }
        }
        session.phase = Phase::Message(Box::new(sending));
    }

    fn go_on(&mut self, session: &mut Session, mut sending: Sending, view: &mut View<'_>) {
        let Some(Act::Message(plan)) = self.plan.steps.get(self.step).map(|step| step.act.clone())
        else {
            return;
        };
        let at = session.model.at;
        match sending.stage {
            Stage::Recipients(place)
                if matches!(at, At::Mail | At::Recipients) && place < plan.recipients.len() =>
            {
                push_recipient(session, &plan, place);
                sending.stage = Stage::Recipients(place + 1);
            }
            Stage::Recipients(_) if at == At::Recipients => {
                if plan.chunked.is_some() {
                    sending.stage = Stage::Chunks(0);
                } else {
                    session.push(b"DATA\r\n", Sent::Data);
                    sending.stage = Stage::Data;
                }
            }
            Stage::Data if at == At::Content => {
                self.push_content(session, &plan, &mut sending, view)
            }
            Stage::Chunks(_) if matches!(at, At::Recipients | At::Chunks(_)) => match plan.mishap {
                Some(mishap) => self.push_part_of_chunk(session, mishap, &mut sending, view),
                None => self.push_chunk(session, &plan, &mut sending, view),
            },
            Stage::Recipients(_) | Stage::Data | Stage::Chunks(_) | Stage::Done => {
                return self.message_over(session);
            }
        }
        session.phase = Phase::Message(Box::new(sending));
    }

    /// The server has had its say.
    fn message_over(&mut self, session: &Session) {
        let later = session
            .last
            .as_ref()
            .is_some_and(|reply| matches!(reply.code, 451 | 452));
        if later && self.tries < 1 {
            self.tries += 1;
        } else {
            self.next_step();
        }
    }

    fn push_content(
        &self,
        session: &mut Session,
        plan: &MessagePlan,
        sending: &mut Sending,
        view: &mut View<'_>,
    ) {
        let wire = [&stuffed(&sending.octets), &b".\r\n"[..]].concat();
        set_pace(session, plan, wire.len(), view);
        let is_refused = sending.verdict != Verdict::Sound;
        session.may_time_out |= is_refused && may_last(plan, wire.len());
        let sent = Sent::Content {
            token: sending.token,
            verdict: sending.verdict,
            handling: plan.handling,
        };
        sending.stage = Stage::Done;
        match plan.mishap {
            None => {
                session.push(&wire, sent);
                view.ledger.completed(sending.token);
                session.after = Some(After::Hurry);
            }
            Some(mishap) => {
                let part = wire.len() * mishap.after as usize / 1000;
                session.wire.send(&wire[..part], &mut session.out);
                session.expected.push_back(Sent::Nothing);
                session.cut = true;
                session.after = Some(after(mishap.what));
            }
        }
    }

    fn push_chunk(
        &self,
        session: &mut Session,
        plan: &MessagePlan,
        sending: &mut Sending,
        view: &mut View<'_>,
    ) {
        let Stage::Chunks(from) = sending.stage else {
            return;
        };
        let left = sending.octets.len() - from;
        let size = plan.chunked.unwrap_or(usize::MAX).min(left);
        let last = size == left;
        let mut bytes = format!("BDAT {size}{}\r\n", if last { " LAST" } else { "" }).into_bytes();
        bytes.extend_from_slice(&sending.octets[from..from + size]);
        set_pace(session, plan, bytes.len(), view);
        let may_be_refused = sending.verdict != Verdict::Sound
            || sending.octets.len() as u64 > view.limits.max_message_size
            || session.model.at == At::Failed;
        session.may_time_out |= may_be_refused && may_last(plan, bytes.len());
        let sent = Sent::Chunk {
            token: sending.token,
            size: size as u64,
            last,
            verdict: sending.verdict,
            handling: plan.handling,
        };
        session.push(&bytes, sent);
        if last {
            view.ledger.completed(sending.token);
            session.after = Some(After::Hurry);
            sending.stage = Stage::Done;
        } else {
            sending.stage = Stage::Chunks(from + size);
        }
    }

    /// One chunk that something happens to; or a whole one, and the message is given up.
    fn push_part_of_chunk(
        &self,
        session: &mut Session,
        mishap: Mishap,
        sending: &mut Sending,
        view: &mut View<'_>,
    ) {
        let part = sending.octets.len() * mishap.after as usize / 1000;
        sending.stage = Stage::Done;
        if mishap.what == What::GiveUp {
            let mut bytes = format!("BDAT {part}\r\n").into_bytes();
            bytes.extend_from_slice(&sending.octets[..part]);
            let handling = crate::scenario::Handling::Store;
            let sent = Sent::Chunk {
                token: sending.token,
                size: part as u64,
                last: false,
                verdict: sending.verdict,
                handling,
            };
            session.push(&bytes, sent);
            session.push(b"RSET\r\n", Sent::Reset);
            return;
        }
        let _ = view;
        // One octet more than will come.
        let mut bytes = format!("BDAT {} LAST\r\n", sending.octets.len() + 1).into_bytes();
        bytes.extend_from_slice(&sending.octets[..part]);
        session.wire.send(&bytes, &mut session.out);
        // It may be refused for its size alone, once all of it were there.
        session.expected.push_back(Sent::Nothing);
        session.cut = true;
        session.after = Some(after(mishap.what));
    }
}

const fn after(what: What) -> After {
    match what {
        What::Reset | What::GiveUp => After::Reset,
        What::Vanish => After::Vanish,
        What::HalfClose => After::HalfClose,
        What::Mute => After::Mute,
    }
}

fn push_recipient(session: &mut Session, plan: &MessagePlan, place: usize) {
    let answer = plan.recipients[place];
    session.push(
        format!("RCPT TO:<{}.{place}@r.example>\r\n", word(answer)).as_bytes(),
        Sent::Recipient(answer),
    );
}

/// What is refused has the time of one command for all of its octets, be the client or the network
/// slow.
fn may_last(plan: &MessagePlan, octets: usize) -> bool {
    plan.pace.is_some() || octets > 10_000
}

/// A client that sends faster than the least rate must never be cut off for its slowness.
fn set_pace(session: &mut Session, plan: &MessagePlan, octets: usize, view: &View<'_>) {
    let Some(rate) = plan.pace else { return };
    let piece = (rate as usize / 2).max(1);
    session.pace = Some((piece, SECOND / 2));
    let lasts = (octets as u64 / u64::from(rate) + 2) * SECOND;
    let least = u64::from(view.limits.min_data_rate);
    let slow = least > 0 && u64::from(rate) < least + least / 10;
    session.may_time_out |= slow && lasts > view.limits.command_timeout / 2;
}
