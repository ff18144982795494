//! `/metrics` of the built binary, and `prixfixe health`.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::admin::{get, get_until, start};
use crate::harness::{Client, has, listening_address, prixfixe, run};

const TRANSPORTS: [&[&str]; 2] = [&["--transport", "tokio"], &["--transport", "raw"]];

/// The value of a series.
fn value(metrics: &str, series: &str) -> f64 {
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in {metrics}"))
        .parse()
        .unwrap()
}

#[test]
fn metrics_are_what_prometheus_takes() {
    if !has("promtool") {
        return;
    }
    for transport in TRANSPORTS {
        let (serve, admin) = start(&[transport, &["--tls-self-signed"]].concat());
        let mut client = Client::greeted(&serve);
        client.begin_message();
        client.ask("Subject: hello\r\n\r\n.", "250 ");
        client.ask("WHAT", "500 ");
        let answer = get(admin, "/metrics");
        assert_eq!(answer.code, 200);
        let content_type = "\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\n";
        assert!(answer.head.contains(content_type), "{}", answer.head);

        let mut promtool = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = promtool.stdin.take().unwrap();
        stdin.write_all(answer.body.as_bytes()).unwrap();
        drop(stdin);
        let output = promtool.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{said}");
    }
}

#[test]
fn metrics_tell_what_became_of_known_mail() {
    for (transport, name) in TRANSPORTS.into_iter().zip(["tokio", "raw"]) {
        let limits = ["--max-message-size=100", "--max-connections=2"];
        let (serve, admin) = start(&[transport, &limits].concat());
        let mut client = Client::greeted(&serve);
        for (content, code) in [
            ("one", "250 2.0.0 "),
            ("two", "250 2.0.0 "),
            (&"too large\r\n".repeat(10), "552 5.3.4 "),
            ("a bare\nline feed", "550 5.5.2 "),
        ] {
            client.begin_message();
            client.ask(&format!("{content}\r\n."), code);
        }
        client.ask("RCPT TO:<b@here.example>", "503 ");
        let second = Client::greeted(&serve);
        assert!(serve.connect().reply().starts_with("421 "));

        let metrics = get(admin, "/metrics").body;
        for (series, count) in [
            ("smtp_messages_received_total", 4.0),
            ("smtp_messages_success_total", 2.0),
            ("smtp_messages_failed_total{reason=\"too_large\"}", 1.0),
            ("smtp_messages_failed_total{reason=\"bare_line_end\"}", 1.0),
            ("smtp_messages_failed_total{reason=\"storage\"}", 0.0),
            ("smtp_success_rate", 0.5),
            ("smtp_message_processing_duration_seconds_count", 4.0),
            (
                "smtp_message_processing_duration_seconds_bucket{le=\"+Inf\"}",
                4.0,
            ),
            ("smtp_delivery_duration_seconds_count", 2.0),
            ("smtp_active_connections", 2.0),
            ("smtp_max_connections", 2.0),
            ("smtp_connections_total{result=\"accepted\"}", 2.0),
            ("smtp_connections_total{result=\"over_limit\"}", 1.0),
            ("smtp_command_errors_total{code=\"503\"}", 1.0),
            ("smtp_command_errors_total{code=\"550\"}", 0.0),
            ("smtp_command_errors_total{code=\"450\"}", 0.0),
            ("smtp_timeouts_total", 0.0),
            ("smtp_timeouts_by_phase_total{phase=\"message\"}", 0.0),
        ] {
            assert_eq!(value(&metrics, series), count, "{series}");
        }
        assert!(value(&metrics, "smtp_messages_per_second") > 0.0);
        // The Maildir has synced two messages, which takes time.
        assert!(value(&metrics, "smtp_delivery_duration_seconds_sum") > 0.0);
        assert!(value(&metrics, "smtp_memory_bytes") > 1e6);
        assert!(value(&metrics, "smtp_cpu_usage_percent") >= 0.0);
        let transport = format!("smtp_transport_info{{transport=\"{name}\"}}");
        assert_eq!(value(&metrics, &transport), 1.0);
        let build = concat!(
            "prixfixe_build_info{version=\"",
            env!("CARGO_PKG_VERSION"),
            "\"}"
        );
        assert_eq!(value(&metrics, build), 1.0);

        let status: serde_json::Value =
            serde_json::from_str(&get(admin, "/status.json").body).unwrap();
        let told: Vec<_> = status["recent"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| {
                (
                    it["kind"].as_str().unwrap(),
                    it["code"].as_u64().unwrap(),
                    it["recipient"].as_str(),
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                ("connection_refused", 421, None),
                ("command_refused", 503, Some("<b@here.example>")),
                ("message_failed", 550, Some("b@here.example")),
                ("message_failed", 552, Some("b@here.example")),
            ]
        );
        assert_eq!(status["recent"][2]["sender"], "a@client.example");
        assert_eq!(status["recent"][2]["client"], "127.0.0.1");
        assert_eq!(
            status["recent"][2]["text"],
            "5.5.2 Message has a bare CR or LF"
        );
        drop(second);
    }
}

/// Exit status, stdout and stderr of `prixfixe health` with these arguments.
fn health(arguments: &[&str]) -> (i32, String, String) {
    run(&mut prixfixe(&[&["health"], arguments].concat()))
}

fn ready() -> (i32, String, String) {
    (0, "ready\n".to_owned(), String::new())
}

#[test]
fn health_finds_a_server_as_it_was_configured() {
    let (serve, admin) = start(&[]);
    let address = admin.to_string();
    assert_eq!(health(&["--admin", &address]), ready());
    assert_eq!(
        run(prixfixe(&["health"]).env("SMTP_ADMIN", &address)),
        ready()
    );
    let file = serve.directory.path().join("prixfixe.toml");
    std::fs::write(&file, format!("[admin]\nlisten = '{address}'\n")).unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(health(&["--config", file]), ready());
    // What is wrong elsewhere in the environment is no matter of this.
    let mut command = prixfixe(&["health", "--admin", &address]);
    assert_eq!(run(command.env("SMTP_THREADS", "none")), ready());
}

#[test]
fn a_server_on_all_addresses_is_asked_on_the_loopback() {
    for all in ["0.0.0.0:0", "[::]:0"] {
        let serve = crate::harness::Serve::start(&["--admin", all]);
        let line = serve.seen("admin endpoints").unwrap();
        let admin: SocketAddr = listening_address(line);
        assert!(admin.ip().is_unspecified());
        assert_eq!(health(&["--admin", &admin.to_string()]), ready());
    }
}

#[test]
fn health_tells_why_a_server_is_not_ready() {
    let (mut serve, admin) = start(&[]);
    let address = admin.to_string();
    let mut client = Client::greeted(&serve);
    client.begin_message();
    serve.signal(Signal::TERM);
    serve.line("draining");
    get_until(admin, "/readyz", 503);
    let reason = "prixfixe: not ready: draining: the server is stopping\n".to_owned();
    assert_eq!(health(&["--admin", &address]), (1, String::new(), reason));
    client.ask("Subject: hello\r\n\r\n.", "250 ");
    drop(client);
    serve.wait();
    let (code, _, stderr) = health(&["--admin", &address]);
    let reason = format!("prixfixe: no answer from {address}: Connection refused (os error 111)\n");
    assert_eq!((code, stderr), (1, reason));
}

#[test]
fn health_without_an_answer_that_counts_is_a_failure() {
    let (serve, _) = start(&["--max-errors=1"]);
    // It speaks SMTP there.
    let (code, _, stderr) = health(&["--admin", &serve.address().to_string()]);
    assert_eq!(code, 1);
    assert!(stderr.starts_with("prixfixe: no answer from ") && stderr.lines().count() == 1);

    // It takes connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let (code, _, stderr) = health(&["--admin", &address]);
    let reason = format!("prixfixe: no answer from {address}: it took longer than 3 s\n");
    assert_eq!((code, stderr), (1, reason));

    for (arguments, place) in [
        (&["--admin", "127.0.0.1:0"][..], "--admin: "),
        (&["--admin", "nothing"], "--admin: "),
        (&["--config", "/nonexistent"], "--config /nonexistent: "),
        (
            &[],
            "no admin address is known; give that of the server with --admin",
        ),
    ] {
        let (code, _, stderr) = health(arguments);
        assert_eq!(code, 2, "{stderr}");
        assert!(
            stderr.starts_with(&format!("prixfixe: {place}")),
            "{stderr}"
        );
    }
}
