//! What a client is told.

use prixfixe_server::Mail;

use super::*;

fn reply(result: Result<(), Failure>) -> String {
    result.unwrap_err().reply().to_string()
}

#[tokio::test]
async fn servers_that_are_away_are_451_at_once_and_mail_flows_when_they_are_there() {
    let Some(mut server) = NatsServer::start() else {
        return;
    };
    server.kill();
    let fleet = open(&server.address(), options()).await;
    assert!(fleet.health().fault().is_some());
    let message = message(&["bob@example.org"], content("one"));
    let answer = fleet.admit(Mail::new(message.client(), message.envelope()));
    assert_eq!(answer.unwrap_err().code(), 451);
    let kept = keep(&fleet, "relay", &["bob@example.org"], content("one")).await;
    assert!(reply(kept).starts_with("451 4.4.1 "));

    server.run();
    keep_until_taken(&fleet, "relay", "one").await;
    assert!(fleet.health().fault().is_none());
}

#[tokio::test]
async fn a_full_spool_is_452_until_there_is_room() {
    let mut options = options();
    options.max_size = 2000;
    let Some(setting) = Setting::new(options).await else {
        return;
    };
    let large = content("large") + &"0123456789\r\n".repeat(200);
    let kept = keep(&setting.fleet, "relay", &["bob@example.org"], large).await;
    assert!(reply(kept).starts_with("452 4.3.1 "));
    let mut number = 0;
    let full = loop {
        number += 1;
        let kept = keep(
            &setting.fleet,
            "relay",
            &["bob@example.org"],
            content(&number.to_string()),
        );
        if let Err(failure) = kept.await {
            break failure;
        }
        assert!(number < 100, "it is never full");
    };
    assert!(full.reply().to_string().starts_with("452 4.3.1 "));
    assert!(
        setting.fleet.health().fault().is_none(),
        "a full spool works"
    );

    setting.deliver().await;
    keep_until_taken(&setting.fleet, "relay", "after").await;
    until("a delivery", async || setting.target.digests() == number).await;
}

#[tokio::test]
async fn a_server_that_stands_still_is_451_in_time_and_the_repeat_is_one() {
    let mut options = options();
    options.connection.timeout = Duration::from_secs(1);
    let Some(setting) = Setting::new(options).await else {
        return;
    };
    keep_until_taken(&setting.fleet, "relay", "before").await;
    setting.server.freeze();
    let kept = keep(
        &setting.fleet,
        "relay",
        &["bob@example.org"],
        content("during"),
    )
    .await;
    assert!(reply(kept).starts_with("451 4.4.1 "));
    setting.server.thaw();
    keep_until_taken(&setting.fleet, "relay", "during").await;
    assert_eq!(
        count(&setting.context, "PRIXFIXE").await,
        2,
        "the repeat is none"
    );
}

#[tokio::test]
async fn a_part_that_would_lose_somebody_is_refused_before_any_is_kept() {
    let Some(setting) = Setting::new(options()).await else {
        return;
    };
    let to = ["bob@example.org", "eve@example.org"];
    let recipients = message(&to, content("one"))
        .envelope()
        .recipients()
        .to_vec();
    let reversed: Vec<_> = recipients.iter().rev().cloned().collect();
    let stranger = message(&["joe@example.org"], content("one"));
    let stranger = stranger.envelope().recipients().to_vec();
    for (target, some) in [
        ("relay", &reversed),
        ("relay", &stranger),
        ("a.b", &recipients),
        ("*", &recipients),
        ("", &recipients),
    ] {
        let part = |target: &str, recipients: &[_]| Part {
            target: target.to_owned(),
            recipients: recipients.to_vec(),
        };
        let parts = [part("relay", &recipients), part(target, some)];
        let message = message(&to, content("one"));
        let kept = setting.fleet.keep(message, &parts).await;
        assert!(reply(kept).starts_with("451 "), "{target}");
        assert_eq!(count(&setting.context, "PRIXFIXE").await, 0, "{target}");
    }
}
