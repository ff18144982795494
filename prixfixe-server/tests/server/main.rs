//! The server over real sockets, each behaviour on both transports.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics has failed"
)]

mod auth;
mod auth_programs;
mod checks;
mod client;
mod client_limits;
mod dialogues;
mod early;
mod handshakes;
mod hooks;
mod lifecycle;
mod limits;
mod lmtp;
mod messages;
mod metrics;
mod proxy;
mod reconfigure;
mod reload;
mod runtime;
mod sessions;
#[cfg(unix)]
mod unix;
mod xclient;

/// Runs `async fn NAME(transport: Transport)` as a test on each transport.
macro_rules! on_both_transports {
    ($($name:ident),* $(,)?) => {
        mod tokio_transport {
            $(#[tokio::test]
            async fn $name() {
                super::$name(prixfixe_server::Transport::Tokio).await;
            })*
        }
        mod raw_transport {
            $(#[tokio::test]
            async fn $name() {
                super::$name(prixfixe_server::Transport::Raw).await;
            })*
        }
    };
}
pub(crate) use on_both_transports;
