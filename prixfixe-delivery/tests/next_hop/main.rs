//! What a next hop may say and do, and what becomes of the mail: scripted servers, and real ones.

#![cfg(feature = "smtp")]
#![allow(unreachable_pub, reason = "a test binary exports nothing")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "so tests fail"
)]

mod dialogue;
mod faults;
mod login;
#[cfg(unix)]
mod programs;
mod real;
mod reuse;
mod scripted;
mod streaming;
