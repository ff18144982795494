//! When what goes where.

use std::time::Duration;

use prixfixe_delivery::{Delivered, Failure, Routes};
use tempfile::tempdir;

use crate::scripted::*;

fn within_a_tenth(times: &[Duration], expected: &[u64]) {
    assert_eq!(times.len(), expected.len(), "{times:?}");
    for (time, expected) in times.iter().zip(expected) {
        let (time, expected) = (time.as_secs_f64(), *expected as f64);
        // Times over ten seconds are kept to the second, and a test looks at five of them per
        // second.
        assert!(
            (0.89 * expected..=1.11 * expected + 2.0).contains(&time),
            "{time} {expected}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_target_takes_is_delivered_once_and_is_over() {
    let directory = tempdir().unwrap();
    let target = Scripted::good();
    let spool = start(directory.path(), to(&[("hook", &target)]), options());
    send(&spool, &["bob@example.org", "cyd@example.org"], "one").await;
    let got = target.wait_for(1).await;
    assert_eq!(got[0].to, ["bob@example.org", "cyd@example.org"]);
    assert!(got[0].content.ends_with(b"one\r\n"));
    until(|| spool.status().ready == 0).await;
    assert_eq!(target.attempts().len(), 1);
    assert!(spool.list(None, 10).unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_failed_attempt_is_repeated_by_the_schedule_and_its_last_entry_repeats() {
    let directory = tempdir().unwrap();
    let target = Scripted::new(|_, attempts| match attempts {
        0..5 => Err(not_now()),
        _ => Ok(Delivered::default()),
    });
    let spool = start(directory.path(), to(&[("hook", &target)]), options());
    send(&spool, &["bob@example.org"], "one").await;
    target.wait_for(1).await;
    let attempts = target.attempts();
    let times = attempts.windows(2).map(|it| it[1].after - it[0].after);
    within_a_tenth(&times.collect::<Vec<_>>(), &[60, 300, 900, 900, 900]);
    assert!(attempts.iter().all(|it| it.digest == attempts[0].digest));
}

#[tokio::test(start_paused = true)]
async fn only_those_who_have_not_got_it_are_tried_again() {
    let directory = tempdir().unwrap();
    let target = Scripted::new(|to, attempts| match (to, attempts) {
        ("bob@example.org", 0) | ("cyd@example.org", 0 | 1) => Err(not_now()),
        _ => Ok(Delivered::default()),
    });
    let spool = start(directory.path(), to(&[("hook", &target)]), options());
    let all = ["ann@example.org", "bob@example.org", "cyd@example.org"];
    send(&spool, &all, "one").await;
    target.wait_for(3).await;
    let attempts: Vec<_> = target.attempts().into_iter().map(|it| it.to).collect();
    assert_eq!(attempts, [&all[..], &all[1..], &all[2..]]);
    let digests: Vec<_> = target.attempts().into_iter().map(|it| it.digest).collect();
    assert!(digests.iter().all(|it| *it == digests[0]));
}

#[tokio::test(start_paused = true)]
async fn of_two_targets_the_dead_one_delays_the_other_not_at_all() {
    let directory = tempdir().unwrap();
    let (good, dead) = (Scripted::good(), Scripted::dead());
    let routes = to(&[("dead", &dead), ("good", &good)]);
    let spool = start(directory.path(), routes, options());
    send(&spool, &["bob@example.org"], "one").await;
    let got = good.wait_for(1).await;
    assert!(got[0].after < Duration::from_secs(1));
    dead.wait_for_attempts(3).await;
    assert_eq!(good.attempts().len(), 1);
    let entry = spool.list(None, 1).unwrap().remove(0);
    let pending: Vec<_> = entry.targets.iter().map(|it| it.recipients.len()).collect();
    assert_eq!(pending, [1, 0]);
    assert_eq!(
        entry.targets[0].last_error.as_deref(),
        Some("connection refused")
    );
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_messages_of_a_dead_target_delay_nobody_elses() {
    let directory = tempdir().unwrap();
    let (good, dead) = (Scripted::good(), Scripted::dead());
    let routes = Routes::new("mx.example.org")
        .target("dead", dead.clone())
        .target("good", good.clone())
        .route(["@dead.example".parse().unwrap()], "dead")
        .unwrap()
        .rest("good")
        .unwrap();
    let spool = start(directory.path(), routes, options());
    for number in 0..10_000 {
        send(&spool, &["bob@dead.example"], &number.to_string()).await;
    }
    let start = tokio::time::Instant::now();
    send(&spool, &["bob@example.org"], "one").await;
    good.wait_for(1).await;
    assert!(start.elapsed() < Duration::from_secs(1));
    // It is tried by one message at a time, with pauses, and not by each of ten thousand.
    tokio::time::sleep(Duration::from_secs(600)).await;
    let attempts = dead.attempts().len();
    assert!((3..60).contains(&attempts), "{attempts}");
    assert_eq!(spool.status().targets["dead"].under_way, 0);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_comes_back_gets_all_that_has_waited() {
    let directory = tempdir().unwrap();
    let target = Scripted::new(|_, attempts| match attempts {
        0..20 => Err(Failure::unreachable("connection refused")),
        _ => Ok(Delivered::default()),
    });
    let spool = start(directory.path(), to(&[("hook", &target)]), options());
    for number in 0..200 {
        send(&spool, &["bob@example.org"], &number.to_string()).await;
    }
    let mut got: Vec<_> = target
        .wait_for(200)
        .await
        .into_iter()
        .map(|it| it.digest)
        .collect();
    got.sort();
    got.dedup();
    assert_eq!(got.len(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_destination_with_many_messages_does_not_delay_another_one() {
    let directory = tempdir().unwrap();
    let target = Scripted::stuck();
    let mut options = options();
    options.concurrency = 1;
    let spool = start(directory.path(), to(&[("relay", &target)]), options);
    for number in 0..100 {
        send(&spool, &["bob@busy.example"], &number.to_string()).await;
    }
    send(&spool, &["bob@quiet.example"], "one").await;
    target.let_through(3);
    target.wait_for(3).await;
    let quiet = |it: &Got| it.to == ["bob@quiet.example"];
    assert!(target.got().iter().any(quiet));
}

#[tokio::test(start_paused = true)]
async fn no_more_are_under_way_than_a_target_takes() {
    let directory = tempdir().unwrap();
    let target = Scripted::stuck();
    let mut options = options();
    options.concurrency_of.insert("relay".to_owned(), 3);
    let spool = start(directory.path(), to(&[("relay", &target)]), options);
    for number in 0..10 {
        send(&spool, &["bob@example.org"], &number.to_string()).await;
    }
    until(|| spool.status().targets["relay"].under_way == 3).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(spool.status().targets["relay"].under_way, 3);
    target.let_through(10);
    target.wait_for(10).await;
}

#[tokio::test(start_paused = true)]
async fn a_large_content_arrives_whole() {
    let directory = tempdir().unwrap();
    let target = Scripted::good();
    let spool = start(directory.path(), to(&[("hook", &target)]), options());
    let text = "0123456789abcde\n".repeat(80_000);
    send(&spool, &["bob@example.org"], &text).await;
    let got = target.wait_for(1).await;
    assert!(got[0].content.ends_with(format!("{text}\r\n").as_bytes()));
    until(|| spool.status().ready == 0).await;
    let left = std::fs::read_dir(directory.path().join("large"))
        .unwrap()
        .count();
    assert_eq!(left, 0);
}
