//! One worker: a connection at a time.

use std::sync::Arc;
use std::time::Instant;

use mio::{Registry, Token};

use super::connection::{Buffers, Connection, Happening, Turn};
use super::context::Context;
use super::job::Job;
use super::pacer::Ticket;
use super::{Failure, Kind, Stage};
use crate::dialogue::Dialogue;

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
        self.job = Job::begin(token.0, ticket, now, context);
        let source = context.next_source();
        let Some(way) = context.way(self.target, self.way_address, source) else {
            return Ok(());
        };
        let dialogue = Dialogue::new(Arc::clone(&context.workload.manner), self.target, now);
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
        let allowance = self.job.allowance(now, context.workload.slow_rate.get());
        let sent = connection.trickle(allowance)?;
        self.job.spend(sent);
        Ok(())
    }

    /// After a connection that could not be made: true when the target has another address to try.
    /// Gives the ticket.
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
                    (Some(_), Err(failure)) => context.fail(now, self.target, failure),
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
