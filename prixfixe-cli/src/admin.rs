//! The sockets of the admin endpoints, as the configuration has them.

mod listen;

use std::net::TcpListener;

use prixfixe_admin::{Admin, ServeError};
use prixfixe_config::Configuration;

use crate::error::Error;

/// Nobody is answered yet. Inherited sockets replace the address that is configured; without either
/// nothing is served.
pub(crate) fn bind(
    configuration: &Configuration,
    inherited: Vec<TcpListener>,
) -> Result<Admin, Error> {
    if !inherited.is_empty() {
        return Ok(Admin::new(listen::take_over(inherited)?));
    }
    let shared = configuration.reuse_port;
    let listeners = match configuration.admin.look_up()? {
        Some(target) => listen::bind(target, shared)?,
        None => Vec::new(),
    };
    let spares = match shared {
        true => listeners
            .iter()
            .map(listen::spare)
            .collect::<Result<_, _>>()?,
        false => Vec::new(),
    };
    Ok(Admin::new(listeners).with_spares(spares))
}

impl From<ServeError> for Error {
    fn from(error: ServeError) -> Self {
        match error {
            ServeError::Listen { address, source } => Self::Admin {
                address: address.into(),
                source,
            },
            ServeError::LocalAddress(error) => Self::LocalAddress(error),
            ServeError::Thread(error) => Self::Threads(error),
            ServeError::EventLoop(error) => Self::EventLoop(error),
            // What may come: the endpoints are not served, and it says why.
            other => Self::EventLoop(std::io::Error::other(other)),
        }
    }
}
