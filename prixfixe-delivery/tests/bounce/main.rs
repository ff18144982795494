//! Reports to senders (RFC 3464): what is in them, what cannot get into them, and that programs of
//! others understand them.
#![cfg(test)]

mod fields;
mod hostile;
mod permission;
mod programs;
mod read;
mod reports;
