//! The power goes after every operation of every run, and what is acknowledged is there.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use fastrand::Rng;
use prixfixe_spool::{Content, Draft, Log, LogOptions, MessageId, Recovery, Ticket};
use prixfixe_test_support::disk::{Fault, Loss, Operation, SimulatedDisk};

/// What is known of a message. Its number is its content's beginning.
#[derive(Debug, Default, Clone)]
struct Known {
    content: Vec<u8>,
    id: Option<MessageId>,
    is_done: bool,
    /// A message that was appended after that was acknowledged, and so this is durable.
    is_done_for_good: bool,
    attempts: u8,
    durable_attempts: u8,
}

#[derive(Default)]
struct Model {
    messages: BTreeMap<u64, Known>,
}

struct Run {
    disk: SimulatedDisk,
    rng: Rng,
    model: Model,
    /// Whether segments come and go quickly.
    is_busy: bool,
}

fn options() -> LogOptions {
    let mut options = LogOptions::default();
    options.segment_size = 12 << 10;
    options
}

impl Run {
    fn new(seed: u64) -> Self {
        Self {
            disk: SimulatedDisk::new(),
            rng: Rng::with_seed(seed),
            model: Model::default(),
            is_busy: false,
        }
    }

    fn busy(seed: u64) -> Self {
        Self {
            is_busy: true,
            ..Self::new(seed)
        }
    }

    /// A life of the process: it may end early, when the power goes.
    fn live(&mut self, steps: usize) {
        let Ok(log) = Log::open(self.disk.clone(), Path::new("/spool"), options()) else {
            return;
        };
        let Some(recovery) = self.take_over(&log) else {
            return;
        };
        assert_eq!(recovery.damaged, []);
        for _ in 0..steps {
            if self.disk.is_dead() {
                return;
            }
            self.step(&log);
        }
        if self.rng.bool() {
            log.finish();
        }
    }

    fn step(&mut self, log: &Log<SimulatedDisk>) {
        if self.is_busy {
            for _ in 0..self.rng.u8(0..4) {
                if let Some((_, message)) = self.pick() {
                    log.done(message.id.unwrap());
                    message.is_done = true;
                }
            }
            self.append(log);
            while log.keep().unwrap_or(false) {}
            return;
        }
        match self.rng.u8(0..12) {
            0..=4 => self.append(log),
            5..=7 => {
                if let Some((_, message)) = self.pick() {
                    log.done(message.id.unwrap());
                    message.is_done = true;
                }
            }
            8 | 9 => {
                if let Some((_, message)) = self.pick() {
                    message.attempts += 1;
                    let state = [message.attempts];
                    log.attempt(message.id.unwrap(), &state).unwrap();
                }
                log.turn_without_sync();
            }
            10 => while log.keep().unwrap_or(false) {},
            _ => {
                log.hand_over();
                self.take_over(log);
            }
        }
    }

    fn pick(&mut self) -> Option<(u64, &mut Known)> {
        let is_live = |it: &Known| it.id.is_some() && !it.is_done;
        // Some stay, so that the first segments do, and others that speak of them go.
        let stays = |number: u64| self.is_busy && number < 12 && number.is_multiple_of(2);
        let live = self.model.messages.iter();
        let live = live.filter(|(number, it)| is_live(it) && !stays(**number));
        let live: Vec<u64> = live.map(|(number, _)| *number).collect();
        let number = self.rng.choice(live)?;
        Some((number, self.model.messages.get_mut(&number)?))
    }

    fn append(&mut self, log: &Log<SimulatedDisk>) {
        let before = self.model.messages.clone();
        let mut tickets: Vec<(u64, Ticket<MessageId>)> = Vec::new();
        for _ in 0..self.rng.usize(1..4) {
            let number = self.model.messages.len() as u64 + 1;
            let length = self.rng.usize(0..2500);
            let mut content = number.to_le_bytes().to_vec();
            content.extend((0..length).map(|_| self.rng.u8(..)));
            let known = Known {
                content: content.clone(),
                ..Known::default()
            };
            self.model.messages.insert(number, known);
            let envelope = number.to_le_bytes();
            let draft = Draft {
                summary: &envelope,
                envelope: &envelope,
                headers: b"Received: x\r\n",
                content: &content,
            };
            if self.rng.u8(0..4) > 0 {
                tickets.push((number, log.append(draft)));
            } else if let Ok(mut large) = log.large() {
                let written = content.chunks(700).try_for_each(|piece| large.write(piece));
                if let (Ok(()), Ok(large)) = (written, large.finish()) {
                    tickets.push((number, log.append_large(draft, large)));
                }
            }
        }
        while log.turn() {}
        let mut is_acknowledged = false;
        for (number, ticket) in tickets {
            if let Ok(id) = ticket.wait() {
                is_acknowledged = true;
                let known = self.model.messages.get_mut(&number).unwrap();
                known.id = Some(id);
            }
        }
        if is_acknowledged {
            for (number, before) in before {
                let known = self.model.messages.get_mut(&number).unwrap();
                known.is_done_for_good = before.is_done;
                known.durable_attempts = before.attempts;
            }
        }
    }

    /// Takes over and checks everything that is there.
    fn take_over(&mut self, log: &Log<SimulatedDisk>) -> Option<Recovery> {
        let mut found = Vec::new();
        let taken = log.take_over(|it| {
            let number = u64::from_le_bytes(it.summary.try_into().unwrap());
            found.push((number, it.id, it.state.map(|state| state[0])));
        });
        let recovery = match taken {
            Ok(recovery) => recovery.expect("nobody else is about"),
            Err(_) => {
                assert!(self.disk.is_dead());
                return None;
            }
        };
        assert_eq!(recovery.messages, found.len() as u64);
        let mut seen = BTreeSet::new();
        for (number, id, state) in found {
            assert!(seen.insert(number), "{number} is there twice");
            let known = self
                .model
                .messages
                .get_mut(&number)
                .expect("it was appended");
            assert!(known.id.is_none_or(|known| known == id));
            assert!(!known.is_done_for_good, "{number} has come back");
            let state = state.unwrap_or(0);
            assert!(state >= known.durable_attempts, "{number} has lost a state");
            assert!(state <= known.attempts);
            known.id = Some(id);
            known.is_done = false;
            known.attempts = state;
            known.durable_attempts = state;
            if let Some(content) = read(log, id, &self.disk) {
                assert!(content == known.content, "{number} has changed");
            }
        }
        for (number, known) in &mut self.model.messages {
            let is_due = known.id.is_some() && !known.is_done;
            assert!(!is_due || seen.contains(number), "{number} is lost");
            known.is_done |= known.id.is_some() && !seen.contains(number);
            // What is not there now never will be.
            known.is_done_for_good |= known.is_done;
            if known.id.is_none() {
                known.is_done = true;
                known.is_done_for_good = true;
            }
        }
        Some(recovery)
    }
}

fn read(log: &Log<SimulatedDisk>, id: MessageId, disk: &SimulatedDisk) -> Option<Vec<u8>> {
    let stored = match log.read(id) {
        Ok(stored) => stored,
        Err(error) => {
            assert!(disk.is_dead(), "{error}");
            return None;
        }
    };
    assert_eq!(stored.headers, b"Received: x\r\n");
    match stored.content {
        Content::Here(content) => Some(content),
        Content::Large(mut large) => {
            let mut content = vec![0; large.length() as usize];
            let mut at = 0;
            loop {
                match large.read(&mut content[at..]).unwrap() {
                    0 => return Some(content),
                    count => at += count,
                }
            }
        }
    }
}

const STEPS: usize = 30;

fn losses(seed: u64) -> [Loss; 4] {
    [
        Loss::All,
        Loss::Nothing,
        Loss::Some(seed),
        Loss::Some(!seed),
    ]
}

/// How many seeds: more of them in a long run.
fn seeds() -> u64 {
    let seeds = std::env::var("PRIXFIXE_SPOOL_SEEDS").ok();
    seeds.map_or(1, |seeds| seeds.parse().unwrap())
}

#[test]
fn the_power_goes_after_every_operation() {
    for seed in 0..seeds() {
        let mut whole = Run::new(seed);
        whole.live(STEPS);
        let operations = whole.disk.operations();
        assert!(operations > 30);
        for cut in 0..operations {
            for loss in losses(seed ^ cut << 20) {
                let mut run = Run::new(seed);
                run.disk.cut_power_in(cut);
                run.live(STEPS);
                run.disk.lose_power(loss);
                // The next life has its troubles too, and the one after it.
                for life in 0..2 {
                    run.disk.cut_power_in(run.rng.u64(0..60));
                    run.live(STEPS / 2);
                    run.disk.lose_power(losses(cut + life)[life as usize]);
                }
                run.live(STEPS);
            }
        }
    }
}

/// What is done must not come back because a segment that says so has gone before another.
#[test]
fn the_power_goes_while_segments_go() {
    for seed in 0..seeds() * 4 {
        let mut whole = Run::busy(seed);
        whole.live(40);
        let operations = whole.disk.operations();
        for _ in 0..25 {
            let cut = whole.rng.u64(0..operations);
            for loss in losses(seed ^ cut << 20) {
                let mut run = Run::busy(seed);
                run.disk.cut_power_in(cut);
                run.live(40);
                run.disk.lose_power(loss);
                run.live(0);
            }
        }
    }
}

#[test]
fn what_fails_is_said_and_what_is_said_holds() {
    let kinds = [
        (Operation::Append, 28),
        (Operation::Append, 5),
        (Operation::Sync, 5),
        (Operation::SyncDirectory, 5),
        (Operation::Create, 28),
        (Operation::Remove, 5),
        (Operation::Truncate, 5),
    ];
    for seed in 0..seeds() * 8 {
        for (operation, error) in kinds {
            let mut run = Run::new(seed);
            run.live(2);
            let now = run.disk.operations();
            let from = now + run.rng.u64(0..40);
            let until = from + run.rng.u64(1..20);
            let fault = Fault {
                operation,
                from,
                until,
                error,
            };
            // A directory that cannot be made, or a name that is not synced, ends a start.
            let log = Log::open(run.disk.clone(), Path::new("/spool"), options()).unwrap();
            run.take_over(&log).unwrap();
            run.disk.set_faults(vec![fault]);
            for _ in 0..STEPS {
                // A take-over needs a disk that works.
                match run.rng.u8(0..10) {
                    0..=5 => run.append(&log),
                    6 | 7 => {
                        if let Some((_, message)) = run.pick() {
                            log.done(message.id.unwrap());
                            message.is_done = true;
                        }
                    }
                    _ => while log.keep().unwrap_or(false) {},
                }
            }
            run.disk.set_faults(Vec::new());
            // When the trouble is over, everything works again.
            run.append(&log);
            let last = run.model.messages.last_key_value().unwrap().1;
            assert!(last.id.is_some(), "{operation:?} {error} {seed}");
            drop(log);
            run.disk.lose_power(losses(seed)[seed as usize % 4]);
            run.live(STEPS);
        }
    }
}

#[test]
fn messages_that_arrive_together_share_one_write_and_one_sync() {
    let disk = SimulatedDisk::new();
    let log = Log::open(disk.clone(), Path::new("/spool"), LogOptions::default()).unwrap();
    log.take_over(|_| ()).unwrap();
    let append = || log.append(Draft::default());
    let first = append();
    while log.turn() {}
    first.wait().unwrap();

    let before = disk.operations();
    let tickets: Vec<Ticket<MessageId>> = (0..500).map(|_| append()).collect();
    while log.turn() {}
    assert_eq!(disk.operations() - before, 2);
    let ids: Vec<MessageId> = tickets.into_iter().map(|it| it.wait().unwrap()).collect();

    // States are written at once, and their sync waits for the next message's.
    let before = disk.operations();
    for id in ids {
        log.done(id);
    }
    log.turn_without_sync();
    assert_eq!(disk.operations() - before, 1);
    let last = append();
    while log.turn() {}
    last.wait().unwrap();
    assert_eq!(disk.operations() - before, 3);
}

#[test]
fn what_is_done_leaves_room() {
    let mut run = Run::new(7);
    let log = Log::open(run.disk.clone(), Path::new("/spool"), options()).unwrap();
    run.take_over(&log).unwrap();
    // One that stays, among hundreds that go.
    run.append(&log);
    let stay: Vec<u64> = run.model.messages.keys().copied().collect();
    for _ in 0..300 {
        run.append(&log);
        for (number, known) in &mut run.model.messages {
            if let (Some(id), false, false) = (known.id, known.is_done, stay.contains(number)) {
                known.is_done = true;
                log.done(id);
            } else if let (Some(id), true) = (known.id, stay.contains(number)) {
                known.attempts = known.attempts.wrapping_add(1) % 200;
                log.attempt(id, &[known.attempts]).unwrap();
            }
        }
        while log.keep().unwrap() {}
    }
    let segments = run.disk.names("/spool/log").len();
    assert!(segments <= 5, "{segments} segments are left");
    assert!(log.size() < 100_000, "{} bytes are left", log.size());
    let large = run.disk.names("/spool/large").len();
    assert!(large <= stay.len() + 3, "{large} large contents are left");
    drop(log);
    run.disk.lose_power(Loss::Nothing);
    run.live(0);
}
