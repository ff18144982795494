//! Turns: how many handshakes a thread advances before everybody else is served again.
//!
//! A handshake costs a key exchange and a signature, a thousand times what an ordinary command
//! costs. When five hundred clients connect at once, a thread that does whatever is ready next does
//! five hundred of them in a row, and all its established sessions wait. Therefore a handshake may
//! take a step only with a [`Turn`], of which each thread has few, given in the order in which they
//! were asked for. The session [holds](HeldTurn) its turn until the transport comes back to it,
//! which it asks for at once: by then the transport has been around, and whoever else was ready has
//! been served. So the number of steps each time around is bounded, whatever the transport.

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// How many handshakes take a step each time around. At one, a burst of handshakes costs an
/// established session that becomes ready the least.
const TURNS: usize = 1;

/// Gives turns out.
#[derive(Debug)]
pub(crate) struct Turnstile {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: usize,
    next_ticket: u64,
    /// In the order of their tickets.
    waiting: VecDeque<(u64, Waker)>,
}

impl Turnstile {
    pub(crate) fn new(turns: usize) -> Arc<Self> {
        let state = State {
            free: turns,
            next_ticket: 0,
            waiting: VecDeque::new(),
        };
        Arc::new(Self {
            state: Mutex::new(state),
        })
    }

    /// The one that all sessions share which are first polled on this thread. A session may be
    /// moved to another thread afterwards; it goes on to use the same.
    pub(crate) fn of_this_thread() -> Arc<Self> {
        thread_local! {
            static TURNSTILE: OnceCell<Arc<Turnstile>> = const { OnceCell::new() };
        }
        TURNSTILE.with(|turnstile| Arc::clone(turnstile.get_or_init(|| Self::new(TURNS))))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Wakes as many as there are free turns.
    fn call(&self) {
        self.waiting
            .iter()
            .take(self.free)
            .for_each(|(_, waker)| waker.wake_by_ref());
    }
}

/// The right to take one step. Dropped: it is the next one's turn.
#[derive(Debug)]
pub(crate) struct Turn {
    turnstile: Arc<Turnstile>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.turnstile.lock();
        state.free += 1;
        state.call();
    }
}

impl Turn {
    /// Asks to be polled again, for the turn to end then.
    pub(crate) fn hold(self, now: Instant, cx: &Context<'_>) -> HeldTurn {
        cx.waker().wake_by_ref();
        HeldTurn {
            _turn: self,
            since: now,
            polls_left: MAX_POLLS_AT_ONCE,
        }
    }
}

/// A turn in which the step has been taken.
#[derive(Debug)]
pub(crate) struct HeldTurn {
    _turn: Turn,
    since: Instant,
    polls_left: u8,
}

/// A transport may poll several times before it goes on to the next connection, after it has
/// flushed the output for instance. It gives all these polls the same time. More than this many it
/// never makes: then it is the clock that stands still.
const MAX_POLLS_AT_ONCE: u8 = 16;

impl HeldTurn {
    /// The transport has been around. Otherwise it is asked again to come back.
    pub(crate) fn is_over(&mut self, now: Instant, cx: &Context<'_>) -> bool {
        if now != self.since || self.polls_left == 0 {
            return true;
        }
        self.polls_left -= 1;
        cx.waker().wake_by_ref();
        false
    }
}

/// One who takes turns. Dropped: whoever is behind in the queue moves up.
#[derive(Debug)]
pub(crate) struct Queued {
    turnstile: Arc<Turnstile>,
    ticket: Option<u64>,
}

impl Queued {
    pub(crate) const fn new(turnstile: Arc<Turnstile>) -> Self {
        Self {
            turnstile,
            ticket: None,
        }
    }

    /// Gets a turn, or a place in the queue: the waker is woken when it may be worth to ask again.
    pub(crate) fn poll_turn(&mut self, cx: &Context<'_>) -> Poll<Turn> {
        let mut guard = self.turnstile.lock();
        let state = &mut *guard;
        let place = self.ticket.and_then(|ticket| state.place_of(ticket));
        // Who has no place yet comes after those who have.
        let before_me = place.unwrap_or(state.waiting.len());
        if before_me < state.free {
            state.free -= 1;
            if let Some(place) = place {
                state.waiting.remove(place);
            }
            self.ticket = None;
            return Poll::Ready(Turn {
                turnstile: Arc::clone(&self.turnstile),
            });
        }
        match place.and_then(|place| state.waiting.get_mut(place)) {
            Some((_, waker)) => waker.clone_from(cx.waker()),
            None => {
                self.ticket = Some(state.next_ticket);
                state
                    .waiting
                    .push_back((state.next_ticket, cx.waker().clone()));
                state.next_ticket += 1;
            }
        }
        Poll::Pending
    }
}

impl State {
    fn place_of(&self, ticket: u64) -> Option<usize> {
        self.waiting
            .binary_search_by_key(&ticket, |(ticket, _)| *ticket)
            .ok()
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let mut state = self.turnstile.lock();
        if let Some(place) = state.place_of(ticket) {
            state.waiting.remove(place);
            // It may have been woken for a turn that it leaves to the next.
            state.call();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;
    use std::time::Duration;

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    struct Someone {
        queued: Queued,
        wakes: Arc<Wakes>,
    }

    impl Someone {
        fn at(turnstile: &Arc<Turnstile>) -> Self {
            Self {
                queued: Queued::new(Arc::clone(turnstile)),
                wakes: Arc::default(),
            }
        }

        fn ask(&mut self) -> Option<Turn> {
            let waker = Waker::from(Arc::clone(&self.wakes));
            match self.queued.poll_turn(&Context::from_waker(&waker)) {
                Poll::Ready(turn) => Some(turn),
                Poll::Pending => None,
            }
        }

        fn woken(&self) -> bool {
            self.wakes.0.swap(0, Ordering::Relaxed) > 0
        }
    }

    #[test]
    fn turns_are_given_in_the_order_of_asking() {
        let turnstile = Turnstile::new(1);
        let [mut a, mut b, mut c] = [(); 3].map(|()| Someone::at(&turnstile));
        let turn = a.ask().unwrap();
        assert!(b.ask().is_none());
        assert!(c.ask().is_none());
        drop(turn);
        assert!(b.woken() && !c.woken());
        assert!(c.ask().is_none(), "b is before c");
        assert!(a.ask().is_none(), "and a has been served already");
        let turn = b.ask().unwrap();
        drop(turn);
        assert!(c.woken() && !a.woken());
        assert!(c.ask().is_some());
    }

    #[test]
    fn as_many_turns_as_there_are_and_no_more() {
        let turnstile = Turnstile::new(2);
        let [mut a, mut b, mut c, mut d] = [(); 4].map(|()| Someone::at(&turnstile));
        let turns = (a.ask().unwrap(), b.ask().unwrap());
        assert!(c.ask().is_none() && d.ask().is_none());
        drop(turns);
        assert!(c.woken() && d.woken());
        assert!(d.ask().is_some(), "two are free, and one only is before d");
        assert!(c.ask().is_some());
    }

    #[test]
    fn one_who_leaves_the_queue_holds_nobody_up() {
        let turnstile = Turnstile::new(1);
        let [mut a, mut b, mut c] = [(); 3].map(|()| Someone::at(&turnstile));
        let turn = a.ask().unwrap();
        assert!(b.ask().is_none() && c.ask().is_none());
        drop(turn);
        assert!(b.woken());
        drop(b);
        assert!(c.woken());
        assert!(c.ask().is_some());
        assert!(turnstile.lock().waiting.is_empty());
    }

    #[test]
    fn a_session_asked_twice_has_one_place_and_its_last_waker() {
        let turnstile = Turnstile::new(1);
        let [mut a, mut b] = [(); 2].map(|()| Someone::at(&turnstile));
        let turn = a.ask().unwrap();
        assert!(b.ask().is_none());
        b.wakes = Arc::default();
        assert!(b.ask().is_none());
        assert_eq!(turnstile.lock().waiting.len(), 1);
        drop(turn);
        assert!(b.woken());
    }

    #[test]
    fn a_held_turn_is_over_when_time_goes_on() {
        let turnstile = Turnstile::new(1);
        let mut a = Someone::at(&turnstile);
        let (waker, now) = (Waker::from(Arc::clone(&a.wakes)), Instant::now());
        let cx = Context::from_waker(&waker);
        let mut held = a.ask().unwrap().hold(now, &cx);
        assert!(a.woken());
        assert!(!held.is_over(now, &cx), "the same turn of the transport");
        assert!(a.woken());
        assert!(held.is_over(now + Duration::from_nanos(1), &cx));
        assert!(!a.woken());
        let polls = (0..100).take_while(|_| !held.is_over(now, &cx)).count();
        assert!(polls < 20, "a clock that stands still holds nobody up");
    }
}
