//! The admin endpoints: metrics, health and the status page over HTTP, for operators and their tools.
//!
//! They run on a thread and a runtime of their own, so that they answer whatever the transport of mail is and while it
//! is busy or draining, until the process ends. What a client of theirs may cost is bounded in [`http`] and [`places`].

mod history;
mod host;
mod http;
mod lately;
mod listen;
mod notice;
mod page;
mod places;
mod reading;
mod report;
mod routes;
mod spool;
mod status;
mod storage;
mod targets;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;

use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;
use tracing::info;

pub(crate) use self::notice::Notice;
pub(crate) use self::status::Status;
use crate::config::Configuration;
use crate::error::Error;

/// The sockets of the endpoints; none where no address is configured.
#[derive(Debug)]
pub(crate) struct Admin {
    listeners: Vec<TcpListener>,
    /// Where another process may listen beside this one: a second socket for each listener.
    spares: Vec<TcpListener>,
}

impl Admin {
    /// Nobody is answered yet. Inherited sockets replace the address that is configured.
    pub(crate) fn bind(
        configuration: &Configuration,
        inherited: Vec<TcpListener>,
    ) -> Result<Self, Error> {
        if !inherited.is_empty() {
            let listeners = listen::take_over(inherited)?;
            return Ok(Self {
                listeners,
                spares: Vec::new(),
            });
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
        Ok(Self { listeners, spares })
    }

    /// Where the page is. None, if nothing is served.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let local = self.listeners.iter().map(TcpListener::local_addr);
        local.filter_map(Result::ok).collect()
    }

    /// Answers, until the process ends. At `draining` a port that is shared is left to the process that takes over.
    pub(crate) fn serve(self, status: Status, draining: Arc<Notify>) -> Result<(), Error> {
        if self.listeners.is_empty() {
            return Ok(());
        }
        let addresses = self.listen()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(Error::EventLoop)?;
        let status = Arc::new(status);
        let leaving = (!self.spares.is_empty()).then_some((draining, self.spares));
        thread::Builder::new()
            .name("admin".to_owned())
            .spawn(move || {
                runtime.spawn(sample(Arc::clone(&status)));
                runtime.block_on(http::serve(self.listeners, status, leaving));
            })
            .map_err(Error::Threads)?;
        for address in addresses {
            info!(target: "prixfixe", %address, "admin endpoints");
        }
        Ok(())
    }

    fn listen(&self) -> Result<Vec<SocketAddr>, Error> {
        let listen = |socket: &TcpListener| {
            let address = socket.local_addr().map_err(Error::LocalAddress)?;
            if !self.spares.is_empty() {
                let failed = |source: io::Error| Error::Admin {
                    address: address.into(),
                    source,
                };
                listen::listen(socket).map_err(failed)?;
            }
            Ok(address)
        };
        self.listeners.iter().map(listen).collect()
    }
}

/// Keeps the history of the status page, for ever.
async fn sample(status: Arc<Status>) {
    let mut ticks = tokio::time::interval(history::EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        status.sample();
    }
}
