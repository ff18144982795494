//! The receiving side of SMTP without I/O: bytes in, events and bytes out.
//!
//! This crate knows the dialogue of RFC 5321 and nothing else: it has no socket, no clock, no task,
//! no thread and no opinion on where mail goes. Lend it the bytes that a client sent and it gives
//! back what the client did, as [`Event`]s, and what to tell it, as bytes. So it runs over anything
//! that moves bytes, and a test needs neither a network nor a sleep.
//!
//! With it come the extensions PIPELINING (RFC 2920), SIZE (RFC 1870), 8BITMIME (RFC 6152),
//! SMTPUTF8 (RFC 6531), ENHANCEDSTATUSCODES (RFC 2034), CHUNKING and BINARYMIME (RFC 3030),
//! STARTTLS (RFC 3207), for which TLS itself is the caller's, AUTH (RFC 4954), of which the caller
//! speaks the mechanisms, DSN (RFC 3461), REQUIRETLS (RFC 8689) and MT-PRIORITY (RFC 6710), whose
//! parameters are handed on, and LIMITS (RFC 9422).
//!
//! It speaks LMTP (RFC 2033) too: see [`Connection::with_protocol`].
//!
//! # The run loop
//!
//! 1. Make a [`Connection`]. The question whether the client is wanted is open:
//!    [`answer`](Connection::answer) it.
//! 2. Put what the client sends behind what was left of the input, and call
//!    [`poll_event`](Connection::poll_event) until it gives `None`.
//! 3. Do what the events say. [`Hello`](Event::Hello), [`Mail`](Event::Mail),
//!    [`Rcpt`](Event::Rcpt), [`Data`](Event::Data), [`MessageEnd`](Event::MessageEnd),
//!    [`Command`](Event::Command), [`Auth`](Event::Auth) and [`AuthResponse`](Event::AuthResponse)
//!    open a [`Question`]: [`answer`](Connection::answer) it, now or later, then poll again.
//! 4. Send the output. When [`is_closed`](Connection::is_closed) says so, close behind it.
//! 5. Wait for input, for the answer to a question, or for the [`deadline`](Connection::deadline),
//!    of which [`handle_timeout`](Connection::handle_timeout) is told. At the end of the input call
//!    [`receive_eof`](Connection::receive_eof), and poll.
//!
//! > **The one invariant.** At most one question is open, and while it is, nothing of the input is
//! > touched. So replies leave in the order of the commands however long an answer takes, and a
//! > client that sends without waiting is held back by its own transport.
//!
//! # An example
//!
//! A whole session over a byte slice:
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Instant;
//!
//! use prixfixe_core::{Answer, Config, Connection, Event, Reply};
//!
//! let sent = b"EHLO client.example.com\r\n\
//!     MAIL FROM:<alice@example.com>\r\n\
//!     RCPT TO:<bob@example.net>\r\n\
//!     RCPT TO:<nobody@example.net>\r\n\
//!     DATA\r\n\
//!     Hello, Bob.\r\n\
//!     .\r\n\
//!     QUIT\r\n";
//!
//! let mut connection = Connection::new(Arc::new(Config::new("mx.example.net")), Instant::now());
//! let mut output = Vec::new();
//! connection.answer(Instant::now(), Answer::Accept, &mut output);
//!
//! let mut input = sent.as_slice();
//! let mut content = Vec::new();
//! while let Some(event) = connection.poll_event(Instant::now(), &mut input, &mut output) {
//!     let answer = match event {
//!         Event::Body(piece) => {
//!             content.extend_from_slice(piece);
//!             continue;
//!         }
//!         Event::Rcpt { forward_path, .. } if forward_path.to_string().starts_with("nobody@") => {
//!             Answer::Refuse(Reply::permanent("No such user here"))
//!         }
//!         Event::Mail { .. } | Event::Rcpt { .. } => Answer::Accept,
//!         Event::Hello { .. } | Event::Data => Answer::Accept,
//!         // The place to make sure that the message is not lost.
//!         Event::MessageEnd { .. } => Answer::AcceptWith(Reply::ok("Got it")),
//!         // As an unknown one.
//!         Event::Command { .. } => Answer::Accept,
//!         _ => continue,
//!     };
//!     connection.answer(Instant::now(), answer, &mut output);
//! }
//!
//! assert!(connection.is_closed());
//! assert_eq!(content, b"Hello, Bob.\r\n");
//! let replies = String::from_utf8_lossy(&output);
//! assert!(replies.contains("\r\n550 5.7.1 No such user here\r\n354 "));
//! assert!(replies.ends_with("\r\n250 2.0.0 Got it\r\n221 2.0.0 Goodbye\r\n"));
//! ```
//!
//! # The dialogue
//!
//! What a well-formed command leads to: the code of the reply, and the state after it where it is
//! another. Where there is no code, the reply comes later. This table is read by a test that tries
//! every cell.
#![doc = ""]
#![doc = include_str!("matrix.md")]
//!
//! - `Start`: neither HELO nor EHLO yet. `Ready`: between transactions. `Mail`: there is a sender.
//!   `Rcpt`: and a recipient. `BetweenChunks`: between two chunks of a message. `ChunkRefused`: a
//!   chunk was refused, and others may be on their way; those are no bad commands.
//! - `ConnectAsked`, `HelloAsked`, `MailAsked`, `RcptAsked`, `DataAsked`, `ChunkAsked`,
//!   `MessageAsked` and `CommandAsked` (by a command that is not in the table) are those with an
//!   open [`Question`]. Accepted, they lead to `Start`, `Ready`, `Mail`, `Rcpt`, `Data`, `InChunk`
//!   and `Ready`, the last back; refused, back (and to `Closed` from `ConnectAsked`, or by a 421;
//!   to `Ready` from `DataAsked`, to `ChunkRefused` or `Ready` from `ChunkAsked`).
//! - `Data` and `InChunk` are those in which a body comes; they end in `MessageAsked`, a chunk that
//!   is not the last in `BetweenChunks`. A refused body is read to its true end, and then replied
//!   to.
//! - `AuthAsked` has an open question too. Accepted or refused, it leads to `Ready`; a challenge
//!   leads to `AuthChallenged`, in which the next line is a response, whatever stands in it. A
//!   response leads to `AuthAsked`, what is none (`*`, no base64, too long) to `Ready`. So a client
//!   must not send commands behind AUTH before its end, but where the mechanism needs no challenge:
//!   then they are run.
//! - AUTH is 502 where it is not configured, 538 where it is for TLS alone, 503 after a login, and
//!   504 by a mechanism that is not offered. Where a login is required, MAIL before it is 530. A
//!   login lasts until STARTTLS.
//! - `StartTls` waits for [`tls_established`](Connection::tls_established), which leads to `Start`.
//! - In LMTP it is LHLO that leads to `HelloAsked`, and HELO and EHLO are 500. What is said at or
//!   behind the end of the data is said once for each recipient that was accepted, but for a 421.
//! - XCLIENT, where it is [offered](Connection::offer_xclient), leads from `Start`, `Ready` and
//!   `ChunkRefused` to `ConnectAsked`, and is 503 in the other states. Where it is not it is 550.
//! - HELO, EHLO, RSET and QUIT in `BetweenChunks` first give [`Event::MessageAborted`].
//! - STARTTLS is 502 where it is not configured and 503 where TLS is active. MAIL is 530 where TLS
//!   is required and not active. A MAIL over the size limit is 552, a RCPT over the recipient limit
//!   452, an internationalised address without SMTPUTF8 553; none of them changes the state. A BDAT
//!   over the size limit is 552 and leads to `ChunkRefused`, or with LAST to `Ready`.
//!
//! # What a client cannot do
//!
//! - Make it grow. A connection has a fixed size, a line in the input that is not complete is under
//!   [`MAX_LINE`] octets, behind AUTH under [`MAX_LOGIN_LINE`], pieces of a body leave as they
//!   come, nothing is allocated for a command. Output waits once it is [`OUTPUT_HIGH_WATER`]
//!   octets; behind that fits one more reply, in LMTP one for each recipient of a message.
//! - End a message where others see no end, or the other way round: only CR LF . CR LF ends a body,
//!   and a bare CR or LF anywhere is refused, or [repaired](BareLineEnds) in a content.
//! - Have the octets of a chunk run as commands: they are skipped where BDAT is refused, and where
//!   it does not say how many there are, the session ends.
//! - Get its own words back: nothing that a client sent stands in a reply.
//! - Stay without working: each command, body and chunk has a [deadline](Connection::deadline). Bad
//!   commands have a limit, and so have commands that bring no message nearer, and the time without
//!   a message.
//! - Have refused octets read for ever: what was refused has the time of one command to come to its
//!   end, and the size of one message.
//!
//! It may be wrong without being refused in some ways that real clients are, and that Postfix and
//! Exim take too:
//!
//! - any number of spaces and tabs between a verb and its argument, behind the colon, and between
//!   parameters;
//! - an address without its angle brackets, if no blank is in it;
//! - a local part of up to 255 octets, with dots first, last or in a row;
//! - a final dot of a domain, which is left out, and underscores in it;
//! - any text of up to 255 octets without control characters as its name in HELO and EHLO;
//! - the parameters of DSN (RFC 3461) and `AUTH=` (RFC 4954 section 5) though nobody offered them.
//!   They are read and ignored, but for a wish to be notified of success, which is refused with
//!   555.
#![deny(missing_docs)]

mod address;
mod body;
mod chunk;
mod command;
mod config;
mod connection;
mod data;
mod domain;
mod domain_pattern;
mod dsn;
mod ehlo;
mod event;
mod gather;
mod idle;
mod line;
mod parser;
pub mod printable;
mod protocol;
mod punycode;
mod received;
pub mod replies;
mod reply;
mod sasl;
mod scan;
mod state;
mod time;
mod xclient;

pub use address::{ForwardPath, InvalidMailbox, Mailbox, ReversePath};
pub use config::{Auth, BareLineEnds, Config};
pub use connection::{Connection, OUTPUT_HIGH_WATER};
pub use domain::{Domain, InvalidDomain};
pub use domain_pattern::DomainPattern;
pub use dsn::{InvalidDsn, Notify, OriginalRecipient, RcptParameters, Ret};
pub use ehlo::{EhloKeyword, InvalidEhloKeyword};
pub use event::{Abort, Answer, BodyType, Event, MailParameters, Question};
pub use line::{MAX_LINE, MAX_LOGIN_LINE};
pub use protocol::Protocol;
pub use reply::{EnhancedCode, InvalidReply, Reply};
pub use sasl::{InvalidMechanism, Mechanism, Secret};
pub use xclient::{Attribute, Xclient};
