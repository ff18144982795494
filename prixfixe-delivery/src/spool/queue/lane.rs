//! A target, as the queue sees it.

use std::collections::{HashMap, VecDeque};

use prixfixe_spool::MessageId;

/// A target, and what is next for it.
#[derive(Debug)]
pub(in super::super) struct Lane {
    pub(in super::super) name: Box<str>,
    /// Messages at once. `None`: there is no such target now, and its mail is kept.
    pub(in super::super) concurrency: Option<usize>,
    pub(in super::super) under_way: usize,
    pub(super) ready: Ready,
    reach: Reach,
    /// What failed attempts said, each once.
    errors: Vec<Box<str>>,
    /// What the last failed attempt said, while none has succeeded since.
    pub(in super::super) last_error: Option<Box<str>>,
    /// Recipients that were given up.
    pub(in super::super) given_up: u64,
}

/// Whether a target can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Up,
    /// It is tried by one message at a time, with pauses. What is next for it waits and holds nothing.
    Down {
        pause: u64,
        until: u64,
    },
}

const FIRST_PAUSE: u64 = 1_000;
const LONGEST_PAUSE: u64 = 60_000;

/// Different errors that are remembered. What comes then is in the log alone.
const MAX_ERRORS: usize = 200;

impl Lane {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            concurrency: None,
            under_way: 0,
            ready: Ready::default(),
            reach: Reach::Up,
            errors: Vec::new(),
            last_error: None,
            given_up: 0,
        }
    }

    /// How many messages it takes at once. `None`: there is no such target now.
    pub(super) fn set_concurrency(&mut self, concurrency: Option<usize>) {
        if self.concurrency.is_none() {
            // Whatever was known of it is old.
            self.reach = Reach::Up;
        }
        self.concurrency = concurrency;
    }

    pub(super) fn is_down(&self) -> bool {
        matches!(self.reach, Reach::Down { .. })
    }

    pub(super) fn has_room(&self, now: u64) -> bool {
        let Some(concurrency) = self.concurrency else {
            return false;
        };
        match self.reach {
            Reach::Up => self.under_way < concurrency,
            Reach::Down { until, .. } => self.under_way == 0 && now >= until,
        }
    }

    /// When its next message is tried, where it waits for that alone.
    pub(super) fn opens_at(&self) -> Option<u64> {
        match self.reach {
            Reach::Down { until, .. }
                if self.under_way == 0 && self.concurrency.is_some() && !self.ready.is_empty() =>
            {
                Some(until)
            }
            _ => None,
        }
    }

    /// An attempt has shown whether it can be reached.
    pub(in super::super) fn reached(&mut self, is_up: bool, now: u64) {
        self.reach = match (is_up, self.reach) {
            (true, _) => Reach::Up,
            (false, Reach::Up) => Reach::Down {
                pause: FIRST_PAUSE,
                until: now + FIRST_PAUSE,
            },
            // One of those that were under way together.
            (false, Reach::Down { until, .. }) if now < until => self.reach,
            (false, Reach::Down { pause, .. }) => {
                let pause = (pause * 2).min(LONGEST_PAUSE);
                Reach::Down {
                    pause,
                    until: now + pause,
                }
            }
        };
    }

    /// Ends its pause.
    pub(super) fn try_now(&mut self) {
        if let Reach::Down { until, .. } = &mut self.reach {
            *until = 0;
        }
    }

    /// The number by which an error is remembered.
    pub(super) fn error_number(&mut self, error: &str) -> u8 {
        let end = error.floor_char_boundary(400);
        let error = error.get(..end).unwrap_or_default();
        let known = self.errors.iter().position(|it| **it == *error);
        let place = known.unwrap_or_else(|| {
            if self.errors.len() < MAX_ERRORS {
                self.errors.push(error.into());
            } else if self.errors.len() == MAX_ERRORS {
                self.errors.push("see the log".into());
            }
            self.errors.len() - 1
        });
        u8::try_from(place + 1).unwrap_or(0)
    }

    pub(super) fn error(&self, number: u8) -> Option<&str> {
        let place = usize::from(number).checked_sub(1)?;
        self.errors.get(place).map(|it| &**it)
    }

    pub(super) fn clear(&mut self) {
        self.ready = Ready::default();
        self.under_way = 0;
        self.errors.clear();
    }
}

/// What is next for a target: each destination has its turn.
#[derive(Debug, Default)]
pub(super) struct Ready {
    by_destination: HashMap<u16, VecDeque<MessageId>>,
    turns: VecDeque<u16>,
}

impl Ready {
    pub(super) fn push(&mut self, destination: u16, id: MessageId) {
        let queue = self.by_destination.entry(destination).or_default();
        if queue.is_empty() {
            self.turns.push_back(destination);
        }
        queue.push_back(id);
    }

    pub(super) fn pop(&mut self) -> Option<MessageId> {
        let destination = self.turns.pop_front()?;
        let queue = self.by_destination.get_mut(&destination)?;
        let id = queue.pop_front();
        match queue.is_empty() {
            true => {
                // Its memory with it.
                self.by_destination.remove(&destination);
            }
            false => self.turns.push_back(destination),
        }
        id
    }

    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }
}
