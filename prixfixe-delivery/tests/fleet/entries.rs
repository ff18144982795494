//! What a person sees of single messages, and does with them.

use prixfixe_delivery::{EntryState, FleetDelivery, FleetEntry, FleetError, FleetId, Routes};

use super::handler::Anew;
use super::*;

pub(crate) async fn list(fleet: &Fleet) -> Vec<FleetEntry> {
    let mut all = Vec::new();
    let list = fleet.list(|entry| {
        all.push(entry);
        Ok(())
    });
    list.await.expect("a list");
    all
}

async fn export(fleet: &Fleet, id: &FleetId) -> Result<String, FleetError> {
    let mut text = Vec::new();
    let export = fleet.export(id, |piece| {
        text.extend_from_slice(piece);
        Ok(())
    });
    export.await?;
    Ok(String::from_utf8(text).unwrap())
}

/// Pieces of objects, and their descriptions.
pub(crate) async fn pieces(setting: &Setting) -> u64 {
    count(&setting.context, "OBJ_PRIXFIXE").await
}

/// A description stays of an object that was removed.
pub(crate) const REMOVED: u64 = 2;

async fn setting() -> Option<Setting> {
    let mut options = options();
    options.retry = RetrySchedule::new([Duration::from_secs(600)]);
    let setting = Setting::new(options).await?;
    setting.deliver().await;
    Some(setting)
}

fn large() -> String {
    content("large") + &"0123456789\r\n".repeat(200_000)
}

#[tokio::test]
async fn a_large_message_is_seen_exported_and_removed_with_its_content() {
    let Some(setting) = setting().await else {
        return;
    };
    let fleet = &setting.fleet;
    let kept = keep(fleet, "relay", &["busy@example.org"], large()).await;
    kept.unwrap();
    until("it waits", async || {
        list(fleet)
            .await
            .iter()
            .any(|it| it.state == EntryState::Waiting)
    })
    .await;
    let [entry] = &*list(fleet).await else {
        panic!("one message");
    };
    assert_eq!(entry.id, FleetId::Queued(entry.digest.clone()));
    assert_eq!(entry.size, large().len() as u64);
    assert_eq!((&*entry.from, &*entry.target), ("ann@example.com", "relay"));
    assert_eq!(entry.recipients, ["busy@example.org"]);
    assert_eq!(entry.attempts, 1);
    assert!(
        entry
            .next_attempt
            .is_some_and(|it| it > entry.received + 500_000)
    );
    assert!(entry.last_error.as_deref().unwrap().contains("450 4.2.1"));
    let text = export(fleet, &entry.id).await.unwrap();
    assert!(text.starts_with("Return-Path: <ann@example.com>\r\n"));
    assert!(text.ends_with(&large()));
    assert!(pieces(&setting).await > 10);
    fleet.remove_one(&entry.id).await.unwrap();
    assert!(list(fleet).await.is_empty());
    assert!(pieces(&setting).await <= REMOVED);
    let again = fleet.remove_one(&entry.id).await;
    assert!(matches!(again, Err(FleetError::Unknown(_))), "{again:?}");
}

/// One content, which those that wait and those that have failed both need.
#[tokio::test]
async fn a_content_stays_until_nobody_needs_it() {
    let Some(setting) = setting().await else {
        return;
    };
    let fleet = &setting.fleet;
    let to = ["busy@example.org", "nobody@example.org"];
    keep(fleet, "relay", &to, large()).await.unwrap();
    until("one waits and one has failed", async || {
        let states = list(fleet).await.into_iter().map(|it| it.state);
        states.collect::<Vec<_>>() == [EntryState::Waiting, EntryState::Failed]
    })
    .await;
    let [waiting, failed] = &*list(fleet).await else {
        panic!("two of them");
    };
    assert_eq!(failed.recipients, ["nobody@example.org"]);
    assert_eq!(failed.id.to_string(), format!("{}.relay", failed.digest));
    assert!(failed.last_error.as_deref().unwrap().contains("550 5.1.1"));
    let held = fleet.hold_one(&failed.id).await;
    assert!(matches!(held, Err(FleetError::IsFailed(_))), "{held:?}");
    // It is tried anew, and fails anew: what waits keeps its content.
    let attempts = setting
        .target
        .attempts
        .load(std::sync::atomic::Ordering::SeqCst);
    fleet.retry_one(&failed.id).await.unwrap();
    until("it has failed again", async || {
        let made = setting
            .target
            .attempts
            .load(std::sync::atomic::Ordering::SeqCst);
        made > attempts && list(fleet).await.len() == 2
    })
    .await;
    fleet.remove_one(&waiting.id).await.unwrap();
    let text = export(fleet, &failed.id).await.unwrap();
    assert!(text.ends_with(&large()));
    fleet.remove_one(&failed.id).await.unwrap();
    assert!(list(fleet).await.is_empty());
    assert!(pieces(&setting).await <= REMOVED);
}

#[tokio::test]
async fn a_message_is_held_and_released_by_its_digest_and_that_twice_is_no_error() {
    let Some(setting) = setting().await else {
        return;
    };
    let fleet = &setting.fleet;
    for name in ["a", "b"] {
        let kept = keep(fleet, "relay", &["busy@example.org"], content(name)).await;
        kept.unwrap();
    }
    until("both wait", async || {
        let list = list(fleet).await;
        list.len() == 2 && list.iter().all(|it| it.state == EntryState::Waiting)
    })
    .await;
    let id = list(fleet).await[0].id.clone();
    for _ in 0..2 {
        fleet.hold_one(&id).await.unwrap();
        let states = list(fleet).await.into_iter().filter(|it| it.id == id);
        assert!(states.map(|it| it.state).eq([EntryState::Held]));
    }
    fleet.release_one(&id).await.unwrap();
    until("it was tried", async || {
        let list = list(fleet).await;
        let one = list.iter().find(|it| it.id == id);
        one.is_some_and(|it| it.attempts == 2 && it.state == EntryState::Waiting)
    })
    .await;
    let unknown = FleetId::Queued("0f".repeat(32));
    for done in [
        fleet.hold_one(&unknown).await,
        fleet.release_one(&unknown).await,
        fleet.retry_one(&unknown).await,
        fleet.remove_one(&unknown).await,
    ] {
        assert!(matches!(done, Err(FleetError::Unknown(_))), "{done:?}");
    }
}

/// Two parts of one message that failed at different times have one content.
#[tokio::test]
async fn the_delivery_of_a_failed_part_leaves_the_content_to_the_other() {
    let mut options = options();
    options.give_up_after = Duration::ZERO;
    let Some(setting) = Setting::new(options).await else {
        return;
    };
    let is_down = |is_down| {
        let target = &setting.target.is_down;
        target.store(is_down, std::sync::atomic::Ordering::SeqCst);
    };
    is_down(true);
    setting.deliver().await;
    let fleet = &setting.fleet;
    let kept = keep(fleet, "relay", &["bob@example.org"], large()).await;
    kept.unwrap();
    until("it has failed", async || {
        count(&setting.context, "PRIXFIXE_FAILED").await == 1
            && count(&setting.context, "PRIXFIXE").await == 0
    })
    .await;
    let failed = setting.context.get_stream("PRIXFIXE_FAILED").await.unwrap();
    let first = failed.get_raw_message(1).await.unwrap();
    let id = list(fleet).await[0].id.clone();
    is_down(false);
    for delivered in 1..=2 {
        fleet.retry_one(&id).await.unwrap();
        until("it is delivered", async || {
            setting.target.all().len() == delivered
                && count(&setting.context, "PRIXFIXE").await == 0
        })
        .await;
        let mut headers = first.headers.clone();
        headers.insert("Nats-Msg-Id", format!("other-{delivered}"));
        let subject = first.subject.clone();
        let sent = setting
            .context
            .publish_with_headers(subject, headers, first.payload.clone());
        sent.await.unwrap().await.unwrap();
    }
    let taken = setting.target.all();
    assert!(taken.iter().all(|it| it.text.ends_with(large().as_bytes())));
    assert!(pieces(&setting).await > 10);
}

/// What is held while it is delivered is there twice, and the copy needs the content.
#[tokio::test]
async fn what_is_held_during_its_delivery_keeps_its_content() {
    let Some(setting) = setting().await else {
        return;
    };
    let fleet = &setting.fleet;
    setting.target.stalls.send_replace(true);
    let kept = keep(fleet, "relay", &["bob@example.org"], large()).await;
    kept.unwrap();
    until("an attempt", async || {
        let attempts = &setting.target.attempts;
        attempts.load(std::sync::atomic::Ordering::SeqCst) == 1
    })
    .await;
    let id = list(fleet).await[0].id.clone();
    fleet.hold_one(&id).await.unwrap();
    setting.target.stalls.send_replace(false);
    until("it is delivered", async || setting.target.all().len() == 1).await;
    fleet.release_one(&id).await.unwrap();
    until("the copy is delivered", async || {
        setting.target.all().len() == 2 && count(&setting.context, "PRIXFIXE").await == 0
    })
    .await;
    assert_eq!(count(&setting.context, "PRIXFIXE_FAILED").await, 0);
}

#[tokio::test]
async fn what_is_removed_during_its_delivery_is_delivered_whole() {
    let Some(setting) = setting().await else {
        return;
    };
    let fleet = &setting.fleet;
    setting.target.stalls.send_replace(true);
    let kept = keep(fleet, "relay", &["bob@example.org"], large()).await;
    kept.unwrap();
    until("an attempt", async || {
        let attempts = &setting.target.attempts;
        attempts.load(std::sync::atomic::Ordering::SeqCst) == 1
    })
    .await;
    let id = list(fleet).await[0].id.clone();
    fleet.remove_one(&id).await.unwrap();
    setting.target.stalls.send_replace(false);
    until("it is delivered", async || setting.target.all().len() == 1).await;
    assert!(setting.target.all()[0].text.ends_with(large().as_bytes()));
}

/// A report lies in the stream of the message that it is of, whatever its own digest says.
#[tokio::test]
async fn a_report_in_the_partition_of_another_digest_is_found() {
    let Some(server) = NatsServer::start() else {
        return;
    };
    let (target, reports) = (
        Arc::new(Collector::default()),
        Arc::new(Collector::default()),
    );
    reports
        .is_down
        .store(true, std::sync::atomic::Ordering::SeqCst);
    let routes = Routes::new("mx.example.com")
        .shared_target("relay", target)
        .shared_target("reports", reports)
        .route(["@example.com".parse().expect("a pattern")], "reports")
        .and_then(|it| it.rest("relay"))
        .expect("routes");
    let mut options = options();
    options.partitions = 3;
    options.retry = RetrySchedule::new([Duration::from_secs(600)]);
    options.bouncer = Arc::new(Anew::default());
    let fleet = open(&server.address(), options).await;
    let delivery = FleetDelivery::new(fleet, routes, 4).await.expect("it");
    let fleet = delivery.fleet();
    let context = context(&server.address()).await;
    let mut sent = 0;
    let mut found = None;
    until("a report in another partition", async || {
        sent += 1;
        let kept = keep(
            fleet,
            "relay",
            &["nobody@example.org"],
            content(&sent.to_string()),
        );
        kept.await.expect("it is kept");
        until("it is reported", async || {
            let list = list(fleet).await;
            list.len() == sent && list.iter().all(|it| it.target == "reports")
        })
        .await;
        for entry in list(fleet).await {
            if !has_its_own_partition(&context, &entry.digest).await {
                found = Some(entry.id);
            }
        }
        found.is_some()
    })
    .await;
    let id = found.expect("one");
    until("it was tried", async || {
        let mut is_waiting = false;
        let shown = fleet.show(&id, |entry| {
            is_waiting = entry.state == EntryState::Waiting;
            Ok(())
        });
        shown.await.is_ok() && is_waiting
    })
    .await;
    assert!(export(fleet, &id).await.unwrap().ends_with("Sorry\r\n"));
    fleet.hold_one(&id).await.unwrap();
    let states = list(fleet).await.into_iter().filter(|it| it.id == id);
    assert!(states.map(|it| it.state).eq([EntryState::Held]));
    fleet.remove_one(&id).await.unwrap();
    let gone = fleet.show(&id, |_| Ok(())).await;
    assert!(matches!(gone, Err(FleetError::Unknown(_))), "{gone:?}");
}

/// Whether a message is in the partition that its digest names.
async fn has_its_own_partition(context: &Context, digest: &str) -> bool {
    let number = u32::from_str_radix(&digest[..8], 16).unwrap() % 3;
    let stream = context.get_stream(format!("PRIXFIXE-{number}")).await;
    let stream = stream.unwrap();
    for state in ["due", "wait"] {
        let subject = format!("PRIXFIXE-{number}.{state}.reports.{digest}");
        for subject in [subject.clone(), format!("{subject}.>")] {
            if stream
                .get_last_raw_message_by_subject(&subject)
                .await
                .is_ok()
            {
                return true;
            }
        }
    }
    false
}
