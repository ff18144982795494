//! Servers that are away, stand still, or are full.

use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Instant;

use super::*;

#[tokio::test]
async fn servers_that_are_away_at_start_are_a_target_that_is_down() {
    let Some(mut server) = NatsServer::start() else {
        return;
    };
    server.kill();
    let target = open(&server.address(), options()).await;
    let fault = target.health().fault().expect("a fault").to_string();
    assert!(fault.contains("deliver to default"), "{fault}");
    let outcomes = send(&target, &["bob@example.org"], content("one")).await;
    let failure = outcomes[0].as_ref().unwrap_err();
    assert!(
        failure.reply().to_string().starts_with("451 4.4.1 "),
        "{failure:?}"
    );

    server.run();
    let context = prepared(&server.address()).await;
    // Without any mail.
    let mut health = target.health();
    while health.fault().is_some() {
        health.changed().await;
    }
    send_until_taken(&target, "bob@example.org", "one").await;
    assert_eq!(messages(&context).await, 1);
}

#[tokio::test]
async fn a_full_stream_is_452_and_works_all_the_same() {
    let Some(server) = NatsServer::start() else {
        return;
    };
    let context = context(&server.address()).await;
    context.create_stream(small_stream(2)).await.unwrap();
    bucket(&context, 1).await;
    let target = open(&server.address(), options()).await;
    let codes = |outcomes: Vec<_>| outcomes.iter().map(code).collect::<Vec<_>>();
    for name in ["one", "two"] {
        assert_eq!(
            codes(send(&target, &["bob@example.org"], content(name)).await),
            [250]
        );
    }
    let outcomes = send(&target, &["bob@example.org"], content("three")).await;
    let failure = outcomes[0].as_ref().unwrap_err();
    assert!(
        failure.reply().to_string().starts_with("452 4.3.1 "),
        "{failure:?}"
    );
    assert!(target.health().fault().is_none());

    context
        .get_stream("MAIL")
        .await
        .unwrap()
        .purge()
        .await
        .unwrap();
    assert_eq!(
        codes(send(&target, &["bob@example.org"], content("three")).await),
        [250]
    );
}

#[tokio::test]
async fn a_server_that_stands_still_is_451_in_time_and_mail_flows_when_it_goes_on() {
    let Some(server) = NatsServer::start() else {
        return;
    };
    let context = prepared(&server.address()).await;
    let mut options = options();
    options.timeout = Duration::from_secs(1);
    let target = open(&server.address(), options).await;
    send_until_taken(&target, "bob@example.org", "before").await;

    server.freeze();
    let outcomes = send(&target, &["bob@example.org"], content("during")).await;
    let failure = outcomes[0].as_ref().unwrap_err();
    assert_eq!(
        failure.kind(),
        prixfixe_delivery::FailureKind::Unknown,
        "{failure:?}"
    );
    assert!(
        failure.reply().to_string().starts_with("451 4.4.1 "),
        "{failure:?}"
    );
    assert!(target.health().fault().is_some());

    server.thaw();
    send_until_taken(&target, "bob@example.org", "during").await;
    assert_eq!(messages(&context).await, 2, "the repeat is none");
}

/// Says one thing to whoever connects, and goes on saying another for as long as somebody reads.
fn rambling(first: &'static str, then: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let _ = stream.write_all(first.as_bytes());
                while !then.is_empty() && stream.write_all(then.as_bytes()).is_ok() {}
                let _ = std::io::copy(&mut stream, &mut std::io::sink());
            });
        }
    });
    format!("nats://{address}")
}

#[tokio::test]
async fn what_is_no_nats_server_is_a_target_that_is_down() {
    let mut options = options();
    options.timeout = Duration::from_secs(1);
    for address in [
        rambling("", ""),
        rambling("INFO {\"server_id\":", ""),
        rambling("INFO {}\r\n", ""),
        rambling("INFO what\r\n", ""),
        rambling("220 mx.example.net ESMTP\r\n", ""),
        rambling("", "INFO {}\r\n"),
        rambling("INFO ", "aaaaaaaaaaaaaaaa"),
        "nats://bus.invalid:4222".to_owned(),
    ] {
        let opened = tokio::time::timeout(
            prixfixe_test_support::PATIENCE,
            open(&address, options.clone()),
        );
        let target = opened.await.expect("in time");
        assert!(target.health().fault().is_some(), "{address}");
        let outcomes = send(&target, &["bob@example.org"], content("one")).await;
        let failure = outcomes[0].as_ref().unwrap_err();
        assert!(
            failure.reply().to_string().starts_with("451 4.4.1 "),
            "{failure:?}"
        );
    }
}

#[tokio::test]
async fn tls_that_ends_in_the_middle_is_a_target_that_is_down() {
    // The last is a record that announces more than comes.
    for after in [
        "",
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "\u{16}\u{3}\u{3}\0Phalf",
    ] {
        let info = "INFO {\"server_id\":\"x\",\"version\":\"2.15.0\",\"max_payload\":1024}\r\n";
        let address = rambling(format!("{info}{after}").leak(), "");
        let mut options = options();
        options.timeout = Duration::from_secs(1);
        options.tls = Some(prixfixe_delivery::TlsUse::Require);
        let target = open(&address, options).await;
        assert!(target.health().fault().is_some(), "{after:?}");
        let outcomes = send(&target, &["bob@example.org"], content("one")).await;
        assert_eq!(code(&outcomes[0]), 451, "{after:?}");
    }
}

/// How many, and whether a fault comes each second.
fn form() -> (usize, bool) {
    let set = std::env::var("PRIXFIXE_FAULTS_MESSAGES").ok();
    set.and_then(|it| it.parse().ok())
        .map_or((300, false), |number| (number, true))
}

/// So many are taken between two faults of the short form.
const STEP: usize = 75;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_kills_and_freezes_and_nothing_is_there_twice() {
    let Some(mut server) = NatsServer::start() else {
        return;
    };
    prepared(&server.address()).await;
    let mut options = options();
    options.timeout = Duration::from_secs(2);
    let target = Arc::new(open(&server.address(), options).await);
    let (left, work) = async_channel::unbounded();
    let (number, is_long) = form();
    (0..number).for_each(|index| left.try_send(index).unwrap());
    left.close();
    let start = Instant::now();
    let senders: Vec<_> = (0..8)
        .map(|_| {
            let (target, work) = (Arc::clone(&target), work.clone());
            tokio::spawn(async move {
                while let Ok(index) = work.recv().await {
                    send_until_taken(&*target, "bob@example.org", &index.to_string()).await;
                }
            })
        })
        .collect();
    let mut faults = 0;
    loop {
        let (fault, next) = (Instant::now(), work.len().saturating_sub(STEP));
        let is_early = || match is_long {
            true => fault.elapsed() < Duration::from_secs(1) && !work.is_empty(),
            false => work.len() > next,
        };
        while is_early() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if work.is_empty() {
            break;
        }
        match faults % 2 {
            0 => {
                server.kill();
                server.run();
            }
            _ => {
                server.freeze();
                tokio::time::sleep(Duration::from_millis(300)).await;
                server.thaw();
            }
        }
        faults += 1;
    }
    for sender in senders {
        sender.await.unwrap();
    }
    let (kills, freezes) = (usize::div_ceil(faults, 2), faults / 2);
    eprintln!(
        "nats: {number} messages in {} s, {kills} kills, {freezes} freezes",
        start.elapsed().as_secs()
    );
    let context = context(&server.address()).await;
    assert_eq!(messages(&context).await, number as u64);
}
