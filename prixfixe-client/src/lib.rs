//! The sending side of SMTP and LMTP without I/O: bytes in, events and bytes out.
//!
//! This crate knows the client's half of the dialogue of RFC 5321 and RFC 2033.
//! It has no socket, no clock, no task and no thread.
//! Give it the bytes that a server sent, and it gives back what they mean, as events, and what to
//! say next, as bytes.
//! So it runs over anything that moves bytes, and a test needs neither a network nor a sleep.
//!
//! It speaks these extensions where the server offers them:
//!
//! - PIPELINING (RFC 2920), with commands in groups and a bound on what is unanswered
//! - SIZE (RFC 1870), 8BITMIME (RFC 6152), SMTPUTF8 (RFC 6531), DSN (RFC 3461), REQUIRETLS (RFC
//!   8689)
//! - CHUNKING and BINARYMIME (RFC 3030)
//! - STARTTLS (RFC 3207), for which TLS itself is the caller's
//! - AUTH (RFC 4954) with SCRAM-SHA-256, PLAIN and LOGIN (feature `auth`, on by default)
//! - LIMITS (RFC 9422) and ENHANCEDSTATUSCODES (RFC 2034), as facts for the caller
//!
//! # The run loop
//!
//! 1. Make a [`Connection`].
//! 2. Send what [`poll_transmit`](Connection::poll_transmit) gives, and tell
//!    [`handle_transmitted`](Connection::handle_transmitted) how much of it was sent.
//! 3. Wait for bytes from the server, for room to send more, or for the
//!    [`deadline`](Connection::deadline).
//! 4. Give bytes to [`poll_event`](Connection::poll_event) until it gives `None`; it always takes
//!    all of them.
//!    Call [`receive_eof`](Connection::receive_eof) at the end of the stream and
//!    [`handle_timeout`](Connection::handle_timeout) at the deadline.
//! 5. Do what the events say:
//!    - [`Ready`](Event::Ready): call [`authenticate`](Connection::authenticate), or begin a
//!      transaction with [`mail`](Connection::mail), [`rcpt`](Connection::rcpt) for each recipient,
//!      then [`data`](Connection::data) or [`bdat`](Connection::bdat). Say them all at once: the
//!      connection holds back what has to wait.
//!    - [`StartTls`](Event::StartTls): make the TLS connection, then call
//!      [`tls_established`](Connection::tls_established).
//!    - [`Content`](Event::Content): give the content with
//!      [`send_content`](Connection::send_content) and
//!      [`finish_content`](Connection::finish_content), or with
//!      [`send_chunk`](Connection::send_chunk).
//!    - [`Mail`](Event::Mail), [`Rcpt`](Event::Rcpt), [`Data`](Event::Data),
//!      [`Chunk`](Event::Chunk), [`Message`](Event::Message): what the server says about your mail.
//!    - [`Done`](Event::Done): the transaction is over. Begin another one, or
//!      [`quit`](Connection::quit).
//! 6. Go to 2, until [`is_closed`](Connection::is_closed).
//!
//! > **The one invariant.** Replies are matched to commands in the order in which they were said.
//! > A reply that nothing asked for, or that comes before its command was sent, ends the
//! > connection: after it, no reply could be trusted.
//!
//! # An example
//!
//! A message over any blocking stream, with what became of it:
//!
//! ```
//! use std::io::{self, Read, Write};
//! use std::sync::Arc;
//! use std::time::Instant;
//!
//! use prixfixe_client::{Config, Connection, Event, Mail, Piece, Rcpt};
//!
//! fn deliver(
//!     stream: &mut (impl Read + Write),
//!     mail: &Mail<'_>,
//!     recipients: &[Rcpt<'_>],
//!     content: &[u8],
//! ) -> Result<Vec<String>, Box<dyn std::error::Error>> {
//!     let config = Arc::new(Config::smtp("client.example.com")?);
//!     let mut connection = Connection::new(config, Instant::now());
//!     let mut outcome = Vec::new();
//!     let (mut buffer, mut left) = ([0; 4096], content);
//!     while !connection.is_closed() {
//!         // Write, and give more of the content as there is room.
//!         loop {
//!             let Some(Piece::Bytes(bytes)) = connection.poll_transmit().next() else { break };
//!             let count = stream.write(bytes)?;
//!             connection.handle_transmitted(Instant::now(), count);
//!         }
//!         if !left.is_empty() && let Ok(taken) = connection.send_content(Instant::now(), left) {
//!             left = &left[taken..];
//!             if left.is_empty() {
//!                 connection.finish_content(Instant::now())?;
//!             }
//!             continue;
//!         }
//!         // Read.
//!         let count = stream.read(&mut buffer)?;
//!         let mut input = &buffer[..count];
//!         if count == 0 {
//!             connection.receive_eof()?;
//!         }
//!         while let Some(event) = connection.poll_event(Instant::now(), &mut input)? {
//!             let now = Instant::now();
//!             match event {
//!                 Event::Ready => {
//!                     connection.mail(now, mail)?;
//!                     for recipient in recipients {
//!                         connection.rcpt(now, recipient)?;
//!                     }
//!                     connection.data(now)?;
//!                 }
//!                 Event::Rcpt { recipient, reply } if !reply.is_positive() => {
//!                     outcome.push(format!("{}: {reply}", recipients[recipient].forward_path()));
//!                 }
//!                 Event::Mail(reply) | Event::Data(reply) if !reply.is_positive() => {
//!                     outcome.push(format!("refused: {reply}"));
//!                 }
//!                 Event::Message { reply, .. } => outcome.push(format!("message: {reply}")),
//!                 Event::Done => connection.quit(now)?,
//!                 _ => {}
//!             }
//!         }
//!     }
//!     Ok(outcome)
//! }
//!
//! /// A server that has its answers ready.
//! struct Script(Vec<&'static str>, Vec<u8>);
//!
//! impl Read for Script {
//!     fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
//!         if self.0.is_empty() {
//!             return Ok(0);
//!         }
//!         let answer = self.0.remove(0).as_bytes();
//!         buffer[..answer.len()].copy_from_slice(answer);
//!         Ok(answer.len())
//!     }
//! }
//!
//! impl Write for Script {
//!     fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
//!         self.1.extend_from_slice(bytes);
//!         Ok(bytes.len())
//!     }
//!
//!     fn flush(&mut self) -> io::Result<()> {
//!         Ok(())
//!     }
//! }
//!
//! let mut server = Script(
//!     vec![
//!         "220 mx.example.net ESMTP\r\n",
//!         "250-mx.example.net\r\n250-SIZE 1000000\r\n250 PIPELINING\r\n",
//!         "250 ok\r\n250 ok\r\n550 5.1.1 no such user\r\n354 go on\r\n",
//!         "250 2.0.0 queued\r\n",
//!         "221 bye\r\n",
//!     ],
//!     Vec::new(),
//! );
//! let content = b"Subject: Hello\r\n\r\n.\r\nHello, Bob.\r\n";
//! let outcome = deliver(
//!     &mut server,
//!     &Mail::new("alice@example.com")?.size(content.len() as u64),
//!     &[Rcpt::new("bob@example.net")?, Rcpt::new("nobody@example.net")?],
//!     content,
//! )?;
//! assert_eq!(
//!     outcome,
//!     ["nobody@example.net: 550 5.1.1 no such user", "message: 250 2.0.0 queued"]
//! );
//! assert_eq!(
//!     String::from_utf8(server.1)?,
//!     "EHLO client.example.com\r\n\
//!      MAIL FROM:<alice@example.com> SIZE=34\r\n\
//!      RCPT TO:<bob@example.net>\r\nRCPT TO:<nobody@example.net>\r\nDATA\r\n\
//!      Subject: Hello\r\n\r\n..\r\nHello, Bob.\r\n.\r\n\
//!      QUIT\r\n"
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # When it fails
//!
//! [`poll_event`](Connection::poll_event), [`receive_eof`](Connection::receive_eof) and
//! [`handle_timeout`](Connection::handle_timeout) give an [`Error`] when the connection is of no
//! use any more.
//! What was answered before stands; nothing else was accepted, with one exception.
//! When the connection is lost between the end of the content and the reply to it, the server may
//! have the message.
//! [`Error::in_doubt`] says so.
//!
//! What cannot be sent is an [`Unsendable`], and leaves the connection as it was.
//!
//! # Content without a copy
//!
//! [`lend_content`](Connection::lend_content) and [`lend_chunk`](Connection::lend_chunk) leave the
//! content where it is.
//! [`poll_transmit`](Connection::poll_transmit) then gives [`Piece::Lent`] where its bytes go, so
//! that commands and content leave in one vectored write.
//! A content for [`lend_content`](Connection::lend_content) is prepared with [`Stuffer`].
//!
//! # What a server cannot do
//!
//! - Make it grow. A reply line has at most [`MAX_REPLY_LINE`] bytes, a reply [`MAX_REPLY_LINES`]
//!   lines, of which [`MAX_REPLY_TEXT`] bytes are kept. All that is queued is what the caller has
//!   queued, and a content is taken as it is sent.
//! - Make it hang. Each reply and each block of a content has a [deadline](Connection::deadline),
//!   by default those of RFC 5321 section 4.5.3.2.
//! - Put words into a session with TLS that came in plaintext.
//! - Have a password in plaintext that the caller did not allow it, or pretend to know it with
//!   SCRAM.
//!
//! No command allocates once the buffers have grown to their size.
#![deny(missing_docs)]

#[cfg(feature = "auth")]
mod auth;
mod config;
mod connection;
mod content;
mod error;
mod event;
mod expected;
mod extensions;
mod mail;
mod outbox;
mod reader;
mod reply;
mod state;
mod transaction;

#[cfg(feature = "auth")]
pub use auth::{Credentials, Mechanism, ServerFault};
pub use config::{Config, Protocol, StartTls, Timeouts};
pub use connection::Connection;
pub use content::Stuffer;
pub use error::{Error, Fault, Malformed, Stage, Unsendable};
pub use event::Event;
pub use extensions::{Extension, Extensions, Limits, Mechanisms};
pub use mail::{BodyType, InvalidArgument, Mail, Notify, Rcpt, Ret};
pub use outbox::Piece;
pub use reader::{MAX_REPLY_LINE, MAX_REPLY_LINES, MAX_REPLY_TEXT, ReplyReader};
pub use reply::{EnhancedCode, Reply, ReplyBuf};
pub use transaction::OUTPUT_HIGH_WATER;
