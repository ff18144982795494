//! The two threads of a log.

use std::sync::PoisonError;
use std::thread;
use std::time::{Duration, Instant};

use crate::disk::Disk;
use crate::log::{Inner, Resting, lock};
use crate::ticket::Ticket;

/// States that may wait for a sync, whatever their age.
const MAX_UNSYNCED: usize = 4096;

/// How often the keeper looks for something to do.
const KEEPER_INTERVAL: Duration = Duration::from_millis(200);

/// Until something that has failed is tried again.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// How long states wait for others that are written with them, and for a message, whose write and sync take them along.
const STATES_GATHER: Duration = Duration::from_millis(5);

/// Times that the writer gives way to those who are about to append.
const GIVES_WAY: usize = 8;

pub(crate) fn write_until_closed<D: Disk>(inner: &Inner<D>) {
    let delay = inner.shared.options.state_delay;
    let mut unsynced: Option<Instant> = None;
    let mut last = 0;
    loop {
        // A delay beyond all time is none that ends.
        rest(inner, unsynced.and_then(|since| since.checked_add(delay)));
        gather(inner, last);
        // The writer first: whoever has it, to hand over say, knows that no batch is on its way to it.
        let mut writer = lock(&inner.writer);
        let mut queue = lock(&inner.queue);
        let is_closing = queue.is_closing && queue.waiting.is_empty();
        last = queue.awaited;
        let batch = queue.take();
        drop(queue);
        if is_closing {
            return;
        }
        let is_due = unsynced.is_some_and(|since| since.elapsed() >= delay);
        let sync = is_due || writer.unsynced() > MAX_UNSYNCED;
        writer.commit(batch, sync);
        inner.shared.count();
        unsynced = match writer.owes_a_sync() {
            // It has just been tried: in vain.
            true if is_due => Some(Instant::now() + AFTER_FAILURE),
            true => unsynced.or(Some(Instant::now())),
            false => None,
        };
    }
}

/// Sleeps until there is something to be written, or until a sync is due.
///
/// First for a moment, in which states wake nobody: those who deliver end many messages one after the other, and the writer
/// would be woken and would write for each.
fn rest<D: Disk>(inner: &Inner<D>, sync_at: Option<Instant>) {
    let mut queue = lock(&inner.queue);
    let mut briefly = true;
    while queue.awaited == 0 && !queue.is_closing {
        let most = match (briefly, queue.waiting.is_empty()) {
            (true, _) => Some(STATES_GATHER),
            // States have come meanwhile.
            (false, false) => return,
            (false, true) => sync_at.map(|at| at.saturating_duration_since(Instant::now())),
        };
        if most == Some(Duration::ZERO) {
            return;
        }
        queue.writer = match briefly {
            true => Resting::Briefly,
            false => Resting::UntilWoken,
        };
        queue = match most {
            None => inner.woken.wait(queue),
            Some(most) => inner
                .woken
                .wait_timeout(queue, most)
                .map(|(queue, _)| queue)
                .map_err(|error| PoisonError::new(error.into_inner().0)),
        }
        .unwrap_or_else(PoisonError::into_inner);
        queue.writer = Resting::Not;
        // States that have ended a long sleep wait for others.
        briefly = !briefly && !queue.waiting.is_empty();
    }
}

/// Where several messages came together, those who have heard of theirs are about to append the next: let them, so that one
/// sync does for all. Whoever is alone waits for nobody.
fn gather<D: Disk>(inner: &Inner<D>, last: usize) {
    let mut before = 0;
    for _ in 0..GIVES_WAY {
        let awaited = lock(&inner.queue).awaited;
        if awaited == before || awaited >= last {
            return;
        }
        before = awaited;
        thread::yield_now();
    }
}

pub(crate) fn keep_until_closed<D: Disk>(inner: &Inner<D>) {
    let mut followed = Instant::now();
    loop {
        let done = inner.keep(|tickets| tickets.into_iter().try_for_each(Ticket::wait));
        let rest = match done {
            Ok(true) => Duration::ZERO,
            Ok(false) => KEEPER_INTERVAL,
            Err(error) => {
                tracing::warn!(%error, "the spool cannot be tidied now");
                AFTER_FAILURE
            }
        };
        if followed.elapsed() >= AFTER_FAILURE {
            followed = Instant::now();
            // Not while somebody takes over, or hands over.
            if let Ok(mut delivery) = inner.delivery.try_lock()
                && let Some(delivering) = &mut *delivery
                && let Err(error) = inner.follow(delivering)
            {
                tracing::warn!(%error, "cannot look for what another process has appended");
            }
        }
        let closing = lock(&inner.keeper);
        if *closing {
            return;
        }
        let woken = inner.keeper_woken.wait_timeout(closing, rest);
        if *woken.unwrap_or_else(PoisonError::into_inner).0 {
            return;
        }
    }
}
