//! What has waited for too long behind a target that cannot be reached.

use std::ops::Bound;

use super::{JobState, Next, Queue};

/// Deliveries that are given up in one go, about.
const AT_ONCE: usize = 64;

/// Messages that one search for them looks at.
const LOOKED_AT: usize = 10_000;

impl Queue {
    /// Deliveries that have been tried for so long that nobody waits any more until their target can be reached.
    ///
    /// A target that works reaches its own by itself: there nothing is given up without an attempt. Each call looks at some
    /// of the messages and the next one goes on behind them: clients must not wait for a look at a million.
    pub(in super::super) fn take_expired(&mut self, received_before: u64) -> Vec<Next> {
        let mut expired = Vec::new();
        let mut lanes = self.lanes.iter();
        if !lanes.any(|lane| lane.concurrency.is_some() && lane.is_down()) {
            return expired;
        }
        let behind = match self.searched.take() {
            Some(id) => (Bound::Excluded(id), Bound::Unbounded),
            None => (Bound::Unbounded, Bound::Unbounded),
        };
        let some = self.records.range_mut(behind).take(LOOKED_AT);
        let mut count = 0;
        for (id, record) in some {
            count += 1;
            self.searched = Some(*id);
            if record.received() >= received_before {
                continue;
            }
            for job in record.jobs_mut() {
                let lane = self.lanes.get_mut(usize::from(job.lane));
                let lane = lane.filter(|it| it.concurrency.is_some() && it.is_down());
                if let (JobState::Ready, Some(lane)) = (job.state, lane) {
                    job.state = JobState::UnderWay;
                    lane.under_way += 1;
                    expired.push(Next {
                        id: *id,
                        lane: job.lane,
                        attempts: job.attempts,
                    });
                }
            }
            if expired.len() >= AT_ONCE {
                return expired;
            }
        }
        if count < LOOKED_AT {
            self.searched = None;
        }
        expired
    }
}

#[cfg(test)]
mod tests {
    use prixfixe_spool::MessageId;

    use super::*;
    use crate::spool::summary::{Summary, SummaryTarget};

    fn queue(messages: u64, received: impl Fn(u64) -> u64) -> Queue {
        let mut queue = Queue::default();
        for number in 1..=messages {
            let target = SummaryTarget {
                name: "hook".to_owned(),
                destination: 0,
            };
            let summary = Summary {
                received: received(number),
                size: 0,
                targets: vec![target],
            };
            queue.add(MessageId::from_bits(number), &summary, None, false, 0);
        }
        queue.set_known(|_| Some(1));
        queue
    }

    #[test]
    fn a_search_looks_at_some_and_goes_on_behind_them() {
        let count = 2 * LOOKED_AT as u64 + 10;
        let mut queue = queue(count, |number| match number {
            _ if number == count => 1_000,
            _ => 9_000,
        });
        // While it can be reached, nothing is given up without an attempt.
        assert_eq!(queue.take_expired(5_000), []);
        queue
            .lane_mut(0)
            .into_iter()
            .for_each(|it| it.reached(false, 0));
        let mut found = (0..5).map(|_| queue.take_expired(5_000));
        assert_eq!(found.next(), Some(Vec::new()));
        assert_eq!(found.next(), Some(Vec::new()));
        let third = found.next().unwrap_or_default();
        assert_eq!(third.len(), 1);
        assert_eq!(third.first().map(|it| it.id.to_bits()), Some(count));
        assert!(found.all(|it| it.is_empty()));
    }

    #[test]
    fn all_are_found_a_few_at_a_time() {
        let mut queue = queue(10 * AT_ONCE as u64 + 5, |_| 1_000);
        queue
            .lane_mut(0)
            .into_iter()
            .for_each(|it| it.reached(false, 0));
        let found: Vec<usize> = (0..12).map(|_| queue.take_expired(5_000).len()).collect();
        assert_eq!(found.iter().sum::<usize>(), 10 * AT_ONCE + 5);
        assert!(found.iter().all(|count| *count <= AT_ONCE));
    }
}
