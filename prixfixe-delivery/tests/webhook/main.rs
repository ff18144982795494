//! Webhooks against endpoints that behave, and that do not.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod chaos;
mod endpoint;
mod formats;
mod how_to;
mod misbehaviour;
mod payloads;
mod replies;
mod schema;
mod tls;
mod transports;
mod verifiers;
