//! What is written of a flood.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::span;
use tracing::{Dispatch, Event, Metadata, Subscriber};

use super::*;
use crate::{Peer, Recipient, replies};

/// A recipient.
pub(crate) fn recipient(text: &str) -> Recipient {
    Recipient::new(text.parse().expect("a forward-path"))
}

/// Keeps events as `LEVEL name=value...`.
#[derive(Clone, Default)]
pub(crate) struct Events(Arc<Mutex<Vec<String>>>);

impl Events {
    /// What `log` logs at `level` and above.
    pub(crate) fn of(log: impl FnOnce()) -> Vec<String> {
        // While there is but one subscriber, a thread that has none may settle for all that nobody wants a line.
        static ANOTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Events::default()));
        LazyLock::force(&ANOTHER);
        let events = Self::default();
        tracing::subscriber::with_default(events.clone(), log);
        let events = events.0.lock().expect("no panic under it");
        events.clone()
    }
}

impl Subscriber for Events {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::DEBUG
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        struct Text(String);
        impl Visit for Text {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                self.0.push_str(&format!(" {field}={value:?}"));
            }
        }
        let mut text = Text(event.metadata().level().to_string());
        event.record(&mut text);
        self.0.lock().expect("no panic under it").push(text.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

fn who(host: u8) -> Who<'static> {
    Who {
        peer: Peer::Ip(([192, 0, 2, host], 1024).into()),
        balancer: None,
        helo: Some("a.test"),
    }
}

/// So many refusals of one client.
fn refuse(log: &Log, now: Instant, host: u8, times: usize) {
    let reply = replies::NO_SUCH_DOMAIN;
    for _ in 0..times {
        log.refused(now, who(host), &Refused::new(What::Rcpt, &reply));
    }
}

fn count(events: &[String], part: &str) -> usize {
    events.iter().filter(|it| it.contains(part)).count()
}

#[test]
fn a_flood_is_twenty_lines_and_one_that_says_so() {
    let start = Instant::now();
    let log = Log::new(start);
    let events = Events::of(|| refuse(&log, start, 1, 500));
    assert_eq!(count(&events, "INFO "), 20);
    let told = "WARN message=log lines about clients were left out: there are too many lines=1 latest=192.0.2.1";
    assert_eq!(count(&events, told), 1, "{events:#?}");
    assert_eq!(count(&events, "WARN "), 1);
    assert_eq!(count(&events, "DEBUG "), 480, "debug has no bound");

    // Another client has its line meanwhile, and the rest is told when a minute has passed.
    let events = Events::of(|| refuse(&log, start, 2, 1));
    assert_eq!(count(&events, "INFO "), 1);
    assert_eq!(events.len(), 1);
    let later = |seconds| start + Duration::from_secs(seconds);
    assert_eq!(Events::of(|| log.tick(later(59))), [""; 0]);
    let events = Events::of(|| log.tick(later(60)));
    assert_eq!(count(&events, "WARN "), 1);
    assert_eq!(count(&events, " lines=479 "), 1, "{events:?}");
    assert_eq!(Events::of(|| log.tick(later(600))), [""; 0]);
}

#[test]
fn what_was_left_out_is_told_when_the_server_stops() {
    let start = Instant::now();
    let log = Log::new(start);
    Events::of(|| refuse(&log, start, 1, 30));
    let events = Events::of(|| log.tell_rest());
    assert_eq!(count(&events, " lines=9 "), 1, "{events:?}");
    assert_eq!(Events::of(|| log.tell_rest()), [""; 0]);
}

#[test]
fn a_refusal_has_its_facts() {
    let start = Instant::now();
    let log = Log::new(start);
    let events = Events::of(|| {
        let (from, to) = ("ann@a.test", "bob@b.test");
        let reply = replies::NO_SUCH_DOMAIN;
        let refused = Refused {
            command: Some("RCPT"),
            from: Some(&from),
            to: Some(&to),
            ..Refused::new(What::Rcpt, &reply)
        };
        log.refused(start, who(1), &refused);
        log.crowded(
            start,
            Peer::Ip(([192, 0, 2, 2], 1024).into()),
            &replies::TOO_MANY_CONNECTIONS,
        );
    });
    assert_eq!(
        events,
        [
            "INFO message=refused peer=192.0.2.1:1024 helo=a.test what=\"rcpt\" command=\"RCPT\" \
             from=ann@a.test to=bob@b.test reply=550 5.7.1 mail for this domain is not accepted here",
            "INFO message=refused peer=192.0.2.2:1024 what=\"connect\" \
             reply=421 4.3.2 Too many connections, try again later",
        ]
    );
}
