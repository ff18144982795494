//! A scenario from a seed.

use fastrand::Rng;

use super::*;
use crate::content::{Content, Fault, Form};
use crate::runtime::{MICROSECOND, MILLISECOND, Nanos, SECOND};

impl Scenario {
    /// The scenario of a seed.
    #[must_use]
    pub fn generate(seed: u64, size: Size) -> Self {
        let mut rng = Rng::with_seed(seed);
        let kind = match rng.u8(0..20) {
            0..=7 => Kind::Bulk,
            8 | 9 => Kind::Crowd,
            10..=12 => Kind::Hostile,
            13..=15 => Kind::Restarts,
            16..=18 => Kind::Disk,
            _ => Kind::Tls,
        };
        Self::of_kind(seed, kind, size)
    }

    /// The scenario of a seed, about something.
    #[must_use]
    pub fn of_kind(seed: u64, kind: Kind, size: Size) -> Self {
        let rng = &mut Rng::with_seed(seed ^ 0x5EED);
        let (clients, messages) = match kind {
            Kind::Bulk => (rng.usize(20..150), rng.usize(20..120)),
            Kind::Crowd => (rng.usize(2000..4000), 2),
            Kind::Hostile => (rng.usize(50..200), 8),
            Kind::Restarts | Kind::Disk => (rng.usize(20..150), 30),
            Kind::Tls => (rng.usize(5..25), 6),
        };
        let clients = (clients * size.percent / 100).max(1);
        let server = limits(rng, kind, clients);
        let span = match kind {
            Kind::Crowd => 5 * SECOND,
            _ => rng.u64(1..20) * SECOND / 10,
        };
        let mut scenario = Self {
            seed,
            kind,
            network: network(rng, kind),
            executor: Executor {
                reorder: rng.bool(),
                delay: if rng.bool() {
                    rng.u64(1..5000) * MICROSECOND
                } else {
                    0
                },
                // Turns that nobody asked for hide wakes that are lost: half of the scenarios are
                // without.
                spurious: if rng.bool() { rng.u32(5..200) } else { 0 },
            },
            disk: disk(rng, kind, span),
            restarts: restarts(rng, kind, span),
            clients: Vec::new(),
            sabotage: None,
            server,
        };
        for number in 0..clients {
            let client = client(
                &mut Rng::with_seed(seed.wrapping_mul(31).wrapping_add(number as u64)),
                number,
                &scenario,
                messages,
                span,
            );
            scenario.clients.push(client);
        }
        scenario
    }
}

fn limits(rng: &mut Rng, kind: Kind, clients: usize) -> Limits {
    let tight = rng.u8(0..4) == 0;
    // Of its own: the rest of a seed stays as it was.
    let mut idle = rng.clone();
    Limits {
        max_connections: if tight || kind == Kind::Crowd {
            rng.usize(clients / 2..=clients).max(1)
        } else {
            clients + 100
        },
        max_message_size: [20_000, 100_000, 1_000_000][rng.usize(0..3)],
        max_recipients: rng.usize(1..=8),
        max_errors: rng.u32(0..6),
        max_idle_commands: [0, 10, 30, 100][idle.usize(0..4)],
        idle_timeout: idle.u64(100..900) * SECOND,
        command_timeout: rng.u64(10..300) * SECOND,
        min_data_rate: [0, 200, 500, 2000][rng.usize(0..4)],
        handler_timeout: rng.u64(20..300) * SECOND,
        drain_timeout: rng.u64(1..30) * SECOND,
        linger: 2 * SECOND,
        handshake_timeout: 30 * SECOND,
        read_buffer: if rng.u8(0..4) == 0 {
            rng.usize(20..4096)
        } else {
            64 * 1024
        },
    }
}

fn network(rng: &mut Rng, kind: Kind) -> Network {
    Network {
        latency: rng.u64(10..50_000) * MICROSECOND,
        jitter: if rng.bool() {
            rng.u64(1..20) * MILLISECOND
        } else {
            0
        },
        capacity: [2_000, 16_000, 64_000, 400_000][rng.usize(0..4)],
        splits: rng.u8(0..3) > 0,
        stalls: if matches!(kind, Kind::Hostile | Kind::Restarts) && rng.bool() {
            10
        } else {
            0
        },
    }
}

fn disk(rng: &mut Rng, kind: Kind, span: Nanos) -> DiskPlan {
    let operations = [
        Operation::Create,
        Operation::Write,
        Operation::Sync,
        Operation::Close,
        Operation::Rename,
        Operation::SyncDirectory,
        Operation::Remove,
    ];
    let count = if kind == Kind::Disk {
        rng.usize(1..6)
    } else {
        0
    };
    let faults: Vec<DiskFault> = (0..count)
        .map(|number| {
            let from = rng.u64(0..span.max(2) * 2);
            let operation = operations[rng.usize(0..operations.len())];
            DiskFault {
                number,
                from,
                until: from + rng.u64(1..span.max(2)),
                operation,
                // EIO, ENOSPC, EACCES, EROFS, EDQUOT
                error: [5, 28, 13, 30, 122][rng.usize(0..5)],
                done: rng.u8(0..4) == 0
                    && matches!(
                        operation,
                        Operation::Rename | Operation::Close | Operation::Sync
                    ),
            }
        })
        .collect();
    DiskPlan {
        fsync: rng.u8(0..5) > 0,
        latency: if rng.u8(0..10) == 0 {
            rng.u64(1..20) * MILLISECOND
        } else {
            rng.u64(1..100) * MICROSECOND
        },
        short_writes: rng.u8(0..4) == 0,
        faults,
    }
}

fn restarts(rng: &mut Rng, kind: Kind, span: Nanos) -> Vec<Restart> {
    let count = match kind {
        Kind::Restarts => rng.usize(1..5),
        Kind::Crowd | Kind::Tls | Kind::Hostile => rng.usize(0..2),
        Kind::Bulk | Kind::Disk => 0,
    };
    let one = |number| {
        let how = match rng.u8(0..3) {
            0 => Stop::Drain,
            1 => Stop::Kill(rng.u64(0..20)),
            _ => Stop::Power(rng.u64(0..20)),
        };
        Restart {
            number,
            at: rng.u64(span / 8..span * 2),
            how,
            downtime: rng.u64(0..3) * rng.u64(1..5000) * MILLISECOND,
        }
    };
    let mut restarts: Vec<Restart> = (0..count).map(one).collect();
    restarts.sort_by_key(|restart| restart.at);
    restarts
}

fn client(
    rng: &mut Rng,
    number: usize,
    scenario: &Scenario,
    messages: usize,
    span: Nanos,
) -> ClientPlan {
    let hostile = match scenario.kind {
        Kind::Hostile => rng.u8(0..4) > 0,
        Kind::Crowd => rng.u8(0..12) == 0,
        Kind::Restarts | Kind::Disk | Kind::Tls => rng.u8(0..6) == 0,
        Kind::Bulk => rng.u8(0..40) == 0,
    };
    let old = rng.u8(0..12) == 0;
    let security = match scenario.kind {
        Kind::Tls => [Security::StartTls, Security::Implicit, Security::Clear][rng.usize(0..3)],
        Kind::Hostile if rng.u8(0..30) == 0 => {
            [Security::StartTls, Security::Implicit][rng.usize(0..2)]
        }
        _ => Security::Clear,
    };
    let count = if hostile { rng.usize(1..8) } else { messages };
    let steps = (0..count)
        .map(|step| Step {
            number: step,
            act: act(rng, hostile, old, scenario),
        })
        .collect();
    let leaves = [
        Leave::Quit,
        Leave::QuitAndGone,
        Leave::HalfClose,
        Leave::Reset,
        Leave::Vanish,
    ];
    ClientPlan {
        number,
        arrives: if span > 0 { rng.u64(0..span) } else { 0 },
        security,
        old: old && security != Security::StartTls,
        connect: if hostile || rng.u8(0..30) == 0 {
            answer(rng, hostile)
        } else {
            Answer::Yes
        },
        steps,
        leave: if hostile {
            leaves[rng.usize(0..leaves.len())]
        } else {
            [Leave::Quit, Leave::HalfClose][rng.usize(0..2)]
        },
    }
}

fn answer(rng: &mut Rng, hostile: bool) -> Answer {
    match rng.u8(0..if hostile { 12 } else { 60 }) {
        0 | 1 => Answer::Slow,
        2 => Answer::No,
        3 => Answer::Later,
        4 if hostile => Answer::Hangs,
        5 if hostile => Answer::Panics,
        _ => Answer::Yes,
    }
}

fn act(rng: &mut Rng, hostile: bool, old: bool, scenario: &Scenario) -> Act {
    let limits = &scenario.server;
    match rng.u8(0..if hostile { 40 } else { 100 }) {
        0 => Act::Pause(rng.u64(1..limits.command_timeout / 2)),
        1 => Act::Odd(Odd::Noop),
        2 => Act::Odd([Odd::Reset, Odd::Verify, Odd::Help][rng.usize(0..3)]),
        3..=11 if hostile => Act::Odd(match rng.u8(0..11) {
            0 => Odd::Expand,
            1 => Odd::LongLine,
            2 => Odd::BareLf,
            3 => Odd::Http,
            4 => Odd::OutOfOrder,
            5 => Odd::Mute,
            6 | 7 => Odd::Dribbled(rng.u64(1..limits.command_timeout / 4)),
            _ => Odd::Garbage,
        }),
        12 if hostile => Act::Deaf(rng.usize(1..5000)),
        13 if hostile => Act::Pause(limits.command_timeout * 2),
        _ => Act::Message(message(rng, hostile, old, limits)),
    }
}

fn message(rng: &mut Rng, hostile: bool, old: bool, limits: &Limits) -> MessagePlan {
    let form = match rng.u8(0..20) {
        0..=10 => Form::Text,
        11..=13 => Form::Dots,
        14 | 15 => Form::LongLine,
        16 | 17 => Form::EightBit,
        _ => Form::Binary,
    };
    let form = if old && form == Form::Binary {
        Form::Text
    } else {
        form
    };
    let chunked = form == Form::Binary || rng.u8(0..4) == 0;
    let limit = usize::try_from(limits.max_message_size).unwrap_or(usize::MAX);
    let size = match rng.u8(0..if hostile { 12 } else { 100 }) {
        0 => rng.usize(0..limit + limit / 4),
        1 => 0,
        2 => limit.saturating_sub(rng.usize(0..200)),
        3..=10 => rng.usize(0..20_000),
        _ => rng.usize(1..2000),
    };
    let fault = match rng.u8(0..if hostile { 12 } else { 150 }) {
        0 => Some(Fault::BareLf),
        1 => Some(Fault::BareCr),
        2 => Some(Fault::Smuggled),
        3 => Some(Fault::Loop),
        _ => None,
    };
    let handling = match rng.u8(0..if hostile { 29 } else { 200 }) {
        0 | 1 => Handling::StoreSlowly,
        2..=4 => Handling::StoreAside,
        5 => Handling::Refuse,
        6 => Handling::RefuseUnread,
        7 if hostile => Handling::Hang,
        8 if hostile => Handling::HangUnread,
        9 if hostile => Handling::Panic,
        10 | 11 => Handling::TargetLate,
        12 => Handling::TargetDies,
        13 => Handling::TargetUnsure,
        14 if hostile => Handling::TargetStalls,
        _ => Handling::Store,
    };
    let mishap = (hostile && rng.u8(0..4) == 0).then(|| Mishap {
        after: rng.u32(0..1000),
        what: [
            What::Reset,
            What::Vanish,
            What::HalfClose,
            What::Mute,
            What::GiveUp,
        ][rng.usize(0..5)],
    });
    let recipients = match rng.u8(0..8) {
        0 => rng.usize(1..limits.max_recipients + 4),
        1 => limits.max_recipients,
        _ => 1,
    };
    MessagePlan {
        sender: answer(rng, hostile),
        recipients: (0..recipients).map(|_| answer(rng, hostile)).collect(),
        handling,
        content: Content {
            form,
            size,
            fault: if form == Form::Binary { None } else { fault },
        },
        chunked: chunked
            .then(|| [1, 100, 1000, 20_000, usize::MAX][rng.usize(usize::from(size > 500)..5)]),
        pipelined: !old && rng.bool(),
        huge: hostile && !old && rng.u8(0..12) == 0,
        mishap,
        pace: (hostile && rng.u8(0..5) == 0).then(|| rng.u32(50..5000)),
    }
}
