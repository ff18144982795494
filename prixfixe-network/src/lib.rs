//! Moves bytes between sockets and anything that is a [`Session`].
mod listener;
mod output;
mod server;
mod service;
mod session;

pub use listener::{BindError, Listener};
pub use output::OutputBuffer;
pub use server::{Options, Running, StartError, Transport, serve};
pub use service::{Connection, Service};
pub use session::Session;
