//! The spool's promises, each by what a target gets and what lies in the directory.
#![allow(
    unreachable_pub,
    missing_debug_implementations,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod delivery;
mod endings;
mod operations;
mod restart;
mod scripted;
