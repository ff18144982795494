//! Checks against name servers, signers and suites that others wrote, and against name servers that misbehave.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod dns;
mod rfc7208;
