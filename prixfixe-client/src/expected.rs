//! The replies that are awaited, in the order of what was said.

use std::collections::VecDeque;

use crate::error::Stage;

/// What a reply is to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    /// The connection itself.
    Greeting,
    /// EHLO or LHLO.
    Ehlo,
    Helo,
    StartTls,
    #[cfg(feature = "auth")]
    Auth,
    Mail,
    Rcpt,
    Data,
    /// The end of the data.
    Message,
    /// The end of data that nobody was accepted for.
    Empty,
    Chunk {
        last: bool,
    },
    Reset,
    Noop,
    Quit,
}

/// A reply that is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expect {
    pub(crate) command: Command,
    /// Where in the output the command ends, with its content.
    pub(crate) end: u64,
}

/// The replies that are awaited. The first were released to be sent, the rest are held back.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    queue: VecDeque<Expect>,
    released: usize,
}

impl Expected {
    pub(crate) fn push(&mut self, command: Command, end: u64) {
        self.queue.push_back(Expect { command, end });
    }

    /// The next reply is to this.
    pub(crate) fn front(&self) -> Option<Expect> {
        self.queue.front().copied()
    }

    pub(crate) fn front_mut(&mut self) -> Option<&mut Expect> {
        self.queue.front_mut()
    }

    /// What was said last.
    pub(crate) fn back(&self) -> Option<Command> {
        self.queue.back().map(|expect| expect.command)
    }

    pub(crate) fn back_mut(&mut self) -> Option<&mut Expect> {
        self.queue.back_mut()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The reply to the front was read.
    pub(crate) fn pop(&mut self) {
        self.queue.pop_front();
        self.released = self.released.saturating_sub(1);
    }

    /// Those that were released.
    pub(crate) fn released(&self) -> impl Iterator<Item = Expect> {
        self.queue.iter().take(self.released).copied()
    }

    /// The first that is held back, and nothing is ahead of it.
    pub(crate) fn is_front_held(&self) -> bool {
        self.released == 0 && !self.queue.is_empty()
    }

    pub(crate) fn drop_held(&mut self) {
        self.queue.truncate(self.released);
    }

    pub(crate) fn clear(&mut self) {
        self.queue.clear();
        self.released = 0;
    }

    /// Releases what may leave now, and gives the position up to which it reaches.
    pub(crate) fn release(&mut self, pipelining: bool, window: usize) -> Option<u64> {
        let before = self.released;
        while self.released < self.queue.len() {
            let may_leave = match self.released.checked_sub(1) {
                None => true,
                Some(last) => {
                    let ends_group = self.queue.get(last).is_none_or(Expect::ends_group);
                    pipelining && !ends_group && self.released < window
                }
            };
            if !may_leave {
                break;
            }
            self.released += 1;
        }
        let last = self
            .released
            .checked_sub(1)
            .filter(|_| self.released > before)?;
        self.queue.get(last).map(|expect| expect.end)
    }
}

impl Expect {
    /// RFC 2920 section 3.1: what comes next depends on the reply.
    fn ends_group(&self) -> bool {
        match self.command {
            Command::Mail | Command::Rcpt | Command::Message | Command::Empty | Command::Reset => {
                false
            }
            Command::Chunk { .. } => false,
            Command::Greeting | Command::Ehlo | Command::Helo | Command::StartTls => true,
            #[cfg(feature = "auth")]
            Command::Auth => true,
            Command::Data | Command::Noop | Command::Quit => true,
        }
    }
}

impl Command {
    pub(crate) fn stage(self) -> Stage {
        match self {
            Self::Greeting => Stage::Greeting,
            Self::Ehlo | Self::Helo => Stage::Hello,
            Self::StartTls => Stage::StartTls,
            #[cfg(feature = "auth")]
            Self::Auth => Stage::Auth,
            Self::Mail => Stage::Mail,
            Self::Rcpt => Stage::Rcpt,
            Self::Data => Stage::Data,
            Self::Message | Self::Empty | Self::Chunk { .. } => Stage::Content,
            Self::Reset => Stage::Reset,
            Self::Noop => Stage::Noop,
            Self::Quit => Stage::Quit,
        }
    }

    /// Its positive reply means that the server has the message.
    pub(crate) fn hands_over(self) -> bool {
        matches!(self, Self::Message | Self::Chunk { last: true })
    }
}
