//! What is simulated: plain data, made from a seed, from which parts can be taken away.

mod display;
mod generate;

use crate::content::Content;
use crate::runtime::Nanos;
pub use display::seconds;

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
    /// 0: no limit.
    pub max_idle_commands: u32,
    pub idle_timeout: Nanos,
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
    /// A target says that it has what it has not.
    TargetLies,
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
    /// A target has it, and says so late.
    TargetLate,
    /// A target dies before it has all of it.
    TargetDies,
    /// A target never answers.
    TargetStalls,
    /// A target has it, and dies before it says so.
    TargetUnsure,
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
    /// Some client may be told 451 or 452 for no fault of its own.
    #[must_use]
    pub fn disk_may_fail(&self) -> bool {
        !self.disk.faults.is_empty()
    }
}
