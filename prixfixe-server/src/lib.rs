//! A server that receives mail by SMTP and hands each message to your code.
//!
//! ```no_run
//! use prixfixe_server::{Accepted, Message, Server};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::builder()
//!     .listen(([127, 0, 0, 1], 2525))
//!     .handler(|message: Message| async {
//!         let message = message.collect().await?;
//!         println!("{:?}: {} octets", message.envelope().reverse_path(), message.content().len());
//!         Ok(Accepted::default())
//!     })
//!     .start()?;
//! server.stopped().await;
//! # Ok(())
//! # }
//! ```
//!
//! # What happens to a message
//!
//! 1. A client connects: [`Handler::connect`] makes a [`Session`], and the greeting leaves.
//! 2. MAIL: [`Session::mail`] is asked about the sender. RCPT: [`Session::rcpt`] is asked about
//!    each recipient, after the domains of [`accept_domains`](ServerBuilder::accept_domains).
//! 3. The first octet of the content: [`Session::message`] is given the [`Message`], whose [`Body`]
//!    it reads while it arrives. A handler that reads slowly slows the client down; at most
//!    [a read and 64 KiB](Body) wait for it.
//! 4. The end of the content: the client waits for the handler's answer. `Ok` is its `250`, an
//!    `Err` is the reply that it says.
//!
//! > **A `250` is given only for an `Ok` of the handler's, after the true end of the content.** A lost connection, a bare line
//! > feed, a body over the limit are errors of [`Body::chunk`], never a short message.
//!
//! Every question has a time limit ([`handler_timeout`](ServerBuilder::handler_timeout)), and a
//! panic in a handler ends its own session with a `421` and nothing else.
//!
//! # Where it runs
//!
//! [`ServerBuilder::start`] inside a tokio runtime serves on that runtime; elsewhere, or with
//! [`threads`](ServerBuilder::threads), on threads of its own. [`Transport::Raw`] needs no tokio at
//! all. The futures of this crate ([`Server::stopped`], [`Body::chunk`], [`Inbox::next`]) can be
//! awaited on any executor.
//!
//! # While it runs
//!
//! [`Server::reconfigure`] changes limits, the accepted domains, the name and the certificates of a
//! server that runs: for connections from then on, all of it or nothing. A [`TlsConfig`] reads its
//! files anew by itself ([`TlsConfig::reload`], [`TlsConfig::watch`]).
//!
//! # In a test
//!
//! [`inbox`] makes a handler that collects messages, to be read one by one:
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use prixfixe_server::{Server, inbox};
//!
//! let (handler, mut inbox) = inbox();
//! let server = Server::builder().listen(([127, 0, 0, 1], 0)).handler(handler).start()?;
//! let address = server.local_address(); // tell it to the program under test
//! # let _ = (address, &mut inbox);
//! // let message = inbox.next().await;
//! # Ok(()) }
//! ```
//!
//! # Numbers
//!
//! [`Server::metrics`] gives counters, durations and the latest refusals, as numbers or in the
//! Prometheus text format.
//!
//! # Features
//!
//! All are on by default. What a program does not use it need not compile.
//!
//! | feature | brings |
//! |---|---|
//! | `tls` | STARTTLS, implicit TLS, client certificates: [`Settings::tls`], [`Endpoint::implicit_tls`], [`Client::tls`] |
//! | `metrics` | the Prometheus text, [`Metrics::encode`], and [`ProcessUsage`]; the numbers themselves are there without |
//! | `client-limits` | [`Settings::connections_per_minute`] and [`Settings::messages_per_minute`]; the limit of connections at once is there without |
//! | `proxy-protocol` | [`Endpoint::proxy_protocol_from`], [`Endpoint::xclient_from`] |
//! | `digest` | [`Message::digest`] |
//!
//! # Logs
//!
//! Events of [`tracing`] have the target `prixfixe`. At `INFO` there is `message` for each message,
//! `connection` for each connection that ended and `refused` for each refusal that no message
//! tells. A handler that panicked or took too long is at `ERROR`.
//!
//! Strangers can cause 20 lines per minute for one client and 600 in all, beside those of accepted
//! mail. What is over that is at `DEBUG`, and a `WARN` says how many lines that were. Fields may
//! hold any character that a client can send: a subscriber escapes what could deceive its reader.
#![deny(missing_docs)]
// The documentation speaks of every feature.
#![cfg_attr(
    not(all(
        feature = "tls",
        feature = "metrics",
        feature = "client-limits",
        feature = "proxy-protocol",
        feature = "digest"
    )),
    allow(rustdoc::broken_intra_doc_links)
)]

mod accepted;
mod authenticator;
mod body;
mod check;
mod client;
mod clients;
mod conversation;
#[cfg(feature = "digest")]
mod digest;
mod endpoint;
mod envelope;
mod gate;
mod gather;
mod handler;
mod hooks;
mod id;
mod in_force;
mod inbox;
pub mod inspect;
mod limits;
mod log;
mod login;
mod message;
mod metrics;
mod observe;
mod peer;
#[cfg(feature = "proxy-protocol")]
pub mod proxy;
#[cfg(not(feature = "proxy-protocol"))]
#[path = "proxy/without.rs"]
mod proxy;
mod replies;
mod server;
mod session;
mod settings;
mod shared;
mod tls;
mod trace;

pub use authenticator::{Authenticating, Authenticator};
pub use body::{Body, BodyError};
pub use check::{Check, CheckSession, Content, Edit, Finding, Verdict};
pub use client::{Client, ClientBuilder, ConnectionId, Identity};
#[cfg(feature = "digest")]
pub use digest::{Digest, InvalidDigest};
pub use endpoint::{Endpoint, EndpointRules};
pub use envelope::{Envelope, EnvelopeBuilder, Recipient};
pub use gather::{Gathered, MessageMemory};
pub use handler::{Accepted, BoxHandler, BoxSession, Closure, Handler, OrReply, Session, Sessions};
pub use hooks::{Command, Data, Hello, Mail, Rcpt};
pub use id::{InvalidMessageId, MessageId};
pub use inbox::{Inbox, InboxHandler, bounded_inbox, inbox};
#[cfg(feature = "proxy-protocol")]
pub use ipnet::IpNet;
pub use limits::Limits;
pub use login::{Login, LoginBuilder, UserPassword};
pub use message::{CollectedMessage, Message, MessageBuilder};
#[cfg(feature = "metrics")]
pub use metrics::ProcessUsage;
pub use metrics::{
    AcceptedMessage, AuthMechanism, AuthResult, ClientActivity, ConnectionResult,
    DurationHistogram, FailureReason, HandshakeFailure, Incident, IncidentKind, Metrics,
    MetricsSnapshot, TimeoutPhase,
};
pub use peer::Peer;
pub use prixfixe_core::printable;
pub use prixfixe_core::{
    BareLineEnds, BodyType, Domain, DomainPattern, EhloKeyword, EnhancedCode, ForwardPath,
    InvalidDomain, InvalidDsn, InvalidEhloKeyword, InvalidMailbox, InvalidMechanism, InvalidReply,
    MailParameters, Mailbox, Mechanism, Notify, OriginalRecipient, Protocol, RcptParameters, Reply,
    Ret, ReversePath, Secret, reply,
};
pub use prixfixe_network::{
    Address, BindError, BoundSocket, Credentials, Listener, ServeError, Transport,
};
#[cfg(unix)]
pub use prixfixe_network::{BoundUnixSocket, UnixSocket};
#[cfg(feature = "tls")]
pub use prixfixe_tls::{
    CertificateInfo, CertificateSource, ClientAuth, HandshakeError, Reloaded, TlsConfig,
    TlsConfigBuilder, TlsError, TlsInfo, TlsVersion, TrustAnchors, Watch,
};
pub use server::{Server, ServerBuilder, ServerHandle, StartError};
pub use settings::{AuthMode, AuthSender, Settings, SettingsError};
pub use trace::header_separator;
