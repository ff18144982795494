//! The receiving side of SMTP without I/O: bytes in, events and bytes out.
#![deny(missing_docs)]

mod address;
mod config;
mod connection;
mod event;
mod parser;
mod reply;

pub use address::{ForwardPath, InvalidMailbox, Mailbox, ReversePath};
pub use config::Config;
pub use connection::Connection;
pub use event::{Abort, Answer, BodyType, Event, MailParameters, Question};
pub use reply::{EnhancedCode, InvalidReply, Reply};
