//! How much mail there is for which target in all the fleet, for metrics and a status page.
//!
//! The stream counts subjects, and is asked for the counts alone: they cost it little and the
//! network nothing. How old mail is stands in the messages. Of each state of each target the first
//! few are looked at, and the last: those that have stood there for the longest time are the oldest
//! ones, or nearly so, since a message that is deferred stands behind all others.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use async_nats::jetstream::Context;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::Stream;
use serde::Deserialize;
use tokio::time::sleep;

use super::actions::next;
use super::entry::due_at;
use super::letter::Stored;
use super::mail::Kept;
use super::names::{self, Names, is_word};
use super::{Fleet, Inner};
use crate::nats::inspect::stream_info;
use crate::{QueueStatus, SpoolStatus};

/// What was counted last.
#[derive(Debug, Default)]
pub(super) struct Census {
    seen: Mutex<SpoolStatus>,
}

/// How often is counted, where that takes no time.
const PERIOD: Duration = Duration::from_secs(5);

/// And how much longer than a count the pause after it is.
const PAUSES: u32 = 20;

/// Messages of a state and a target that are looked at.
const SHOWN: usize = 16;

/// Behind all subjects: the server says how many there are, and shows none.
const BEHIND: usize = 1 << 30;

/// As the server says it.
#[derive(Deserialize)]
struct Counted {
    #[serde(default)]
    total: u64,
}

#[derive(Deserialize)]
struct Consumers {
    #[serde(default)]
    consumers: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Consumer {
    #[serde(default)]
    num_ack_pending: u64,
}

impl Fleet {
    /// Messages by state and target, of all the fleet, as they were counted some seconds ago: one
    /// for each target of a mail. Counted where a [`FleetDelivery`](crate::FleetDelivery) delivers.
    /// What was given up is what this server has given up.
    #[must_use]
    pub fn queue(&self) -> SpoolStatus {
        let inner = &self.0.inner;
        let seen = inner.census.seen.lock();
        let mut status = seen.unwrap_or_else(PoisonError::into_inner).clone();
        let known = inner.routes();
        for target in known.all_targets() {
            let queue = status.targets.entry(target.name().to_owned());
            queue.or_default().is_known = true;
        }
        let given_up = inner.given_up.lock();
        for (name, count) in &*given_up.unwrap_or_else(PoisonError::into_inner) {
            status.targets.entry(name.clone()).or_default().given_up = *count;
        }
        for queue in status.targets.values_mut().filter(|it| !it.is_known) {
            queue.held += queue.ready + queue.waiting;
            status.held += queue.ready + queue.waiting;
            status.ready -= queue.ready;
            status.waiting -= queue.waiting;
            (queue.ready, queue.waiting, queue.next_attempt) = (0, 0, None);
        }
        status.is_delivering = inner.keeper.shared.ready().is_some();
        status.bytes = inner.usage.bytes();
        status.max_bytes = inner.usage.limit();
        status.is_shared = true;
        status
    }
}

impl Inner {
    /// Counts now and then, for as long as it is polled.
    pub(super) async fn count(&self) {
        let mut told = BTreeSet::new();
        loop {
            let since = Instant::now();
            if let Some(session) = self.keeper.shared.ready()
                && let Some(status) = count(&session.context, &self.names).await
            {
                self.tell_of_unknown(&status, &mut told);
                let seen = self.census.seen.lock();
                *seen.unwrap_or_else(PoisonError::into_inner) = status;
            }
            sleep((since.elapsed() * PAUSES).max(PERIOD)).await;
        }
    }
}

impl Inner {
    /// Says once of each name that nobody delivers to it.
    fn tell_of_unknown(&self, status: &SpoolStatus, told: &mut BTreeSet<String>) {
        let routes = self.routes();
        let is_known = |name: &str| routes.all_targets().iter().any(|it| it.name() == name);
        told.retain(|name| !is_known(name));
        for (name, queue) in &status.targets {
            if !is_known(name) && told.insert(name.clone()) {
                let messages = queue.ready + queue.waiting + queue.held;
                tracing::warn!(
                    target: "prixfixe", name, messages,
                    "the spool has mail for an unknown target, and keeps it"
                );
            }
        }
    }
}

/// `None`: somebody did not answer, and what was counted before stays.
async fn count(context: &Context, names: &Names) -> Option<SpoolStatus> {
    let mut status = SpoolStatus::default();
    let mut oldest = None;
    for name in names.streams() {
        let stream = context.get_stream(&name).await.ok()?;
        for target in targets(context, &name).await? {
            let queue = status.targets.entry(target.clone()).or_default();
            let mut look = Look {
                context,
                stream: &stream,
                name: &name,
                queue,
            };
            look.at(&target).await?;
        }
    }
    for queue in status.targets.values() {
        status.ready += queue.ready;
        status.waiting += queue.waiting;
        status.held += queue.held;
        oldest = earlier(oldest, queue.oldest);
    }
    // A target whose mail is all delivered is there as long as it is configured.
    status
        .targets
        .retain(|_, queue| queue.ready + queue.waiting + queue.held > 0);
    status.oldest = oldest.map(|it| SystemTime::now().duration_since(it).unwrap_or_default());
    let failed = stream_info(context, &names.failed()).await.ok()??;
    status.failed = failed.state.messages;
    Some(status)
}

/// Those that were ever delivered to: a consumer stays when its target's name is gone.
async fn targets(context: &Context, stream: &str) -> Option<BTreeSet<String>> {
    let asked = context.request(format!("CONSUMER.NAMES.{stream}"), &());
    let names: Consumers = asked.await.ok()?;
    let names = names.consumers.unwrap_or_default().into_iter();
    let targets = names.filter_map(|it| it.strip_prefix(names::CONSUMER).map(str::to_owned));
    Some(targets.filter(|it| is_word(it)).collect())
}

/// At one target's mail on one stream.
struct Look<'a> {
    context: &'a Context,
    stream: &'a Stream,
    name: &'a str,
    queue: &'a mut QueueStatus,
}

impl Look<'_> {
    async fn at(&mut self, target: &str) -> Option<()> {
        let name = self.name;
        let consumer = names::consumer(target);
        let consumer: Consumer = self
            .ask(&format!("CONSUMER.INFO.{name}.{consumer}"))
            .await?;
        self.queue.under_way += consumer.num_ack_pending;
        let (due, held) = (
            names::due(name, target, "*"),
            names::held(name, target, "*"),
        );
        let wait = format!("{name}.wait.{target}.*.*");
        let mut last = None;
        for (filter, count) in [(&due, 0), (&wait, 1), (&held, 2)] {
            let messages = self.messages(filter).await?;
            *match count {
                0 => &mut self.queue.ready,
                1 => &mut self.queue.waiting,
                _ => &mut self.queue.held,
            } += messages;
            if messages == 0 {
                continue;
            }
            self.first(filter).await?;
            if count == 1 {
                last = self
                    .stream
                    .get_last_raw_message_by_subject(filter)
                    .await
                    .ok();
            }
        }
        // The last one was tried last, and is tried again first where it is new.
        if let Some(last) = last {
            self.see(&last);
            self.queue.last_error = cause(&last);
        }
        Some(())
    }

    async fn messages(&self, filter: &str) -> Option<u64> {
        let asked = serde_json::json!({"subjects_filter": filter, "offset": BEHIND});
        let subject = format!("STREAM.INFO.{}", self.name);
        let counted: Counted = self.context.request(subject, &asked).await.ok()?;
        Some(counted.total)
    }

    async fn ask<T: serde::de::DeserializeOwned>(&self, subject: &str) -> Option<T> {
        self.context.request(subject.to_owned(), &()).await.ok()
    }

    async fn first(&mut self, filter: &str) -> Option<()> {
        let mut sequence = 1;
        for _ in 0..SHOWN {
            let Some(message) = next(self.stream, filter, sequence).await.ok()? else {
                break;
            };
            sequence = message.sequence.saturating_add(1);
            self.see(&message);
        }
        Some(())
    }

    fn see(&mut self, raw: &StreamMessage) {
        let stored = Stored::read(Some(&raw.headers), &raw.payload).ok();
        let kept = stored.and_then(|it| Kept::read(&it.envelope).ok());
        let received = kept.map(|it| it.envelope().received_at());
        self.queue.oldest = earlier(self.queue.oldest, received);
        self.queue.next_attempt = earlier(self.queue.next_attempt, due_at(raw));
    }
}

fn cause(raw: &StreamMessage) -> Option<String> {
    Stored::read(Some(&raw.headers), &raw.payload).ok()?.cause
}

fn earlier(one: Option<SystemTime>, other: Option<SystemTime>) -> Option<SystemTime> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
