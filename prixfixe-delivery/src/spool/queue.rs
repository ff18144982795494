//! The queue in memory: which message is next, for which target.
//!
//! It knows times as milliseconds since 1970 and reads no clock. What it remembers of a message is small, as there may be a
//! million of them: contents, addresses and words are on the disk.

mod expired;
mod lane;
mod record;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use prixfixe_spool::{Companion, MessageId};

pub(super) use self::lane::Lane;
use self::record::Record;
pub(super) use self::record::{Job, JobState};
use super::kept::{Kept, KeptMessages};
use super::state::{DeliveryState, TargetState};
use super::summary::Summary;

/// All messages that are not over.
#[derive(Debug, Default)]
pub(super) struct Queue {
    lanes: Vec<Lane>,
    by_name: HashMap<Box<str>, u16>,
    records: BTreeMap<MessageId, Record>,
    /// What waits, by the time of its next attempt. What has changed meanwhile is left out when its time comes.
    due: BTreeMap<u64, Vec<MessageId>>,
    /// Of messages for whose recipients it came out differently: who has ended, for each target.
    partial: HashMap<MessageId, Vec<String>>,
    /// Those that need not be read from the disk, while nothing delays them.
    kept: KeptMessages,
    /// Behind which message the search for those that have waited for too long goes on.
    searched: Option<MessageId>,
    /// The lane that is asked first.
    turn: usize,
}

/// A message that is to be tried now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) id: MessageId,
    /// The number of its target.
    pub(super) lane: u16,
    /// Attempts that were made before.
    pub(super) attempts: u16,
}

/// Beyond this a second more or less does not matter.
const COARSE: u64 = 10_000;

impl Queue {
    /// The number of a target.
    pub(super) fn lane(&mut self, name: &str) -> u16 {
        if let Some(number) = self.by_name.get(name) {
            return *number;
        }
        let number = u16::try_from(self.lanes.len()).unwrap_or(u16::MAX);
        self.lanes.push(Lane::new(name));
        self.by_name.insert(name.into(), number);
        number
    }

    pub(super) fn lane_mut(&mut self, number: u16) -> Option<&mut Lane> {
        self.lanes.get_mut(usize::from(number))
    }

    pub(super) fn lanes(&self) -> &[Lane] {
        &self.lanes
    }

    /// Which targets there are, and how many messages each takes at once.
    pub(super) fn set_known(&mut self, concurrency: impl Fn(&str) -> Option<usize>) {
        for lane in &mut self.lanes {
            lane.set_concurrency(concurrency(&lane.name));
        }
    }

    /// The next attempt of this message need not read it.
    pub(super) fn keep(&mut self, id: MessageId, companion: Option<Companion>) {
        self.kept.add(id, companion);
    }

    pub(super) fn kept(&self, id: MessageId) -> Option<Arc<Kept>> {
        self.kept.get(id)
    }

    /// A message that is new, or was found.
    pub(super) fn add(
        &mut self,
        id: MessageId,
        summary: &Summary,
        state: Option<&DeliveryState>,
        is_held: bool,
        now: u64,
    ) {
        if self.records.contains_key(&id) {
            return;
        }
        let mut jobs = Vec::with_capacity(summary.targets.len());
        for (place, target) in summary.targets.iter().enumerate() {
            let number = self.lane(&target.name);
            let before = state.and_then(|it| it.targets.get(place));
            jobs.push(self.job(number, target.destination, before, is_held, now));
        }
        if jobs.iter().all(|job| job.state == JobState::Over) {
            // Its end was not stored, and is found out when it is tried.
            jobs.iter_mut().for_each(|job| job.state = JobState::Ready);
        }
        let partial = state.map(|it| it.targets.iter().map(|it| it.ended.clone()));
        if let Some(partial) = partial
            && state.is_some_and(|it| it.targets.iter().any(|it| !it.ended.is_empty()))
        {
            self.partial.insert(id, partial.collect());
        }
        let record = Record::new(summary.received, jobs);
        self.place(id, &record, now);
        self.records.insert(id, record);
    }

    fn job(
        &mut self,
        lane: u16,
        destination: u16,
        before: Option<&TargetState>,
        is_held: bool,
        now: u64,
    ) -> Job {
        let error = before.and_then(|it| it.error.as_deref());
        let error = error.and_then(|error| Some(self.lane_mut(lane)?.error_number(error)));
        let due = before.map_or(0, |it| it.next);
        let attempts = before.map_or(0, |it| it.attempts);
        Job {
            due,
            lane,
            destination,
            attempts: u16::try_from(attempts).unwrap_or(u16::MAX),
            error: error.unwrap_or(0),
            state: match (is_held, due > now) {
                _ if before.is_some_and(|it| it.over) => JobState::Over,
                (true, _) => JobState::Held,
                (false, true) => JobState::Waiting,
                (false, false) => JobState::Ready,
            },
        }
    }

    /// Puts a message where it is found when its time has come.
    fn place(&mut self, id: MessageId, record: &Record, now: u64) {
        for job in record.jobs() {
            match job.state {
                JobState::Ready => {
                    if let Some(lane) = self.lanes.get_mut(usize::from(job.lane)) {
                        lane.ready.push(job.destination, id);
                    }
                }
                JobState::Waiting => self.wait(id, job.due, now),
                _ => {}
            }
        }
    }

    fn wait(&mut self, id: MessageId, due: u64, now: u64) {
        let key = match due.saturating_sub(now) > COARSE {
            true => due.checked_next_multiple_of(1000).unwrap_or(due),
            false => due,
        };
        self.due.entry(key).or_default().push(id);
    }

    /// What has waited until now is next.
    pub(super) fn wake(&mut self, now: u64) {
        while let Some(first) = self.due.first_entry() {
            if *first.key() > now {
                break;
            }
            for id in first.remove() {
                self.wake_one(id, |job| job.state == JobState::Waiting && job.due <= now);
            }
        }
    }

    fn wake_one(&mut self, id: MessageId, which: impl Fn(&Job) -> bool) -> bool {
        let Some(record) = self.records.get_mut(&id) else {
            return false;
        };
        let mut woken = false;
        for job in record.jobs_mut().iter_mut().filter(|job| which(job)) {
            job.state = JobState::Ready;
            // A state that is stored now says so too: a restart does not wait either.
            job.due = 0;
            woken = true;
            if let Some(lane) = self.lanes.get_mut(usize::from(job.lane)) {
                lane.ready.push(job.destination, id);
            }
        }
        woken
    }

    /// The next message: each target has its turn.
    pub(super) fn next(&mut self, now: u64) -> Option<Next> {
        for offset in 0..self.lanes.len() {
            let number = (self.turn + offset) % self.lanes.len();
            if let Some(next) = self.next_of(number, now) {
                self.turn = number + 1;
                return Some(next);
            }
        }
        None
    }

    fn next_of(&mut self, number: usize, now: u64) -> Option<Next> {
        let lane = self.lanes.get_mut(number)?;
        while lane.has_room(now) {
            let id = lane.ready.pop()?;
            let record = self.records.get_mut(&id);
            let jobs = record.into_iter().flat_map(|it| it.jobs_mut().iter_mut());
            let mut jobs = jobs.filter(|job| usize::from(job.lane) == number);
            if let Some(job) = jobs.find(|job| job.state == JobState::Ready) {
                job.state = JobState::UnderWay;
                lane.under_way += 1;
                return Some(Next {
                    id,
                    lane: job.lane,
                    attempts: job.attempts,
                });
            }
        }
        None
    }

    /// When there may be something to do, unless something happens before.
    pub(super) fn next_time(&self) -> Option<u64> {
        let first = self.due.first_key_value().map(|(time, _)| *time);
        let lanes = self.lanes.iter().filter_map(Lane::opens_at);
        first.into_iter().chain(lanes).min()
    }

    /// An attempt has ended: when the next one is, or `None` where this was the last one. True: the message is over.
    pub(super) fn ended(&mut self, next: &Next, again: Option<Again<'_>>, now: u64) -> bool {
        let Some(lane) = self.lanes.get_mut(usize::from(next.lane)) else {
            return false;
        };
        lane.under_way = lane.under_way.saturating_sub(1);
        let error = match &again {
            Some(again) => lane.error_number(again.error),
            None => 0,
        };
        let Some(record) = self.records.get_mut(&next.id) else {
            return false;
        };
        let mut due = None;
        if let Some(job) = record.job_mut(next.lane) {
            let is_to_be_held = job.state == JobState::UnderWayThenHeld;
            job.error = error;
            match again {
                Some(again) => {
                    job.attempts = job.attempts.saturating_add(u16::from(again.counts));
                    job.due = again.due;
                    job.state = match is_to_be_held {
                        true => JobState::Held,
                        false => JobState::Waiting,
                    };
                    due = (!is_to_be_held).then_some(again.due);
                }
                None => job.state = JobState::Over,
            }
        }
        let is_over = record.jobs().iter().all(|job| job.state == JobState::Over);
        if again.is_some() {
            self.kept.remove(next.id);
        }
        if let Some(due) = due {
            self.wait(next.id, due, now);
        }
        if is_over {
            self.remove(next.id);
        }
        is_over
    }

    /// The targets of a message, in their order.
    pub(super) fn jobs(&self, id: MessageId) -> Option<&[Job]> {
        Some(self.records.get(&id)?.jobs())
    }

    /// The state of a job, as an operator sees it: mail for an unknown target is held until there is one.
    pub(super) fn seen(&self, job: &Job) -> JobState {
        let lane = self.lanes.get(usize::from(job.lane));
        let is_known = lane.is_some_and(|it| it.concurrency.is_some());
        match job.state {
            JobState::Ready | JobState::Waiting if !is_known => JobState::Held,
            state => state,
        }
    }

    /// The names of targets that are not known, and have mail.
    pub(super) fn unknown(&self) -> Vec<&str> {
        let mut has_mail = vec![false; self.lanes.len()];
        let jobs = self.records.values().flat_map(|it| it.jobs());
        for job in jobs.filter(|job| job.state != JobState::Over) {
            if let Some(has_mail) = has_mail.get_mut(usize::from(job.lane)) {
                *has_mail = true;
            }
        }
        let lanes = self.lanes.iter().zip(has_mail);
        let unknown = lanes.filter(|(lane, has_mail)| *has_mail && lane.concurrency.is_none());
        unknown.map(|(lane, _)| &*lane.name).collect()
    }

    /// An operator holds it, from the end of its attempts under way on.
    pub(super) fn is_held(&self, id: MessageId) -> bool {
        let mut jobs = self.jobs(id).unwrap_or_default().iter();
        jobs.any(|job| matches!(job.state, JobState::Held | JobState::UnderWayThenHeld))
    }

    /// Who has ended, for the target at this place.
    pub(super) fn ended_of(&self, id: MessageId, place: usize) -> String {
        let partial = self.partial.get(&id).and_then(|it| it.get(place));
        partial.cloned().unwrap_or_default()
    }

    /// Remembers who has ended, for the target at this place.
    pub(super) fn set_ended_of(&mut self, id: MessageId, place: usize, ended: String) {
        let Some(record) = self.records.get(&id) else {
            return;
        };
        if ended.is_empty() && !self.partial.contains_key(&id) {
            return;
        }
        let count = record.jobs().len();
        let partial = self
            .partial
            .entry(id)
            .or_insert_with(|| vec![String::new(); count]);
        if let Some(at) = partial.get_mut(place) {
            *at = ended;
        }
    }

    /// What is stored of a message's delivery.
    pub(super) fn state(&self, id: MessageId) -> Option<DeliveryState> {
        let jobs = self.jobs(id)?;
        let targets = jobs.iter().enumerate().map(|(place, job)| TargetState {
            attempts: u32::from(job.attempts),
            next: job.due,
            error: self.error(job).map(ToOwned::to_owned),
            ended: self.ended_of(id, place),
            over: job.state == JobState::Over,
        });
        Some(DeliveryState {
            version: 1,
            targets: targets.collect(),
        })
    }

    pub(super) fn error(&self, job: &Job) -> Option<&str> {
        self.lanes.get(usize::from(job.lane))?.error(job.error)
    }

    /// Tries it now. False: there is no such message.
    pub(super) fn retry(&mut self, id: MessageId) -> bool {
        self.wake_one(id, |job| job.state == JobState::Waiting);
        // An operator who asks for it does not want to wait for the target's next turn.
        let lanes = self.records.get(&id).map(|it| it.jobs().iter());
        let lanes: Vec<u16> = lanes.into_iter().flatten().map(|job| job.lane).collect();
        for lane in &lanes {
            if let Some(lane) = self.lane_mut(*lane) {
                lane.try_now();
            }
        }
        !lanes.is_empty()
    }

    /// Tries all messages now, or those of a target. Gives how many waited.
    pub(super) fn retry_all(&mut self, target: Option<&str>) -> u64 {
        let chosen: Vec<bool> = (self.lanes.iter())
            .map(|lane| target.is_none_or(|it| it == &*lane.name))
            .collect();
        let is_chosen = |job: &Job| {
            let chosen = chosen.get(usize::from(job.lane)).copied();
            chosen.unwrap_or_default() && job.state == JobState::Waiting
        };
        let waiting = self
            .records
            .iter()
            .filter(|(_, it)| it.jobs().iter().any(is_chosen));
        let waiting: Vec<MessageId> = waiting.map(|(id, _)| *id).collect();
        let woken = waiting.iter().filter(|id| self.wake_one(**id, is_chosen));
        let count = woken.count() as u64;
        for (lane, chosen) in self.lanes.iter_mut().zip(&chosen) {
            if *chosen {
                lane.try_now();
            }
        }
        count
    }

    /// Does not try it any more. False: there is no such message.
    pub(super) fn hold(&mut self, id: MessageId) -> bool {
        let Some(record) = self.records.get_mut(&id) else {
            return false;
        };
        self.kept.remove(id);
        for job in record.jobs_mut() {
            job.state = match job.state {
                JobState::Ready | JobState::Waiting => JobState::Held,
                JobState::UnderWay => JobState::UnderWayThenHeld,
                other => other,
            };
        }
        true
    }

    /// Tries it again, at once. False: there is no such message.
    pub(super) fn release(&mut self, id: MessageId) -> bool {
        let Some(record) = self.records.get_mut(&id) else {
            return false;
        };
        for job in record.jobs_mut() {
            if job.state == JobState::UnderWayThenHeld {
                job.state = JobState::UnderWay;
            }
        }
        self.wake_one(id, |job| job.state == JobState::Held);
        true
    }

    /// Counts a message that no target gets any more, since it is damaged: once for each, whoever it was for.
    pub(super) fn lose(&mut self, id: MessageId) {
        let jobs = self.records.get(&id).map(Record::jobs).unwrap_or_default();
        for job in jobs.iter().filter(|job| job.state != JobState::Over) {
            if let Some(lane) = self.lanes.get_mut(usize::from(job.lane)) {
                lane.given_up += 1;
            }
        }
    }

    /// Forgets it. False: there is no such message.
    pub(super) fn remove(&mut self, id: MessageId) -> bool {
        self.partial.remove(&id);
        self.kept.remove(id);
        self.records.remove(&id).is_some()
    }

    /// Forgets all, since somebody else delivers.
    pub(super) fn clear(&mut self) {
        self.records.clear();
        self.due.clear();
        self.partial.clear();
        self.kept = KeptMessages::default();
        self.searched = None;
        for lane in &mut self.lanes {
            lane.clear();
        }
    }

    /// Messages behind this one, in the order of their ids.
    pub(super) fn ids_after(&self, after: Option<MessageId>, limit: usize) -> Vec<MessageId> {
        let behind = match after {
            Some(after) => self
                .records
                .range((std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded)),
            None => self.records.range(..),
        };
        behind.take(limit).map(|(id, _)| *id).collect()
    }

    /// Every message: when it was received, in milliseconds since 1970, and its targets.
    pub(super) fn all(&self) -> impl Iterator<Item = (MessageId, u64, &[Job])> {
        let records = self.records.iter();
        records.map(|(id, record)| (*id, record.received(), record.jobs()))
    }
}

/// When a message is tried again, and why it has to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Again<'a> {
    pub(super) due: u64,
    pub(super) error: &'a str,
    /// It was an attempt.
    pub(super) counts: bool,
}
