//! Logging in over SMTP (RFC 4954).
#![deny(missing_docs)]

pub mod mechanism;
