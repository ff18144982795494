//! What becomes of a message that was kept.

use std::sync::atomic::Ordering;

use futures_util::StreamExt;
use prixfixe_delivery::Which;

use super::*;

/// A message of the stream's.
async fn last(context: &Context, stream: &str) -> jetstream::message::StreamMessage {
    let stream = context.get_stream(stream).await.expect("the stream");
    let last = stream.cached_info().state.last_sequence;
    stream.get_raw_message(last).await.expect("a message")
}

#[tokio::test]
async fn a_message_comes_out_as_it_went_in_and_the_stream_forgets_it() {
    let Some(setting) = Setting::new(options()).await else {
        return;
    };
    let to = ["bob@example.org", "eve@example.net"];
    let mut original = message(&to, content("one"));
    let digest = original.digest().await.unwrap().to_string();
    let received = original.received_header();
    let part = Part {
        target: "relay".to_owned(),
        recipients: original.envelope().recipients().to_vec(),
    };
    setting.fleet.keep(original, &[part]).await.unwrap();
    assert_eq!(count(&setting.context, "PRIXFIXE").await, 1);

    setting.deliver().await;
    until("a delivery", async || setting.target.has(&digest)).await;
    let taken = setting.target.all();
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].recipients, to);
    assert_eq!(taken[0].from, "ann@example.com");
    assert_eq!(taken[0].helo.as_deref(), Some("mail.example.com"));
    assert_eq!(taken[0].user.as_deref(), Some("ann"));
    let expected = [&received[..], content("one").as_bytes()].concat();
    assert_eq!(
        String::from_utf8_lossy(&taken[0].text),
        String::from_utf8_lossy(&expected)
    );
    until("an empty stream", async || {
        count(&setting.context, "PRIXFIXE").await == 0
    })
    .await;
}

#[tokio::test]
async fn a_message_for_two_targets_is_there_for_each_and_a_repeat_for_none() {
    let Some(setting) = Setting::new(options()).await else {
        return;
    };
    for _ in 0..2 {
        let message = message(&["bob@example.org", "eve@example.net"], content("one"));
        let recipients = message.envelope().recipients().to_vec();
        let part = |target: &str, recipients: &[_]| Part {
            target: target.to_owned(),
            recipients: recipients.to_vec(),
        };
        let parts = [part("relay", &recipients), part("other", &recipients[..1])];
        setting.fleet.keep(message, &parts).await.unwrap();
        assert_eq!(count(&setting.context, "PRIXFIXE").await, 2);
    }
    setting.deliver().await;
    until("the rest is the other's", async || {
        count(&setting.context, "PRIXFIXE").await == 1
    })
    .await;
    assert_eq!(
        setting.target.all().len(),
        1,
        "nobody delivers for the other"
    );
    let other = Arc::new(Collector::default());
    setting
        .fleet
        .deliver("other", other.clone(), 1)
        .await
        .unwrap();
    until("a delivery", async || other.digests() == 1).await;
    assert_eq!(other.all()[0].recipients, ["bob@example.org"]);
}

#[tokio::test]
async fn only_who_was_put_off_is_tried_again_and_who_was_refused_has_failed() {
    let Some(setting) = Setting::new(options()).await else {
        return;
    };
    setting.deliver().await;
    let to = ["bob@example.org", "busy@example.org", "nobody@example.org"];
    keep(&setting.fleet, "relay", &to, content("one"))
        .await
        .unwrap();
    until("three attempts", async || {
        setting.target.attempts.load(Ordering::SeqCst) >= 3
    })
    .await;
    assert_eq!(setting.target.all().len(), 1);
    assert_eq!(setting.target.all()[0].recipients, ["bob@example.org"]);
    until("one has failed", async || {
        count(&setting.context, "PRIXFIXE_FAILED").await == 1
    })
    .await;
    let failed = last(&setting.context, "PRIXFIXE_FAILED").await;
    let subject = failed.subject.as_str();
    assert!(subject.starts_with("PRIXFIXE_FAILED.relay."), "{subject}");
    let cause = failed.headers.get("Prixfixe-Cause").unwrap().as_str();
    assert!(
        cause.contains("450 4.2.1") || cause.contains("550 5.1.1"),
        "{cause}"
    );
    let text = String::from_utf8_lossy(&failed.payload);
    let (envelope, _) = text.split_once("Message-ID:").unwrap();
    let envelope: serde_json::Value = serde_json::from_str(envelope).unwrap();
    assert_eq!(envelope["recipients"][2]["to"], "nobody@example.org");
    assert_eq!(envelope["targets"][0]["recipients"], serde_json::json!([2]));
    assert!(text.ends_with(&content("one")), "{text}");
    assert_eq!(setting.fleet.status().given_up["relay"], 1);
}

#[tokio::test]
async fn what_waits_is_delivered_when_its_target_is_up_again() {
    let Some(setting) = Setting::new(options()).await else {
        return;
    };
    setting.target.is_down.store(true, Ordering::SeqCst);
    setting.deliver().await;
    keep(
        &setting.fleet,
        "relay",
        &["bob@example.org"],
        content("one"),
    )
    .await
    .unwrap();
    until("two attempts", async || {
        setting.target.attempts.load(Ordering::SeqCst) >= 2
    })
    .await;
    setting.target.is_down.store(false, Ordering::SeqCst);
    until("a delivery", async || setting.target.digests() == 1).await;
    until("an empty stream", async || {
        count(&setting.context, "PRIXFIXE").await == 0
    })
    .await;
    assert_eq!(setting.target.all().len(), 1);
}

#[tokio::test]
async fn what_is_too_old_is_given_up() {
    let mut options = options();
    options.give_up_after = Duration::from_secs(0);
    let Some(setting) = Setting::new(options).await else {
        return;
    };
    setting.target.is_down.store(true, Ordering::SeqCst);
    setting.deliver().await;
    keep(
        &setting.fleet,
        "relay",
        &["bob@example.org"],
        content("one"),
    )
    .await
    .unwrap();
    until("it has failed", async || {
        count(&setting.context, "PRIXFIXE_FAILED").await == 1
    })
    .await;
    until("an empty stream", async || {
        count(&setting.context, "PRIXFIXE").await == 0
    })
    .await;
}

#[tokio::test]
async fn a_large_message_goes_by_the_bucket_which_is_empty_afterwards() {
    let Some(setting) = Setting::new(options()).await else {
        return;
    };
    let large = content("large") + &"0123456789\r\n".repeat(200_000);
    // The repeat leaves no object behind.
    for _ in 0..2 {
        keep(&setting.fleet, "relay", &["bob@example.org"], large.clone())
            .await
            .unwrap();
    }
    assert!(count(&setting.context, "OBJ_PRIXFIXE").await > 10);
    setting.deliver().await;
    until("a delivery", async || setting.target.digests() == 1).await;
    let taken = setting.target.all();
    assert!(taken[0].text.ends_with(large.as_bytes()));
    // Of an object that was removed a description stays.
    until("an empty bucket", async || {
        count(&setting.context, "OBJ_PRIXFIXE").await <= 2
    })
    .await;
}

#[tokio::test]
async fn a_server_that_stops_gives_back_what_it_has_not_delivered() {
    let mut long = options();
    // Longer than this test: only what is given back comes again.
    long.ack_wait = Duration::from_secs(3600);
    let Some(setting) = Setting::new(long.clone()).await else {
        return;
    };
    setting.target.stalls.send_replace(true);
    setting.deliver().await;
    keep(
        &setting.fleet,
        "relay",
        &["bob@example.org"],
        content("one"),
    )
    .await
    .unwrap();
    until("an attempt", async || {
        setting.target.attempts.load(Ordering::SeqCst) == 1
    })
    .await;
    setting.fleet.stop(Duration::from_millis(100)).await;

    let other = open(&setting.server.address(), long).await;
    let target = Arc::new(Collector::default());
    other.deliver("relay", target.clone(), 4).await.unwrap();
    until("a delivery", async || target.digests() == 1).await;
    assert_eq!(setting.target.digests(), 0);
}

#[tokio::test]
async fn what_cannot_be_read_is_set_aside_and_stops_nobody() {
    let Some(setting) = Setting::new(options()).await else {
        return;
    };
    setting.deliver().await;
    let subject = "PRIXFIXE.due.relay.x";
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Nats-Msg-Id", "x");
    headers.insert("Prixfixe-Object", "one");
    let sent = setting
        .context
        .publish_with_headers(subject, headers, "what is this".into())
        .await;
    sent.unwrap().await.unwrap();
    keep(
        &setting.fleet,
        "relay",
        &["bob@example.org"],
        content("one"),
    )
    .await
    .unwrap();
    until("a delivery", async || setting.target.digests() == 1).await;
    until("it is set aside", async || {
        count(&setting.context, "PRIXFIXE_FAILED").await == 1
    })
    .await;
    let headers = last(&setting.context, "PRIXFIXE_FAILED").await.headers;
    let object = headers
        .get("Prixfixe-Object")
        .expect("where its content is");
    assert_eq!(object.as_str(), "one");
    assert!(headers.get("Nats-Msg-Id").is_none());
}

/// A part of a message for the relay: those of its recipients at these places.
async fn keep_some(fleet: &Fleet, to: &[&str], places: std::ops::Range<usize>) {
    let message = message(to, content("one"));
    let part = Part {
        target: "relay".to_owned(),
        recipients: message.envelope().recipients()[places].to_vec(),
    };
    fleet.keep(message, &[part]).await.expect("it is kept");
}

#[tokio::test]
async fn a_repeat_that_brings_a_target_more_recipients_waits_beside_the_first() {
    let mut options = options();
    options.retry = RetrySchedule::new([Duration::from_secs(600)]);
    let Some(setting) = Setting::new(options).await else {
        return;
    };
    setting.target.is_down.store(true, Ordering::SeqCst);
    setting.deliver().await;
    let to = ["bob@example.org", "eve@example.org"];
    // The routes of the first attempt led one of them elsewhere, where it failed.
    keep_some(&setting.fleet, &to, 0..1).await;
    keep_some(&setting.fleet, &to, 0..2).await;
    let all_wait = async || {
        let stream = setting.context.get_stream("PRIXFIXE").await.expect("it");
        let info = stream.info_builder().subjects("PRIXFIXE.>").fetch().await;
        let info = info.expect("its state");
        let subjects: Vec<String> = info.map(|it| it.expect("one").0).collect().await;
        let is_waiting = |it: &&String| it.starts_with("PRIXFIXE.wait.");
        subjects.iter().filter(is_waiting).count() == subjects.len()
    };
    until("two attempts", async || {
        setting.target.attempts.load(Ordering::SeqCst) == 2 && all_wait().await
    })
    .await;
    setting.target.is_down.store(false, Ordering::SeqCst);
    assert_eq!(setting.fleet.retry(Which::All).await, Ok(2));
    until("everybody has it", async || {
        let taken = setting.target.all();
        let has = |name: &&str| {
            taken
                .iter()
                .any(|it| it.recipients.iter().any(|it| it == name))
        };
        to.iter().all(has)
    })
    .await;
}

#[tokio::test]
async fn who_fails_in_a_repeat_is_kept_beside_who_failed_before() {
    let Some(setting) = Setting::new(options()).await else {
        return;
    };
    setting.deliver().await;
    let to = ["nobody@example.org", "nobody@example.net"];
    keep_some(&setting.fleet, &to, 0..1).await;
    keep_some(&setting.fleet, &to, 0..2).await;
    until("both are kept", async || {
        count(&setting.context, "PRIXFIXE_FAILED").await == 2
    })
    .await;
}

#[tokio::test]
async fn while_a_stream_does_not_take_a_deferral_nobody_gets_the_message_again() {
    let mut options = options();
    options.retry = RetrySchedule::new([Duration::from_secs(600)]);
    options.ack_wait = Duration::from_millis(600);
    let Some(setting) = Setting::new(options).await else {
        return;
    };
    let to = ["bob@example.org", "busy@example.org"];
    keep(&setting.fleet, "relay", &to, content("one"))
        .await
        .unwrap();
    let stream = setting.context.get_stream("PRIXFIXE").await.unwrap();
    let roomy = stream.cached_info().config.clone();
    let mut narrow = roomy.clone();
    narrow.max_message_size = 1;
    setting.context.update_stream(narrow).await.unwrap();

    let client = setting.context.client();
    let mut deferrals = client.subscribe("PRIXFIXE.wait.>").await.unwrap();
    client.flush().await.unwrap();
    setting.deliver().await;
    for _ in 0..3 {
        let deferral = tokio::time::timeout(PATIENCE, deferrals.next()).await;
        deferral.expect("a deferral").expect("a connection");
    }
    setting.context.update_stream(roomy).await.unwrap();
    until("it waits", async || {
        let mut stream = setting.context.get_stream("PRIXFIXE").await.unwrap();
        let state = stream.info().await.unwrap().state.clone();
        state.messages == 1 && state.first_sequence > 1
    })
    .await;
    assert_eq!(setting.target.attempts.load(Ordering::SeqCst), 1);
    assert_eq!(setting.target.all().len(), 1);
}
