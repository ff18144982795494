//! Whom to believe: SPF, DKIM, DMARC, DNS blocklists, rspamd and milters, as checks of a receiving
//! mail server.
//!
//! Each is a [`Check`](prixfixe_server::Check) for [`prixfixe_server`], usable alone:
//!
//! | check | says | refuses |
//! |---|---|---|
//! | [`Authentication`] | whether SPF, DKIM and DMARC speak for the domains that a message names | what [`Mode::Enforce`] says |
//! | [`Blocklist`] | whether a DNS blocklist has the client's address | where it is told to |
//! | [`ClientName`] | the name of the client's host in the DNS | nothing |
//! | [`Rspamd`] | what rspamd makes of the content | what rspamd rejects |
//! | [`Milter`] | what a milter makes of connections and messages | what the milter refuses |
//!
//! What they find is in [`Message::verdict`](prixfixe_server::Message::verdict) and on top of the
//! message. They ask the DNS through one [`Resolver`], and need tokio's runtime for it, which the
//! server has or starts.
//!
//! A client that has logged in, or that comes by a Unix socket, is not asked about.

#![deny(missing_docs)]

mod authentication;
mod blocklist;
mod client_name;
mod dkim;
mod dmarc;
mod health;
mod message;
mod milter;
mod observer;
mod outcome;
mod resolver;
mod results;
mod rspamd;
mod spf;
mod task;

pub use authentication::{Authentication, AuthenticationSession, Mode};
pub use blocklist::{Blocklist, BlocklistSession, ListedAction};
pub use client_name::{ClientName, ClientNameSession};
pub use milter::{InvalidMilterAddress, Milter, MilterAddress, MilterSession};
pub use observer::Observer;
pub use outcome::Outcome;
pub use resolver::{Resolver, ResolverError};
pub use results::remove_forged_results;
pub use rspamd::{OnFailure, Rspamd, RspamdError, RspamdSession};
