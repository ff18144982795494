//! Runs one dialogue in memory a number of times, through the core alone or through a server's
//! session, for a tool that counts instructions: see `instructions.sh`.
#![allow(clippy::print_stdout)]

use std::process::ExitCode;

use clap::Parser;
use prixfixe_benches::dialogue::{Dialogue, Workload};
use prixfixe_benches::session;

/// Without arguments: the numbers and names of the workloads.
#[derive(Debug, Parser)]
struct Arguments {
    /// The number of a workload
    workload: Option<usize>,
    /// How often
    #[arg(default_value = "1")]
    repetitions: u32,
    /// Through a server's session, with a handler that discards
    #[arg(long)]
    server: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let workloads = Workload::all();
    let Some(number) = arguments.workload else {
        for (number, workload) in workloads.iter().enumerate() {
            println!("{number} {}", workload.name);
        }
        return ExitCode::SUCCESS;
    };
    let Some(workload) = workloads.get(number) else {
        eprintln!("instructions: there is no workload {number}");
        return ExitCode::from(2);
    };
    let messages = if arguments.server {
        session::run(workload, arguments.repetitions).unwrap_or_default()
    } else {
        let mut dialogue = Dialogue::new();
        (0..arguments.repetitions)
            .map(|_| dialogue.run(workload))
            .sum()
    };
    // Used, so that it is not optimised away; and checked, so that it is not a measurement of
    // something else.
    if messages == workload.messages * u64::from(arguments.repetitions) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
