//! The two threads of a log.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use crate::disk::Disk;
use crate::log::{Inner, lock};
use crate::ticket::Ticket;

/// States that may wait for a sync, whatever their age.
const MAX_UNSYNCED: usize = 4096;

/// How often the keeper looks for something to do.
const KEEPER_INTERVAL: Duration = Duration::from_millis(200);

/// Until something that has failed is tried again.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

pub(crate) fn write_until_closed<D: Disk>(inner: &Inner<D>) {
    let delay = inner.shared.options.state_delay;
    let mut unsynced: Option<Instant> = None;
    loop {
        let mut queue = lock(&inner.queue);
        while queue.waiting.is_empty() && !queue.is_closing {
            queue.writer_sleeps = true;
            queue = match unsynced.map(|since| delay.saturating_sub(since.elapsed())) {
                None => inner
                    .woken
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => break,
                Some(left) => {
                    let woken = inner.woken.wait_timeout(queue, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        queue.writer_sleeps = false;
        drop(queue);
        // The writer first: whoever has it, to hand over say, knows that no batch is on its way to it.
        let mut writer = lock(&inner.writer);
        let mut queue = lock(&inner.queue);
        let is_closing = queue.is_closing && queue.waiting.is_empty();
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
