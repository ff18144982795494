//! The load generator against real sockets: servers that work, and servers that do not.

mod misbehaviour;
mod server;
mod working;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Parser;

use super::failure::{Kind, Stage};
use super::measure::Measurements;
use super::{Arguments, drive, plan};

#[derive(Debug, Parser)]
struct CommandLine {
    #[command(flatten)]
    arguments: Arguments,
}

/// Runs a command line to its end.
fn run(line: &str) -> Measurements {
    let words = std::iter::once("bench").chain(line.split_whitespace());
    let arguments = CommandLine::try_parse_from(words).unwrap().arguments;
    let plans = plan::plan(&arguments).unwrap();
    assert_eq!(plans.len(), 1, "one run at a time");
    drive(&plans[0], &Arc::new(AtomicBool::new(false))).unwrap()
}

/// How often each kind of failure was counted.
fn failures(measured: &Measurements) -> Vec<(Stage, Kind, u64)> {
    measured
        .failures
        .iter()
        .map(|(&(stage, kind), failures)| (stage, kind, failures.count))
        .collect()
}
