//! The spool's promises, each by what a target gets and what lies in the directory.
#![allow(
    unreachable_pub,
    missing_debug_implementations,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod at_once;
mod crashes;
mod delivery;
mod endings;
mod memory;
mod operations;
mod restart;
mod scripted;
#[cfg(feature = "smtp")]
mod servers;
