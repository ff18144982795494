//! Going on where another process has left off.

use std::time::Duration;

use prixfixe_delivery::{Delivered, EntryState, Spool};
use tempfile::tempdir;

use crate::scripted::*;

#[tokio::test(start_paused = true)]
async fn a_restart_takes_it_up_where_it_was() {
    let directory = tempdir().unwrap();
    let target = Scripted::new(|to, _| match to {
        "bob@example.org" => Ok(Delivered::default()),
        _ => Err(not_now()),
    });
    let spool = start(directory.path(), to(&[("hook", &target)]), options());
    let id = send(&spool, &["bob@example.org", "cyd@example.org"], "one").await;
    let held = send(&spool, &["cyd@example.org"], "two").await;
    target.wait_for_attempts(4).await;
    until(|| spool.status().waiting == 2).await;
    spool.hold(&held).unwrap();
    // As after kill -9: nothing is handed over.
    drop(spool);

    let again = Scripted::good();
    let spool = start(directory.path(), to(&[("hook", &again)]), options());
    until(|| spool.status().is_delivering).await;
    let entry = spool.show(&id).unwrap();
    assert_eq!(entry.state, EntryState::Waiting);
    assert!(entry.targets[0].attempts >= 2);
    assert_eq!(
        entry.targets[0].last_error.as_deref(),
        Some("452 4.2.2 Over quota")
    );
    assert_eq!(entry.targets[0].recipients, ["cyd@example.org"]);
    assert_eq!(spool.show(&held).unwrap().state, EntryState::Held);
    let got = again.wait_for(1).await;
    assert_eq!(got[0].to, ["cyd@example.org"]);
    // The attempts for the two messages came in any order.
    let attempts = target.attempts();
    let is_one = |it: &&Got| it.content.ends_with(b"one\r\n");
    let before = attempts.iter().find(is_one).unwrap();
    assert_eq!(got[0].digest, before.digest);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(again.attempts().len(), 1, "the other one is held");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_a_crash_cut_short_is_made_again() {
    let directory = tempdir().unwrap();
    let stuck = Scripted::stuck();
    let spool = start(directory.path(), to(&[("hook", &stuck)]), options());
    send(&spool, &["bob@example.org"], "one").await;
    until(|| spool.status().targets["hook"].under_way == 1).await;
    drop(spool);
    let good = Scripted::good();
    let _spool = start(directory.path(), to(&[("hook", &good)]), options());
    good.wait_for(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_successor_delivers_also_what_its_predecessor_still_takes() {
    let directory = tempdir().unwrap();
    let (old, new) = (Scripted::stuck(), Scripted::good());
    let first = start(directory.path(), to(&[("hook", &old)]), options());
    send(&first, &["bob@example.org"], "one").await;
    until(|| first.status().targets["hook"].under_way == 1).await;
    let second = start(directory.path(), to(&[("hook", &new)]), options());
    send(&second, &["bob@example.org"], "two").await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!second.status().is_delivering && new.attempts().is_empty());

    first.stop(Duration::from_secs(3)).await;
    assert!(!first.status().is_delivering);
    new.wait_for(2).await;
    send(&first, &["bob@example.org"], "three").await;
    new.wait_for(3).await;
    assert_eq!(old.got().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn attempts_under_way_have_time_when_it_stops() {
    let directory = tempdir().unwrap();
    let target = Scripted::stuck();
    let mut options = options();
    options.concurrency = 1;
    let spool = start(directory.path(), to(&[("hook", &target)]), options);
    send(&spool, &["bob@example.org"], "one").await;
    send(&spool, &["bob@example.org"], "two").await;
    until(|| spool.status().targets["hook"].under_way == 1).await;
    let stopping = tokio::spawn({
        let spool = spool.clone();
        async move { spool.stop(Duration::from_secs(60)).await }
    });
    tokio::time::sleep(Duration::from_secs(30)).await;
    target.let_through(2);
    stopping.await.unwrap();
    assert_eq!(target.got().len(), 1, "no new attempt begins");
}

#[tokio::test(start_paused = true)]
async fn a_stopped_spool_can_be_looked_into_and_a_running_one_is_left_alone() {
    let directory = tempdir().unwrap();
    let target = Scripted::new(|_, _| Err(not_now()));
    let spool = start(directory.path(), to(&[("hook", &target)]), options());
    let id = send(&spool, &["bob@example.org"], "one").await;
    until(|| spool.status().waiting == 1).await;
    let routes = || to(&[("hook", &target)]);
    assert!(
        Spool::inspect(directory.path(), routes(), options())
            .unwrap()
            .is_none()
    );
    spool.stop(Duration::ZERO).await;
    drop(spool);
    let stopped = Spool::inspect(directory.path(), routes(), options())
        .unwrap()
        .unwrap();
    assert_eq!(stopped.show(&id).unwrap().targets[0].attempts, 1);
    stopped.hold(&id).unwrap();
    drop(stopped);
    let spool = start(directory.path(), routes(), options());
    until(|| spool.status().held == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_target_that_has_it_and_is_gone_keeps_nothing_from_its_end() {
    let directory = tempdir().unwrap();
    let (hook, bus) = (Scripted::good(), Scripted::new(|_, _| Err(not_now())));
    let both = to(&[("hook", &hook), ("bus", &bus)]);
    let spool = start(directory.path(), both, options());
    let id = send(&spool, &["bob@example.org"], "one").await;
    hook.wait_for(1).await;
    until(|| spool.status().waiting == 1).await;
    drop(spool);

    let bus = Scripted::good();
    let spool = start(directory.path(), to(&[("bus", &bus)]), options());
    bus.wait_for(1).await;
    until(|| spool.status().ready == 0).await;
    assert!(spool.show(&id).is_err(), "{:?}", spool.status());
}

#[tokio::test(start_paused = true)]
async fn mail_for_an_unknown_target_counts_as_held_until_there_is_one() {
    let directory = tempdir().unwrap();
    let (hook, bus) = (Scripted::new(|_, _| Err(not_now())), Scripted::good());
    let spool = start(directory.path(), to(&[("hook", &hook)]), options());
    let id = send(&spool, &["bob@example.org"], "one").await;
    until(|| spool.status().waiting == 1).await;
    spool.set_routes(to(&[("bus", &bus)]));
    let status = spool.status();
    assert_eq!((status.held, status.waiting, status.ready), (1, 0, 0));
    assert_eq!(status.targets["hook"].held, 1);
    assert_eq!(spool.show(&id).unwrap().state, EntryState::Held);
    let hook = Scripted::good();
    spool.set_routes(to(&[("hook", &hook)]));
    hook.wait_for(1).await;
}

/// It has begun, and goes on on a thread of its own, when it is told to stop.
#[tokio::test]
async fn a_stop_during_a_take_over_leaves_no_lock() {
    let directory = tempdir().unwrap();
    let path = directory.path();
    let target = Scripted::dead();
    let routes = || to(&[("hook", &target)]);
    let spool = Spool::open_on(Quick, path, routes(), options(), false).unwrap();
    for number in 0..2000 {
        send(&spool, &["bob@example.org"], &number.to_string()).await;
    }
    drop(spool);
    for _ in 0..10 {
        let spool = start(path, routes(), options());
        tokio::task::yield_now().await;
        spool.stop(Duration::from_secs(1)).await;
        let found = Spool::inspect(path, routes(), options()).unwrap();
        assert_eq!(found.expect("nobody has it").status().ready, 2000);
    }
}
