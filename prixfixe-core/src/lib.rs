//! The receiving side of SMTP without I/O: bytes in, events and bytes out.
#![deny(missing_docs)]

mod address;
mod body;
mod chunk;
mod command;
mod config;
mod connection;
mod data;
mod event;
mod line;
mod parser;
mod received;
pub mod replies;
mod reply;
mod scan;
mod state;
mod time;

pub use address::{ForwardPath, InvalidMailbox, Mailbox, ReversePath};
pub use config::Config;
pub use connection::Connection;
pub use event::{Abort, Answer, BodyType, Event, MailParameters, Question};
pub use line::MAX_LINE;
pub use reply::{EnhancedCode, InvalidReply, Reply};
