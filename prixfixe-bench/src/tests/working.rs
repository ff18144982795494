//! Against servers that work: what arrives is what was asked for, and what is counted is what
//! arrived.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use prixfixe_test_support::SelfSigned;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::server::{Peer, Received, sink, start, start_raw, unix_sink};
use super::{Kind, Stage, failures, run};
use crate::Stepping;

#[test]
fn every_way_to_send_delivers_the_same_messages() {
    let ways = [
        "--pipelining off",
        "--pipelining envelope",
        "--pipelining full",
        "--bdat --pipelining off",
        "--bdat --pipelining full",
        "--bdat --chunk-size 100 --pipelining off",
        "--bdat --chunk-size 100 --pipelining full",
        "--per-connection 1 --pipelining full",
        "--per-connection 3 --pipelining off",
        "--threads 2",
    ];
    let mut contents = BTreeSet::new();
    for way in ways {
        let (address, received) = sink();
        let measured = run(&format!("{address} -n 20 -c 4 -r 3 -s 5000 {way}"));
        assert_eq!(
            (measured.accepted, measured.failed, measured.octets),
            (20, 0, 100_000),
            "{way}"
        );
        let received = received.lock().unwrap().clone();
        assert_eq!(received.messages.len(), 20, "{way}");
        assert_eq!(measured.connections, received.connections as u64, "{way}");
        assert!(
            received.messages.iter().all(|message| message.0 == 3),
            "{way}"
        );
        contents.extend(received.messages.into_iter().map(|message| message.1));
    }
    assert_eq!(contents.len(), 1, "one text, however it was sent");
}

#[test]
fn lmtp_over_tcp_and_unix_sockets_counts_the_reply_to_each_recipient() {
    let directory = tempfile::tempdir().unwrap();
    let ways = [
        "--pipelining off",
        "--pipelining full",
        "--bdat --chunk-size 100",
    ];
    for (number, way) in ways.into_iter().enumerate() {
        let path = directory.path().join(number.to_string());
        let ((tcp, over_tcp), over_unix) = (sink(), unix_sink(&path));
        let unix = format!("unix:{}", path.display());
        for (target, received) in [(tcp.to_string(), over_tcp), (unix, over_unix)] {
            let measured = run(&format!("{target} --lmtp -n 10 -c 2 {way}"));
            assert_eq!((measured.accepted, measured.failed), (10, 0), "{way}");
            assert_eq!(measured.recipients.accepted, 10);
            // The second of three has no room: the message has failed, and two have it.
            let measured = run(&format!("{target} --lmtp -n 10 -c 2 -r 3 {way}"));
            let refused = (Stage::Content, Kind::Reply(452), 10);
            assert_eq!(failures(&measured), [refused], "{way}");
            let recipients = measured.recipients;
            assert_eq!((recipients.accepted, recipients.refused), (20, 10), "{way}");
            assert_eq!(received.lock().unwrap().messages.len(), 20);
        }
    }
}

#[test]
fn smtp_is_spoken_over_unix_sockets_too_and_a_missing_one_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("smtp");
    let target = format!("unix:{}", path.display());
    let measured = run(&format!("{target} -n 1 -c 1"));
    assert_eq!(failures(&measured), [(Stage::Connect, Kind::Refused, 1)]);
    let received = unix_sink(&path);
    let measured = run(&format!("{target} -n 10 -c 2 -r 3"));
    assert_eq!((measured.accepted, measured.recipients.accepted), (10, 30));
    assert_eq!(received.lock().unwrap().messages.len(), 10);
}

#[test]
fn the_greeting_of_each_target_is_in_the_report() {
    let (address, _) = sink();
    let workload = super::plan(&format!("{address} -n 3 -c 3"))
        .prepare()
        .unwrap();
    let run = workload.run(&AtomicBool::new(false), |_| {}).unwrap();
    assert_eq!(run.targets[0].greeting.as_deref(), Some("220 mx"));
}

#[test]
fn stepped_load_finds_what_a_server_of_known_speed_holds() {
    // Two connections at 10 ms a message: 200 per second, and no more.
    let address = start(|peer| {
        peer.greet()?;
        loop {
            peer.take_envelope()?;
            while peer.line()? != "." {}
            std::thread::sleep(Duration::from_millis(10));
            peer.say("250 taken\r\n")?;
        }
    });
    let workload = super::plan(&format!("{address} -c 2")).prepare().unwrap();
    let stepping = Stepping {
        from: 150.0,
        step: Duration::from_millis(200),
        conditions: vec!["rate<1".parse().unwrap(), "max>10s".parse().unwrap()],
    };
    let mut told = 0;
    let stop = AtomicBool::new(false);
    let found = stepping.find(workload, &stop, |_| told += 1, |_| {});
    let (knee, run) = found.unwrap();
    assert_eq!(told, knee.steps.len());
    let held = knee.found.unwrap_or(0.0);
    assert!(held <= 210.0, "{knee:?}");
    assert!(knee.steps.iter().any(|step| step.broken.is_some()));
    assert_eq!(run.and_then(|run| run.settings.rate), knee.found);
}

#[test]
fn messages_a_connection_are_kept_to() {
    for (per_connection, connections) in [(1, 12), (3, 4), (5, 3)] {
        for pipelining in ["off", "envelope", "full"] {
            let (address, received) = sink();
            run(&format!(
                "{address} -n 12 -c 1 --per-connection {per_connection} --pipelining {pipelining}"
            ));
            assert_eq!(
                received.lock().unwrap().connections,
                connections,
                "{per_connection}, {pipelining}"
            );
        }
    }
}

#[test]
fn files_arrive_as_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let contents = [
        &b"Subject: a\r\n\r\n.\r\n..\r\n.x\r\n"[..],
        "Subject: \u{e9}\r\n\r\n8 bits\r\n".as_bytes(),
    ];
    for (i, content) in contents.iter().enumerate() {
        std::fs::write(directory.path().join(i.to_string()), content).unwrap();
    }
    let (address, received) = sink();
    let measured = run(&format!(
        "{address} -n 4 -c 1 --file {}",
        directory.path().display()
    ));
    assert_eq!(measured.failed, 0);
    let received: Vec<Vec<u8>> = received
        .lock()
        .unwrap()
        .messages
        .iter()
        .map(|message| message.1.clone())
        .collect();
    assert_eq!(
        received,
        [contents[0], contents[1], contents[0], contents[1]]
    );
}

#[test]
fn sizes_stay_within_their_range() {
    let (address, received) = sink();
    run(&format!("{address} -n 64 -c 2 -s 100-3000"));
    let received = received.lock().unwrap();
    let sizes: BTreeSet<usize> = received
        .messages
        .iter()
        .map(|message| message.1.len())
        .collect();
    assert_eq!((sizes.first(), sizes.last()), (Some(&100), Some(&3000)));
}

#[test]
fn several_targets_share_the_load() {
    let ((one, _), (two, _)) = (sink(), sink());
    let measured = run(&format!("{one} {two} -n 40 -c 4 --per-connection 1"));
    assert_eq!(measured.accepted, 40);
    assert!(
        measured.targets.iter().all(|target| target.0 > 0),
        "{:?}",
        measured.targets
    );
}

#[test]
fn a_server_that_closes_between_messages_fails_none() {
    let received = Mutex::new(Received::default());
    let address = start(move |peer| {
        peer.greet()?;
        peer.take_envelope()?;
        while peer.line()? != "." {}
        received.lock().unwrap().connections += 1;
        peer.say("250 taken\r\n421 4.3.2 that was enough\r\n")
    });
    // Open, so that the connection is idle when it is closed.
    let measured = run(&format!("{address} -n 5 -c 1 --rate 20 --pipelining off"));
    assert_eq!(
        (measured.accepted, measured.failed, measured.connections),
        (5, 0, 5)
    );
}

#[test]
fn open_loop_latency_counts_from_when_a_message_was_due() {
    // One connection that takes 20 ms a message, and a message due each millisecond: the twentieth
    // is due at 19 ms and done at 400 ms or later, though it took 20 ms from its MAIL.
    let address = start(|peer| {
        peer.greet()?;
        loop {
            peer.take_envelope()?;
            while peer.line()? != "." {}
            std::thread::sleep(Duration::from_millis(20));
            peer.say("250 taken\r\n")?;
        }
    });
    let measured = run(&format!("{address} -n 20 -c 1 --rate 1000"));
    assert_eq!((measured.accepted, measured.failed), (20, 0));
    let longest = Duration::from_nanos(measured.message.histogram().unwrap().max());
    assert!(longest >= Duration::from_millis(380), "{longest:?}");
    let median = Duration::from_nanos(
        measured
            .message
            .histogram()
            .unwrap()
            .value_at_percentile(50.0),
    );
    assert!(median >= Duration::from_millis(170), "{median:?}");
}

#[test]
fn a_duration_ends_the_run() {
    let (address, received) = sink();
    let before = Instant::now();
    let measured = run(&format!("{address} -d 200ms -c 2"));
    assert!(before.elapsed() >= Duration::from_millis(200));
    assert_eq!(
        measured.accepted,
        received.lock().unwrap().messages.len() as u64
    );
    assert!(measured.accepted > 0);
}

#[test]
fn connections_in_the_background_are_there_while_the_load_runs() {
    let (address, received) = sink();
    let measured = run(&format!(
        "{address} -d 400ms --rate 50 -c 1 --idle-connections 30 --slow-clients 2 --slow-rate 100000 --timeout 10s"
    ));
    assert_eq!(measured.failed, 0);
    assert_eq!(
        (
            measured.idle.opened,
            measured.idle.failed,
            measured.idle.lost
        ),
        (30, 0, 0)
    );
    assert_eq!(measured.slow.opened, 2);
    assert!(measured.slow.messages > 0);
    assert_eq!(
        received.lock().unwrap().connections as u64,
        32 + measured.connections
    );
}

#[test]
fn a_slow_client_is_slow() {
    let (address, received) = sink();
    run(&format!(
        "{address} -d 300ms --rate 10 -c 1 --slow-clients 1 --slow-rate 100 --timeout 10s"
    ));
    // In 0.3 s it has sent about 30 octets: EHLO, and not yet a message. All messages are the
    // load's.
    assert_eq!(received.lock().unwrap().messages.len(), 3);
}

/// A server with a certificate for `localhost`, and where a client finds the certificate.
fn tls_config() -> (Arc<ServerConfig>, tempfile::NamedTempFile) {
    let made = SelfSigned::new("localhost");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &made.certificate_pem).unwrap();
    (made.server_config(), file)
}

#[test]
fn tls_in_both_ways_verified_and_not() {
    let (config, ca) = tls_config();
    let received = Arc::new(Mutex::new(Received::default()));
    let secured = {
        let (config, received) = (Arc::clone(&config), Arc::clone(&received));
        move |stream| -> io::Result<_> {
            let connection =
                ServerConnection::new(Arc::clone(&config)).map_err(io::Error::other)?;
            Ok((
                Peer::new(StreamOwned::new(connection, stream)),
                Arc::clone(&received),
            ))
        }
    };
    let implicit = {
        let secured = secured.clone();
        start_raw(move |stream| {
            let (mut peer, received) = secured(stream)?;
            peer.say("220 mx\r\n")?;
            peer.serve(&received)
        })
    };
    let starttls = start_raw(move |stream| {
        let mut clear = Peer::new(stream);
        clear.say("220 mx\r\n")?;
        clear.line()?;
        clear.say("250-mx\r\n250-PIPELINING\r\n250 STARTTLS\r\n")?;
        clear.line()?;
        clear.say("220 go\r\n")?;
        let (mut peer, received) = secured(clear.into_stream())?;
        peer.serve(&received)
    });
    let verified = format!("--tls-ca {} --tls-name localhost", ca.path().display());
    for (way, trust) in [
        (format!("{implicit} --tls"), verified.as_str()),
        (format!("{implicit} --tls"), "--tls-insecure"),
        (format!("{starttls} --starttls"), verified.as_str()),
        (format!("{starttls} --starttls"), "--tls-insecure"),
    ] {
        let measured = run(&format!(
            "{way} {trust} -n 6 -c 2 -s 40000 --pipelining full --per-connection 3"
        ));
        assert_eq!(
            (measured.accepted, measured.failed, failures(&measured)),
            (6, 0, vec![]),
            "{way} {trust}"
        );
        assert_eq!(
            measured.tls.histogram().unwrap().len(),
            measured.connections
        );
    }
    assert_eq!(received.lock().unwrap().messages.len(), 24);
    assert!(
        received
            .lock()
            .unwrap()
            .messages
            .iter()
            .all(|message| message.1.len() == 40_000)
    );
    // The certificate is for another name.
    let wrong_name = format!("--tls-ca {} --tls-name example.com", ca.path().display());
    let measured = run(&format!("{implicit} -n 2 -c 1 --tls {wrong_name}"));
    assert_eq!(failures(&measured), [(Stage::Tls, Kind::Certificate, 2)]);
}
