//! Who may log in to a [`prixfixe_server::Server`] (AUTH, RFC 4954), and by which mechanism.
//!
//! A back end is a [`prixfixe_server::Authenticator`]:
//!
//! | back end | asks | mechanisms |
//! |---|---|---|
//! | [`Users`] | a file of users | SCRAM-SHA-256, SCRAM-SHA-256-PLUS, PLAIN, LOGIN, EXTERNAL |
//! | [`Dovecot`] | Dovecot, over its socket | what it announces of SCRAM-SHA-256, PLAIN, LOGIN, OAUTHBEARER, XOAUTH2, EXTERNAL |
//! | `Oidc` (feature `oidc`) | an OpenID Connect provider, for its keys | OAUTHBEARER, XOAUTH2 |
//! | [`Several`] | the first of several back ends that has the mechanism | theirs |
//!
//! For one of your own there are whole exchanges ([`scram`], [`bearer`],
//! [`by_certificate`]) and the mechanisms
//! without I/O ([`mechanism`]).
//!
//! No back end needs a runtime: what is slow or blocks is done by threads of this crate, and the
//! futures run on any executor.
#![deny(missing_docs)]

#[cfg(unix)]
mod dovecot;
mod exchange;
pub mod mechanism;
#[cfg(feature = "oidc")]
mod oidc;
mod several;
mod users;
mod work;

#[cfg(unix)]
pub use dovecot::Dovecot;
pub use exchange::{bearer, by_certificate, scram};
#[cfg(feature = "oidc")]
pub use oidc::{InvalidIssuer, Oidc, OidcOptions};
pub use several::Several;
pub use users::{LineError, OpenError, PreparedUsers, Users, users_line};
