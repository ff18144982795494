//! What the log says of attempts.

use std::sync::Mutex;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::*;

/// Keeps events of the log as `LEVEL name=value...`.
#[derive(Clone, Default)]
struct Events(Arc<Mutex<Vec<String>>>);

impl Subscriber for Events {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "prixfixe"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        struct Text(String);
        impl Visit for Text {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                self.0.push_str(&format!(" {field}={value:?}"));
            }
        }
        let mut text = Text(event.metadata().level().to_string());
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn each_recipient_of_an_attempt_has_a_line() {
    let events = Events::default();
    // Of all tests of this program: nobody else listens.
    tracing::subscriber::set_global_default(events.clone()).expect("the only one");
    let mut options = options();
    options.retry = RetrySchedule::new([Duration::from_secs(600)]);
    let Some(setting) = Setting::new(options).await else {
        return;
    };
    setting.deliver().await;
    let to = ["bob@example.org", "busy@example.org", "nobody@example.org"];
    let message = message(&to, content("one"));
    let id = format!(" id=\"{}\"", message.id());
    let part = Part {
        target: "relay".to_owned(),
        recipients: message.envelope().recipients().to_vec(),
    };
    setting.fleet.keep(message, &[part]).await.unwrap();
    until("it was tried", async || {
        count(&setting.context, "PRIXFIXE_FAILED").await == 1
    })
    .await;
    let events = events.0.lock().unwrap().clone();
    let lines: Vec<&String> = events.iter().filter(|it| it.contains(&id)).collect();
    for (level, to, reply, word) in [
        ("INFO", "bob", "", "delivered"),
        ("INFO", "busy", " reply=\"450 4.2.1 ", "deferred"),
        ("ERROR", "nobody", " reply=\"550 5.1.1 ", "given up"),
    ] {
        let to = format!(" recipient=\"{to}@example.org\" attempt=1");
        let line = lines.iter().find(|it| it.contains(&to)).expect(word);
        assert!(line.starts_with(level), "{line}");
        assert!(line.contains(" target=\"relay\""), "{line}");
        assert!(line.contains(&format!(" message={word}")), "{line}");
        assert!(line.contains(reply), "{line}");
    }
}
