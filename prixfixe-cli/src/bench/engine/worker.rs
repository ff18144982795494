//! One worker: a connection at a time, and the message that it is about.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Registry, Token};

use super::connection::{Buffers, Connection, Happening, Turn, Way};
use super::pacer::{Next, Pacer, Ticket};
use super::{Failure, Kind, Measurements, Stage, Workload};
use crate::bench::content::Prepared;
use crate::bench::dialogue::Dialogue;

/// How long a server may take to answer QUIT. Not answering it is no failure of any message.
const QUIT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long it may take to close then. Whoever closes first keeps the connection in TIME-WAIT for a minute (RFC 9293 section
/// 3.6.1): where that is the client, one with a connection a message runs out of ports.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(100);
/// Events taken from the system at once.
const EVENTS: usize = 1024;

/// What a worker is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Sends what is measured.
    Load,
    /// Holds a connection.
    Idle,
    /// Sends a few octets a second.
    Slow,
}

/// What is left for a worker to do after its connection has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    Nothing,
    /// To make another connection.
    Useful,
    /// The same, but the last one had been of no use.
    Useless,
}

/// What the workers of a thread share.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub(super) workload: &'a Workload,
    pub(super) pacer: Pacer,
    pub(super) measurements: Measurements,
    /// Connected workers with nothing to send, in an open loop.
    pub(super) idle: Vec<usize>,
    /// Workers without a connection, in an open loop.
    pub(super) vacant: Vec<usize>,
    pub(super) events: Events,
    /// Accepted, failed and octets, as last published.
    pub(super) published: (u64, u64, u64),
    /// A message was answered since the last timeout.
    pub(super) answered: bool,
    start: Instant,
    next_message: usize,
    next_source: usize,
    /// By target, the address that was good last.
    preferred: Vec<usize>,
}

/// One worker.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) role: Role,
    target: usize,
    connection: Option<Connection>,
    /// Addresses of the target that have failed in a row.
    addresses_tried: usize,
    way_address: usize,
    job: Job,
}

/// What the connection is about.
#[derive(Debug)]
struct Job {
    index: usize,
    /// Taken, and neither accepted nor failed yet.
    ticket: Option<Ticket>,
    current: Option<Current>,
    /// Sent behind the current one.
    behind: Option<(Ticket, u64)>,
    /// Messages begun on this connection.
    begun: u64,
    /// QUIT was sent, or goes out with the content.
    quitting: bool,
    /// EHLO was answered.
    established: bool,
    deadline: Option<Instant>,
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

impl<'a> Context<'a> {
    pub(super) fn new(workload: &'a Workload, pacer: Pacer) -> Self {
        Self {
            workload,
            pacer,
            measurements: Measurements::new(workload.targets.len()),
            idle: Vec::new(),
            vacant: Vec::new(),
            events: Events::with_capacity(EVENTS),
            published: (0, 0, 0),
            answered: false,
            start: Instant::now(),
            next_message: 0,
            next_source: 0,
            preferred: vec![0; workload.targets.len()],
        }
    }

    /// The load begins now: what is due counts from here.
    pub(super) fn begin(&mut self, now: Instant) {
        self.start = now;
        self.pacer.restart(now);
    }

    pub(super) fn is_expired(&self, ticket: Ticket, now: Instant) -> bool {
        now.saturating_duration_since(ticket.due) >= self.workload.timeout
    }

    /// A message has waited for a connection until its time was over.
    pub(super) fn expire(&mut self, now: Instant) {
        let failure = Failure::with_detail(
            Stage::Queue,
            Kind::Timeout,
            "no connection was free in time",
        );
        self.measurements
            .fail(now.saturating_duration_since(self.start), 0, failure);
    }

    fn next_message(&mut self) -> Option<Arc<Prepared>> {
        let messages = &self.workload.messages;
        let message = messages
            .get(self.next_message % messages.len().max(1))
            .cloned();
        self.next_message = self.next_message.wrapping_add(1);
        message
    }

    fn way(&self, target: usize, address: usize, source: usize) -> Option<Way<'a>> {
        let workload: &'a Workload = self.workload;
        let target = workload.targets.get(target)?;
        let address = *target
            .addresses
            .get(address % target.addresses.len().max(1))?;
        let sources = &workload.sources;
        Some(Way {
            address,
            source: sources
                .get(source % sources.len().max(1))
                .copied()
                .filter(|from| from.is_ipv4() == address.is_ipv4()),
            host: &target.host,
            security: workload.security.as_ref(),
        })
    }
}

impl Worker {
    pub(super) fn new(role: Role, target: usize) -> Self {
        Self {
            role,
            target,
            connection: None,
            addresses_tried: 0,
            way_address: 0,
            job: Job::new(),
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// True while a message is under way, or a connection is made for one.
    pub(super) fn is_busy(&self) -> bool {
        self.job.ticket.is_some()
    }

    /// True while the connection is not of use yet.
    pub(super) fn is_opening(&self) -> bool {
        self.connection.is_some() && !self.job.established
    }

    /// Begins to connect, for the message of `ticket`.
    pub(super) fn open(
        &mut self,
        ticket: Option<Ticket>,
        now: Instant,
        registry: &Registry,
        token: Token,
        context: &mut Context<'_>,
    ) -> Result<(), Failure> {
        self.way_address = context.preferred.get(self.target).copied().unwrap_or(0);
        self.job = Job {
            index: token.0,
            ticket,
            reckoned: now,
            ..Job::new()
        };
        self.job.deadline = now.checked_add(context.workload.timeout);
        self.job.keep_to_ticket(context);
        context.next_source = context.next_source.wrapping_add(1);
        let Some(way) = context.way(self.target, self.way_address, context.next_source) else {
            return Ok(());
        };
        let dialogue = Dialogue::new(Arc::clone(&context.workload.manner));
        self.connection = Some(Connection::open(
            &way,
            registry,
            token,
            dialogue,
            self.role == Role::Slow,
        )?);
        Ok(())
    }

    /// Does what the socket is ready for. `Some`: the connection has ended.
    pub(super) fn turn(
        &mut self,
        closed: bool,
        buffers: &mut Buffers,
        context: &mut Context<'_>,
    ) -> Option<Result<(), Failure>> {
        let connection = self.connection.as_mut()?;
        let way = context.way(self.target, self.way_address, 0)?;
        let Self {
            job, role, target, ..
        } = self;
        let mut observe = |dialogue: &mut Dialogue, happening: Happening, now: Instant| {
            job.observe(*role, *target, dialogue, happening, now, context);
        };
        match connection.turn(&way, closed, buffers, &mut observe) {
            Ok(Turn::Open) => None,
            Ok(Turn::Done) => Some(Ok(())),
            Err(failure) => Some(Err(failure)),
        }
    }

    /// Sends on a connection that waits for something to send.
    pub(super) fn send_now(
        &mut self,
        ticket: Ticket,
        now: Instant,
        context: &mut Context<'_>,
    ) -> Option<Failure> {
        let connection = self.connection.as_mut()?;
        self.job.ticket = Some(ticket);
        self.job.send(connection.dialogue(), now, context);
        connection.flush().err()
    }

    /// What took too long, if it is time.
    pub(super) fn overdue(&self, now: Instant) -> Option<Failure> {
        let connection = self.connection.as_ref()?;
        let deadline = self.job.deadline?;
        (now >= deadline).then(|| Failure::new(connection.stage(), Kind::Timeout))
    }

    /// A slow client sends its next octets.
    pub(super) fn trickle(&mut self, now: Instant, context: &Context<'_>) -> Result<(), Failure> {
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        let rate = f64::from(context.workload.slow_rate.get());
        let elapsed = now
            .saturating_duration_since(self.job.reckoned)
            .as_secs_f64();
        self.job.reckoned = now;
        // What it could not send it has not saved up for longer than a second.
        self.job.allowance = (self.job.allowance + rate * elapsed).min(rate.max(1.0));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between nought and a u32"
        )]
        let octets = self.job.allowance as usize;
        #[expect(
            clippy::cast_precision_loss,
            reason = "no more than the allowance, which is a small number"
        )]
        let sent = connection.trickle(octets)? as f64;
        self.job.allowance -= sent;
        Ok(())
    }

    /// After a connection that could not be made: true when the target has another address to try. Gives the ticket.
    pub(super) fn other_address(
        &mut self,
        failure: &Failure,
        context: &mut Context<'_>,
    ) -> Option<Option<Ticket>> {
        let addresses = context.workload.targets.get(self.target)?.addresses.len();
        let connects = failure.stage == Stage::Connect
            && matches!(failure.kind, Kind::Refused | Kind::Unreachable);
        if !connects || self.addresses_tried + 1 >= addresses {
            return None;
        }
        self.addresses_tried += 1;
        *context.preferred.get_mut(self.target)? = (self.way_address + 1) % addresses;
        self.connection = None;
        Some(self.job.ticket.take())
    }

    /// The connection has ended; counts what that means.
    pub(super) fn close(
        &mut self,
        result: Result<(), Failure>,
        now: Instant,
        context: &mut Context<'_>,
    ) -> Left {
        self.connection = None;
        self.addresses_tried = 0;
        let job = std::mem::replace(&mut self.job, Job::new());
        match self.role {
            Role::Load => {
                context.idle.retain(|index| *index != job.index);
                if let Some((ticket, _)) = job.behind {
                    context.pacer.give_back(ticket);
                }
                match (job.ticket, result) {
                    (Some(_), Err(failure)) => {
                        context.measurements.fail(
                            now.saturating_duration_since(context.start),
                            self.target,
                            failure,
                        );
                    }
                    (Some(ticket), Ok(())) => context.pacer.give_back(ticket),
                    // Without a message under way, a server may close whenever it likes.
                    (None, _) => {}
                }
                if job.established {
                    Left::Useful
                } else {
                    Left::Useless
                }
            }
            Role::Idle => {
                context.measurements.idle.failed += u64::from(!job.established);
                context.measurements.idle.lost += u64::from(job.established);
                Left::Nothing
            }
            Role::Slow => {
                context.measurements.slow.failed += u64::from(!job.established);
                context.measurements.slow.lost += u64::from(job.established);
                Left::Useless
            }
        }
    }
}

impl Job {
    fn new() -> Self {
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

    fn observe(
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
                    let at = now.saturating_duration_since(context.start);
                    let message = now.saturating_duration_since(ticket.due);
                    let transaction = now.saturating_duration_since(current.began);
                    context
                        .measurements
                        .accept(at, target, current.size, transaction, message);
                }
                self.end_message(now, context);
            }
            Happening::Accepted => context.measurements.slow.messages += 1,
            Happening::Failed(failure) if measured => {
                let at = now.saturating_duration_since(context.start);
                context.measurements.fail(at, target, failure);
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
                    dialogue.send(message);
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

    fn send(&mut self, dialogue: &mut Dialogue, now: Instant, context: &mut Context<'_>) {
        let Some(message) = context.next_message() else {
            return;
        };
        let size = message.size;
        if dialogue.send(message) {
            self.begun += 1;
            self.current = Some(Current { began: now, size });
            self.keep_to_ticket(context);
        }
    }

    /// The content is on its way: another message, or QUIT, goes out in the same write.
    fn follow(&mut self, dialogue: &mut Dialogue, now: Instant, context: &mut Context<'_>) {
        if self.is_used_up(context) {
            return self.quit_behind(dialogue);
        }
        match context.pacer.next(now) {
            Next::Now(ticket) => {
                let Some(message) = context.next_message() else {
                    return context.pacer.give_back(ticket);
                };
                let size = message.size;
                if dialogue.send(message) {
                    self.begun += 1;
                    self.behind = Some((ticket, size));
                } else {
                    context.pacer.give_back(ticket);
                }
            }
            Next::At(_) => {}
            Next::Never => self.quit_behind(dialogue),
        }
    }

    fn quit_behind(&mut self, dialogue: &mut Dialogue) {
        self.quitting = true;
        dialogue.quit();
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
            // In a closed loop its time begins here: before, it was waiting for its own client's content to be sent.
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
        self.quit_behind(dialogue);
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
}
