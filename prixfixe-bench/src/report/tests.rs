//! What the reports say, given what was measured.

use std::time::Duration;

use super::words::{octets, time};
use super::*;
use crate::failure::{Failure, Kind, Stage};
use crate::measure::Measurements;

pub(crate) fn settings() -> Settings {
    Settings {
        messages: Some(1000),
        duration_seconds: None,
        rate: None,
        ramp_up_seconds: 0.0,
        concurrency: 20,
        threads: 1,
        smallest: 1024,
        largest: 1024,
        recipients: 1,
        per_connection: None,
        pipelining: Pipelining::Envelope,
        transfer: "data".to_owned(),
        tls: "none".to_owned(),
        timeout_seconds: 60.0,
        seed: 1,
    }
}

/// 990 messages of 1 to 990 ms, ten refused.
fn report() -> Report {
    let mut measured = Measurements::new(1);
    for i in 1..=990 {
        let latency = Duration::from_millis(i);
        measured.accept(Duration::from_millis(10 * i), 0, 1024, latency, latency);
    }
    for _ in 0..10 {
        let failure = Failure::with_detail(
            Stage::Rcpt,
            Kind::Reply(550),
            "550 5.7.1 <script>no</script>",
        );
        measured.fail(Duration::from_secs(10), 0, failure);
    }
    let mut report = Report::new(SystemTime::UNIX_EPOCH);
    report.runs.push(Run::new(
        "burst-small",
        settings(),
        ["mx:25"].into_iter(),
        &measured,
        false,
    ));
    report
}

#[test]
fn the_json_has_the_documented_names_and_is_read_back() {
    let report = report();
    let text = report.to_json().unwrap();
    assert_eq!(Report::from_json(&text).unwrap(), report);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let run = &json["runs"][0];
    assert_eq!(json["format"], FORMAT);
    assert_eq!(json["started"], "1970-01-01T00:00:00Z");
    assert_eq!(run["messages"]["accepted"], 990);
    assert_eq!(run["messages"]["failed"], 10);
    assert_eq!(run["messages"]["success_rate"], 0.99);
    assert_eq!(run["messages"]["per_second"], 99.0);
    assert_eq!(run["octets"], 990 * 1024);
    for name in [
        "count", "min", "mean", "p50", "p90", "p95", "p99", "p99_9", "max",
    ] {
        assert!(run["latency"]["message"][name].is_number(), "{name}");
    }
    assert!(run["latency"]["tls"].is_null());
    assert_eq!(run["errors"][0]["stage"], "rcpt");
    assert_eq!(run["errors"][0]["code"], 550);
    assert_eq!(run["targets"][0]["target"], "mx:25");
    assert_eq!(run["settings"]["pipelining"], "envelope");
}

#[test]
fn only_a_report_of_this_format_is_read() {
    let mut other = report();
    other.format += 1;
    let error = Report::from_json(&other.to_json().unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "written in format 2, this program has 1");
    for text in ["", "{}", "[1]"] {
        let error = Report::from_json(text).unwrap_err();
        assert!(matches!(error, ReportError::Malformed(_)), "{text:?}");
    }
}

#[test]
fn percentiles_are_those_of_what_was_recorded() {
    let report = report();
    let message = report.runs[0].latency.message.unwrap();
    let near = |value: f64, milliseconds: f64| (value / 1000.0 / milliseconds - 1.0).abs() < 0.002;
    assert!(near(message.p50, 495.0), "{message:?}");
    assert!(near(message.p99, 981.0), "{message:?}");
    assert!(near(message.max, 990.0), "{message:?}");
    let distribution = &report.runs[0].distribution;
    assert_eq!(distribution.bins.iter().map(|bin| bin.2).sum::<u64>(), 990);
}

#[test]
fn the_table_says_it_all() {
    let text = report().runs[0].to_table();
    for part in [
        "990 of 1000 (99.00 %)",
        "99 messages/s",
        "message",
        "495 ms",
        "rcpt",
        "550",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
}

#[test]
fn the_page_has_the_numbers_is_whole_and_trusts_no_server() {
    let page = report().to_html();
    for part in [
        "99.00&#8239;%",
        "990 of 1000 accepted",
        "495 ms",
        "burst-small",
        "mx:25",
        "&lt;script&gt;",
        "10 failed",
    ] {
        assert!(page.contains(part), "no {part:?}");
    }
    assert!(!page.contains("<script"));
    for elsewhere in ["http://", "https://", "src=", "@import", "url("] {
        assert!(!page.contains(elsewhere), "{elsewhere}");
    }
    assert_eq!(page.matches("<svg").count(), 4);
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    assert!(!page.contains("NaN") && !page.contains("inf"));
}

#[test]
fn a_run_in_which_nothing_was_accepted_is_a_page_too() {
    let mut measured = Measurements::new(1);
    measured.fail(
        Duration::ZERO,
        0,
        Failure::new(Stage::Connect, Kind::Refused),
    );
    let mut report = Report::new(SystemTime::UNIX_EPOCH);
    report.runs.push(Run::new(
        "custom",
        settings(),
        ["mx:25"].into_iter(),
        &measured,
        false,
    ));
    let page = report.to_html();
    assert!(page.contains("0 of 1 accepted") && page.contains("refused"));
    assert!(!page.contains("NaN") && !page.contains("inf"));
    assert!(report.runs[0].to_table().contains("0 of 1 (0.00 %)"));
    assert!(!report.is_success());
}

#[test]
fn a_comparison_shows_the_change() {
    let old = report();
    let mut new = report();
    new.runs[0].messages.per_second *= 1.5;
    let text = new.compared_with(&old);
    assert!(text.contains("+50.0 %"), "{text}");
    assert!(text.contains("+0.0 %"), "{text}");
    new.runs[0].name = "large".to_owned();
    assert!(new.compared_with(&old).contains("not in the old report"));
}

#[test]
fn almost_all_is_not_all() {
    assert_eq!(super::table::cut(99.9999), "99.99");
    assert_eq!(super::table::cut(100.0), "100.00");
}

#[test]
fn times_and_sizes_are_for_people() {
    assert_eq!(time(9.876), "9.88 \u{b5}s");
    assert_eq!(time(12_345.0), "12.3 ms");
    assert_eq!(time(123_456_789.0), "123 s");
    assert_eq!(octets(1000), "1000 octets");
    assert_eq!(octets(10 << 10), "10 KiB");
    assert_eq!(octets(1_500_000), "1.4 MiB");
}
