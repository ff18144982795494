//! What the handlers promise, on a simulated disk and on the real one.

#![allow(unreachable_pub, reason = "a test binary exports nothing")]

mod crash;
mod directory;
mod faults;
mod handlers;
mod health;
mod messages;
mod processes;
mod simulated;
