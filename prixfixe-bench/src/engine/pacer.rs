//! When messages are due. No clock: the time is an argument.
//!
//! In a closed loop a message is due when a worker is free for it. In an open loop it is due when
//! the schedule says, whether anybody is free or not, and its latency counts from then: a server
//! that stalls for a second has delayed every message that was due in that second, not only the few
//! that were under way (coordinated omission).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The right to send one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// When it was due. Its latency and its timeout count from then.
    pub(crate) due: Instant,
}

/// What there is to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Now(Ticket),
    /// Nothing before then.
    At(Instant),
    /// Nothing any more, unless a ticket is given back.
    Never,
}

/// How much to send, and how fast. Where neither a number nor a time is given, the run goes on
/// until it is stopped.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct Pace {
    /// Messages in all.
    pub messages: Option<u64>,
    /// The time after which no message is begun.
    pub duration: Option<Duration>,
    /// Messages per second, whether or not the server keeps up (an open loop); latency counts from
    /// when a message was due. `None`: as fast as the server takes them (a closed loop).
    pub rate: Option<f64>,
    /// The rate, or the number of workers in a closed loop, grows to its full value over this time.
    pub ramp: Duration,
}

impl Pace {
    /// So many messages, as fast as the server takes them.
    #[must_use]
    pub const fn messages(count: u64) -> Self {
        Self {
            messages: Some(count),
            duration: None,
            rate: None,
            ramp: Duration::ZERO,
        }
    }

    /// Messages for so long, as fast as the server takes them.
    #[must_use]
    pub const fn duration(time: Duration) -> Self {
        Self {
            messages: None,
            duration: Some(time),
            rate: None,
            ramp: Duration::ZERO,
        }
    }
}

/// Hands out tickets to the workers of one thread.
#[derive(Debug)]
pub(crate) struct Pacer {
    pace: Pace,
    start: Instant,
    /// Of `threads` threads this is the one with this number; it sends the messages whose number
    /// leaves that remainder.
    thread: u64,
    threads: u64,
    /// Tickets handed out so far by this thread.
    issued: u64,
    /// Tickets whose message could not be sent on the connection that they were taken for.
    returned: VecDeque<Ticket>,
    stopped: bool,
}

impl Pacer {
    pub(crate) fn new(pace: Pace, start: Instant, thread: u64, threads: u64) -> Self {
        Self {
            pace,
            start,
            thread,
            threads: threads.max(1),
            issued: 0,
            returned: VecDeque::new(),
            stopped: false,
        }
    }

    /// The load begins at `start`.
    pub(crate) fn restart(&mut self, start: Instant) {
        self.start = start;
    }

    /// True in an open loop.
    pub(crate) fn is_open(&self) -> bool {
        self.pace.rate.is_some()
    }

    /// The next message.
    pub(crate) fn next(&mut self, now: Instant) -> Next {
        if let Some(ticket) = self.returned.pop_front() {
            return Next::Now(ticket);
        }
        let number = self.issued * self.threads + self.thread;
        if self.stopped
            || self
                .pace
                .messages
                .is_some_and(|messages| number >= messages)
        {
            return Next::Never;
        }
        let after = match self.pace.rate {
            Some(rate) => due(number, rate, self.pace.ramp),
            None => now.saturating_duration_since(self.start),
        };
        if self.pace.duration.is_some_and(|duration| after >= duration) {
            return Next::Never;
        }
        let Some(due) = self.start.checked_add(after) else {
            return Next::Never;
        };
        if due > now {
            return Next::At(due);
        }
        self.issued += 1;
        Next::Now(Ticket { due })
    }

    /// Takes a ticket back whose message was not begun.
    pub(crate) fn give_back(&mut self, ticket: Ticket) {
        self.returned.push_back(ticket);
    }

    /// Hands out no more, not even what was given back.
    pub(crate) fn stop(&mut self) {
        self.stopped = true;
        self.returned.clear();
    }
}

/// When message `number` is due, from the start. While the rate grows evenly from nothing to `rate`
/// over `ramp`, the messages due by `t` are `rate * t * t / (2 * ramp)`.
fn due(number: u64, rate: f64, ramp: Duration) -> Duration {
    #[expect(
        clippy::cast_precision_loss,
        reason = "2^53 messages are more than anybody sends"
    )]
    let number = number as f64;
    let ramp = ramp.as_secs_f64();
    let in_ramp = rate * ramp / 2.0;
    let seconds = if number < in_ramp {
        (2.0 * ramp * number / rate).sqrt()
    } else {
        ramp + (number - in_ramp) / rate
    };
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pace(messages: Option<u64>, duration: Option<Duration>, rate: Option<f64>) -> Pace {
        Pace {
            messages,
            duration,
            rate,
            ramp: Duration::ZERO,
        }
    }

    fn dues(pacer: &mut Pacer, start: Instant, until: Duration) -> Vec<u128> {
        let mut dues = Vec::new();
        while let Next::Now(ticket) = pacer.next(start + until) {
            dues.push(ticket.due.duration_since(start).as_millis());
        }
        dues
    }

    #[test]
    fn a_stall_does_not_move_what_was_due_in_it() {
        let start = Instant::now();
        let mut pacer = Pacer::new(pace(None, Some(SECOND), Some(10.0)), start, 0, 1);
        assert_eq!(
            dues(&mut pacer, start, Duration::from_millis(150)),
            [0, 100]
        );
        // Nobody was free for the next 600 ms: all that was due meanwhile is there, due when it
        // was.
        assert_eq!(
            dues(&mut pacer, start, Duration::from_millis(750)),
            [200, 300, 400, 500, 600, 700]
        );
        assert_eq!(
            pacer.next(start + Duration::from_millis(750)),
            Next::At(start + Duration::from_millis(800))
        );
        assert_eq!(dues(&mut pacer, start, 5 * SECOND), [800, 900]);
        assert_eq!(pacer.next(start + 5 * SECOND), Next::Never);
    }

    #[test]
    fn threads_share_one_schedule() {
        let start = Instant::now();
        let mut all: Vec<u128> = (0..3)
            .flat_map(|thread| {
                let mut pacer = Pacer::new(pace(Some(10), None, Some(100.0)), start, thread, 3);
                dues(&mut pacer, start, SECOND)
            })
            .collect();
        all.sort_unstable();
        assert_eq!(all, [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]);
    }

    #[test]
    fn a_ramp_sends_half_as_much_while_it_lasts_and_never_goes_back() {
        let start = Instant::now();
        let ramped = Pace {
            ramp: 2 * SECOND,
            ..pace(Some(400), None, Some(100.0))
        };
        let mut pacer = Pacer::new(ramped, start, 0, 1);
        assert_eq!(
            dues(&mut pacer, start, 2 * SECOND - Duration::from_millis(1)).len(),
            100
        );
        assert_eq!(
            dues(&mut pacer, start, 3 * SECOND - Duration::from_millis(1)).len(),
            100
        );
        let all: Vec<Duration> = (0..400)
            .map(|number| due(number, 100.0, 2 * SECOND))
            .collect();
        assert!(all.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn a_closed_loop_is_due_at_once_until_it_has_sent_enough_or_long_enough() {
        let start = Instant::now();
        let mut pacer = Pacer::new(pace(Some(2), Some(SECOND), None), start, 0, 1);
        assert_eq!(pacer.next(start), Next::Now(Ticket { due: start }));
        let later = start + SECOND / 2;
        let Next::Now(ticket) = pacer.next(later) else {
            unreachable!("one is left")
        };
        assert_eq!((ticket.due, pacer.next(later)), (later, Next::Never));
        pacer.give_back(ticket);
        assert_eq!(pacer.next(start + 2 * SECOND), Next::Now(ticket));
        let mut pacer = Pacer::new(pace(Some(2), Some(SECOND), None), start, 0, 1);
        assert_eq!(pacer.next(start + SECOND), Next::Never);
    }
}
