//! The systemd units: valid, closed to what they do not need, and open to what the server does.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use prixfixe_test_support::{has, run};

use crate::client::Talk;
use crate::deploy::{self, ADMIN, SMTP, SMTPS, Site, put};
use crate::http;
use crate::process::Process;

/// The units with the binary of this build in place of the one that is installed.
fn units(folder: &Path) -> Vec<String> {
    let names = ["prixfixe.service", "prixfixe.socket", "prixfixe-tls.socket"];
    for name in names {
        let mut text = deploy::read(&format!("systemd/{name}"));
        if name.ends_with(".service") {
            let installed = "ExecStart=/usr/local/bin/prixfixe ";
            let built = format!("ExecStart={} ", env!("CARGO_BIN_EXE_prixfixe"));
            text = put(&text, installed, &built);
        }
        fs::write(folder.join(name), text).expect("a file");
    }
    names
        .iter()
        .map(|name| folder.join(name).display().to_string())
        .collect()
}

#[test]
fn the_units_are_valid_and_hardened() {
    if !has("systemd-analyze") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let files = units(folder.path());
    // The manual pages that they name are installed with them, and not here.
    let said = run(Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .args(&files));
    assert!(!said.contains("prixfixe"), "{said}");
    // 0 is closed, 10 is open; the threshold is in tenths.
    run(Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold=15", "--no-pager"])
        .arg(&files[0]));
}

#[test]
fn the_configuration_beside_the_units_is_one() {
    let output = Command::new(env!("CARGO_BIN_EXE_prixfixe"))
        .env_clear()
        .args(["check", "--config"])
        .arg(deploy::path("systemd/prixfixe.toml"))
        .output()
        .expect("the binary runs");
    assert!(output.status.success(), "{output:?}");
    let service = deploy::read("systemd/prixfixe.service");
    let configuration = deploy::read("systemd/prixfixe.toml");
    assert!(service.contains("StateDirectory=prixfixe\n"));
    assert!(configuration.contains("\"maildir:/var/lib/prixfixe/mail\""));
    assert!(configuration.contains("\nmax-connections-per-client = 20\n"));
}

/// The units are in one place, and what they say of documentation is what the guide installs.
#[test]
fn the_guides_have_no_units_of_their_own() {
    let guide =
        |name: &str| fs::read_to_string(deploy::root().join("docs").join(name)).expect(name);
    for name in ["LIFECYCLE.md", "DEPLOYMENT.md"] {
        assert!(!guide(name).contains("\nExecStart="), "{name}");
        assert!(!guide(name).contains("\nListenStream="), "{name}");
    }
    let install = guide("DEPLOYMENT.md");
    assert!(install.contains("install -D -m 0644 -t /usr/local/share/doc/prixfixe docs/*.md"));
    let service = deploy::read("systemd/prixfixe.service");
    let pages = service
        .lines()
        .find_map(|line| line.strip_prefix("Documentation="))
        .expect("pages");
    for page in pages.split(' ') {
        if let Some(manual) = page.strip_prefix("man:") {
            let name = manual.trim_end_matches("(1)");
            assert!(install.contains(&format!("man1/{name}.1")), "{name}");
            continue;
        }
        let name = page
            .strip_prefix("file:///usr/local/share/doc/prixfixe/")
            .expect("installed");
        assert!(!guide(name).is_empty());
    }
}

/// Names of system calls in a group of systemd's, groups in it resolved.
fn group(name: &str, calls: &mut BTreeSet<String>) {
    let listed = run(Command::new("systemd-analyze").args(["syscall-filter", "--no-pager", name]));
    for line in listed.lines().filter(|line| line.starts_with("    ")) {
        let word = line.trim();
        if word.starts_with('@') {
            group(word, calls);
        } else if !word.starts_with('#') {
            calls.insert(word.to_owned());
        }
    }
}

#[test]
fn the_filter_of_system_calls_lets_the_server_work() {
    if !has("systemd-analyze") || !has("strace") || !has("curl") {
        return;
    }
    let service = deploy::read("systemd/prixfixe.service");
    let (mut allowed, mut denied) = (BTreeSet::new(), BTreeSet::new());
    for line in service.lines() {
        match line.strip_prefix("SystemCallFilter=") {
            Some(groups) if groups.starts_with('~') => groups[1..]
                .split(' ')
                .for_each(|name| group(name, &mut denied)),
            Some(groups) => groups.split(' ').for_each(|name| group(name, &mut allowed)),
            None => {}
        }
    }
    // What systemd allows whatever a filter says.
    let mut always = BTreeSet::new();
    group("@default", &mut always);

    for (number, transport) in [(4, "tokio"), (5, "raw")] {
        for call in calls_made(Site::new(number), transport) {
            let is_allowed =
                always.contains(&call) || allowed.contains(&call) && !denied.contains(&call);
            // systemd makes it before the filter is there.
            assert!(
                is_allowed || call == "execve",
                "{transport}: {call} is not allowed"
            );
        }
    }
}

/// The system calls of a server that receives mail in clear and over TLS, is asked for metrics,
/// reloads and drains.
fn calls_made(site: Site, transport: &str) -> BTreeSet<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let at = site.server(0);
    let trace = folder.path().join("trace");
    let mut server = Process::start(
        Command::new("strace")
            .args(["-f", "-qq", "-o"])
            .arg(&trace)
            .args([env!("CARGO_BIN_EXE_prixfixe"), "serve", "--tls-self-signed"])
            .args(["--listen", &format!("{at}:{SMTP}")])
            .args(["--listen-tls", &format!("{at}:{SMTPS}")])
            .args(["--admin", &format!("{at}:{ADMIN}")])
            .args(["--transport", transport])
            .current_dir(folder.path()),
        folder.path().join("log"),
    );
    let clear = (at, SMTP).into();
    server.wait_until_it_listens(clear);
    let mut talk = Talk::connect([127, 0, 0, 1].into(), clear).expect("a connection");
    talk.reply(220).expect("a greeting");
    talk.ask("EHLO client.test\r\n", 250).expect("EHLO");
    talk.send(b"Subject: hello\r\n\r\n").expect("a message");
    let file = folder.path().join("message");
    fs::write(&file, "Subject: hello\r\n").expect("a file");
    run(Command::new("curl")
        .args(["--silent", "--show-error", "--insecure", "--max-time", "60"])
        .arg(format!("smtps://{at}:{SMTPS}/client.test"))
        .args([
            "--mail-from",
            "a@example.com",
            "--mail-rcpt",
            "b@example.com",
        ])
        .arg("--upload-file")
        .arg(&file));
    let (status, _) = http::get((at, ADMIN).into(), "/metrics").expect("metrics");
    assert_eq!(status, 200);

    // strace passes no signal on: the first process of its trace is the server.
    let traced = fs::read_to_string(&trace).expect("a trace");
    let server_process = traced.split(' ').next().expect("a process");
    for signal in ["-HUP", "-TERM"] {
        run(Command::new("kill").args([signal, server_process]));
        prixfixe_test_support::wait_until("a signal that was taken", || {
            let name = signal.replace('-', "SIG");
            fs::read_to_string(&trace).is_ok_and(|it| it.contains(&format!("--- {name} ")))
        });
    }
    assert!(server.wait().success());
    drop(talk);

    let traced = fs::read_to_string(&trace).expect("a trace");
    let calls: BTreeSet<_> = traced
        .lines()
        .filter_map(|line| line.split_once(' ')?.1.trim().split_once('('))
        .map(|(name, _)| name.to_owned())
        .filter(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
        .collect();
    assert!(
        calls.contains("fsync") && calls.contains("accept4"),
        "{calls:?}"
    );
    calls
}
