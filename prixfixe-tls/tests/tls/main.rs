//! TLS in memory: a rustls client against a session, no socket, no clock but the test's.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on says so"
)]

mod authority;
mod certificates;
mod clients;
mod echo;
mod fairness;
mod handshake;
mod properties;
mod reload;
mod selection;
mod starttls;
mod traffic;
mod wire;
