//! Programs that are handed messages: good ones, and those that are not.

#![cfg(unix)]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod programs;
mod transports;
