//! The load generator against real sockets: servers that work, and servers that do not.

mod misbehaviour;
mod server;
mod working;

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::failure::{Kind, Stage};
use crate::measure::Measurements;
use crate::plan::{Content, Pace, Pipelining, Plan, Protocol, Tls, Transfer, Trust};

/// Runs a plan to its end. It is written as the command line of `prixfixe bench` is, as far as
/// these tests need it.
fn run(line: &str) -> Measurements {
    let workload = plan(line).prepare().unwrap();
    workload.measure(&AtomicBool::new(false), |_| {}).unwrap()
}

fn plan(line: &str) -> Plan {
    let mut plan = Plan::new::<String>([]);
    plan.pace = Pace::default();
    let mut words = line.split_whitespace();
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap();
        match word {
            "--lmtp" => plan.protocol = Protocol::Lmtp,
            "-n" => plan.pace.messages = Some(value().parse().unwrap()),
            "-d" => plan.pace.duration = Some(time(value())),
            "-c" => plan.concurrency = value().parse().unwrap(),
            "-r" => plan.recipients = value().parse().unwrap(),
            "-s" => plan.content = sizes(value()),
            "--rate" => plan.pace.rate = Some(value().parse().unwrap()),
            "--timeout" => plan.timeout = time(value()),
            "--threads" => plan.threads = value().parse().unwrap(),
            "--file" => plan.content = Content::Files(vec![value().into()]),
            "--source" => plan.sources.push(value().parse().unwrap()),
            "--per-connection" => plan.per_connection = Some(value().parse().unwrap()),
            "--pipelining" => plan.pipelining = pipelining(value()),
            "--bdat" => plan.transfer = Transfer::Bdat { chunk: None },
            "--chunk-size" => {
                let chunk: NonZeroUsize = value().parse().unwrap();
                plan.transfer = Transfer::Bdat { chunk: Some(chunk) };
            }
            "--idle-connections" => plan.idle_connections = value().parse().unwrap(),
            "--slow-clients" => plan.slow_clients = value().parse().unwrap(),
            "--slow-rate" => plan.slow_rate = value().parse::<NonZeroU32>().unwrap(),
            "--tls" => plan.tls = Some(Tls::implicit()),
            "--starttls" => plan.tls = Some(Tls::starttls()),
            "--tls-ca" => tls(&mut plan).trust = Trust::File(value().into()),
            "--tls-insecure" => tls(&mut plan).trust = Trust::Anything,
            "--tls-name" => tls(&mut plan).name = Some(value().to_owned()),
            target => {
                assert!(!target.starts_with('-'), "{target}");
                plan.targets.push(target.to_owned());
            }
        }
    }
    plan
}

/// What follows `--tls` or `--starttls`.
fn tls(plan: &mut Plan) -> &mut Tls {
    plan.tls.as_mut().unwrap()
}

fn pipelining(word: &str) -> Pipelining {
    match word {
        "off" => Pipelining::Off,
        "envelope" => Pipelining::Envelope,
        "full" => Pipelining::Full,
        _ => unreachable!("{word}"),
    }
}

fn sizes(word: &str) -> Content {
    let size = |text: &str| match text.strip_suffix("MiB") {
        Some(number) => number.parse::<u64>().unwrap() << 20,
        None => text.parse().unwrap(),
    };
    match word.split_once('-') {
        Some((least, most)) => Content::Sizes(size(least)..=size(most)),
        None => Content::Size(size(word)),
    }
}

fn time(word: &str) -> Duration {
    let seconds = |text: &str| text.strip_suffix('s').unwrap().parse().unwrap();
    match word.strip_suffix("ms") {
        Some(number) => Duration::from_millis(number.parse().unwrap()),
        None => Duration::from_secs(seconds(word)),
    }
}

/// How often each kind of failure was counted.
fn failures(measured: &Measurements) -> Vec<(Stage, Kind, u64)> {
    measured
        .failures
        .iter()
        .map(|(&(stage, kind), failures)| (stage, kind, failures.count))
        .collect()
}
