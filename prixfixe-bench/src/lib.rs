//! Drives any SMTP or LMTP server, and reports throughput and latency.
//!
//! A [`Plan`] says which servers, how much and how. [`Plan::prepare`] reads, resolves and checks
//! all of it, and makes every message ready for the wire, before the first connection.
//! [`Workload::run`] sends, on threads of its own over non-blocking sockets, and gives a
//! [`Run`](report::Run). Runs are collected in a [`Report`], which is a table, JSON or a page.
//!
//! ```no_run
//! use std::sync::atomic::AtomicBool;
//! use std::time::{Duration, SystemTime};
//!
//! use prixfixe_bench::plan::{Content, Pace};
//! use prixfixe_bench::{Plan, Report};
//!
//! let mut plan = Plan::new(["localhost:2525"]);
//! plan.pace = Pace::duration(Duration::from_secs(10));
//! plan.content = Content::Sizes(1_000..=100_000);
//!
//! let mut report = Report::new(SystemTime::now());
//! let stop = AtomicBool::new(false);
//! report.runs.push(plan.prepare()?.run(&stop, |progress| eprintln!("{progress:?}"))?);
//!
//! for run in &report.runs {
//!     println!("{}", run.to_table());
//! }
//! std::fs::write("report.html", report.to_html())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Beyond one run
//!
//! - [`FailIf`] is a condition that fails a run: `p99>50ms`, `failed>0.1%`, `rate<1000`.
//! - [`Report::compare`] sets runs beside older ones, and tells change from noise where both were
//!   repeated.
//! - [`Estimate`] says how many servers a load needs.
//! - [`Stepping`] finds the highest rate that a server holds.
//! - The feature `command` has all of it as a command for clap, as `prixfixe bench` offers it.
//!
//! # What is measured
//!
//! In a closed loop, without [`Pace::rate`](plan::Pace::rate), each connection sends its next
//! message when the one before is answered. In an open loop messages are due at fixed times,
//! whatever the server does, and their latency counts from then: a server that stalls for a second
//! has delayed every message that was due in that second.
//!
//! A message counts as accepted when the server has taken it for all its recipients. Whatever else
//! becomes of it is a failure, counted by where in the dialogue it came and what it was.
//! Counts and histograms are bounded, however long the run.
//!
//! # Under the load
//!
//! A connection is a file: a process may have to raise its limit of open files before a run.
//! Where the limit is reached, connections fail and are counted as such.
#![deny(missing_docs)]

#[cfg(feature = "command")]
pub mod command;
mod condition;
mod content;
mod dialogue;
mod engine;
mod estimate;
mod failure;
mod knee;
mod measure;
pub mod plan;
pub mod report;
mod scenario;
mod target;
#[cfg(test)]
mod tests;
mod tls;
mod workload;

pub use self::condition::{Broken, FailIf, FailIfError};
pub use self::estimate::{Capacity, Estimate};
pub use self::knee::{Knee, Step, Stepping};
pub use self::plan::{Plan, PlanError};
pub use self::report::Report;
pub use self::scenario::Scenario;
pub use self::workload::{Progress, RunError, Workload};
