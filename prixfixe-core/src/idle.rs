//! How long, and with how many commands, a client may stay without sending a message.

use std::time::{Duration, Instant};

use crate::command::{Command, CommandError};
use crate::time::time_for;
use crate::{Config, EnhancedCode, Reply};

/// What a client has used up of its patience since the connection began, or since its last message.
///
/// Commands each have a time of their own, which a client that says NOOP now and then never
/// exceeds. So there is this clock beside it, which only a message sets back.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Idle {
    /// Commands that brought no message nearer.
    commands: u32,
    /// The time that counts, up to `since`, in nanoseconds: a connection is to be small.
    spent: u64,
    /// What the chunks of a message under way have added to the timeout, too.
    earned: u64,
    /// The clock runs since then. `None`: it stands still, the client waits for us.
    since: Option<Instant>,
}

impl Idle {
    /// Lets the clock run, or stand still. Twice is once.
    pub(crate) fn run(&mut self, now: Instant, runs: bool) {
        match (self.since, runs) {
            (None, true) => self.since = Some(now),
            (Some(_), false) => {
                self.catch_up(now);
                self.since = None;
            }
            _ => {}
        }
    }

    fn catch_up(&mut self, now: Instant) {
        if let Some(since) = &mut self.since
            // Most answers are there in the turn of the question.
            && *since != now
        {
            let passed = now.saturating_duration_since(*since);
            self.spent = self.spent.saturating_add(nanoseconds(passed));
            *since = now;
        }
    }

    /// A command that brings no message nearer. False: it is one too many.
    pub(crate) const fn allows_command(&mut self, limit: u32) -> bool {
        self.commands = self.commands.saturating_add(1);
        limit == 0 || self.commands <= limit
    }

    /// The first chunk of a message was announced: the whole time is the client's again, while that
    /// lasts.
    pub(crate) fn message_begins(&mut self, now: Instant) {
        self.catch_up(now);
        self.earned = self.spent;
    }

    /// So many octets of a chunk have come. Without a minimum rate any of them is good for the
    /// whole time.
    pub(crate) fn octets(&mut self, now: Instant, octets: u64, config: &Config) {
        match u64::from(config.min_data_rate) {
            0 if octets > 0 => self.message_begins(now),
            0 => {}
            rate => {
                let time = nanoseconds(time_for(octets, rate));
                self.earned = self.earned.saturating_add(time);
            }
        }
    }

    /// The message was given up between two chunks: it is as if it had not begun.
    pub(crate) const fn message_is_given_up(&mut self) {
        self.earned = 0;
    }

    /// The data of a message has come to its end, whatever became of it, or the client is another
    /// one.
    pub(crate) fn begin_anew(&mut self, now: Instant) {
        *self = Self {
            since: self.since.map(|_| now),
            ..Self::default()
        };
    }

    /// When the client has to have come to its next message. `None`: never, or the clock stands
    /// still.
    pub(crate) fn deadline(&self, timeout: Duration) -> Option<Instant> {
        let left = timeout
            .checked_add(Duration::from_nanos(self.earned))?
            .saturating_sub(Duration::from_nanos(self.spent));
        self.since?.checked_add(left)
    }
}

/// Five centuries at most.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Whether a command brings no message nearer, whatever comes of it. MAIL and RCPT do where they
/// are accepted.
pub(crate) fn counts(command: Result<&Command<'_>, &CommandError>) -> bool {
    match command {
        Ok(Command::Helo { .. } | Command::Ehlo { .. } | Command::Rset) => true,
        Ok(Command::Noop | Command::Vrfy | Command::Help | Command::Other { .. }) => true,
        Ok(Command::Xclient { .. }) => true,
        Ok(Command::Mail { .. } | Command::Rcpt { .. } | Command::Data) => false,
        Ok(Command::Bdat { .. } | Command::StartTls | Command::Quit) => false,
        Ok(Command::Auth { .. }) => false,
        Err(error) => !error.ends_session(),
    }
}

/// Whether a refusal of MAIL or RCPT counts. A recipient too many does not: the transaction goes on
/// (RFC 5321 section 4.5.3.1.10), and a client may have many more of them on their way.
pub(crate) fn counts_refusal(reply: &Reply) -> bool {
    let too_many = reply.code() == 452 && reply.enhanced() == EnhancedCode(4, 5, 3);
    !reply.is_positive() && !too_many
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const TIMEOUT: Duration = Duration::from_secs(600);

    fn running(start: Instant) -> Idle {
        let mut idle = Idle::default();
        idle.run(start, true);
        idle
    }

    #[test]
    fn time_counts_while_the_clock_runs() {
        let start = Instant::now();
        let mut idle = running(start);
        idle.run(start + 10 * SECOND, true);
        assert_eq!(idle.deadline(TIMEOUT), Some(start + TIMEOUT));
        idle.run(start + 100 * SECOND, false);
        idle.run(start + 200 * SECOND, false);
        assert_eq!(idle.deadline(TIMEOUT), None);
        idle.run(start + 1100 * SECOND, true);
        let expected = start + TIMEOUT + 1000 * SECOND;
        assert_eq!(idle.deadline(TIMEOUT), Some(expected));
    }

    #[test]
    fn a_message_gives_all_of_it_back() {
        let start = Instant::now();
        let mut idle = running(start);
        assert!(idle.allows_command(1) && !idle.allows_command(1));
        idle.begin_anew(start + 500 * SECOND);
        let expected = start + 500 * SECOND + TIMEOUT;
        assert_eq!(idle.deadline(TIMEOUT), Some(expected));
        assert!(idle.allows_command(1) && !idle.allows_command(1));
    }

    #[test]
    fn chunks_have_the_whole_time_and_what_their_octets_add() {
        let start = Instant::now();
        let config = Config::default();
        let mut idle = running(start);
        idle.message_begins(start + 590 * SECOND);
        let begun = start + 590 * SECOND + TIMEOUT;
        assert_eq!(idle.deadline(TIMEOUT), Some(begun));
        idle.octets(start + 600 * SECOND, 5000, &config);
        assert_eq!(idle.deadline(TIMEOUT), Some(begun + 10 * SECOND));
        idle.message_is_given_up();
        assert_eq!(idle.deadline(TIMEOUT), Some(start + TIMEOUT));
    }

    #[test]
    fn without_a_minimum_rate_a_chunk_with_octets_gives_the_whole_time() {
        let start = Instant::now();
        let config = Config {
            min_data_rate: 0,
            ..Config::default()
        };
        let mut idle = running(start);
        idle.message_begins(start);
        idle.octets(start + 300 * SECOND, 0, &config);
        assert_eq!(idle.deadline(TIMEOUT), Some(start + TIMEOUT));
        idle.octets(start + 300 * SECOND, 1, &config);
        let expected = start + 300 * SECOND + TIMEOUT;
        assert_eq!(idle.deadline(TIMEOUT), Some(expected));
    }

    #[test]
    fn no_limit_of_commands_is_none_and_a_time_without_end_has_none() {
        let mut idle = running(Instant::now());
        assert!((0..1000).all(|_| idle.allows_command(0)));
        assert_eq!(idle.deadline(Duration::MAX), None);
    }
}
