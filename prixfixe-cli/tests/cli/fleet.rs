//! The spool of a fleet on real NATS servers: several processes share it, an operator looks into
//! it, and what can be wrong with it is said.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use prixfixe_test_support::{NatsServer, unused_port, wait_until};
use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

use crate::harness::{Client, Serve, prixfixe};
use crate::spooled::{Spooled, files, get, queue};

/// The configuration that all servers of a fleet have.
pub(crate) fn fleet(transport: &str, spool: &str) -> Spooled {
    Spooled::new(transport, "", spool)
}

/// What the Maildir has, by the subject.
pub(crate) fn subjects(fleet: &Spooled) -> Vec<String> {
    let texts = fleet.kept().into_iter();
    let texts = texts.filter_map(|path| fs::read_to_string(path).ok());
    let subject = |text: String| {
        let line = text.lines().find_map(|it| it.strip_prefix("Subject: "));
        line.map(str::to_owned)
    };
    texts.filter_map(subject).collect()
}

/// The reply at the end; empty where the server goes meanwhile.
pub(crate) fn send(address: std::net::SocketAddr, recipients: &[&str], subject: &str) -> String {
    let Ok(stream) = std::net::TcpStream::connect(address) else {
        return String::new();
    };
    stream
        .set_read_timeout(Some(crate::harness::PATIENCE))
        .unwrap();
    let mut client = prixfixe_test_support::Client::new(stream);
    let mut lines = vec![
        "EHLO client.example".to_owned(),
        "MAIL FROM:<ann@example.com>".to_owned(),
    ];
    lines.extend(recipients.iter().map(|it| format!("RCPT TO:<{it}>")));
    lines.push("DATA".to_owned());
    lines.push(format!(
        "Date: now\r\nMessage-ID: <{subject}@example.com>\r\nSubject: {subject}\r\n\r\nHi\r\n."
    ));
    let _ = client.last_line();
    let mut reply = String::new();
    for line in lines {
        if client.send(format!("{line}\r\n")).is_err() {
            return String::new();
        }
        reply = client.last_line().unwrap_or_default();
        if !reply.starts_with(['2', '3']) {
            return reply;
        }
    }
    reply
}

fn url(nodes: &[NatsServer]) -> String {
    let hosts = nodes.iter().map(|it| format!("127.0.0.1:{}", it.port));
    format!("nats://{}", hosts.collect::<Vec<_>>().join(","))
}

/// One node, and a spool of one copy that tries again after an hour.
pub(crate) fn one(transport: &str) -> Option<(NatsServer, Spooled)> {
    let node = NatsServer::start()?;
    let spool = format!("url = '{}'\nreplicas = 1\nretry = ['1h']", node.address());
    Some((node, fleet(transport, &spool)))
}

/// Three nodes, each of which syncs what it writes.
fn cluster() -> Option<Vec<NatsServer>> {
    let routes = [(); 3].map(|()| unused_port(Ipv4Addr::LOCALHOST).unwrap());
    let all = routes
        .map(|port| format!("nats://127.0.0.1:{port}"))
        .join(", ");
    let nodes = routes.iter().enumerate().map(|(number, port)| {
        NatsServer::start_with(&format!(
            "server_name: n{number}\ncluster {{ name: fleet, listen: 127.0.0.1:{port}, routes: [{all}] }}"
        ))
    });
    nodes.collect()
}

/// Mail comes to three servers at once; one of them is killed, and then a node. What got `250`
/// arrives.
fn all_mail_arrives(transport: &str) {
    const MESSAGES: usize = 60;
    const CLIENTS: usize = 3;
    let Some(mut nodes) = cluster() else {
        return;
    };
    let fleet = fleet(
        transport,
        &format!("url = '{}'\nretry = ['1s']", url(&nodes)),
    );
    let servers: Vec<Serve> = (0..3).map(|_| fleet.start()).collect();
    let addresses: Vec<_> = servers.iter().map(Serve::address).collect();
    let servers = Mutex::new(servers);
    let (next, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    if number >= MESSAGES {
                        return;
                    }
                    let subject = format!("n{number}");
                    let mut server = number;
                    wait_until("it is taken", || {
                        server += 1;
                        let address = addresses[server % addresses.len()];
                        send(address, &["cyd@example.com"], &subject).starts_with("250")
                    });
                    taken.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        wait_until("a third is taken", || {
            taken.load(Ordering::SeqCst) >= MESSAGES / 3
        });
        drop(servers.lock().unwrap().remove(0));
        wait_until("half is taken", || {
            taken.load(Ordering::SeqCst) >= MESSAGES / 2
        });
        nodes[0].kill();
    });
    let expected: BTreeSet<String> = (0..MESSAGES).map(|number| format!("n{number}")).collect();
    wait_until("all arrive", || {
        subjects(&fleet).into_iter().collect::<BTreeSet<_>>() == expected
    });
    wait_until("nothing is left", || {
        let (status, stdout, _) = fleet.spool(&["list"]);
        status == 0 && stdout == "The spool is empty.\n"
    });
    for serve in servers.into_inner().unwrap() {
        serve.signal(Signal::TERM);
        let (status, log) = serve.wait();
        assert!(status.success(), "{log:#?}");
    }
}

#[test]
fn three_servers_share_a_spool_and_lose_nothing_on_tokio() {
    all_mail_arrives("tokio");
}

#[test]
fn three_servers_share_a_spool_and_lose_nothing_on_raw() {
    all_mail_arrives("raw");
}

#[test]
fn an_operator_sees_what_waits_and_acts_on_it() {
    let Some((_node, fleet)) = one("tokio") else {
        return;
    };
    // Nobody has made it, and looking does not.
    let (status, _, stderr) = fleet.spool(&["list"]);
    assert_eq!(status, 1);
    assert!(stderr.contains("there is no stream PRIXFIXE"), "{stderr}");

    let serve = fleet.start();
    assert_eq!(fleet.done(&["list"]), "The spool is empty.\n");
    let to = ["bob@example.org", "cyd@example.com"];
    assert!(send(serve.address(), &to, "first").starts_with("250"));
    wait_until("one target has it", || subjects(&fleet) == ["first"]);
    wait_until("the other one had an attempt", || fleet.waits(1));
    let found = &fleet.list()[0];
    let id = found["id"].as_str().unwrap();
    assert_eq!(found["digest"], *id);
    assert_eq!(found["from"], "ann@example.com");
    let delivery = &found["deliveries"][0];
    assert_eq!(delivery["target"], "next");
    assert_eq!(delivery["recipients"], json!(["bob@example.org"]));
    assert_eq!(delivery["attempts"], 1);
    assert!(delivery["next"].as_u64().unwrap() > 3000, "{delivery}");
    assert!(
        delivery["error"].as_str().unwrap().contains("refused"),
        "{delivery}"
    );

    let text = fleet.done(&["list"]);
    assert!(
        text.contains("    next: bob@example.org (waiting, 1 attempt, next in"),
        "{text}"
    );
    let text = fleet.done(&["show", id]);
    assert!(
        text.contains("target    next (waiting, 1 attempt"),
        "{text}"
    );
    let text = fleet.done(&["export", id]);
    assert!(
        text.starts_with("Return-Path: <ann@example.com>\r\n"),
        "{text}"
    );
    assert!(text.ends_with("Subject: first\r\n\r\nHi\r\n"), "{text}");
    assert_eq!(fleet.done(&["hold", id]), "1 message\n");
    assert_eq!(fleet.list()[0]["state"], "held");
    assert_eq!(fleet.done(&["retry", "--all"]), "0 messages\n");

    // It needs no server of ours.
    serve.signal(Signal::TERM);
    let (status, log) = serve.wait();
    assert!(status.success(), "{log:#?}");
    assert_eq!(fleet.done(&["release", id, "--json"]), "{\"messages\":1}\n");
    assert_eq!(fleet.list()[0]["state"], "ready");
    let other = "0f".repeat(32);
    for (arguments, words) in [
        (["hold", &*other], "there is no message"),
        (["show", "17-4128"], "not the id of a message"),
    ] {
        let (status, _, stderr) = fleet.spool(&arguments);
        assert_eq!(status, 1);
        assert!(stderr.contains(words), "{stderr}");
    }
    assert_eq!(fleet.done(&["remove", id]), "1 message\n");
    assert_eq!(fleet.done(&["list"]), "The spool is empty.\n");
}

#[test]
fn what_has_failed_is_seen_and_tried_anew_or_removed() {
    let Some((_node, fleet)) = one("tokio") else {
        return;
    };
    // It refuses all recipients for good.
    let hop = fleet.next_hop(&["--accept-domain", "example.net"]);
    let serve = fleet.start();
    for subject in ["first", "second"] {
        assert!(send(serve.address(), &["bob@example.org"], subject).starts_with("250"));
    }
    wait_until("both have failed", || {
        let list = fleet.list();
        list.len() == 2 && list.iter().all(|it| it["state"] == "failed")
    });
    let list = fleet.list();
    let id = |number: usize| list[number]["id"].as_str().unwrap();
    assert!(id(0).ends_with(".next"), "{}", id(0));
    assert!(
        list[0]["deliveries"][0]["error"]
            .as_str()
            .unwrap()
            .contains("5.7.1"),
        "{list:?}"
    );
    wait_until("the metric", || {
        let metrics = get(&serve, "/metrics");
        metrics.contains("smtp_spool_messages{state=\"failed\"} 2")
    });
    let (status, _, stderr) = fleet.spool(&["hold", id(0)]);
    assert_eq!(status, 1);
    assert!(stderr.contains("it can be retried or removed"), "{stderr}");
    assert_eq!(fleet.done(&["remove", id(0)]), "1 message\n");
    drop(hop);
    let hop = fleet.next_hop(&["--accept-domain", "example.org"]);
    assert_eq!(fleet.done(&["retry", id(1)]), "1 message\n");
    wait_until("it arrives", || hop.messages().len() == 1);
    wait_until("nothing is left", || fleet.list().is_empty());
}

#[test]
fn what_loses_mail_is_an_error_at_the_start() {
    let Some(node) = NatsServer::start() else {
        return;
    };
    // One node has no three replicas.
    let fleet = fleet("tokio", &format!("url = '{}'", node.address()));
    let (status, _, stderr) = fleet.run(&["serve"]);
    assert_eq!(status, 1);
    let last = stderr.lines().last().unwrap();
    assert!(last.contains("spool nats://127.0.0.1:"), "{stderr}");
    assert!(
        last.contains("the stream PRIXFIXE cannot be made"),
        "{stderr}"
    );
    let (status, stdout, _) = fleet.run(&["check"]);
    assert_eq!(status, 0);
    assert!(
        stdout.contains("all mail at first: the spool of the fleet at nats://"),
        "{stdout}"
    );
}

/// What the guide has for whoever wants to try it, pasted into a shell.
#[test]
fn the_guides_trial_works_as_it_stands_there() {
    let Some(node) = NatsServer::start() else {
        return;
    };
    let page = include_str!("../../../docs/how-to/fleet.md");
    let line = page.lines().find_map(|it| it.strip_prefix("$ printf "));
    let line = format!("printf {}", line.unwrap());
    let line = line.replace("nats://127.0.0.1", &node.address());
    let directory = TempDir::new().unwrap();
    let mut shell = std::process::Command::new("sh");
    let shell = shell.args(["-c", &line]).current_dir(directory.path());
    assert!(shell.status().unwrap().success());
    let mut serve = prixfixe(&["serve", "--listen", "127.0.0.1:0", "--config", "fleet.toml"]);
    let mut serve = Serve::spawn(serve.current_dir(directory.path()), TempDir::new().unwrap());
    // It is said what a 250 stands on.
    assert!(
        serve
            .seen("an acknowledgement stands on one copy")
            .is_some()
    );
    assert!(send(serve.address(), &["cyd@example.com"], "first").starts_with("250"));
    let mail = directory.path().join("mail/new");
    wait_until("it arrives", || files(&mail).len() == 1);
    serve.signal(Signal::TERM);
    serve.line("stopped");
}

#[test]
fn a_full_spool_is_said_at_mail_and_ends_when_there_is_room() {
    let Some(node) = NatsServer::start() else {
        return;
    };
    let spool = format!(
        "url = '{}'\nreplicas = 1\nretry = ['1h']\nmax-size = '1MiB'",
        node.address()
    );
    let fleet = fleet("tokio", &spool);
    let serve = fleet.start();
    let mut client = Client::greeted(&serve);
    client.ask("EHLO client.example", "250");
    client.ask("MAIL FROM:<ann@example.com> SIZE=2000000", "452 4.3.1");
    client.ask("MAIL FROM:<ann@example.com>", "250");
    client.ask("RCPT TO:<bob@example.org>", "250");
    client.ask("DATA", "354");
    client.send(&format!(
        "Subject: first\r\n\r\n{}.\r\n",
        "0123456789\r\n".repeat(40_000)
    ));
    assert!(client.reply().starts_with("250"));
    wait_until("it is seen", || {
        client.send("RSET\r\nMAIL FROM:<ann@example.com> SIZE=800000\r\n");
        assert!(client.reply().starts_with("250"));
        client.reply().starts_with("452 4.3.1")
    });
    wait_until("it waits for one target alone", || fleet.waits(1));
    let id = fleet.list()[0]["id"].as_str().unwrap().to_owned();
    fleet.done(&["remove", &id]);
    wait_until("there is room", || {
        // One that is refused often is closed.
        let mut client = Client::greeted(&serve);
        client.ask("EHLO client.example", "250");
        client.send("MAIL FROM:<ann@example.com> SIZE=800000\r\n");
        client.reply().starts_with("250")
    });
}

#[test]
fn partitions_share_the_mail() {
    let Some(node) = NatsServer::start() else {
        return;
    };
    let spool = format!(
        "url = '{}'\nreplicas = 1\npartitions = 3\nretry = ['1h']",
        node.address()
    );
    let fleet = fleet("tokio", &spool);
    let serve = fleet.start();
    for number in 0..12 {
        let reply = send(serve.address(), &["bob@example.org"], &format!("n{number}"));
        assert!(reply.starts_with("250"), "{reply}");
    }
    wait_until("all had an attempt", || fleet.waits(12));
    let metric = |name: &str| {
        let metrics = get(&serve, "/metrics");
        metrics.lines().any(|line| line == name)
    };
    wait_until("all are counted", || {
        metric("smtp_spool_messages{state=\"waiting\"} 12")
    });
    wait_until("of the target, too", || {
        metric("smtp_spool_target_messages{target=\"next\",state=\"waiting\"} 12")
    });
    assert!(metric("smtp_spool_shared 1"));
    let metrics = get(&serve, "/metrics");
    let age = "smtp_spool_target_oldest_age_seconds{target=\"next\"} ";
    let age = metrics.lines().find_map(|line| line.strip_prefix(age));
    assert!(age.unwrap().parse::<f64>().unwrap() > 0.0, "{metrics}");
    let next = queue(&serve, "next");
    assert_eq!(next["waiting"], 12, "{next}");
    assert!(
        next["next_seconds"].as_u64().is_some_and(|it| it > 1800),
        "{next}"
    );
    assert!(next["error"].is_string(), "{next}");
    assert_eq!(fleet.kept().len(), 12);
    assert_eq!(fleet.done(&["retry", "--all"]), "12 messages\n");
}
