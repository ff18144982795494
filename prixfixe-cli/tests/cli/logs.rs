//! The log of real sessions.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::harness::{Client, PATIENCE, Serve, listening_address, prixfixe};

/// What a server writes to its stderr, a file that systemd says is the journal's stream, or says
/// not.
fn written_to(name: impl FnOnce(&std::fs::Metadata) -> String, format: &str) -> String {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("stderr");
    let stderr = std::fs::File::create(&path).unwrap();
    let stream = name(&stderr.metadata().unwrap());
    let arguments = [
        "serve",
        "--listen=127.0.0.1:0",
        "--deliver=discard:",
        format,
    ];
    let mut child = prixfixe(&arguments)
        .env("JOURNAL_STREAM", stream)
        .stderr(stderr)
        .spawn()
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    let text = loop {
        let text = std::fs::read_to_string(&path).unwrap();
        if text.contains("listening") || Instant::now() > deadline {
            break text;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    child.kill().unwrap();
    child.wait().unwrap();
    text
}

#[test]
fn lines_for_the_journal_begin_with_their_priority() {
    let of = |file: &std::fs::Metadata| format!("{}:{}", file.dev(), file.ino());
    for format in ["--log-format=text", "--log-format=json"] {
        let text = written_to(of, format);
        let listening = text.lines().find(|line| line.contains("listening"));
        assert!(listening.unwrap().starts_with("<6>"), "{text}");
        for line in text.lines() {
            let priority = if line.contains("WARN") { "<4>" } else { "<6>" };
            assert!(line.starts_with(priority), "{line}");
        }
    }
    // Its stderr goes elsewhere.
    let text = written_to(
        |file| format!("{}:{}", file.dev(), file.ino() + 1),
        "--log=info",
    );
    assert!(text.contains("listening") && !text.contains('<'), "{text}");
}

/// C0, DEL, C1, line ends and bidirectional overrides.
fn is_hazardous(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Every control character there is, what ends lines beside them, and what reorders or hides text.
fn hazards() -> Vec<String> {
    let characters = ('\0'..='\u{9f}').filter(|character| character.is_control());
    let others = [
        "\u{1b}[2J",
        "\u{9b}31m",
        "\u{2028}",
        "\u{2029}",
        "\u{202e}",
        "\u{2066}",
    ];
    characters
        .map(String::from)
        .chain(others.map(str::to_owned))
        .collect()
}

/// One client that sends what it can to forge lines, then mail. No reply repeats what it sent.
fn be_hostile(serve: &Serve) {
    let say = |client: &mut Client, line: &str| {
        client.send(&format!("{line}\r\n"));
        let reply = client.reply();
        assert!(!reply.contains(is_hazardous), "{line:?}: {reply:?}");
        reply
    };
    for hazard in hazards() {
        let mut client = Client::greeted(serve);
        say(&mut client, &format!("EHLO a{hazard}listening"));
        say(&mut client, &hazard);
        say(&mut client, &format!("VRFY {hazard}"));
        say(&mut client, "EHLO client.example");
        say(
            &mut client,
            &format!("MAIL FROM:<a@b> X{hazard}=1 SIZE={hazard}"),
        );
        say(
            &mut client,
            &format!("MAIL FROM:<a{hazard}b@client.example> SMTPUTF8"),
        );
        say(&mut client, "MAIL FROM:<a@client.example> SMTPUTF8");
        say(&mut client, &format!("RCPT TO:<{hazard}@"));
        say(&mut client, &format!("RCPT TO:<\"{hazard}\"@here.example>"));
        if say(&mut client, "DATA").starts_with("354") {
            client.ask("Subject: x\r\n\r\n.", "250 ");
        }
        client.ask("QUIT", "221 ");
    }
    let mut client = Client::greeted(serve);
    client.ask("EHLO client.example", "250 ");
    client.ask("MAIL FROM:<ä=\"ö\"@client.example> SMTPUTF8", "5");
    client.ask("MAIL FROM:<\"a b=c\"@client.example> SMTPUTF8", "250 ");
    client.ask("RCPT TO:<ü@here.example>", "250 ");
    client.ask("RCPT TO:<v@here.example>", "250 ");
    client.ask("DATA", "354 ");
    client.ask("Subject: x\r\n\r\n.", "250 ");
    client.ask("QUIT", "221 ");
}

fn log_of_hostile_sessions(format: &str) -> Vec<String> {
    let serve = Serve::start(&[
        "--log-format",
        format,
        "--log",
        "debug",
        "--deliver",
        "discard:",
    ]);
    be_hostile(&serve);
    serve.signal(Signal::TERM);
    let (status, log) = serve.wait();
    assert_eq!(status.code(), Some(0));
    for line in &log {
        assert!(!line.contains(is_hazardous), "{line:?}");
    }
    log
}

#[test]
fn a_client_cannot_forge_text() {
    let log = log_of_hostile_sessions("text");
    assert_eq!(
        log.iter()
            .filter(|line| line.contains(" INFO  listening "))
            .count(),
        1
    );
    assert_eq!(
        log.iter()
            .filter(|line| line.contains(" connection peer="))
            .count(),
        hazards().len() + 1
    );
    let escaped = r#" what=rcpt command=RCPT from=a@client.example to="<\u{1b}[2J@" reply="#;
    assert!(log.iter().any(|line| line.contains(escaped)), "{log:#?}");
    let message = log
        .iter()
        .rfind(|line| line.contains(" INFO  message "))
        .unwrap();
    assert!(
        message.contains(
            r#" from="\"a b=c\"@client.example" recipients=ü@here.example,v@here.example size=14 "#
        ),
        "{message}"
    );
    for line in log {
        humantime::parse_rfc3339(line.split(' ').next().unwrap()).unwrap();
    }
}

#[test]
fn a_client_cannot_forge_json() {
    let log = log_of_hostile_sessions("json");
    let events: Vec<Value> = log
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for event in &events {
        humantime::parse_rfc3339(event["timestamp"].as_str().unwrap()).unwrap();
        assert!(
            event
                .as_object()
                .unwrap()
                .values()
                .all(|value| !value.is_object() && !value.is_array()),
            "{event}"
        );
    }
    let named = |name: &str| {
        events
            .iter()
            .filter(|event| event["message"] == name)
            .collect::<Vec<_>>()
    };
    assert_eq!(named("listening").len(), 1);
    assert_eq!(named("connection").len(), hazards().len() + 1);
    let message = *named("message").last().unwrap();
    assert_eq!(message["from"], "\"a b=c\"@client.example");
    assert_eq!(message["recipients"], "ü@here.example,v@here.example");
    assert_eq!(message["size"], 14);
    assert_eq!(message["result"], "accepted");
    assert!(message["duration"].is_number());
    assert!(message["id"].is_string());
    assert!(message["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
}

#[test]
fn the_level_decides_what_is_logged() {
    let serve = Serve::start(&["--deliver", "discard:"]);
    drop(Client::greeted(&serve));
    serve.signal(Signal::TERM);
    let (_, log) = serve.wait();
    assert!(log.iter().all(|line| !line.contains(" DEBUG ")), "{log:#?}");
}

#[test]
fn a_stderr_that_nobody_reads_does_not_stop_the_mail() {
    let mut serve = Serve::start(&["--log", "debug"]);
    serve.close_stderr();
    for _ in 0..3 {
        let mut client = Client::greeted(&serve);
        client.begin_message();
        client.ask("Subject: x\r\n\r\n.", "250 ");
        client.ask("QUIT", "221 ");
    }
    assert_eq!(serve.messages().len(), 3);
}

#[test]
fn a_stderr_that_is_full_loses_lines_and_says_so() {
    let mut child = prixfixe(&["serve", "--listen", "127.0.0.1:0", "--deliver", "discard:"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::with_capacity(1024, child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("listening") {
        line.clear();
        assert_ne!(stderr.read_line(&mut line).unwrap(), 0);
    }

    // Each message is a line of about 1.7 kB; the pipe and the queue hold about 2 MiB of them.
    let recipients = format!("RCPT TO:<{}@here.example>\r\n", "x".repeat(64)).repeat(25);
    let mut client = Client::connect(listening_address(&line));
    client.reply();
    client.ask("EHLO client.example", "250 ");
    for _ in 0..2000 {
        client.send(&format!(
            "MAIL FROM:<a@client.example>\r\n{recipients}DATA\r\n"
        ));
        while !client.reply().starts_with("354 ") {}
        client.ask("Subject: x\r\n\r\n.", "250 ");
    }
    drop(client);
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let mut log = String::new();
    stderr.read_to_string(&mut log).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let dropped = log
        .lines()
        .find(|line| line.contains("log lines were dropped"))
        .unwrap();
    assert!(
        dropped.contains(" WARN  ") && dropped.contains(" lines="),
        "{dropped}"
    );
    assert!(
        log.lines()
            .filter(|line| line.contains(" INFO  message "))
            .count()
            < 2000
    );
}
