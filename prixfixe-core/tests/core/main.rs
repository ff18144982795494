//! How the core behaves, seen from outside.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod allocation;
mod answers;
mod auth;
mod dialogues;
mod idle;
mod lmtp;
mod login;
mod output;
mod refusals;
mod server;
mod splitting;
mod states;
mod time;
mod values;
