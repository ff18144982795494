//! The admin endpoints: metrics, health and the status page over HTTP, for operators and their tools.
//!
//! They run on a thread and a runtime of their own, so that they answer whatever the transport of mail is and while it
//! is busy or draining, until the process ends. What a client of theirs may cost is bounded in [`http`].

mod http;
mod listen;
mod page;
mod routes;
mod status;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use tracing::info;

pub(crate) use self::status::Status;
use crate::config::Configuration;
use crate::error::Error;

/// The sockets of the endpoints; none where no address is configured.
#[derive(Debug)]
pub(crate) struct Admin {
    listeners: Vec<TcpListener>,
}

impl Admin {
    /// Listens, though nobody is answered yet. Inherited sockets replace the address that is configured.
    pub(crate) fn bind(
        configuration: &Configuration,
        inherited: Vec<TcpListener>,
    ) -> Result<Self, Error> {
        if !inherited.is_empty() {
            return listen::take_over(inherited).map(|listeners| Self { listeners });
        }
        let listeners = match configuration.admin.look_up()? {
            Some(target) => listen::bind(target)?,
            None => Vec::new(),
        };
        Ok(Self { listeners })
    }

    /// Answers, until the process ends.
    pub(crate) fn serve(self, status: Status) -> io::Result<()> {
        if self.listeners.is_empty() {
            return Ok(());
        }
        let addresses = self
            .listeners
            .iter()
            .map(TcpListener::local_addr)
            .collect::<io::Result<Vec<_>>>()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let status = Arc::new(status);
        thread::Builder::new()
            .name("admin".to_owned())
            .spawn(move || runtime.block_on(http::serve(self.listeners, status)))?;
        for address in addresses {
            info!(target: "prixfixe", %address, "admin endpoints");
        }
        Ok(())
    }
}
