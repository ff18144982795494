//! Logins that wait for their turn: each client has its own, so that one with many holds up nobody
//! else.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Who waits. Of an IPv6 address the first 64 bits count, since one host can have any of the
/// others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Origin(Option<IpAddr>);

impl Origin {
    /// `None`: all that have no address are one.
    pub(crate) fn of(address: Option<IpAddr>) -> Self {
        Self(address.map(|address| match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(address) => {
                let network = address.to_bits() & !u128::from(u64::MAX);
                IpAddr::V6(Ipv6Addr::from_bits(network))
            }
        }))
    }
}

/// What is to be done, while somebody waits for it.
pub(super) struct Job {
    pub(super) run: Box<dyn FnOnce() + Send>,
    pub(super) is_wanted: Box<dyn Fn() -> bool + Send>,
}

/// A bounded queue. Clients take turns; when it is full, whoever has the most jobs in it loses the
/// newest one.
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    most: usize,
}

#[derive(Default)]
struct State {
    of: HashMap<Origin, VecDeque<Job>>,
    /// Each of `of`, once.
    turns: VecDeque<Origin>,
    waiting: usize,
    is_closed: bool,
}

/// The queue is full, and nobody has more in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

impl Queue {
    pub(super) fn new(most: usize) -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            most,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.lock().waiting
    }

    pub(super) fn push(&self, origin: Origin, job: Job) -> Result<(), Full> {
        let mut state = self.lock();
        if state.waiting >= self.most {
            state.forget_unwanted();
        }
        let given_up = match state.waiting >= self.most {
            true => Some(state.newest_of_the_longest(origin).ok_or(Full)?),
            false => None,
        };
        state.push(origin, job);
        drop(state);
        self.changed.notify_one();
        // Whoever waits for it hears of it, and may be woken, without the lock.
        drop(given_up);
        Ok(())
    }

    /// Waits for a job. `None`: there will be none any more.
    pub(super) fn pop(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.pop() {
                return Some(job);
            }
            if state.is_closed {
                return None;
            }
            let waited = self.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// What waits is still done.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, origin: Origin, job: Job) {
        let jobs = self.of.entry(origin).or_default();
        if jobs.is_empty() {
            self.turns.push_back(origin);
        }
        jobs.push_back(job);
        self.waiting += 1;
    }

    fn pop(&mut self) -> Option<Job> {
        let origin = self.turns.pop_front()?;
        let jobs = self.of.get_mut(&origin)?;
        let job = jobs.pop_front();
        match jobs.is_empty() {
            true => drop(self.of.remove(&origin)),
            false => self.turns.push_back(origin),
        }
        self.waiting = self.waiting.saturating_sub(1);
        job
    }

    /// Its client is gone, or has cancelled.
    fn forget_unwanted(&mut self) {
        self.of.retain(|_, jobs| {
            jobs.retain(|job| (job.is_wanted)());
            !jobs.is_empty()
        });
        let of = &self.of;
        self.turns.retain(|origin| of.contains_key(origin));
        self.waiting = self.of.values().map(VecDeque::len).sum();
    }

    /// `None`: with one more, this one would be the longest itself.
    fn newest_of_the_longest(&mut self, origin: Origin) -> Option<Job> {
        let own = self.of.get(&origin).map_or(0, VecDeque::len);
        let longest = self.of.values_mut().max_by_key(|jobs| jobs.len())?;
        if longest.len() <= own + 1 {
            return None;
        }
        self.waiting = self.waiting.saturating_sub(1);
        longest.pop_back()
    }
}
