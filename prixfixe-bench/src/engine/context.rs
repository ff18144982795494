//! What the workers of a thread share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::Events;

use super::pacer::{Pacer, Ticket};
use super::way::Way;
use super::{Failure, Kind, Measurements, Stage, Workload};
use crate::content::Prepared;
use crate::target::Address;

/// Events taken from the system at once.
const EVENTS: usize = 1024;

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
    pub(super) preferred: Vec<usize>,
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
        self.fail(now, 0, failure);
    }

    /// A message to `target` has failed.
    pub(super) fn fail(&mut self, now: Instant, target: usize, failure: Failure) {
        self.measurements.fail(self.elapsed(now), target, failure);
    }

    /// How long the load has gone on.
    pub(super) fn elapsed(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.start)
    }

    pub(super) fn next_message(&mut self) -> Option<Arc<Prepared>> {
        let messages = &self.workload.messages;
        let message = messages
            .get(self.next_message % messages.len().max(1))
            .cloned();
        self.next_message = self.next_message.wrapping_add(1);
        message
    }

    pub(super) fn next_source(&mut self) -> usize {
        self.next_source = self.next_source.wrapping_add(1);
        self.next_source
    }

    pub(super) fn way(&self, target: usize, address: usize, source: usize) -> Option<Way<'a>> {
        let workload: &'a Workload = self.workload;
        let target = workload.targets.get(target)?;
        let address = target
            .addresses
            .get(address % target.addresses.len().max(1))?;
        let sources = &workload.sources;
        Some(Way {
            address,
            source: sources.get(source % sources.len().max(1)).copied().filter(
                |from| matches!(address, Address::Tcp(to) if from.is_ipv4() == to.is_ipv4()),
            ),
            host: &target.host,
            security: workload.security.as_ref(),
        })
    }
}
