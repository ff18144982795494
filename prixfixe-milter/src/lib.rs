//! The client of milters without I/O: protocol version 6, bytes in, events and bytes out.
//!
//! A milter is a filter that a mail server asks about each connection and message, over TCP or a
//! Unix socket. Sendmail defined the protocol, and Postfix speaks it. [`MilterClient`] is the
//! server's side of one connection to a milter.
//!
//! 1. Send what [`take_output`](MilterClient::take_output) gives. At first that is the offer.
//! 2. Hand what the milter sends to [`receive`](MilterClient::receive).
//! 3. Ask [`next_event`](MilterClient::next_event) until it says that it needs more bytes.
//! 4. After [`Event::Negotiated`], and after each [`Event::Answer`], go on with the next command.
//!    It says whether an answer will come ([`Sent`]).
//!
//! A command whose stage the milter does not want writes nothing. After an [`Answer::Accept`] the
//! rest of the connection or of the message is left out by itself.
//!
//! ```
//! use prixfixe_milter::{Address, Answer, Event, Macros, MilterClient, Offer, Sent};
//!
//! # fn main() -> Result<(), prixfixe_milter::MilterError> {
//! let mut client = MilterClient::new(Offer::default());
//! assert_eq!(client.take_output().get(..5), Some(&b"\0\0\0\x0dO"[..]));
//! // A milter of version 6 that may do nothing, and wants all stages.
//! client.receive(b"\0\0\0\x0dO\0\0\0\x06\0\0\0\0\0\0\0\0");
//! assert!(matches!(client.next_event()?, Some(Event::Negotiated)));
//!
//! let address = Address::Ip(([192, 0, 2, 1], 40_000).into());
//! let sent = client.connect("mail.example.com", &address, &Macros::default())?;
//! assert_eq!(sent, Sent::Answered);
//! client.receive(b"\0\0\0\x01r");
//! assert!(matches!(client.next_event()?, Some(Event::Answer(Answer::Reject))));
//! # Ok(()) }
//! ```
//!
//! No byte of a milter's makes it panic, and none makes it keep more than [`Offer`] allows.

#![deny(missing_docs)]

mod answer;
mod client;
mod error;
mod flags;
mod kind;
mod macros;
mod negotiation;
mod packet;
mod reply;

pub use answer::{Answer, Event, Modification};
pub use client::{Address, MilterClient, Sent};
pub use error::MilterError;
pub use flags::{Actions, Steps};
pub use macros::{Macros, Stage};
pub use negotiation::{MaxData, Offer};
pub use reply::CustomReply;
