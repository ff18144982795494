//! The message that a connection is about, and what follows it.

use std::time::{Duration, Instant};

use super::connection::Happening;
use super::context::Context;
use super::pacer::{Next, Ticket};
use super::worker::Role;
use crate::dialogue::Dialogue;

/// How long a server may take to answer QUIT. Not answering it is no failure of any message.
const QUIT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long it may take to close then. Whoever closes first keeps the connection in TIME-WAIT for a
/// minute (RFC 9293 section 3.6.1): where that is the client, one with a connection a message runs
/// out of ports.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(100);

/// What the connection is about.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) index: usize,
    /// Taken, and neither accepted nor failed yet.
    pub(super) ticket: Option<Ticket>,
    current: Option<Current>,
    /// Sent behind the current one.
    pub(super) behind: Option<(Ticket, u64)>,
    /// Messages begun on this connection.
    begun: u64,
    /// QUIT was sent, or goes out with the content.
    quitting: bool,
    /// EHLO was answered.
    pub(super) established: bool,
    pub(super) deadline: Option<Instant>,
    /// Octets that a slow client may send, and when that was reckoned.
    allowance: f64,
    reckoned: Instant,
}

/// A message under way.
#[derive(Debug, Clone, Copy)]
struct Current {
    began: Instant,
    size: u64,
}

impl Job {
    /// Of a worker without a connection.
    pub(super) fn new() -> Self {
        Self {
            index: 0,
            ticket: None,
            current: None,
            behind: None,
            begun: 0,
            quitting: false,
            established: false,
            deadline: None,
            allowance: 0.0,
            reckoned: Instant::now(),
        }
    }

    /// A connection begins to be made, for the message of `ticket`.
    pub(super) fn begin(
        index: usize,
        ticket: Option<Ticket>,
        now: Instant,
        context: &Context<'_>,
    ) -> Self {
        let mut job = Self {
            index,
            ticket,
            deadline: now.checked_add(context.workload.timeout),
            reckoned: now,
            ..Self::new()
        };
        job.keep_to_ticket(context);
        job
    }

    pub(super) fn observe(
        &mut self,
        role: Role,
        target: usize,
        dialogue: &mut Dialogue,
        happening: Happening,
        now: Instant,
        context: &mut Context<'_>,
    ) {
        let measured = role == Role::Load;
        match happening {
            Happening::Connected(after) if measured => context.measurements.connect.record(after),
            Happening::Secured(after) if measured => context.measurements.tls.record(after),
            Happening::Greeted(after) if measured => context.measurements.greeting.record(after),
            Happening::Connected(_) | Happening::Secured(_) | Happening::Greeted(_) => {}
            Happening::Ready => self.ready(role, dialogue, now, context),
            Happening::MayFollow if measured => self.follow(dialogue, now, context),
            Happening::MayFollow => {}
            Happening::Accepted if measured => {
                if let (Some(ticket), Some(current)) = (self.ticket, self.current) {
                    let at = context.elapsed(now);
                    let message = now.saturating_duration_since(ticket.due);
                    let transaction = now.saturating_duration_since(current.began);
                    context
                        .measurements
                        .accept(at, target, current.size, transaction, message);
                }
                let recipients = dialogue.take_recipients();
                context.measurements.recipients.add(recipients);
                self.end_message(now, context);
            }
            Happening::Accepted => context.measurements.slow.messages += 1,
            Happening::Failed(failure) if measured => {
                context.fail(now, target, failure);
                let recipients = dialogue.take_recipients();
                context.measurements.recipients.add(recipients);
                self.end_message(now, context);
            }
            Happening::Failed(_) => {}
            Happening::Goodbye => self.deadline = self.deadline.min(now.checked_add(CLOSE_TIMEOUT)),
        }
    }

    /// Nothing is under way on the connection.
    fn ready(
        &mut self,
        role: Role,
        dialogue: &mut Dialogue,
        now: Instant,
        context: &mut Context<'_>,
    ) {
        let first = !std::mem::replace(&mut self.established, true);
        match role {
            Role::Idle => {
                context.measurements.idle.opened += u64::from(first);
                self.deadline = None;
            }
            Role::Slow => {
                context.measurements.slow.opened += u64::from(first);
                self.deadline = None;
                if let Some(message) = context.next_message() {
                    dialogue.send(now, message);
                }
            }
            Role::Load => {
                context.measurements.connections += u64::from(first);
                self.next(dialogue, now, context);
            }
        }
    }

    /// Sends the next message, or waits for one, or quits.
    fn next(&mut self, dialogue: &mut Dialogue, now: Instant, context: &mut Context<'_>) {
        if self.is_used_up(context) {
            return self.quit(dialogue, now);
        }
        while self.ticket.is_none() {
            match context.pacer.next(now) {
                Next::Now(ticket) if context.is_expired(ticket, now) => context.expire(now),
                Next::Now(ticket) => self.ticket = Some(ticket),
                Next::At(_) => {
                    self.deadline = None;
                    return context.idle.push(self.index);
                }
                Next::Never => return self.quit(dialogue, now),
            }
        }
        self.send(dialogue, now, context);
    }

    pub(super) fn send(
        &mut self,
        dialogue: &mut Dialogue,
        now: Instant,
        context: &mut Context<'_>,
    ) {
        if let Some(size) = self.begin_message(dialogue, now, context) {
            self.current = Some(Current { began: now, size });
            self.keep_to_ticket(context);
        }
    }

    /// The content is on its way: another message, or QUIT, goes out in the same write.
    fn follow(&mut self, dialogue: &mut Dialogue, now: Instant, context: &mut Context<'_>) {
        if self.is_used_up(context) {
            return self.quit_behind(dialogue, now);
        }
        match context.pacer.next(now) {
            Next::Now(ticket) => match self.begin_message(dialogue, now, context) {
                Some(size) => self.behind = Some((ticket, size)),
                None => context.pacer.give_back(ticket),
            },
            Next::At(_) => {}
            Next::Never => self.quit_behind(dialogue, now),
        }
    }

    /// Hands the next message to the dialogue, and gives its size. `None`: there is none, or the
    /// dialogue cannot take it.
    fn begin_message(
        &mut self,
        dialogue: &mut Dialogue,
        now: Instant,
        context: &mut Context<'_>,
    ) -> Option<u64> {
        let message = context.next_message()?;
        let size = message.size;
        if !dialogue.send(now, message) {
            return None;
        }
        self.begun += 1;
        Some(size)
    }

    fn quit_behind(&mut self, dialogue: &mut Dialogue, now: Instant) {
        self.quitting = true;
        dialogue.quit(now);
    }

    /// The current message has had its last reply. What was sent behind it is the current one now.
    fn end_message(&mut self, now: Instant, context: &mut Context<'_>) {
        context.answered = true;
        self.ticket = None;
        self.current = None;
        let patience = if self.quitting {
            QUIT_TIMEOUT
        } else {
            context.workload.timeout
        };
        self.deadline = now.checked_add(patience);
        if let Some((ticket, size)) = self.behind.take() {
            // In a closed loop its time begins here: before, it was waiting for its own client's
            // content to be sent.
            let due = if context.pacer.is_open() {
                ticket.due
            } else {
                now
            };
            self.ticket = Some(Ticket { due });
            self.current = Some(Current { began: now, size });
            self.keep_to_ticket(context);
        }
    }

    fn quit(&mut self, dialogue: &mut Dialogue, now: Instant) {
        self.deadline = now.checked_add(QUIT_TIMEOUT);
        self.quit_behind(dialogue, now);
    }

    fn is_used_up(&self, context: &Context<'_>) -> bool {
        context
            .workload
            .per_connection
            .is_some_and(|most| self.begun >= most)
    }

    fn keep_to_ticket(&mut self, context: &Context<'_>) {
        if let Some(ticket) = self.ticket {
            self.deadline = ticket.due.checked_add(context.workload.timeout);
        }
    }
    /// Octets that a slow client may send now, at `rate` a second.
    pub(super) fn allowance(&mut self, now: Instant, rate: u32) -> usize {
        let rate = f64::from(rate);
        let elapsed = now.saturating_duration_since(self.reckoned).as_secs_f64();
        self.reckoned = now;
        // What it could not send it has not saved up for longer than a second.
        self.allowance = (self.allowance + rate * elapsed).min(rate.max(1.0));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between nought and a u32"
        )]
        let octets = self.allowance as usize;
        octets
    }

    /// It has sent so many of them.
    pub(super) fn spend(&mut self, octets: usize) {
        #[expect(
            clippy::cast_precision_loss,
            reason = "no more than the allowance, which is a small number"
        )]
        let octets = octets as f64;
        self.allowance -= octets;
    }
}
