//! Three servers behind a balancer: one is killed and comes back, one is drained, all of it under
//! load.

use std::collections::HashMap;
use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;

use prixfixe_test_support::{has, run, wait_until};

use crate::balancer::{self, Balancer};
use crate::client::{Acknowledged, Load, Seen};
use crate::deploy::Site;
use crate::instance::Instance;

/// Who sends.
const CLIENTS: [Ipv4Addr; 4] = [
    Ipv4Addr::new(127, 0, 0, 11),
    Ipv4Addr::new(127, 0, 0, 12),
    Ipv4Addr::new(127, 0, 0, 13),
    Ipv4Addr::new(127, 0, 0, 14),
];

/// How many messages are acknowledged between two events.
const ENOUGH: usize = 100;

fn survives(balance: fn(Site) -> Balancer, site: Site, transports: [&'static str; 3]) {
    let mut fleet: Vec<_> = (0..3)
        .zip(transports)
        .map(|(number, transport)| Instance::start(site, number, transport))
        .collect();
    let balancer = balance(site);
    let load = Load::start(balancer.smtp, &CLIENTS);
    let seen = &load.seen;
    let more = |count: usize| {
        let before = seen.count();
        wait_until("mail", || seen.count() >= before + count);
    };
    let on = |server: &Instance| {
        let before = seen.count_of(&server.name());
        wait_until(&format!("mail on {}", server.name()), || {
            seen.count_of(&server.name()) > before + 3
        });
    };

    fleet.iter().for_each(on);
    assert!(faults(seen).is_empty(), "{:#?}", faults(seen));

    fleet[0].kill();
    more(ENOUGH);
    fleet[0].restart();
    on(&fleet[0]);
    // Each client has one connection: no more than those can have been on it.
    let killed = fleet[0].name();
    let lost = faults(seen);
    assert!(lost.len() <= 2 * CLIENTS.len(), "{lost:#?}");
    for (server, what) in &lost {
        let was_on_it = server.as_ref().is_none_or(|server| *server == killed);
        assert!(was_on_it, "on {server:?}: {what}");
    }

    assert!(fleet[1].drain().success());
    more(ENOUGH);
    let drained = fleet[1].name();
    assert!(load.is_running());
    let seen = load.stop();
    // The kernel resets who came between the last accept and the end of the socket. It had no
    // greeting, so nothing was begun.
    let all = faults(&seen);
    let of_the_drain = all.get(lost.len()..).unwrap_or_default();
    assert!(
        of_the_drain.len() <= 1 && of_the_drain.iter().all(|(server, _)| server.is_none()),
        "the drain cost somebody a connection: {of_the_drain:#?}"
    );
    // Who came at the last moment was sent away in place of a greeting, which would have the name.
    let sent_away = seen.sent_away.lock().expect("no panic under it");
    assert!(
        sent_away
            .iter()
            .all(|server| *server == drained || server.is_empty()),
        "{sent_away:?}"
    );

    let acknowledged = seen.acknowledged.lock().expect("no panic under it");
    nothing_is_missing(&fleet, &acknowledged);
    the_logs_have_the_clients(&fleet, &acknowledged);
    tls_passes_through(&balancer, &fleet);
}

fn faults(seen: &Seen) -> Vec<(Option<String>, String)> {
    let faults = seen.faults.lock().expect("no panic under it");
    let pairs = faults
        .iter()
        .map(|fault| (fault.server.clone(), fault.what.clone()));
    pairs.collect()
}

/// Each message lies in the Maildir of the server that acknowledged it, exactly as sent, and says
/// who sent it.
fn nothing_is_missing(fleet: &[Instance], acknowledged: &[Acknowledged]) {
    let mut stored = HashMap::new();
    for server in fleet {
        for mail in server.mail() {
            stored.insert((server.name(), mail.content), mail.trace);
        }
    }
    for message in acknowledged {
        let key = (message.server.clone(), message.content.clone());
        let Some(trace) = stored.get(&key) else {
            panic!(
                "acknowledged by {} and gone: {}",
                message.server,
                String::from_utf8_lossy(&message.content[..40])
            );
        };
        let from = format!("Received: from client.test ([{}])", message.client.ip());
        assert!(
            trace.iter().any(|line| line.starts_with(&from)),
            "{trace:?}"
        );
    }
}

/// The log names the clients, address and port, and nowhere the balancer.
fn the_logs_have_the_clients(fleet: &[Instance], acknowledged: &[Acknowledged]) {
    for server in fleet {
        let peers: Vec<String> = [server.events("message"), server.events("connection")]
            .concat()
            .iter()
            .map(|event| event["peer"].as_str().expect("a peer").to_owned())
            .collect();
        assert!(!peers.is_empty());
        for peer in &peers {
            let address = peer.split(':').next().expect("an address");
            assert!(
                CLIENTS.iter().any(|client| client.to_string() == address),
                "{peer} is no client"
            );
        }
        // The last lines of the one that was killed may be lost with it.
        for message in acknowledged.iter().filter(|it| it.server == server.name()) {
            let client = message.client.to_string();
            let is_there = peers.contains(&client) || server.name() == "smtp1.example";
            assert!(is_there, "{client} is not in the log of {}", server.name());
        }
    }
}

/// STARTTLS and TLS first, by IPv4 and IPv6, through the balancer to a server that is left.
fn tls_passes_through(balancer: &Balancer, fleet: &[Instance]) {
    if !has("curl") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("message");
    let stored = |subject: &str| -> Vec<_> {
        fleet
            .iter()
            .flat_map(Instance::mail)
            .filter(|mail| mail.content.starts_with(subject.as_bytes()))
            .collect()
    };
    let ways = [
        ("smtp", Some(balancer.smtp), "127.0.0.12", "[127.0.0.12]"),
        ("smtps", Some(balancer.smtps), "127.0.0.12", "[127.0.0.12]"),
        ("smtp", balancer.smtp_v6, "::1", "[IPv6:::1]"),
    ];
    for (scheme, address, client, literal) in ways {
        let Some(address) = address else { continue };
        let content = format!("Subject: by {scheme} from {client}\r\n\r\n");
        fs::write(&file, &content).expect("a file");
        run(Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "60"])
            .args(["--insecure", "--ssl-reqd", "--interface", client])
            .arg(format!("{scheme}://{address}/curl.test"))
            .args([
                "--mail-from",
                "a@example.com",
                "--mail-rcpt",
                "b@example.com",
            ])
            .arg("--upload-file")
            .arg(&file));
        let mail = stored(&content);
        assert_eq!(mail.len(), 1, "by {scheme} from {client}");
        let trace = mail[0].trace.join("\n");
        let from = format!("from curl.test ({literal})");
        assert!(trace.contains(&from), "{trace}");
        assert!(trace.contains(" with ESMTPS "), "{trace}");
    }
}

#[test]
fn behind_nginx_a_fleet_survives_a_kill_and_a_drain() {
    if has("nginx") {
        survives(balancer::nginx, Site::new(0), ["tokio", "raw", "auto"]);
    }
}

#[test]
fn behind_haproxy_a_fleet_survives_a_kill_and_a_drain() {
    if has("haproxy") {
        survives(balancer::haproxy, Site::new(1), ["raw", "tokio", "raw"]);
    }
}
