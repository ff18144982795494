//! Runs scenarios until so many messages were acknowledged; or one of them, again.
#![allow(clippy::print_stdout, reason = "it is for a terminal")]

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use prixfixe_simulation::scenario::{Scenario, Size};
use prixfixe_simulation::shrink::Kept;
use prixfixe_simulation::{Certificates, Outcome, run};

/// Simulates clients, a network, a disk and a clock around the real server.
#[derive(Debug, Parser)]
#[command(
    after_help = "Example: cargo run --profile simulation -p prixfixe-simulation -- --messages 1000000"
)]
struct Arguments {
    /// Runs one scenario after the other until so many messages were acknowledged
    #[arg(long, default_value_t = 100_000)]
    messages: u64,
    /// The seed of the first scenario; each that follows has the next one
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Runs the scenario of the seed alone
    #[arg(long)]
    once: bool,
    /// Runs the scenario of the seed alone, and of it what a failure said to keep
    #[arg(long, value_name = "PARTS")]
    keep: Option<Kept>,
    /// How large scenarios are, in parts of a hundred
    #[arg(long, default_value_t = 100)]
    percent: usize,
    /// Prints what happens in the scenario of the seed
    #[arg(long)]
    trace: bool,
    /// Runs to spend on making a failure small
    #[arg(long, default_value_t = 1000)]
    shrink: usize,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let certificates = match Certificates::new() {
        Ok(certificates) => certificates,
        Err(error) => {
            println!("no certificate can be made: {error}");
            return ExitCode::FAILURE;
        }
    };
    if arguments.once || arguments.keep.is_some() || arguments.trace {
        return one(&arguments, &certificates);
    }
    many(&arguments, &certificates)
}

fn one(arguments: &Arguments, certificates: &Certificates) -> ExitCode {
    let whole = Scenario::generate(
        arguments.seed,
        Size {
            percent: arguments.percent,
        },
    );
    let scenario = arguments
        .keep
        .as_ref()
        .map_or_else(|| whole.clone(), |kept| kept.of(&whole));
    let outcome = run(
        &scenario,
        certificates,
        arguments.trace || arguments.keep.is_some(),
    );
    report(&outcome);
    if outcome.violation.is_none() {
        print(&outcome.trace);
        return ExitCode::SUCCESS;
    }
    if arguments.keep.is_some() || arguments.trace {
        println!("\n{scenario}");
        print(&outcome.trace);
        tell(&outcome);
    } else {
        shrink(&whole, &outcome, arguments, certificates);
    }
    ExitCode::FAILURE
}

fn many(arguments: &Arguments, certificates: &Certificates) -> ExitCode {
    let start = Instant::now();
    let (mut messages, mut connections, mut events, mut seed, mut hours, mut most) =
        (0, 0, 0, arguments.seed, 0, 0);
    while messages < arguments.messages {
        let scenario = Scenario::generate(
            seed,
            Size {
                percent: arguments.percent,
            },
        );
        let outcome = run(&scenario, certificates, false);
        messages += outcome.acknowledged;
        connections += outcome.connections;
        events += outcome.events;
        hours += outcome.lasted / 3_600_000_000_000;
        most = most.max(outcome.most_sessions);
        if outcome.violation.is_some() {
            println!("seed {seed} fails");
            report(&outcome);
            shrink(&scenario, &outcome, arguments, certificates);
            return ExitCode::FAILURE;
        }
        seed += 1;
    }
    println!(
        "{messages} messages acknowledged over {connections} connections, up to {most} sessions at once, in {} scenarios (seeds {} to {}): {events} events, {hours} simulated hours, {:.1} s",
        seed - arguments.seed,
        arguments.seed,
        seed - 1,
        start.elapsed().as_secs_f64()
    );
    ExitCode::SUCCESS
}

/// Makes a failure small and says how to repeat it.
fn shrink(
    scenario: &Scenario,
    outcome: &Outcome,
    arguments: &Arguments,
    certificates: &Certificates,
) {
    let Some(violation) = &outcome.violation else {
        return;
    };
    println!("{violation}\nmaking it smaller ...");
    let kept = Kept::shrink(scenario, arguments.shrink, |scenario| {
        run(scenario, certificates, false)
            .violation
            .is_some_and(|other| other.invariant == violation.invariant)
    });
    let least = kept.of(scenario);
    let outcome = run(&least, certificates, true);
    println!("\n{least}");
    print(&outcome.trace);
    tell(&outcome);
    let size = if arguments.percent == 100 {
        String::new()
    } else {
        format!(" --percent {}", arguments.percent)
    };
    println!(
        "\nto repeat it:\n  cargo run --profile simulation -p prixfixe-simulation -- --seed {}{size} --keep '{kept}'",
        scenario.seed
    );
}

fn report(outcome: &Outcome) {
    println!(
        "{} messages acknowledged of {} sent, {} connections, {} events, {} simulated seconds, digest {:016x}",
        outcome.acknowledged,
        outcome.transmissions,
        outcome.connections,
        outcome.events,
        outcome.lasted / 1_000_000_000,
        outcome.digest
    );
}

fn tell(outcome: &Outcome) {
    if let Some(violation) = &outcome.violation {
        println!("\n{violation}");
    }
}

fn print(lines: &[String]) {
    for line in lines {
        println!("{line}");
    }
}
