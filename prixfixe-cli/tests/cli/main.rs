//! The built binary, as its user meets it.

mod check;
mod harness;
mod lifecycle;
mod logs;
mod usage;
