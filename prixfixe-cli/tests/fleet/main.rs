//! What `deploy/` holds, run as an operator runs it: three servers behind nginx and behind HAProxy,
//! Prometheus with its alerts and the dashboard's queries, and the files for containers, systemd
//! and Kubernetes held against the binary.
//!
//! The configurations are the very files in `deploy/`; only addresses, ports and paths are put in
//! place of theirs. A test whose program is not installed says so and passes; with
//! `PRIXFIXE_TEST_REQUIRE_TOOLS` set it fails.

// What helps a test may fail like one.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod balancer;
mod balancers;
mod client;
mod containers;
mod deploy;
mod http;
mod instance;
mod monitoring;
mod process;
mod units;
