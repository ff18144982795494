//! TLS in memory: a rustls client against a session, no socket, no clock but the test's.

mod authority;
mod certificates;
mod clients;
mod echo;
mod fairness;
mod handshake;
mod properties;
mod reload;
mod selection;
mod starttls;
mod traffic;
mod wire;
