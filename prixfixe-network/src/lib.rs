//! Moves bytes between sockets and anything that is a [`Session`].
#![deny(missing_docs)]

mod completion;
mod connection;
mod control;
mod listener;
mod options;
mod output;
mod pump;
mod raw_transport;
mod reception;
mod running;
mod server;
mod service;
mod session;
mod sys;
mod tokio_transport;
mod wakers;

pub use listener::{BindError, Listener};
pub use options::{Options, Transport};
pub use output::OutputBuffer;
pub use running::Running;
pub use server::{StartError, serve};
pub use service::{Connection, Service};
pub use session::Session;
