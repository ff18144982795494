//! What the handlers promise, on a simulated disk and on the real one.

#![allow(unreachable_pub, reason = "a test binary exports nothing")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "so tests fail"
)]

#[cfg(feature = "webhook")]
mod accept;
mod crash;
mod directory;
mod faults;
mod handlers;
mod health;
mod messages;
mod processes;
mod routes;
mod simulated;
#[cfg(unix)]
mod tree;
