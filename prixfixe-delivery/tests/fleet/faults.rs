//! Nodes that say something else than the truth, or do not do what they are asked for: a copy that
//! lags, a list that ends early, a deletion that fails.
//!
//! A node's own mappings of subjects lead questions to where they are answered here.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use async_nats::jetstream::{object_store, stream};
use futures_util::StreamExt;
use prixfixe_delivery::FleetError;
use serde_json::{Value, json};

use super::entries::{REMOVED, list, pieces};
use super::objects::large;
use super::*;

/// By which a node is known that has read its configuration again.
const MENDED: usize = 999_999;

/// A node that leads these subjects elsewhere.
async fn mapped(mappings: &[(&str, &str)], options: FleetOptions) -> Option<Setting> {
    let lines = mappings
        .iter()
        .map(|(from, to)| format!("{from:?}: {to:?}\n"));
    let lines: String = lines.collect();
    let server = NatsServer::start_with(&format!("mappings {{\n{lines}}}"))?;
    Setting::on(server, options).await
}

impl Setting {
    /// From now on the node does what it is asked for.
    async fn mend(&self) {
        // Without any mappings it would keep those that it had.
        let mended = format!("max_payload: {MENDED}\nmappings {{ unused: nobody }}");
        self.server.configure(&mended);
        self.server.reload();
        until("it has read that", async || {
            let client = async_nats::connect(self.server.address()).await;
            client.expect("a client").server_info().max_payload == MENDED
        })
        .await;
    }

    /// Answers what is asked below this subject, and counts it.
    async fn answer(
        &self,
        subject: &'static str,
        answer: impl Fn(Value) -> Value + Send + 'static,
    ) -> Arc<AtomicU64> {
        let client = self.context.client();
        let mut questions = client.subscribe(subject).await.expect("a subscription");
        client.flush().await.expect("a connection");
        let count = Arc::new(AtomicU64::new(0));
        let counting = Arc::clone(&count);
        tokio::spawn(async move {
            while let Some(question) = questions.next().await {
                let asked = serde_json::from_slice(&question.payload).unwrap_or_default();
                if let Some(reply) = question.reply {
                    let said = answer(asked).to_string();
                    client
                        .publish(reply, said.into())
                        .await
                        .expect("it is said");
                }
                counting.fetch_add(1, Ordering::SeqCst);
            }
        });
        count
    }
}

/// As a node says it that has just lost its leader.
fn unavailable(_: Value) -> Value {
    json!({"error": {
        "code": 503, "err_code": 10008,
        "description": "JetStream system temporarily unavailable",
    }})
}

/// The bucket may have been made by somebody else, in the way of the client library: then any copy
/// of it answers, and this one has nothing yet.
#[tokio::test]
async fn a_copy_that_lags_is_not_believed() {
    let Some(server) = NatsServer::start_with(
        r#"mappings { "$JS.API.DIRECT.GET.OBJ_PRIXFIXE.>": "$JS.API.DIRECT.GET.COPY.>" }"#,
    ) else {
        return;
    };
    let context = context(&server.address()).await;
    let copy = stream::Config {
        name: "COPY".to_owned(),
        subjects: vec!["copy".to_owned()],
        allow_direct: true,
        ..stream::Config::default()
    };
    context.create_stream(copy).await.expect("a stream");
    let bucket = object_store::Config {
        bucket: "PRIXFIXE".to_owned(),
        ..object_store::Config::default()
    };
    context.create_object_store(bucket).await.expect("a bucket");
    let setting = Setting::on(server, options()).await.expect("a spool");
    let client = context.client();
    let asked = client.subscribe("$JS.API.DIRECT.GET.COPY.>").await;
    let mut asked = asked.expect("a subscription");
    client.flush().await.expect("a connection");
    let kept = keep(&setting.fleet, "relay", &["bob@example.org"], large("one")).await;
    kept.expect("it is kept");
    setting.deliver().await;
    // When it is stored, and at four attempts: a content that the leader has not either is given up
    // at the third.
    for _ in 0..5 {
        let question = tokio::time::timeout(PATIENCE, asked.next()).await;
        question.expect("in time").expect("a question");
    }
    assert_eq!(setting.target.attempts.load(Ordering::SeqCst), 0);

    let bucket = context.get_stream("OBJ_PRIXFIXE").await.expect("it");
    let config = stream::Config {
        allow_direct: false,
        ..bucket.cached_info().config.clone()
    };
    context.update_stream(config).await.expect("it is changed");
    until("a delivery", async || {
        assert_eq!(count(&context, "PRIXFIXE_FAILED").await, 0);
        setting.target.digests() == 1
    })
    .await;
    let text = &setting.target.all()[0].text;
    assert!(text.ends_with(large("one").as_bytes()));
}

/// The sweep lists objects, and is told of none.
#[tokio::test]
async fn a_list_that_ends_early_costs_no_content() {
    let mut options = options();
    options.objects_age = Duration::from_secs(1);
    let mappings = [
        ("$JS.API.CONSUMER.CREATE.OBJ_PRIXFIXE", "short.any"),
        ("$JS.API.CONSUMER.CREATE.OBJ_PRIXFIXE.>", "short.>"),
    ];
    let Some(setting) = mapped(&mappings, options).await else {
        return;
    };
    let nothing = |asked: Value| {
        json!({
            "type": "io.nats.jetstream.api.v1.consumer_create_response",
            "stream_name": "OBJ_PRIXFIXE", "name": "short", "created": "2026-01-01T00:00:00Z",
            "config": asked["config"],
            "delivered": {"consumer_seq": 0, "stream_seq": 0},
            "ack_floor": {"consumer_seq": 0, "stream_seq": 0},
            "num_ack_pending": 0, "num_redelivered": 0, "num_waiting": 0, "num_pending": 0,
        })
    };
    let looks = setting.answer("short.>", nothing).await;
    let kept = keep(&setting.fleet, "gone", &["bob@example.org"], large("one")).await;
    kept.expect("it is kept");
    let (stored, since) = (pieces(&setting).await, Instant::now());
    assert!(stored > 10);
    until("it is old", async || {
        since.elapsed() > Duration::from_secs(2)
    })
    .await;
    let before = looks.load(Ordering::SeqCst);
    until("looks", async || looks.load(Ordering::SeqCst) > before + 4).await;
    assert_eq!(pieces(&setting).await, stored);

    setting.mend().await;
    let target = setting.target.clone();
    let delivering = setting.fleet.deliver("gone", target, 1).await;
    delivering.expect("a target");
    until("a delivery", async || setting.target.digests() == 1).await;
    let text = &setting.target.all()[0].text;
    assert!(text.ends_with(large("one").as_bytes()));
}

#[tokio::test]
async fn a_message_that_cannot_be_deleted_is_an_error_and_keeps_its_content() {
    let mut options = options();
    options.retry = RetrySchedule::new([Duration::from_secs(600)]);
    let mappings = [("$JS.API.STREAM.MSG.DELETE.PRIXFIXE", "delete")];
    let Some(setting) = mapped(&mappings, options).await else {
        return;
    };
    setting.answer("delete", unavailable).await;
    setting.deliver().await;
    let fleet = &setting.fleet;
    let kept = keep(fleet, "relay", &["busy@example.org"], large("one")).await;
    kept.expect("it is kept");
    until("it waits", async || {
        setting.target.attempts.load(Ordering::SeqCst) == 1 && list(fleet).await.len() == 1
    })
    .await;
    let stored = pieces(&setting).await;
    let id = list(fleet).await[0].id.clone();
    for done in [fleet.hold_one(&id).await, fleet.remove_one(&id).await] {
        assert!(matches!(done, Err(FleetError::Away(_))), "{done:?}");
    }
    // It may be there twice now.
    assert!(list(fleet).await.iter().all(|it| it.id == id));
    assert_eq!(pieces(&setting).await, stored);

    setting.mend().await;
    until("it is removed", async || {
        fleet.remove_one(&id).await.is_ok()
    })
    .await;
    assert!(list(fleet).await.is_empty());
    assert!(pieces(&setting).await <= REMOVED);
}

#[tokio::test]
async fn an_object_that_cannot_be_deleted_delays_nobody_and_is_swept_later() {
    let mut options = options();
    options.objects_age = Duration::from_secs(1);
    let mappings = [("$JS.API.STREAM.PURGE.OBJ_PRIXFIXE", "purge")];
    let Some(setting) = mapped(&mappings, options).await else {
        return;
    };
    let purges = setting.answer("purge", unavailable).await;
    let kept = keep(&setting.fleet, "relay", &["bob@example.org"], large("one")).await;
    kept.expect("it is kept");
    setting.deliver().await;
    until("a delivery", async || setting.target.digests() == 1).await;
    until("its object is to go", async || {
        purges.load(Ordering::SeqCst) > 0 && count(&setting.context, "PRIXFIXE").await == 0
    })
    .await;
    assert!(pieces(&setting).await > 10);
    assert_eq!(count(&setting.context, "PRIXFIXE_FAILED").await, 0);

    setting.mend().await;
    until("it is swept", async || pieces(&setting).await <= REMOVED).await;
    assert_eq!(setting.target.all().len(), 1);
}
