//! What is simulated: plain data, made from a seed, from which parts can be taken away.

use std::fmt;

use fastrand::Rng;

use crate::content::{Content, Fault, Form};
use crate::runtime::{MICROSECOND, MILLISECOND, Nanos, SECOND};

/// A whole run.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub seed: u64,
    pub kind: Kind,
    pub server: Limits,
    pub network: Network,
    pub executor: Executor,
    pub disk: DiskPlan,
    pub restarts: Vec<Restart>,
    pub clients: Vec<ClientPlan>,
    /// A defect put into the simulated parts, to see that it is found.
    pub sabotage: Option<Sabotage>,
}

/// What a scenario is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Ordinary senders with much mail.
    Bulk,
    /// Thousands of clients at once.
    Crowd,
    /// Clients that do all they should not.
    Hostile,
    /// A server that is drained, killed and cut off from power.
    Restarts,
    /// A disk that fails.
    Disk,
    /// STARTTLS and implicit TLS.
    Tls,
}

/// The limits of the server.
#[derive(Debug, Clone)]
pub struct Limits {
    pub max_connections: usize,
    pub max_message_size: u64,
    pub max_recipients: usize,
    pub max_errors: u32,
    pub command_timeout: Nanos,
    pub min_data_rate: u32,
    pub handler_timeout: Nanos,
    pub drain_timeout: Nanos,
    pub linger: Nanos,
    pub handshake_timeout: Nanos,
    /// What a turn reads into.
    pub read_buffer: usize,
}

/// The network between the clients and the server.
#[derive(Debug, Clone)]
pub struct Network {
    pub latency: Nanos,
    pub jitter: Nanos,
    /// Octets that are sent and not yet read, at most.
    pub capacity: usize,
    /// Writes are short, packets are cut, reads are short.
    pub splits: bool,
    /// One in so many connections stalls for a while. 0: none does.
    pub stalls: u32,
}

/// How wakes become turns.
#[derive(Debug, Clone)]
pub struct Executor {
    /// Turns are given in any order.
    pub reorder: bool,
    /// Wakes come late by up to this.
    pub delay: Nanos,
    /// One in so many turns is followed by one that nobody asked for. 0: none is.
    pub spurious: u32,
}

#[derive(Debug, Clone)]
pub struct DiskPlan {
    pub fsync: bool,
    /// Time from one job of the disk to the next.
    pub latency: Nanos,
    pub short_writes: bool,
    pub faults: Vec<DiskFault>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Create,
    Write,
    Sync,
    Close,
    Rename,
    SyncDirectory,
    Remove,
    List,
}

/// An operation that fails for a while.
#[derive(Debug, Clone)]
pub struct DiskFault {
    pub number: usize,
    pub from: Nanos,
    pub until: Nanos,
    pub operation: Operation,
    /// As Linux numbers them.
    pub error: i32,
    /// It is done all the same.
    pub done: bool,
}

#[derive(Debug, Clone, Copy)]
pub struct Restart {
    pub number: usize,
    pub at: Nanos,
    pub how: Stop,
    pub downtime: Nanos,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It finishes what is under way, while the next one serves already.
    Drain,
    /// The process is killed, so many operations of the disk later.
    Kill(u64),
    /// The power goes, so many operations of the disk later.
    Power(u64),
}

/// Defects in the simulated parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// The handler answers before the message is stored.
    AnswersEarly,
    /// The handler takes the break of a connection for the end of the message.
    KeepsParts,
    /// Some wakes are lost.
    LosesWakes,
    /// A sync of a file does nothing.
    SyncDoesNothing,
    /// The handler stores some messages twice.
    StoresTwice,
}

#[derive(Debug, Clone)]
pub struct ClientPlan {
    pub number: usize,
    pub arrives: Nanos,
    pub security: Security,
    /// HELO rather than EHLO.
    pub old: bool,
    /// What the handler says to the connection.
    pub connect: Answer,
    pub steps: Vec<Step>,
    pub leave: Leave,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    Clear,
    StartTls,
    Implicit,
}

/// How a client ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    Quit,
    /// QUIT, and gone without the reply.
    QuitAndGone,
    /// The end of the stream alone, the reply is read.
    HalfClose,
    Reset,
    /// Not a word: the server has to find out.
    Vanish,
}

/// What the handler says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Yes,
    Slow,
    No,
    Later,
    Hangs,
    Panics,
}

/// What the handler does with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handling {
    Store,
    /// Reads with pauses.
    StoreSlowly,
    /// Stores in a task of its own.
    StoreAside,
    Refuse,
    RefuseUnread,
    Hang,
    HangUnread,
    Panic,
}

#[derive(Debug, Clone)]
pub struct Step {
    pub number: usize,
    pub act: Act,
}

#[derive(Debug, Clone)]
pub enum Act {
    Message(MessagePlan),
    Odd(Odd),
    Pause(Nanos),
    /// So many NOOPs, and nothing is read any more.
    Deaf(usize),
}

/// Commands beside those of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Odd {
    Noop,
    Reset,
    Verify,
    Help,
    Expand,
    Garbage,
    LongLine,
    BareLf,
    Http,
    /// DATA, RCPT and BDAT with nothing before them.
    OutOfOrder,
    /// Octet by octet, with this long between them.
    Dribbled(Nanos),
    /// Half a command, then nothing more.
    Mute,
}

#[derive(Debug, Clone)]
pub struct MessagePlan {
    pub sender: Answer,
    pub recipients: Vec<Answer>,
    pub handling: Handling,
    pub content: Content,
    pub chunked: Option<usize>,
    pub pipelined: bool,
    /// Announces a size over the limit.
    pub huge: bool,
    pub mishap: Option<Mishap>,
    /// Octets a second in the content.
    pub pace: Option<u32>,
}

/// What happens after so many thousandths of the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mishap {
    pub after: u32,
    pub what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Reset,
    Vanish,
    HalfClose,
    /// Sends no more, but reads.
    Mute,
    /// RSET between two chunks.
    GiveUp,
}

/// How large scenarios are.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Parts in a hundred of what a full one has.
    pub percent: usize,
}

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
                // Turns that nobody asked for hide wakes that are lost: half of the scenarios are without.
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

    /// Some client may be told 451 or 452 for no fault of its own.
    #[must_use]
    pub fn disk_may_fail(&self) -> bool {
        !self.disk.faults.is_empty()
    }
}

fn limits(rng: &mut Rng, kind: Kind, clients: usize) -> Limits {
    let tight = rng.u8(0..4) == 0;
    Limits {
        max_connections: if tight || kind == Kind::Crowd {
            rng.usize(clients / 2..=clients).max(1)
        } else {
            clients + 100
        },
        max_message_size: [20_000, 100_000, 1_000_000][rng.usize(0..3)],
        max_recipients: rng.usize(1..=8),
        max_errors: rng.u32(0..6),
        command_timeout: rng.u64(10..300) * SECOND,
        min_data_rate: [0, 200, 500, 2000][rng.usize(0..4)],
        handler_timeout: rng.u64(20..300) * SECOND,
        drain_timeout: rng.u64(1..30) * SECOND,
        linger: 5 * SECOND,
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
    let handling = match rng.u8(0..if hostile { 24 } else { 200 }) {
        0 | 1 => Handling::StoreSlowly,
        2..=4 => Handling::StoreAside,
        5 => Handling::Refuse,
        6 => Handling::RefuseUnread,
        7 if hostile => Handling::Hang,
        8 if hostile => Handling::HangUnread,
        9 if hostile => Handling::Panic,
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

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.act {
            Act::Message(message) => {
                write!(
                    f,
                    "message: {}, from {:?}, to {:?}, handler: {:?}",
                    message.content, message.sender, message.recipients, message.handling
                )?;
                match message.chunked {
                    Some(usize::MAX) => f.write_str(", BDAT")?,
                    Some(chunk) => write!(f, ", BDAT of {chunk}")?,
                    None => {}
                }
                if message.pipelined {
                    f.write_str(", pipelined")?;
                }
                if message.huge {
                    f.write_str(", SIZE over the limit")?;
                }
                if let Some(pace) = message.pace {
                    write!(f, ", {pace} octets a second")?;
                }
                match message.mishap {
                    Some(mishap) => write!(f, ", {:?} after {}/1000", mishap.what, mishap.after),
                    None => Ok(()),
                }
            }
            Act::Odd(odd) => write!(f, "{odd:?}"),
            Act::Pause(time) => write!(f, "pause of {}", seconds(*time)),
            Act::Deaf(count) => write!(f, "{count} NOOPs, replies not read"),
        }
    }
}

/// A time as people read it.
#[must_use]
pub fn seconds(time: Nanos) -> String {
    format!("{:.6} s", time as f64 / 1e9)
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "scenario {} ({:?})", self.seed, self.kind)?;
        let server = &self.server;
        writeln!(
            f,
            "  server: {} connections, {} octets, {} recipients, {} errors, {} octets a second; timeouts: command {}, handler {}, drain {}; reads {} at once",
            server.max_connections,
            server.max_message_size,
            server.max_recipients,
            server.max_errors,
            server.min_data_rate,
            seconds(server.command_timeout),
            seconds(server.handler_timeout),
            seconds(server.drain_timeout),
            server.read_buffer,
        )?;
        writeln!(f, "  network: {:?}", self.network)?;
        writeln!(f, "  executor: {:?}", self.executor)?;
        writeln!(
            f,
            "  disk: fsync {}, {} a job, short writes {}",
            self.disk.fsync,
            seconds(self.disk.latency),
            self.disk.short_writes
        )?;
        for fault in &self.disk.faults {
            writeln!(
                f,
                "  d{}: {:?} fails with error {}{} from {} to {}",
                fault.number,
                fault.operation,
                fault.error,
                if fault.done { ", though done," } else { "" },
                seconds(fault.from),
                seconds(fault.until)
            )?;
        }
        for restart in &self.restarts {
            writeln!(
                f,
                "  r{}: {:?} at {}, down for {}",
                restart.number,
                restart.how,
                seconds(restart.at),
                seconds(restart.downtime)
            )?;
        }
        for client in &self.clients {
            writeln!(
                f,
                "  c{}: comes at {}, {:?}{}, handler says {:?}, leaves by {:?}",
                client.number,
                seconds(client.arrives),
                client.security,
                if client.old { ", HELO" } else { "" },
                client.connect,
                client.leave
            )?;
            for step in &client.steps {
                writeln!(f, "    {}: {step}", step.number)?;
            }
        }
        Ok(())
    }
}
