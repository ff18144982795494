//! Real clients against the built binary: what they send lies in the Maildir, byte for byte.
//!
//! A test whose client is not installed says so and passes; with `PRIXFIXE_TEST_REQUIRE_TOOLS` set it fails.

mod fallback;
mod kill;
mod postfix;
mod support;
mod tls;
mod transports;
