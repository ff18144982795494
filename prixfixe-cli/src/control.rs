//! What signals act on, from the start of the process to its end.

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, OnceLock};
use std::thread;

use prixfixe_log::Logging;
use prixfixe_server::Server;
use prixfixe_spooling::Spooling;
use tokio::sync::Notify;
use tracing::{error, info, warn};

use crate::error::Error;
use crate::reload::Reload;
use crate::signals::Request;
use crate::systemd;

/// The state of the process as far as signals go.
pub(crate) struct Control {
    logging: Arc<Logging>,
    /// Empty until the server serves.
    serving: OnceLock<Serving>,
    reload_wanted: AtomicBool,
    draining: AtomicBool,
    leaving: Arc<Notify>,
}

struct Serving {
    server: Arc<Server>,
    spool: Option<Spooling>,
    /// Asks the thread that reloads to do so. One request may wait: it covers all that came before
    /// it begins.
    reloads: SyncSender<()>,
}

impl Control {
    pub(crate) fn new(logging: Arc<Logging>) -> Self {
        Self {
            logging,
            serving: OnceLock::new(),
            reload_wanted: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            leaving: Arc::default(),
        }
    }

    /// Notified when the drain begins.
    pub(crate) fn leaving(&self) -> Arc<Notify> {
        Arc::clone(&self.leaving)
    }

    /// From here on there is something to drain and to reload.
    pub(crate) fn serve(
        self: &Arc<Self>,
        server: Arc<Server>,
        spool: Option<Spooling>,
        reload: Reload,
    ) -> Result<(), Error> {
        let (reloads, requests) = mpsc::sync_channel(1);
        let control = Arc::clone(self);
        let addresses = server.addresses().iter().map(ToString::to_string);
        let status = format!(
            "Receiving mail on {}",
            addresses.collect::<Vec<_>>().join(", ")
        );
        // On a thread of its own: files may be slow to read, and the next signal must not wait for
        // that.
        thread::Builder::new()
            .name("reload".to_owned())
            .spawn({
                let status = status.clone();
                move || control.reload(reload, &requests, &status)
            })
            .map_err(Error::Threads)?;
        // It is set once, and before anybody is told that the server is ready: a signal that
        // follows finds it.
        let _ = self.serving.set(Serving {
            server,
            spool,
            reloads,
        });
        systemd::ready(&status);
        self.ask_for_reload();
        Ok(())
    }

    pub(crate) fn act(&self, request: Request) {
        if request == Request::Reload {
            self.reload_wanted.store(true, Ordering::SeqCst);
            return self.ask_for_reload();
        }
        let Some(Serving { server, spool, .. }) = self.serving.get() else {
            info!(target: "prixfixe", "stopped before it served");
            self.exit();
        };
        let connections = server.active_connections();
        if request == Request::Stop {
            warn!(target: "prixfixe", connections, "stopped at once");
            self.exit();
        }
        info!(target: "prixfixe", connections, "draining");
        self.draining.store(true, Ordering::SeqCst);
        systemd::stopping(&format!("Draining, {connections} connections at first"));
        server.shutdown();
        if let Some(spool) = spool {
            spool.leave();
        }
        self.leaving.notify_one();
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Ends the process without waiting for threads that are busy: one may hang on a disk that is
    /// gone. What they have not answered `250` their clients will send again.
    pub(crate) fn exit(&self) -> ! {
        self.exit_with(0)
    }

    /// The same, with this status.
    pub(crate) fn exit_with(&self, status: i32) -> ! {
        self.logging.flush();
        process::exit(status)
    }

    /// Passes on what was asked for, now or before there was anyone to ask.
    fn ask_for_reload(&self) {
        if let Some(Serving { reloads, .. }) = self.serving.get()
            && self.reload_wanted.swap(false, Ordering::SeqCst)
        {
            // Full: one is about to begin, which will see what this one was to see.
            let _ = reloads.try_send(());
        }
    }

    fn reload(&self, mut reload: Reload, requests: &Receiver<()>, status: &str) {
        for () in requests {
            if self.is_draining() {
                continue;
            }
            systemd::reloading();
            let status = match reload.run() {
                Ok(()) => {
                    info!(target: "prixfixe", "reloaded");
                    status.to_owned()
                }
                Err(error) => {
                    error!(target: "prixfixe", %error, "the new configuration is bad; the old one stays");
                    format!("{status}; the latest reload failed, the log says why")
                }
            };
            if !self.is_draining() {
                systemd::ready(&status);
            }
        }
    }
}
