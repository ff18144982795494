//! What the reports say, given what was measured.

use std::time::Duration;

use super::words::{bytes, time};
use super::*;
use crate::failure::{Failure, Kind, Stage};
use crate::measure::Measurements;

pub(crate) fn settings() -> Settings {
    Settings {
        protocol: "smtp".to_owned(),
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
pub(crate) fn report() -> Report {
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
        [("mx:25", Some("220 mx ESMTP Test 1.0".to_owned()))].into_iter(),
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
    for name in ["count", "min", "mean", "p50", "p90", "p95", "p99", "max"] {
        assert!(run["latency"]["message"][name].is_number(), "{name}");
    }
    // 990 messages are too few for it.
    assert!(run["latency"]["message"]["p99_9"].is_null());
    assert!(run["latency"]["tls"].is_null());
    assert_eq!(run["errors"][0]["stage"], "rcpt");
    assert_eq!(run["errors"][0]["code"], 550);
    assert_eq!(run["targets"][0]["target"], "mx:25");
    assert_eq!(run["settings"]["pipelining"], "envelope");
}

/// As version 0.1.0 wrote it, cut to one run.
const FORMAT_1: &str = include_str!("format-1.json");

#[test]
fn reports_up_to_this_format_are_read() {
    let mut other = report();
    other.format += 1;
    let error = Report::from_json(&other.to_json().unwrap()).unwrap_err();
    let said = "written in format 3, and this program reads up to 2";
    assert_eq!(error.to_string(), said);
    for text in ["", "{}", "[1]"] {
        let error = Report::from_json(text).unwrap_err();
        assert!(matches!(error, ReportError::Malformed(_)), "{text:?}");
    }
    let old = Report::from_json(FORMAT_1).unwrap();
    assert_eq!(
        (old.format, old.runs[0].settings.protocol.as_str()),
        (1, "smtp")
    );
    let mut new = report();
    new.runs[0].name.clone_from(&old.runs[0].name);
    new.compare(&old);
    let comparison = new.comparison.unwrap();
    assert_eq!(
        comparison.runs[0].changes[0].old.median,
        old.runs[0].messages.per_second
    );
}

#[test]
fn percentiles_are_those_of_what_was_recorded() {
    let report = report();
    let message = report.runs[0].latency.message.unwrap();
    let near = |value: f64, milliseconds: f64| (value / 1000.0 / milliseconds - 1.0).abs() < 0.002;
    assert!(near(message.p50.unwrap(), 495.0), "{message:?}");
    assert!(near(message.p99.unwrap(), 981.0), "{message:?}");
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
        [("mx:25", Some("220 mx ESMTP Test 1.0".to_owned()))].into_iter(),
        &measured,
        false,
    ));
    let page = report.to_html();
    assert!(page.contains("0 of 1 accepted") && page.contains("refused"));
    assert!(!page.contains("NaN") && !page.contains("inf"));
    assert!(report.runs[0].to_table().contains("0 of 1 (0.00 %)"));
    assert!(!report.is_success(false) && !report.is_success(true));
}

/// Reports of runs that took so many messages per second.
fn repeated(rates: &[f64]) -> Report {
    let mut all = report();
    let run = all.runs.pop().unwrap();
    for (number, rate) in (1..).zip(rates) {
        let mut run = run.clone();
        run.repetition = number;
        run.messages.per_second = *rate;
        all.runs.push(run);
    }
    all
}

fn verdict(old: &[f64], new: &[f64]) -> Verdict {
    let mut new = repeated(new);
    new.compare(&repeated(old));
    let comparison = new.comparison.unwrap();
    let change = comparison.runs[0].changes[0];
    assert_eq!(change.metric, Metric::Rate);
    change.verdict
}

#[test]
fn a_change_is_told_from_noise() {
    let old = [100.0, 110.0, 105.0, 103.0];
    assert_eq!(verdict(&[100.0], &[200.0]), Verdict::Unknown);
    assert_eq!(verdict(&old, &[200.0, 201.0, 202.0]), Verdict::Unknown);
    let within = [109.0, 150.0, 160.0, 170.0];
    assert_eq!(verdict(&old, &within), Verdict::WithinSpread);
    let better = [111.0, 150.0, 160.0, 170.0];
    assert_eq!(verdict(&old, &better), Verdict::Better);
    assert_eq!(verdict(&old, &[80.0, 99.0, 90.0, 95.0]), Verdict::Worse);
}

#[test]
fn a_comparison_is_in_the_text_and_on_the_page() {
    let old = repeated(&[100.0, 90.0, 110.0, 100.0]);
    let mut new = repeated(&[200.0, 190.0, 210.0, 200.0]);
    new.compare(&old);
    let text = new.to_text();
    for part in [
        "+100.0 %  better",
        "100/s (90/s to 110/s)",
        "within the spread",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    let page = new.to_html();
    for part in [
        "+100.0 %",
        ">better<",
        ">within the spread<",
        "100/s (90/s to 110/s)",
    ] {
        assert!(page.contains(part), "no {part:?}");
    }
    new.runs.truncate(1);
    new.compare(&old);
    assert!(new.to_text().contains(super::compare::UNKNOWN));
    new.runs[0].name = "large".to_owned();
    new.compare(&old);
    assert!(new.to_text().contains("not in the old report"));
}

#[test]
fn of_repeated_runs_the_overview_has_medians_and_the_report_the_spread() {
    let report = repeated(&[300.0, 100.0, 200.0]);
    let text = report.to_text();
    let overview = text.lines().nth(1).unwrap();
    assert!(overview.starts_with("burst-small (median of 3)"), "{text}");
    assert!(overview.contains(" 200/s "), "{text}");
    let spread = text
        .lines()
        .find(|line| line.starts_with("  messages/s"))
        .unwrap();
    let values: Vec<&str> = spread.split_whitespace().skip(1).collect();
    assert_eq!(values, ["100/s", "200/s", "300/s"]);
}

#[test]
fn every_form_says_what_was_run_where_and_on_which_versions() {
    let mut report = report();
    report.command = Some("prixfixe bench -n 1000 'mx:25'".to_owned());
    report.host.cores = Some(2);
    report.host.kernel = Some("linux 6.1".to_owned());
    report.host.memory = Some(8 << 30);
    let json = report.to_json().unwrap();
    assert!(json.contains("\"memory\": 8589934592"), "{json}");
    for form in [report.to_text(), report.to_html(), json] {
        for part in [
            "prixfixe bench -n 1000 'mx:25'",
            "linux 6.1",
            "220 mx ESMTP Test 1.0",
            env!("CARGO_PKG_VERSION"),
        ] {
            assert!(form.contains(part), "no {part:?} in\n{form}");
        }
    }
    assert!(
        report
            .to_text()
            .contains("2 cores, 8.0 GiB of memory, linux 6.1")
    );
}

#[test]
fn no_percentile_is_told_without_messages_for_it() {
    let has = crate::measure::has_samples;
    for (percentile, wanted) in [
        (50.0, 10),
        (90.0, 20),
        (95.0, 20),
        (99.0, 100),
        (99.9, 1000),
        (99.99, 10_000),
    ] {
        assert!(
            has(percentile, wanted) && !has(percentile, wanted - 1),
            "{percentile}"
        );
    }
    let text = report().to_text();
    assert_eq!(text.matches("too few").count(), 3, "{text}");
    assert!(report().to_html().contains("too few"));
}

#[test]
fn a_broken_condition_is_the_first_that_is_said() {
    let mut report = report();
    report.judge(&["failed>5%".parse().unwrap()]);
    assert!(report.is_success(true) && !report.is_success(false));
    report.judge(&["failed>5%".parse().unwrap(), "p99>50ms".parse().unwrap()]);
    assert!(!report.is_success(true));
    let said = "p99&gt;50ms: p99 of burst-small is 981 ms";
    assert!(report.to_html().contains(said));
    assert!(
        report
            .to_json()
            .unwrap()
            .contains("\"condition\": \"p99>50ms\"")
    );
}

#[test]
fn a_knee_is_a_table_and_a_picture() {
    let step = |rate: f64, broken: Option<&str>| crate::Step {
        rate,
        accepted: rate,
        failed_percent: 0.0,
        p50: Some(rate),
        p99: Some(rate * 10.0),
        broken: broken.map(str::to_owned),
    };
    let mut report = report();
    report.knee = Some(crate::Knee {
        found: Some(200.0),
        conditions: vec!["p99>3ms".to_owned()],
        steps: vec![
            step(100.0, None),
            step(400.0, Some("p99>3ms (4.00 ms)")),
            step(200.0, None),
        ],
    });
    let said = "Held 200 messages per second; 400 broke: p99>3ms (4.00 ms).";
    assert!(report.to_text().contains(said), "{}", report.to_text());
    let page = report.to_html();
    assert!(page.contains("Held 200 messages per second; 400 broke: p99&gt;3ms (4.00 ms)."));
    assert!(page.contains("above 200 per second it does not hold"));
    assert_eq!(page.matches("<svg").count(), 5);
    assert!(!page.contains("NaN") && !page.contains("inf"));
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
    assert_eq!(bytes(1000), "1000 bytes");
    assert_eq!(bytes(10 << 10), "10 KiB");
    assert_eq!(bytes(1_500_000), "1.4 MiB");
}
