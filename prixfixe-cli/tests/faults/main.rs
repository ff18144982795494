//! The built binary under every fault that a host and its clients can make: killed, out of space,
//! out of descriptors, its clock moved, clients that never finish, never read, never leave.
//!
//! After each: what was acknowledged is there and whole, nothing partial is visible, memory is
//! back, and it goes on serving, on both transports. A test that misses a program or a privilege
//! says so and passes; with `PRIXFIXE_TEST_REQUIRE_TOOLS` set it fails. `docs/TESTING.md` has the
//! commands of the long runs.

// What helps a test may fail like one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod clear_text;
mod client;
mod clock;
mod crowd;
mod descriptors;
mod disk;
mod flood;
mod gathered;
mod hang;
mod kill;
mod lockout;
mod mail;
mod server;
mod slow;
mod spool;
mod spool_disk;
mod spool_processes;
mod storage;
mod strangers;
mod targets;

/// What each test goes over.
const TRANSPORTS: [&str; 2] = ["tokio", "raw"];
