//! Checks against name servers, signers and suites that others wrote, and against name servers that
//! misbehave.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod authentication;
mod blocklist;
mod client_name;
mod dkim;
mod dmarc;
mod dns;
mod milter;
mod rfc7208;
mod rspamd;
mod served;
mod trouble;

/// Runs `async fn NAME(transport: Transport)` as a test on each transport.
macro_rules! on_both_transports {
    ($($name:ident),* $(,)?) => {
        mod tokio_transport {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(prixfixe_server::Transport::Tokio).await;
            })*
        }
        mod raw_transport {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(prixfixe_server::Transport::Raw).await;
            })*
        }
    };
}
pub(crate) use on_both_transports;
