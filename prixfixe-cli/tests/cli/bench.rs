//! `prixfixe bench` against `prixfixe serve`.

use serde_json::Value;

use crate::harness::{Serve, prixfixe, run};

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
