//! What tests and tools of several crates need, once each.
//!
//! What has dependencies, but for the client, is behind a feature, so that a crate builds no more
//! than its tests use:
//!
//! | feature | what |
//! |---|---|
//! | `disk` | a simulated disk for the log of the spool |
//! | `tls` | `SelfSigned` certificates, and a client that trusts `AnyCertificate` |
//! | `echo` | an `Echo` session for transports |
//! | `logs` | a subscriber in force while a test runs |
//! | `nats` | `NatsServer`, a `nats-server` that ends with the test |
//! | `tls-echo` | the same session, behind TLS |

#![deny(missing_docs)]
// What helps a test may fail like one.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

#[cfg(feature = "tls")]
mod certificate;
mod client;
mod data;
mod dialogue;
#[cfg(feature = "disk")]
pub mod disk;
#[cfg(feature = "echo")]
mod echo;
mod http;
#[cfg(feature = "logs")]
mod logs;
mod maildir;
#[cfg(all(unix, feature = "nats"))]
mod nats;
mod ports;
mod programs;
#[cfg(feature = "tls")]
mod verifier;
mod waiting;

#[cfg(feature = "tls")]
pub use certificate::SelfSigned;
pub use client::{Client, Replies};
pub use data::{Meaning, data, meaning, stuffed, texts};
pub use dialogue::talk;
#[cfg(feature = "echo")]
pub use echo::{ECHO_TIMEOUT, Echo};
pub use http::{HttpAnswer, HttpRequest, HttpServer};
#[cfg(feature = "logs")]
pub use logs::listening;
pub use maildir::{Mail, mail_in};
#[cfg(all(unix, feature = "nats"))]
pub use nats::NatsServer;
pub use ports::unused_port;
pub use programs::{has, python_with, run};
#[cfg(feature = "tls")]
pub use verifier::{AnyCertificate, trusting_client};
pub use waiting::{PATIENCE, wait_until};
