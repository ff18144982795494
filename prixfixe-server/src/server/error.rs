//! Why a server does not start.

use std::io;

use prixfixe_network::{BindError, ServeError};

#[cfg(doc)]
use super::ServerBuilder;
use crate::SettingsError;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// [`listen`](ServerBuilder::listen) was not called.
    #[error("no address to listen on")]
    NoListener,
    /// The settings contradict themselves, or are none that a server can run with.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// What was to be listened on is no address: an IP address and a port are asked for.
    #[error("{0:?} is no IP address and port, such as 127.0.0.1:25 or [::1]:25")]
    Address(String),
    /// An address could not be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The thread of [`shutdown_on`](ServerBuilder::shutdown_on), or of the runtime that the
    /// handler needs, could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
    /// The transport could not be set up.
    #[error(transparent)]
    Transport(#[from] ServeError),
}
