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
#![deny(missing_docs)]

mod body;
mod client;
mod envelope;
mod handler;
mod id;
mod inbox;
mod message;
mod replies;
mod server;
mod session;
mod shared;
mod trace;

pub use body::{Body, BodyError};
pub use client::Client;
pub use envelope::Envelope;
pub use handler::{Accepted, Handler};
pub use id::MessageId;
pub use inbox::{Inbox, InboxHandler, inbox};
pub use message::{CollectedMessage, Message};
pub use prixfixe_core::{
    BodyType, EnhancedCode, ForwardPath, MailParameters, Mailbox, Reply, ReversePath,
};
pub use prixfixe_network::{BindError, Listener, Transport};
pub use prixfixe_tls::{
    CertificateInfo, CertificateSource, ClientAuth, TlsConfig, TlsError, TlsInfo, TlsVersion,
    TrustAnchors,
};
pub use server::{Server, ServerBuilder, StartError};
