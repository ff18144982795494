//! Clients, a network, a disk and a clock, all simulated, around the real server: its sessions
//! inside TLS, driven by the turn that the transports share, and its Maildir.
//!
//! Everything is in one thread and follows from a seed. The crate's README says how to run it, what
//! must hold, and how a failure is repeated.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "so tests fail"
)]
#![allow(
    missing_debug_implementations,
    unreachable_pub,
    reason = "it is for tests, and nobody prints it"
)]

mod client;
pub mod content;
mod disk;
mod handler;
mod ledger;
mod network;
mod panics;
pub mod runtime;
pub mod scenario;
pub mod shrink;
mod target;
mod tls;
mod trace;
pub mod violation;
mod world;

use std::sync::Arc;
use std::time::Duration;

use prixfixe_delivery::{Maildir, MaildirOptions};
use prixfixe_network::Service;
use prixfixe_server::inspect::Inspect;
use prixfixe_server::{Endpoint, Server};

use crate::disk::{Disk, ROOT};
use crate::handler::{SimulatedHandler, Store};
use crate::runtime::Runtime;
use crate::scenario::Scenario;
use crate::world::{Made, World};

pub use crate::tls::Certificates;
pub use crate::world::Outcome;

/// Runs a scenario to its end, or to the first thing that does not hold.
#[must_use]
pub fn run(scenario: &Scenario, certificates: &Certificates, traced: bool) -> Outcome {
    panics::watch();
    let tls = certificates
        .server(scenario.server.handshake_timeout)
        .expect("the certificate is good");
    World::new(scenario, certificates, traced, |disk, runtime| {
        make(scenario, &tls, disk, runtime)
    })
    .run()
}

/// A server without a transport. `None`: its Maildir cannot be opened at the moment.
fn make(
    scenario: &Scenario,
    tls: &prixfixe_tls::TlsConfig,
    disk: &Disk,
    runtime: &Runtime,
) -> Option<Made<impl Service<Session: Inspect> + use<>>> {
    let plain = ([10, 255, 0, 1], 25);
    let mut options = MaildirOptions::default();
    options.fsync = scenario.disk.fsync;
    let (maildir, hands) = Maildir::open_by_hand(disk.clone(), ROOT, &options).ok()?;
    let away = target::delivery(maildir.clone(), runtime.clone(), scenario.sabotage);
    let store = Store {
        away,
        maildir,
        runtime: runtime.clone(),
        sabotage: scenario.sabotage,
    };
    let limits = &scenario.server;
    let service = Server::builder()
        .domain("mx.simulation.example")
        .tls(tls.clone())
        .max_message_size(limits.max_message_size)
        .max_recipients(limits.max_recipients)
        .max_errors(limits.max_errors)
        .max_idle_commands(limits.max_idle_commands)
        .idle_timeout(Duration::from_nanos(limits.idle_timeout))
        .command_timeout(Duration::from_nanos(limits.command_timeout))
        .min_data_rate(limits.min_data_rate)
        .handler_timeout(Duration::from_nanos(limits.handler_timeout))
        .handler(SimulatedHandler(Arc::new(store)))
        .listen(plain)
        .listen(Endpoint::new(plain).implicit_tls())
        .into_service()
        .expect("the configuration is good");
    Some((service, hands))
}
