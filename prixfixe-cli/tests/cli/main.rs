//! The built binary, as its user meets it.

// What helps a test may fail like one.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod admin;
mod auth;
mod bench;
mod check;
mod chromium;
#[cfg(unix)]
mod fleet;
mod fleet_changes;
mod fleet_deployed;
mod harness;
mod how_to;
mod lifecycle;
mod lmtp;
mod logs;
#[cfg(unix)]
mod maildirs;
mod metrics;
#[cfg(unix)]
mod milters;
mod page;
mod page_parts;
mod policy;
mod privileges;
mod refusals;
mod reload;
mod restart;
#[cfg(unix)]
mod spool;
mod spooled;
mod storage;
mod systemd;
mod targets;
mod usage;
