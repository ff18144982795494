//! Real clients against the built binary: what they send lies in the Maildir, byte for byte.
//!
//! A test whose client is not installed says so and passes; with `PRIXFIXE_TEST_REQUIRE_TOOLS` set
//! it fails.

// What helps a test may fail like one.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod auth;
mod balancers;
mod dovecot;
mod fallback;
mod kill;
mod lmtp;
mod oidc;
mod postfix;
mod proxies;
mod support;
mod tls;
mod transports;
