//! What a server that died has left in the bucket.

use std::sync::atomic::Ordering;

use prixfixe_delivery::Which;

use super::*;

/// A content that goes by the bucket.
pub(crate) fn large(name: &str) -> String {
    content(name) + &"0123456789\r\n".repeat(200_000)
}

#[tokio::test]
async fn what_no_message_names_is_removed_and_nothing_else() {
    let mut options = options();
    options.retry = RetrySchedule::new([Duration::from_secs(600)]);
    options.objects_age = Duration::from_secs(1);
    let Some(setting) = Setting::new(options).await else {
        return;
    };
    setting.deliver().await;
    keep(
        &setting.fleet,
        "relay",
        &["nobody@example.org"],
        large("failed"),
    )
    .await
    .unwrap();
    until("it has failed", async || {
        count(&setting.context, "PRIXFIXE_FAILED").await == 1
    })
    .await;
    setting.target.is_down.store(true, Ordering::SeqCst);
    keep(
        &setting.fleet,
        "relay",
        &["bob@example.org"],
        large("waits"),
    )
    .await
    .unwrap();
    keep(&setting.fleet, "gone", &["bob@example.org"], large("due"))
        .await
        .unwrap();
    until("an attempt", async || {
        setting.target.attempts.load(Ordering::SeqCst) >= 2
    })
    .await;

    let store = setting.context.get_object_store("PRIXFIXE").await.unwrap();
    let left = format!("{}.relay.01", "0f".repeat(32));
    for name in ["notes.relay.01", &left] {
        store
            .put(name, &mut &b"Subject: x\r\n\r\n"[..])
            .await
            .unwrap();
    }
    // It died in the middle of one.
    let piece = "$O.PRIXFIXE.C.half";
    let sent = setting.context.publish(piece, "Subject: x".into()).await;
    sent.unwrap().await.unwrap();
    let bucket = setting.context.get_stream("OBJ_PRIXFIXE").await.unwrap();
    until("what is left over is removed", async || {
        let object = store.info(&left).await;
        object.is_ok_and(|it| it.deleted)
            && bucket.get_last_raw_message_by_subject(piece).await.is_err()
    })
    .await;
    // All of these are older.
    assert!(!store.info("notes.relay.01").await.unwrap().deleted);
    let failed = setting.context.get_stream("PRIXFIXE_FAILED").await.unwrap();
    let failed = failed.get_raw_message(1).await.unwrap();
    let object = failed.headers.get("Prixfixe-Object").unwrap();
    assert!(!store.info(object.as_str()).await.unwrap().deleted);
    setting.target.is_down.store(false, Ordering::SeqCst);
    until("it waits", async || {
        setting.fleet.retry(Which::All).await == Ok(1)
    })
    .await;
    let other = Arc::new(Collector::default());
    setting
        .fleet
        .deliver("gone", other.clone(), 1)
        .await
        .unwrap();
    until("deliveries", async || {
        setting.target.digests() == 1 && other.digests() == 1
    })
    .await;
    assert!(
        setting.target.all()[0]
            .text
            .ends_with(large("waits").as_bytes())
    );
    assert!(other.all()[0].text.ends_with(large("due").as_bytes()));
}

#[tokio::test]
async fn a_message_without_its_content_is_kept_with_what_failed() {
    let Some(setting) = Setting::new(options()).await else {
        return;
    };
    let fleet = &setting.fleet;
    let kept = keep(fleet, "relay", &["bob@example.org"], large("lost")).await;
    kept.unwrap();
    let bucket = setting.context.get_stream("OBJ_PRIXFIXE").await.unwrap();
    assert!(!bucket.cached_info().config.allow_direct);
    bucket.purge().await.unwrap();
    setting.deliver().await;
    until("it has failed", async || {
        count(&setting.context, "PRIXFIXE_FAILED").await == 1
    })
    .await;
    assert_eq!(setting.target.attempts.load(Ordering::SeqCst), 0);
}
