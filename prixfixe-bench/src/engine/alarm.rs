//! Waking up on time.
//!
//! `epoll_wait` waits in whole milliseconds. An open loop that sends a millisecond late would count
//! the millisecond as the server's, so on Linux a timerfd wakes it; elsewhere the poll's own
//! timeout has to do.

pub(super) use self::system::Alarm;

#[cfg(target_os = "linux")]
mod system {
    use std::io;
    use std::os::fd::{AsRawFd, OwnedFd};
    use std::time::{Duration, Instant};

    use mio::unix::SourceFd;
    use mio::{Interest, Registry, Token};
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };

    /// Wakes a poll.
    #[derive(Debug)]
    pub(crate) struct Alarm {
        timer: OwnedFd,
        set_for: Option<Instant>,
    }

    impl Alarm {
        pub(crate) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
            Ok(Self {
                timer,
                set_for: None,
            })
        }

        /// Wakes the poll at `when`. Gives the longest that the poll may wait to keep to that;
        /// `None`: the alarm sees to it.
        pub(crate) fn set(&mut self, now: Instant, when: Option<Instant>) -> Option<Duration> {
            let when = when?;
            let wait = when.saturating_duration_since(now);
            if self.set_for == Some(when) && !wait.is_zero() {
                return None;
            }
            let value = Timespec {
                tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: wait.subsec_nanos().into(),
            };
            let once = Itimerspec {
                it_interval: Timespec {
                    tv_sec: 0,
                    tv_nsec: 0,
                },
                it_value: value,
            };
            // A time of nought would disarm the timer.
            if wait.is_zero()
                || timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once).is_err()
            {
                return Some(wait);
            }
            self.set_for = Some(when);
            None
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;
    use std::time::{Duration, Instant};

    use mio::{Registry, Token};

    /// Wakes a poll.
    #[derive(Debug)]
    pub(crate) struct Alarm;

    impl Alarm {
        pub(crate) fn new(_registry: &Registry, _token: Token) -> io::Result<Self> {
            Ok(Self)
        }

        /// The longest that the poll may wait to wake at `when`.
        pub(crate) fn set(&mut self, now: Instant, when: Option<Instant>) -> Option<Duration> {
            when.map(|when| when.saturating_duration_since(now))
        }
    }
}
