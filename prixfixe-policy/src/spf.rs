//! SPF (RFC 7208): may this host send for that domain?
//!
//! It is written here, since of the suite that comes with the RFC every case has to come out: limits on look-ups that
//! find nothing, records in several texts, the whole syntax. A record is parsed as a whole, and evaluated with what
//! may still be asked of the DNS.

mod evaluate;
mod lookup;
mod macros;
mod question;
mod record;

pub(crate) use question::{Answer, Question};
