//! `docs/METRICS.md` and what is really encoded.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

const DOCUMENTATION: &str = include_str!("../../../../docs/METRICS.md");

/// The cells of the tables' rows under a heading, without the code marks.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let (_, rest) = DOCUMENTATION
        .split_once(&format!("\n## {heading}\n"))
        .expect("the heading is there");
    let section = rest.split("\n## ").next().unwrap_or_default();
    section
        .lines()
        .filter(|line| line.starts_with('|'))
        // The head of the table.
        .skip(2)
        .map(|line| {
            let cells = line.trim_matches('|').split(" |");
            cells
                .map(|cell| cell.replace('`', "").trim().to_owned())
                .collect()
        })
        .collect()
}

/// A server that has something to say of each metric.
fn encoded() -> String {
    let tls = TlsConfig::builder()
        .certificate(CertificateSource::self_signed(["mx.test"]))
        .build()
        .expect("a certificate");
    let server = builder(Transport::Raw)
        .tls(tls)
        .sessions(|_| async { Ok(Obedient) })
        .start()
        .expect("it starts");
    let mut text = String::new();
    server.metrics().encode(&mut text);
    text
}

/// The name of a series, its labels and their values.
fn series(line: &str) -> (&str, Vec<(&str, &str)>) {
    let (name, rest) = line.split_once(['{', ' ']).expect("a value follows");
    let labels = rest.split_once("} ").map_or("", |(labels, _)| labels);
    let pairs = labels.split(',').filter_map(|label| label.split_once('='));
    (
        name,
        pairs
            .map(|(name, value)| (name, value.trim_matches('"')))
            .collect(),
    )
}

#[tokio::test]
async fn every_metric_has_its_row_and_no_other_has() {
    let text = encoded();
    let mut metrics: BTreeMap<String, (String, BTreeSet<String>)> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, kind)| (name.to_owned(), (kind.to_owned(), BTreeSet::new())))
        .collect();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, labels) = series(line);
        let ends = ["_bucket", "_sum", "_count"];
        let stem = ends
            .iter()
            .find_map(|end| name.strip_suffix(end))
            .unwrap_or(name);
        let (_, known) = metrics.get_mut(stem).expect("it has a type");
        let own = labels.iter().filter(|(label, _)| *label != "le");
        known.extend(own.map(|(label, _)| (*label).to_owned()));
    }
    let documented: BTreeMap<String, (String, BTreeSet<String>)> = rows("The table")
        .into_iter()
        .map(|row| {
            let labels = row[2].split(", ").filter(|label| !label.is_empty());
            let labels = labels.map(str::to_owned).collect();
            (row[0].clone(), (row[1].clone(), labels))
        })
        .collect();
    assert_eq!(documented, metrics);
}

#[tokio::test]
async fn every_value_of_a_label_has_its_row_and_no_other_has() {
    let text = encoded();
    for (heading, metric, label) in [
        ("Reasons", "smtp_messages_failed_total", "reason"),
        ("Results of connections", "smtp_connections_total", "result"),
        (
            "Results of handshakes",
            "smtp_tls_handshakes_total",
            "result",
        ),
        (
            "Phases of timeouts",
            "smtp_timeouts_by_phase_total",
            "phase",
        ),
    ] {
        let encoded: BTreeSet<&str> = text
            .lines()
            .map(series)
            .filter(|(name, _)| *name == metric)
            .flat_map(|(_, labels)| labels)
            .filter(|(name, _)| *name == label)
            .map(|(_, value)| value)
            .collect();
        let rows = rows(heading);
        let documented: BTreeSet<&str> = rows.iter().map(|row| &*row[0]).collect();
        assert_eq!(documented, encoded, "{heading}");
    }
}

#[tokio::test]
async fn the_buckets_are_the_documented_ones() {
    let text = encoded();
    let (_, rest) = DOCUMENTATION
        .split_once("The buckets of both histograms are, in seconds: ")
        .expect("it says which");
    let (documented, _) = rest.split_once(".\n").expect("a full stop");
    for metric in [
        "smtp_message_processing_duration_seconds_bucket",
        "smtp_delivery_duration_seconds_bucket",
    ] {
        let bounds: Vec<&str> = text
            .lines()
            .map(series)
            .filter(|(name, _)| *name == metric)
            .filter_map(|(_, labels)| labels.first().map(|(_, value)| *value))
            .collect();
        assert_eq!(format!("{documented} +Inf"), bounds.join(" "), "{metric}");
    }
}
