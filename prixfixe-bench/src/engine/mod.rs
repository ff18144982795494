//! The load generator: one event loop a thread, each with its share of the workers.
//!
//! A turn of the loop:
//!
//! 1. wait for sockets, or for the next time at which anything is due;
//! 2. read replies, record what they say, write what follows;
//! 3. start workers whose time has come, end what has taken too long.

mod alarm;
mod connection;
mod context;
mod job;
mod pacer;
mod socket;
mod way;
mod worker;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

pub use self::pacer::Pace;

use self::alarm::Alarm;
use self::connection::Buffers;
use self::context::Context;
use self::pacer::{Next, Pacer, Ticket};
use self::worker::{Left, Role, Worker};
use crate::failure::{Failure, Kind, Stage};
use crate::measure::Measurements;
use crate::workload::{Progress, Workload};

/// How often deadlines are looked at; a timeout is late by this at most.
const SWEEP: Duration = Duration::from_millis(50);
/// A worker whose connection failed before it was of use waits this long: a server that refuses is
/// not to be hammered.
const BACK_OFF: Duration = Duration::from_millis(10);
/// A slow client that the server threw out comes back after this.
const SLOW_RETURN: Duration = Duration::from_millis(500);
/// Background connections that are being opened at once, fewer than any listen backlog.
const OPENING: usize = 64;
/// After an interrupt, messages under way have this long.
const FAREWELL: Duration = Duration::from_secs(1);

const ALARM: Token = Token(usize::MAX - 1);

/// What threads tell one another, and whoever shows the progress.
#[derive(Debug)]
pub(crate) struct Live<'a> {
    accepted: AtomicU64,
    failed: AtomicU64,
    octets: AtomicU64,
    /// Set by whoever wants the run to end.
    stop: &'a AtomicBool,
    /// The background connections are open and the load has begun.
    started: AtomicBool,
    barrier: Barrier,
}

/// The workers of one thread.
#[derive(Debug)]
pub(crate) struct Engine<'a> {
    live: &'a Live<'a>,
    poll: Poll,
    alarm: Alarm,
    buffers: Buffers,
    context: Context<'a>,
    /// Load workers first, then those in the background.
    workers: Vec<Worker>,
    load: usize,
    /// When workers without a connection begin.
    starts: BinaryHeap<Reverse<(Instant, usize)>>,
    /// Background workers that have not begun.
    unopened: Vec<usize>,
    /// Timeouts since the last message that was accepted or refused.
    timeouts_in_a_row: usize,
}

impl<'a> Live<'a> {
    pub(crate) fn new(threads: usize, stop: &'a AtomicBool) -> Self {
        Self {
            accepted: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            octets: AtomicU64::new(0),
            stop,
            started: AtomicBool::new(false),
            barrier: Barrier::new(threads),
        }
    }

    /// What whoever waits for the end can be told.
    pub(crate) fn progress(&self) -> Progress {
        Progress {
            has_begun: self.started.load(Ordering::Relaxed),
            accepted: self.accepted.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            octets: self.octets.load(Ordering::Relaxed),
        }
    }
}

/// Runs one thread's share to its end. `Err`: the event loop itself cannot be set up.
pub(crate) fn run(workload: &Workload, live: &Live<'_>, thread: u32) -> io::Result<Measurements> {
    let engine = Engine::new(workload, live, thread);
    // Every thread comes here, or those that did would wait for it for ever.
    let engine = engine.map(|mut engine| {
        engine.open_background();
        engine
    });
    live.barrier.wait();
    let mut engine = engine?;
    live.started.store(true, Ordering::Relaxed);
    engine.drive();
    Ok(engine.context.measurements)
}

/// The part of `total` that thread number `thread` of `threads` has.
fn share(total: u32, thread: u32, threads: u32) -> u32 {
    total / threads + u32::from(thread < total % threads)
}

impl<'a> Engine<'a> {
    fn new(workload: &'a Workload, live: &'a Live<'a>, thread: u32) -> io::Result<Self> {
        let poll = Poll::new()?;
        let alarm = Alarm::new(poll.registry(), ALARM)?;
        let threads = workload.threads.get();
        let roles = [
            (
                Role::Load,
                share(workload.concurrency.get(), thread, threads),
            ),
            (
                Role::Idle,
                share(workload.idle_connections, thread, threads),
            ),
            (Role::Slow, share(workload.slow_clients, thread, threads)),
        ];
        let mut workers = Vec::new();
        for (role, count) in roles {
            for number in 0..count {
                let number = (number * threads + thread) as usize;
                workers.push(Worker::new(role, number % workload.targets.len().max(1)));
            }
        }
        let load = workers
            .iter()
            .filter(|worker| worker.role == Role::Load)
            .count();
        let pacer = Pacer::new(workload.pace, Instant::now(), thread.into(), threads.into());
        Ok(Self {
            live,
            poll,
            alarm,
            buffers: Buffers::new(),
            context: Context::new(workload, pacer),
            load,
            unopened: (load..workers.len()).rev().collect(),
            workers,
            starts: BinaryHeap::new(),
            timeouts_in_a_row: 0,
        })
    }

    /// Opens the connections in the background, each within the timeout.
    fn open_background(&mut self) {
        let mut sweep = Instant::now();
        loop {
            let opening = self
                .background()
                .filter(|worker| worker.is_opening())
                .count();
            for _ in opening..OPENING {
                let Some(index) = self.unopened.pop() else {
                    break;
                };
                self.start(index, Instant::now(), None);
            }
            if !self.background().any(Worker::is_opening) && self.unopened.is_empty()
                || self.is_stopped()
            {
                return;
            }
            self.turn(&mut sweep, None);
        }
    }

    fn background(&self) -> impl Iterator<Item = &Worker> {
        self.workers.iter().skip(self.load)
    }

    fn is_stopped(&self) -> bool {
        self.live.stop.load(Ordering::Relaxed)
    }

    /// The run proper.
    fn drive(&mut self) {
        let start = Instant::now();
        self.context.begin(start);
        self.plan_starts(start);
        let mut sweep = start;
        let mut stopping = None;
        loop {
            let now = Instant::now();
            let wake = self.give_out(now);
            if self.is_finished(now) {
                break;
            }
            if self.is_stopped() {
                self.context.pacer.stop();
                if now >= *stopping.get_or_insert(now + FAREWELL) {
                    break;
                }
            }
            self.turn(&mut sweep, wake);
            self.publish();
        }
        self.publish();
    }

    /// In a closed loop each worker has its moment within the ramp; in an open loop they start as
    /// messages come due.
    fn plan_starts(&mut self, start: Instant) {
        for index in 0..self.load {
            if self.context.pacer.is_open() {
                self.context.vacant.push(index);
                continue;
            }
            let pace = &self.context.workload.pace;
            let part = u32::try_from(index).unwrap_or(0);
            let after = pace
                .ramp
                .checked_div(u32::try_from(self.load).unwrap_or(1))
                .unwrap_or_default()
                * part;
            self.starts.push(Reverse((start + after, index)));
        }
    }

    /// Starts what is to start now; gives the time when there is more.
    fn give_out(&mut self, now: Instant) -> Option<Instant> {
        while let Some(Reverse((at, index))) = self.starts.peek().copied() {
            if at > now {
                break;
            }
            self.starts.pop();
            self.begin(index, now);
        }
        let start = self.starts.peek().map(|Reverse((at, _))| *at);
        let due = if self.context.pacer.is_open() {
            self.give_out_due(now)
        } else {
            None
        };
        [start, due].into_iter().flatten().min()
    }

    /// A worker without a connection begins, in a closed loop or in the background.
    fn begin(&mut self, index: usize, now: Instant) {
        let Some(worker) = self.workers.get(index) else {
            return;
        };
        if worker.role != Role::Load {
            self.start(index, now, None);
        } else if self.context.pacer.is_open() {
            self.context.vacant.push(index);
        } else if let Next::Now(ticket) = self.context.pacer.next(now) {
            self.start(index, now, Some(ticket));
        }
    }

    /// In an open loop, gives each message that is due to a worker that is free.
    fn give_out_due(&mut self, now: Instant) -> Option<Instant> {
        while !self.context.idle.is_empty() || !self.context.vacant.is_empty() {
            match self.context.pacer.next(now) {
                Next::Now(ticket) if self.context.is_expired(ticket, now) => {
                    self.context.expire(now)
                }
                Next::Now(ticket) => self.give(ticket, now),
                Next::At(due) => return Some(due),
                Next::Never => break,
            }
        }
        None
    }

    fn give(&mut self, ticket: Ticket, now: Instant) {
        if let Some(index) = self.context.idle.pop() {
            if let Some(worker) = self.workers.get_mut(index)
                && let Some(failure) = worker.send_now(ticket, now, &mut self.context)
            {
                self.close(index, Err(failure), now);
            }
        } else if let Some(index) = self.context.vacant.pop() {
            self.start(index, now, Some(ticket));
        }
    }

    /// Begins to connect.
    fn start(&mut self, index: usize, now: Instant, ticket: Option<Ticket>) {
        if let Some(worker) = self.workers.get_mut(index)
            && let Err(failure) = worker.open(
                ticket,
                now,
                self.poll.registry(),
                Token(index),
                &mut self.context,
            )
        {
            self.close(index, Err(failure), now);
        }
    }

    /// Waits, and does what there is to do.
    fn turn(&mut self, sweep: &mut Instant, wake: Option<Instant>) {
        let now = Instant::now();
        let next_sweep = *sweep + self.sweep_interval();
        let wait = next_sweep.saturating_duration_since(now);
        let timeout = self
            .alarm
            .set(now, wake)
            .map_or(wait, |alarm| alarm.min(wait));
        let mut events = std::mem::replace(&mut self.context.events, Events::with_capacity(0));
        // A signal ends the wait early, which is as good as any end of it.
        if self.poll.poll(&mut events, Some(timeout)).is_err() {
            events.clear();
        }
        for event in &events {
            let index = event.token().0;
            let Some(worker) = self.workers.get_mut(index) else {
                continue;
            };
            match worker.turn(event.is_read_closed(), &mut self.buffers, &mut self.context) {
                None => {}
                Some(result) => self.close(index, result, Instant::now()),
            }
        }
        self.context.events = events;
        let now = Instant::now();
        if now >= next_sweep {
            *sweep = now;
            self.sweep(now);
        }
    }

    fn sweep_interval(&self) -> Duration {
        SWEEP
            .min(self.context.workload.timeout / 4)
            .max(Duration::from_millis(1))
    }

    /// Ends what has taken too long, and lets slow clients send their next octets.
    fn sweep(&mut self, now: Instant) {
        for index in 0..self.workers.len() {
            let Some(worker) = self.workers.get_mut(index) else {
                break;
            };
            if let Some(failure) = worker.overdue(now) {
                self.close(index, Err(failure), now);
            } else if worker.role == Role::Slow
                && let Err(failure) = worker.trickle(now, &self.context)
            {
                self.close(index, Err(failure), now);
            }
        }
    }

    /// A connection has ended: counts what that means, and says when the worker goes on.
    fn close(&mut self, index: usize, result: Result<(), Failure>, now: Instant) {
        let Some(worker) = self.workers.get_mut(index) else {
            return;
        };
        if let Err(failure) = &result
            && let Some(ticket) = worker.other_address(failure, &mut self.context)
        {
            return self.start(index, now, ticket);
        }
        let timed_out = worker.is_busy()
            && result
                .as_ref()
                .is_err_and(|failure| failure.kind == Kind::Timeout);
        match worker.close(result, now, &mut self.context) {
            Left::Nothing => return,
            Left::Useful => {}
            Left::Useless if worker.role == Role::Slow => {
                self.starts.push(Reverse((now + SLOW_RETURN, index)))
            }
            Left::Useless => {
                self.starts.push(Reverse((now + BACK_OFF, index)));
                self.give_up_on_silence(timed_out);
                return;
            }
        }
        if worker.role == Role::Load {
            self.starts.push(Reverse((now, index)));
            self.give_up_on_silence(timed_out);
        }
    }

    /// When every worker has waited in vain, and nothing was answered meanwhile, there is no point
    /// in the rest.
    fn give_up_on_silence(&mut self, timed_out: bool) {
        if std::mem::take(&mut self.context.answered) {
            self.timeouts_in_a_row = 0;
        }
        self.timeouts_in_a_row += usize::from(timed_out);
        if self.timeouts_in_a_row >= self.load.max(1) {
            self.context.measurements.gave_up = true;
            self.context.pacer.stop();
        }
    }

    fn is_finished(&mut self, now: Instant) -> bool {
        let load = self.workers.get(..self.load).unwrap_or_default();
        if !self.context.pacer.is_open() {
            let starting = self
                .starts
                .iter()
                .any(|Reverse((_, index))| *index < self.load);
            return !starting && !load.iter().any(Worker::is_connected);
        }
        if load.iter().any(Worker::is_busy) {
            return false;
        }
        match self.context.pacer.next(now) {
            Next::Now(ticket) => {
                self.context.pacer.give_back(ticket);
                false
            }
            Next::At(_) => false,
            Next::Never => true,
        }
    }

    fn publish(&mut self) {
        let add = |counter: &AtomicU64, now: u64, before: &mut u64| {
            if now != *before {
                counter.fetch_add(now - *before, Ordering::Relaxed);
                *before = now;
            }
        };
        let Context {
            measurements,
            published,
            ..
        } = &mut self.context;
        add(&self.live.accepted, measurements.accepted, &mut published.0);
        add(&self.live.failed, measurements.failed, &mut published.1);
        add(&self.live.octets, measurements.octets, &mut published.2);
    }
}
