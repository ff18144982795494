//! `prixfixe bench` against `prixfixe serve`.

use std::io::Read;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Serve, listening_address, prixfixe, run};

const TRANSPORTS: [&str; 2] = ["tokio", "raw"];

#[test]
fn a_run_is_a_table_a_report_and_a_page() {
    for transport in TRANSPORTS {
        let serve = Serve::start(&["--transport", transport]);
        let path = |name: &str| serve.directory.path().join(name).display().to_string();
        let (json, html) = (path("report.json"), path("report.html"));
        let target = serve.address().to_string();
        let arguments = [
            "bench",
            "-n",
            "30",
            "-c",
            "3",
            "--pipelining",
            "full",
            "--json",
            &json,
            "--html",
            &html,
            &target,
        ];
        let (status, table, said) = run(&mut prixfixe(&arguments));
        assert_eq!((status, said.as_str()), (0, ""), "{table}");
        assert!(table.contains("30 of 30 (100.00 %)"), "{table}");
        assert_eq!(serve.messages().len(), 30);

        let report: Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
        assert_eq!(report["runs"][0]["messages"]["accepted"], 30);
        assert_eq!(report["runs"][0]["latency"]["message"]["count"], 30);
        let page = std::fs::read_to_string(&html).unwrap();
        assert!(page.contains("30 of 30 accepted"));

        let compared = ["bench", "-n", "30", "-c", "3", "--compare", &json, &target];
        let (status, table, _) = run(&mut prixfixe(&compared));
        assert_eq!(status, 0);
        assert!(
            table.contains("compared with") && table.contains("messages/s"),
            "{table}"
        );
    }
}

#[test]
fn every_way_to_send_is_taken_on_both_transports() {
    for transport in TRANSPORTS {
        let serve = Serve::start(&[
            "--transport",
            transport,
            "--deliver",
            "discard:",
            "--tls-self-signed",
        ]);
        let target = serve.address().to_string();
        for way in [
            "--pipelining off",
            "--pipelining full -r 10",
            "--per-connection 1",
            "--bdat --chunk-size 1000 -s 100KiB",
            "--pipelining full -s 1MiB",
            "--starttls --tls-insecure --pipelining full",
            "--idle-connections 20 --slow-clients 2 --slow-rate 10000",
        ] {
            let options = ["bench", "-n", "20", "-c", "4", &target];
            let arguments: Vec<&str> = options.into_iter().chain(way.split(' ')).collect();
            let (status, table, said) = run(&mut prixfixe(&arguments));
            assert_eq!((status, said.as_str()), (0, ""), "{way}: {table}");
            assert!(table.contains("20 of 20 (100.00 %)"), "{way}: {table}");
        }
    }
}

#[test]
fn a_message_that_failed_is_status_1_and_said_by_code() {
    let serve = Serve::start(&["--accept-domain", "elsewhere.example"]);
    let target = serve.address().to_string();
    let (status, table, _) = run(&mut prixfixe(&["bench", "-n", "5", "-c", "1", &target]));
    assert_eq!(status, 1);
    assert!(
        table.contains("0 of 5 (0.00 %)") && table.contains("550 5.7.1"),
        "{table}"
    );
}

#[test]
fn wrong_arguments_are_status_2_before_anything_is_sent() {
    let cases = [
        ("-n 0", "--messages"),
        ("--size 1", "--size"),
        ("mx.example.com:smtp", "`smtp`"),
        ("--file /does/not/exist", "/does/not/exist"),
        ("--json /does/not/exist", "/does/not/exist"),
        ("--compare /does/not/exist", "--compare"),
        ("--tls --tls-ca /does/not/exist", "/does/not/exist"),
        ("--lmtp mx.example.com", "has no port"),
        ("--lmtp 127.0.0.1:25", "SMTP's port"),
        ("--fail-if p98>5ms", "`p98` is no figure"),
        ("plan --size 10KiB", "--rate"),
    ];
    for (arguments, names) in cases {
        let arguments: Vec<&str> = ["bench"].into_iter().chain(arguments.split(' ')).collect();
        let (status, printed, said) = run(&mut prixfixe(&arguments));
        assert_eq!((status, printed.as_str()), (2, ""), "{arguments:?}");
        assert!(
            said.contains(names) && said.lines().count() == 1,
            "{arguments:?}: {said}"
        );
    }
}

#[test]
fn lmtp_is_driven_over_tcp_and_a_unix_socket() {
    for transport in TRANSPORTS {
        let mut serve = Serve::start(&[
            "--transport",
            transport,
            "--deliver",
            "discard:",
            "--listen-lmtp",
            "127.0.0.1:0",
            "--listen-lmtp",
            "unix:lmtp.sock",
        ]);
        let tcp = listening_address(&serve.line(" protocol=lmtp ")).to_string();
        serve.line("address=unix:lmtp.sock ");
        let path = serve.directory.path().join("lmtp.sock");
        for target in [tcp, format!("unix:{}", path.display())] {
            let arguments = ["bench", "--lmtp", "-n", "20", "-c", "4", "-r", "3", &target];
            let (status, table, said) = run(&mut prixfixe(&arguments));
            assert_eq!((status, said.as_str()), (0, ""), "{table}");
            assert!(table.contains("LMTP, 20 messages of 1 KiB"), "{table}");
            assert!(
                table.contains("recipients  60 accepted, 0 refused"),
                "{table}"
            );
        }
        // SMTP on the same listener is a failure, and is told.
        let unix = format!("unix:{}", path.display());
        let (status, table, _) = run(&mut prixfixe(&["bench", "-n", "1", "-c", "1", &unix]));
        assert!(status == 1 && table.contains("500 5.5.1"), "{table}");
    }
}

#[test]
fn a_condition_that_is_met_is_status_1_and_one_line_with_the_value() {
    let serve = Serve::start(&["--deliver", "discard:"]);
    let target = serve.address().to_string();
    let bench = |condition: &str| {
        let arguments = [
            "bench",
            "-n",
            "20",
            "-c",
            "2",
            "--fail-if",
            condition,
            &target,
        ];
        run(&mut prixfixe(&arguments))
    };
    let (status, table, said) = bench("max>10m");
    assert_eq!((status, said.as_str()), (0, ""), "{table}");
    let (status, _, said) = bench("rate<100000000");
    assert_eq!((status, said.lines().count()), (1, 1), "{said}");
    let start = "prixfixe: --fail-if rate<100000000: rate of custom is ";
    assert!(said.starts_with(start) && said.ends_with("/s\n"), "{said}");
    // Twenty messages say nothing of a P99.
    let (status, _, said) = bench("p99>10m");
    assert_eq!(status, 1);
    assert!(said.contains("20 accepted messages are too few"), "{said}");
}

#[test]
fn failures_that_a_condition_allows_are_status_0() {
    let serve = Serve::start(&["--max-message-size", "10KB"]);
    let directory = serve.directory.path().join("messages");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("1"), "small\n").unwrap();
    std::fs::write(directory.join("2"), "large\n".repeat(5000)).unwrap();
    let (files, target) = (directory.display().to_string(), serve.address().to_string());
    let options = ["bench", "-n", "4", "-c", "1", "--file", &files, &target];
    let with = |more: &[&str]| run(&mut prixfixe(&[&options, more].concat()));
    let (status, table, _) = with(&[]);
    assert!(status == 1 && table.contains("2 of 4 (50.00 %)"), "{table}");
    assert_eq!(with(&["--fail-if", "failed>50%"]).0, 0);
    assert_eq!(with(&["--fail-if", "failed>=50%"]).0, 1);
}

#[test]
fn repeated_runs_have_a_spread_and_are_set_against_another_server() {
    let (one, other) = (
        Serve::start(&["--deliver", "discard:"]),
        Serve::start(&["--deliver", "discard:"]),
    );
    let json = one.directory.path().join("report.json");
    let (target, against) = (one.address().to_string(), other.address().to_string());
    let arguments = [
        "bench",
        "-n",
        "20",
        "-c",
        "2",
        "--repeat",
        "4",
        "--against",
        &against,
        "--json",
        &json.display().to_string(),
        &target,
    ];
    let (status, table, said) = run(&mut prixfixe(&arguments));
    assert_eq!((status, said.as_str()), (0, ""), "{table}");
    assert!(table.contains("custom (median of 4)"), "{table}");
    assert!(
        table.contains(&format!("compared with {against}")),
        "{table}"
    );
    let report: Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    assert_eq!(report["runs"].as_array().unwrap().len(), 4);
    assert_eq!(report["runs"][3]["repetition"], 4);
    assert_eq!(
        report["comparison"]["runs"][0]["changes"][0]["old"]["runs"],
        4
    );
    assert!(report["command"].as_str().unwrap().contains("--repeat 4"));
    assert!(report["host"]["cores"].as_u64().unwrap() > 0);
    let greeting = report["runs"][0]["targets"][0]["greeting"]
        .as_str()
        .unwrap();
    assert!(greeting.contains("ESMTP PrixFixe"), "{greeting}");
}

#[test]
fn a_signal_in_the_middle_of_a_run_still_reports() {
    let mut serve = Serve::start(&["--deliver", "discard:"]);
    let target = serve.address().to_string();
    let json = serve.directory.path().join("report.json");
    let path = json.display().to_string();
    let arguments = [
        "bench", "-d", "10m", "-c", "2", "--rate", "50", "--json", &path, &target,
    ];
    let mut bench = prixfixe(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    // Its handler is there before it connects.
    serve.line(" message ");
    kill_process(Pid::from_child(&bench), Signal::INT).unwrap();
    let mut table = String::new();
    bench
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut table)
        .unwrap();
    bench.wait().unwrap();
    assert!(table.contains("interrupted before its end"), "{table}");
    let report: Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    assert_eq!(report["runs"][0]["interrupted"], true);
}

#[test]
fn stepped_load_says_what_held_and_draws_it() {
    let serve = Serve::start(&["--deliver", "discard:"]);
    let html = serve.directory.path().join("knee.html");
    let (path, target) = (html.display().to_string(), serve.address().to_string());
    let arguments = [
        "bench",
        "--find-knee",
        "--rate",
        "100",
        "-d",
        "200ms",
        "--fail-if",
        "rate>150",
        "--html",
        &path,
        &target,
    ];
    // However busy this machine is, some rate holds, and 200 per second does not.
    let (status, table, said) = run(&mut prixfixe(&arguments));
    assert_eq!((status, said.as_str()), (0, ""), "{table}");
    assert!(
        table.contains("\nHeld ") && table.contains("  held\n"),
        "{table}"
    );
    assert!(table.contains(" broke: "), "{table}");
    let page = std::fs::read_to_string(&html).unwrap();
    assert!(page.contains("Latency by rate"));
}

#[test]
fn a_plan_is_reckoned_from_what_a_server_does_here_and_leaves_nothing() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().display().to_string();
    let options = [
        "bench",
        "plan",
        "--rate",
        "1000",
        "-d",
        "1s",
        "--directory",
        &path,
    ];
    let (status, text, said) = run(&mut prixfixe(&options));
    assert_eq!((status, said.as_str()), (0, ""), "{text}");
    for part in [
        "servers",
        "network     90.1 Mbit/s",
        "measured on ",
        "half of that",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    let more = [
        "--deliver",
        "discard:",
        "--deliver",
        "maildir:mail",
        "--json",
    ];
    let (status, text, _) = run(&mut prixfixe(&[&options[..], &more].concat()));
    assert_eq!(status, 0);
    let answer: Value = serde_json::from_str(&text).unwrap();
    for (plan, deliver) in [(0, "discard:"), (1, "maildir:mail")] {
        let plan = &answer["plans"][plan];
        assert_eq!(plan["measured"]["deliver"], deliver);
        let capacity = plan["measured"]["per_second"].as_f64().unwrap();
        let servers = (1000.0 / (capacity / 2.0)).ceil() + 1.0;
        assert_eq!(plan["servers"].as_f64().unwrap(), servers);
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    let wrong = ["--deliver", "nowhere:"];
    let (status, text, said) = run(&mut prixfixe(&[&options[..], &wrong].concat()));
    assert_eq!((status, text.as_str()), (1, ""), "{said}");
    assert!(said.contains("nowhere"), "{said}");
}
