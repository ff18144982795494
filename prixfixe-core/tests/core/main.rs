//! How the core behaves, seen from outside.

mod allocation;
mod dialogues;
mod matrix;
mod server;
mod splitting;
mod time;
