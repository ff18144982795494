//! The client's side of the dialogue: by scripts, by properties, and against the core.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod allocation;
#[cfg(feature = "auth")]
mod authentication;
mod core_pair;
mod dialogues;
mod errors;
mod properties;
mod script;
mod time;
