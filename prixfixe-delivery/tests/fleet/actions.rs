//! What a person does with mail that waits.

use std::sync::atomic::Ordering;

use prixfixe_delivery::Which;

use super::*;

/// So many messages that wait for ten minutes.
async fn waiting(messages: u64) -> Option<Setting> {
    let mut options = options();
    options.retry = RetrySchedule::new([Duration::from_secs(600)]);
    let setting = Setting::new(options).await?;
    setting.target.is_down.store(true, Ordering::SeqCst);
    setting.deliver().await;
    for number in 0..messages {
        keep_until_taken(&setting.fleet, "relay", &number.to_string()).await;
    }
    let subjects = async |filter: &str| {
        let stream = setting.context.get_stream("PRIXFIXE").await.expect("it");
        let info = stream.info_builder().subjects(filter).fetch().await;
        let info = info.expect("its state");
        futures_util::StreamExt::count(info).await as u64
    };
    until("all wait", async || {
        subjects("PRIXFIXE.wait.>").await == messages
    })
    .await;
    Some(setting)
}

#[tokio::test]
async fn what_waits_is_tried_when_somebody_says_so() {
    let Some(setting) = waiting(3).await else {
        return;
    };
    assert_eq!(setting.fleet.retry(Which::Target("other")).await, Ok(0));
    // Still in vain: it waits again, and is not tried for ever.
    assert_eq!(setting.fleet.retry(Which::All).await, Ok(3));
    until("attempts", async || {
        setting.target.attempts.load(Ordering::SeqCst) == 6
    })
    .await;
    setting.target.is_down.store(false, Ordering::SeqCst);
    until("all are delivered", async || {
        setting.fleet.retry(Which::Target("relay")).await.unwrap();
        setting.target.digests() == 3
    })
    .await;
}

#[tokio::test]
async fn what_is_held_stays_until_it_is_released_and_what_is_removed_is_gone() {
    let Some(setting) = waiting(2).await else {
        return;
    };
    assert_eq!(setting.fleet.hold(Which::All).await, Ok(2));
    setting.target.is_down.store(false, Ordering::SeqCst);
    assert_eq!(setting.fleet.retry(Which::All).await, Ok(0));
    assert_eq!(count(&setting.context, "PRIXFIXE").await, 2);

    let mut message = message(&["bob@example.org"], content("0"));
    let digest = message.digest().await.unwrap().to_string();
    assert_eq!(setting.fleet.release(Which::Digest(&digest)).await, Ok(1));
    until("one is delivered", async || setting.target.has(&digest)).await;

    assert_eq!(setting.fleet.remove(Which::All).await, Ok(1));
    until("an empty stream", async || {
        count(&setting.context, "PRIXFIXE").await == 0
    })
    .await;
    assert_eq!(setting.target.digests(), 1);
}
