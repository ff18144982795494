//! `prixfixe bench plan`: measures a server on the spot, and says how many of them a load needs.

mod server;

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use self::server::Server;
use super::progress::Line;
use super::values::{MOST_CONNECTIONS, at_most, positive_duration, rate, size};
use super::{CommandError, allow_descriptors, print, stop_on_signals};
use crate::plan::{Content, Pace};
use crate::report::{Host, Metric, Run};
use crate::{Capacity, Estimate, Plan};

pub(super) const EXAMPLES: &str = "\
Examples:
  prixfixe bench plan --rate 1000 --size 10KiB
      measures a Maildir in the current directory
  prixfixe bench plan --rate 1000 --size 10KiB --directory /var/mail --json
  prixfixe bench plan --rate 1000 --size 10KiB --deliver maildir:mail --deliver lmtp:127.0.0.1:24
      measures one after the other; what is remote receives the messages

It starts `prixfixe serve` on a free port of this machine, and removes what that has stored.";

/// The command line of `bench plan`.
#[derive(Debug, Clone, Args)]
pub(super) struct Arguments {
    /// Messages per second that are to be taken
    #[arg(long, value_name = "N", value_parser = rate)]
    rate: f64,

    /// Bytes of a message, or a range: 1000, 10KB, 1KiB-100KiB
    #[arg(short, long, value_name = "SIZE", value_parser = size, default_value = "10KiB")]
    size: Content,

    /// Where the measured server delivers, as with serve; a relative path is in a directory that is
    /// removed; repeatable
    #[arg(long, value_name = "TARGET", default_value = "maildir:mail")]
    deliver: Vec<String>,

    /// Directory on the disk that is to be measured
    #[arg(long, value_name = "PATH", default_value = ".")]
    directory: PathBuf,

    /// Number of connections at once
    #[arg(short, long, value_name = "N", default_value = "50", value_parser = at_most::<MOST_CONNECTIONS>)]
    concurrency: NonZeroU32,

    /// Time of the measurement, of which a third goes to latency at half the speed
    #[arg(short, long, value_name = "TIME", default_value = "6s", value_parser = positive_duration)]
    duration: Duration,

    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
}

/// All of it, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Answer {
    rate: f64,
    /// The mean size of a message in bytes.
    message_bytes: u64,
    host: Host,
    plans: Vec<Estimate>,
    assumptions: Vec<String>,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, CommandError> {
    allow_descriptors();
    let stop = stop_on_signals().map_err(CommandError::Signals)?;
    let message_bytes = match &arguments.size {
        Content::Sizes(sizes) => u64::midpoint(*sizes.start(), *sizes.end()),
        Content::Size(size) => *size,
        _ => 0,
    };
    let mut plans = Vec::new();
    for deliver in &arguments.deliver {
        let capacity = measure(arguments, deliver, &stop)?;
        let plan = Estimate::new(arguments.rate, message_bytes, capacity);
        let none = || CommandError::Measure(format!("{deliver} took no message"));
        plans.push(plan.ok_or_else(none)?);
    }
    let answer = Answer {
        rate: arguments.rate,
        message_bytes,
        host: Host::current(),
        assumptions: plans.first().map(Estimate::assumptions).unwrap_or_default(),
        plans,
    };
    if arguments.json {
        let text = serde_json::to_string_pretty(&answer);
        let text = text.map_err(|error| CommandError::Output(error.into()))?;
        print(&format!("{text}\n"))?;
    } else {
        print(&answer.to_text())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What one server does that delivers there: all it can, then half of that for its latency.
fn measure(
    arguments: &Arguments,
    deliver: &str,
    stop: &AtomicBool,
) -> Result<Capacity, CommandError> {
    let server = Server::start(&arguments.directory, deliver).map_err(CommandError::Measure)?;
    let mut plan = Plan::new([server.address()]);
    deliver.clone_into(&mut plan.name);
    plan.content = arguments.size.clone();
    plan.concurrency = arguments.concurrency;
    plan.timeout = Duration::from_secs(20);
    plan.pace = Pace::duration(arguments.duration.mul_f64(2.0 / 3.0));
    let before = server.processor_time();
    let run = load(&plan, stop)?;
    let mut capacity = Capacity::new(deliver, &run);
    capacity.processor = per_message(&run, before, server.processor_time());
    if run.messages.accepted > 0 && run.messages.per_second > 1.0 {
        plan.pace = Pace::duration(arguments.duration.mul_f64(1.0 / 3.0));
        plan.pace.rate = Some(run.messages.per_second / 2.0);
        capacity.p99_at_half = Metric::P99.of(&load(&plan, stop)?);
    }
    capacity.memory = server.peak_memory();
    Ok(capacity)
}

fn load(plan: &Plan, stop: &AtomicBool) -> Result<Run, CommandError> {
    let workload = plan.prepare();
    let workload = workload.map_err(|error| CommandError::Measure(error.to_string()))?;
    let mut line = Line::new(workload.name(), workload.pace());
    let run = workload.run(stop, |progress| line.tick(progress, Instant::now()));
    line.finish();
    let run = run?;
    if stop.load(Ordering::Relaxed) {
        return Err(CommandError::Measure("interrupted".to_owned()));
    }
    match run.errors.first() {
        None => Ok(run),
        Some(error) => {
            let (count, example) = (run.messages.failed, &error.example);
            let said = format!("{}: {count} messages failed: {example}", plan.name);
            Err(CommandError::Measure(said))
        }
    }
}

/// Processor time of a message in microseconds.
fn per_message(run: &Run, before: Option<Duration>, after: Option<Duration>) -> Option<f64> {
    let time = after?.checked_sub(before?)?;
    #[expect(clippy::cast_precision_loss, reason = "for people to read")]
    let accepted = run.messages.accepted as f64;
    (accepted > 0.0).then(|| time.as_secs_f64() * 1e6 / accepted)
}

impl Answer {
    fn to_text(&self) -> String {
        let mut lines = vec![format!(
            "{} messages per second of {} bytes",
            self.rate, self.message_bytes
        )];
        for plan in &self.plans {
            lines.push(String::new());
            lines.extend(plan_lines(plan));
        }
        lines.push(String::new());
        lines.push(format!("measured on {}", self.host));
        lines.extend(self.assumptions.iter().map(|it| format!("- {it}")));
        lines.join("\n") + "\n"
    }
}

fn plan_lines(plan: &Estimate) -> Vec<String> {
    let measured = &plan.measured;
    let time = |latency: Option<f64>| match latency {
        Some(latency) => Metric::P99.show(latency),
        None => "too few".to_owned(),
    };
    let megabytes = |bytes: f64| format!("{:.1} MB", bytes / 1e6);
    let mut rows = vec![
        ("servers", plan.servers.to_string()),
        (
            "each takes",
            format!(
                "{:.0} messages per second while all run",
                plan.rate_per_server
            ),
        ),
    ];
    if let Some(cores) = plan.cores_per_server {
        rows.push(("processor", format!("{cores:.2} cores busy in each")));
    }
    if let Some(memory) = plan.memory_per_server {
        #[expect(clippy::cast_precision_loss, reason = "for people to read")]
        rows.push(("memory", format!("{} in each", megabytes(memory as f64))));
    }
    rows.push((
        "network",
        format!("{:.1} Mbit/s in all", plan.network_bits / 1e6),
    ));
    let stored = megabytes(plan.stored_per_server);
    rows.push(("content", format!("{stored} per second to each")));
    let mut lines = vec![measured.deliver.clone()];
    lines.extend(
        rows.iter()
            .map(|(name, value)| format!("  {name:<11} {value}")),
    );
    lines.push(format!(
        "  measured    {:.0} messages per second over {} connections (P50 {}, P99 {}); P99 {} at half of that",
        measured.per_second,
        measured.connections,
        time(measured.p50),
        time(measured.p99),
        time(measured.p99_at_half)
    ));
    lines
}
