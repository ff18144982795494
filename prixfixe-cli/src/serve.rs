//! `prixfixe serve`: from a configuration to a server that runs until it is told to stop.

use std::process::{self, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use prixfixe_delivery::{Delivery, MaildirOptions};
use prixfixe_server::{Listener, Server, ServerBuilder, Transport};
use prixfixe_tls::TlsConfig;
use tracing::{info, warn};

use crate::admin::{Admin, Status};
use crate::config::{self, Configuration, ConfigurationArguments, Target};
use crate::error::Error;
use crate::file_limit;
use crate::logging::Logging;
use crate::reload::Reload;
use crate::signals::{Request, Signals};

pub(crate) fn run(arguments: ConfigurationArguments) -> Result<ExitCode, Error> {
    let configuration = Configuration::load(&arguments)?;
    let logging = Arc::new(Logging::start(&configuration.log).map_err(Error::Logging)?);
    let signals = Signals::catch().map_err(Error::Signals)?;
    file_limit::raise(configuration.limits.max_connections);

    let tls = configuration.tls.load(&configuration.domain)?;
    let listeners = bind(&configuration)?;
    let implicit_tls: Vec<bool> = listeners.iter().map(|(_, implicit)| *implicit).collect();
    let admin = Admin::bind(&configuration)?;
    let delivery = open_delivery(&configuration)?;
    let health = delivery.health();
    let server = Arc::new(
        describe(&configuration, tls.clone(), listeners)
            .handler(delivery)
            .start()?,
    );
    let status = Status::new(&configuration, Arc::clone(&server), &implicit_tls, health);
    admin.serve(status).map_err(Error::Threads)?;
    log_listeners(&configuration, &server, &implicit_tls);

    let interval = configuration.tls.reload_interval;
    // Dropping the watch would end it.
    let _watch = tls
        .as_ref()
        .filter(|_| !interval.is_zero())
        .map(|tls| tls.watch(interval))
        .transpose()
        .map_err(Error::Threads)?;
    let reload = Reload::new(arguments, configuration, tls);
    let draining = Arc::new(AtomicBool::new(false));
    let control = Control {
        server: Arc::clone(&server),
        reload,
        logging: Arc::clone(&logging),
        draining: Arc::clone(&draining),
    };
    signals
        .handle(move |request| control.act(request))
        .map_err(Error::Signals)?;

    pollster::block_on(server.stopped());
    if !draining.load(Ordering::Acquire) {
        return Err(Error::Failed(
            "the server stopped by itself; the log says why".to_owned(),
        ));
    }
    info!(target: "prixfixe", "stopped");
    exit(&logging)
}

/// What signals act on.
struct Control {
    server: Arc<Server>,
    reload: Reload,
    logging: Arc<Logging>,
    draining: Arc<AtomicBool>,
}

impl Control {
    fn act(&self, request: Request) {
        let connections = self.server.active_connections();
        match request {
            Request::Drain => {
                info!(target: "prixfixe", connections, "draining");
                self.draining.store(true, Ordering::Release);
                self.server.shutdown();
            }
            Request::Stop => {
                warn!(target: "prixfixe", connections, "stopped at once");
                exit(&self.logging)
            }
            Request::Reload => self.reload.run(),
        }
    }
}

/// Ends the process without waiting for threads that are busy: one may hang on a disk that is gone. What they have
/// not answered `250` their clients will send again.
fn exit(logging: &Logging) -> ! {
    logging.flush();
    process::exit(0)
}

/// A listener, and whether TLS comes first on it.
type Bound = (Listener, bool);

fn bind(configuration: &Configuration) -> Result<Vec<Bound>, Error> {
    let targets = configuration.look_up_listeners()?;
    let mut bound = Vec::new();
    for (listener, target) in configuration.listeners.iter().zip(targets) {
        let sockets = match target {
            Target::Localhost(port) => Listener::bind_localhost(port)?,
            Target::Addresses(addresses) => addresses
                .into_iter()
                .map(Listener::bind)
                .collect::<Result<Vec<_>, _>>()?,
        };
        bound.extend(
            sockets
                .into_iter()
                .map(|socket| (socket, listener.implicit_tls)),
        );
    }
    Ok(bound)
}

fn open_delivery(configuration: &Configuration) -> Result<Delivery, Error> {
    let options = MaildirOptions {
        fsync: configuration.delivery.fsync,
        ..MaildirOptions::default()
    };
    Ok(Delivery::open(&configuration.delivery.target, options)?)
}

fn describe(
    configuration: &Configuration,
    tls: Option<TlsConfig>,
    listeners: Vec<Bound>,
) -> ServerBuilder<()> {
    let limits = &configuration.limits;
    let mut builder = Server::builder()
        .domain(&configuration.domain)
        .max_connections(limits.max_connections)
        .max_message_size(limits.max_message_size)
        .max_recipients(limits.max_recipients)
        .max_errors(limits.max_errors)
        .command_timeout(limits.command_timeout)
        .min_data_rate(limits.min_data_rate)
        .drain_timeout(limits.drain_timeout)
        .accept_domains(&configuration.accept.domains)
        .tls_required(configuration.tls.required)
        .threads(configuration.threads)
        .transport(match configuration.transport {
            config::Transport::Auto => Transport::Auto,
            config::Transport::Tokio => Transport::Tokio,
            config::Transport::Raw => Transport::Raw,
        });
    if let Some(tls) = tls {
        builder = builder.tls(tls);
    }
    for (listener, implicit_tls) in listeners {
        builder = if implicit_tls {
            builder.listener_tls(listener)
        } else {
            builder.listener(listener)
        };
    }
    builder
}

pub(crate) fn transport_name(transport: Transport) -> &'static str {
    match transport {
        Transport::Raw => "raw",
        Transport::Tokio | Transport::Auto => "tokio",
    }
}

/// The server has its addresses in the order in which `describe` gave it the sockets.
fn log_listeners(configuration: &Configuration, server: &Server, implicit_tls: &[bool]) {
    let transport = transport_name(server.transport());
    for (address, implicit) in server.local_addresses().iter().zip(implicit_tls) {
        info!(
            target: "prixfixe",
            %address,
            domain = configuration.domain,
            transport,
            tls = implicit.then_some("implicit"),
            deliver = %configuration.delivery.target,
            "listening"
        );
    }
}
