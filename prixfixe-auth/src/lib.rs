//! Who may log in to a [`prixfixe_server::Server`] (AUTH, RFC 4954), and by which mechanism.
//!
//! A back end is a [`prixfixe_server::Authenticator`]:
//!
//! | back end | asks | mechanisms |
//! |---|---|---|
//! | [`Users`] | a file of users | SCRAM-SHA-256, SCRAM-SHA-256-PLUS, PLAIN, LOGIN, EXTERNAL |
//!
//! For one of your own there are whole exchanges ([`scram`], [`by_certificate`]) and the mechanisms
//! without I/O ([`mechanism`]).
//!
//! No back end needs a runtime: what is slow or blocks is done by threads of this crate, and the
//! futures run on any executor.
#![deny(missing_docs)]

mod exchange;
pub mod mechanism;
mod users;
mod work;

pub use exchange::{by_certificate, scram};
pub use users::{LineError, OpenError, PreparedUsers, Users, users_line};
