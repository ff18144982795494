//! Tests of what is logged, beside other tests.

use std::sync::OnceLock;

use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Metadata, Subscriber};

/// Runs `action` with `subscriber` in force on this thread.
///
/// While one subscriber alone is known, tracing asks the thread that meets an event first whether
/// anybody wants it, and keeps the answer for all threads. In a test program that thread is often
/// another test's, where nobody listens, and the event is lost here for good. Two bystanders that
/// want everything make tracing ask all subscribers instead.
pub fn listening(subscriber: impl Subscriber + Send + Sync, action: impl FnOnce()) {
    static BYSTANDERS: OnceLock<[Dispatch; 2]> = OnceLock::new();
    BYSTANDERS.get_or_init(|| [Dispatch::new(Bystander), Dispatch::new(Bystander)]);
    tracing::subscriber::with_default(subscriber, action);
}

/// Wants every event, and is in force nowhere.
struct Bystander;

impl Subscriber for Bystander {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
