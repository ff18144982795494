//! The sockets on which mail is received: configured, or inherited.

use std::net::TcpListener;
use std::num::NonZeroUsize;

use prixfixe_server::{BindError, BoundSocket, Endpoint, IpNet, Listener, ServerBuilder};

use crate::config::{Configuration, Invalid, Mode, Scope, Target};
use crate::error::Error;
use crate::systemd::Purpose;

/// They listen already, though nothing is accepted yet.
pub(crate) struct Sockets(Vec<Bound>);

struct Bound {
    listener: Listener,
    /// TLS comes first.
    implicit_tls: bool,
    /// Where load balancers are.
    balancers: Vec<IpNet>,
    /// Whether clients may or must log in. `None`: as everywhere.
    auth: Option<Mode>,
}

impl Sockets {
    /// Inherited ones replace those that are configured.
    pub(crate) fn open(
        configuration: &Configuration,
        inherited: Vec<(Purpose, TcpListener)>,
    ) -> Result<Self, Error> {
        if inherited.is_empty() {
            bind_configured(configuration)
        } else {
            take_over(configuration, inherited)
        }
    }

    /// For each of them, whether TLS comes first.
    pub(crate) fn implicit_tls(&self) -> Vec<bool> {
        self.0.iter().map(|bound| bound.implicit_tls).collect()
    }

    /// With a socket for each thread, where each is to have its own: for a process that will not have the right to bind them.
    pub(crate) fn for_threads(self, threads: NonZeroUsize) -> Result<Self, Error> {
        let reserve = |bound: Bound| {
            Ok(Bound {
                listener: bound.listener.reserve(threads)?,
                ..bound
            })
        };
        self.0
            .into_iter()
            .map(reserve)
            .collect::<Result<_, Error>>()
            .map(Self)
    }

    /// In their order.
    pub(crate) fn add_to<H>(self, builder: ServerBuilder<H>) -> ServerBuilder<H> {
        self.0.into_iter().fold(builder, |builder, bound| {
            let mut endpoint = Endpoint::from(bound.listener).proxy_protocol_from(bound.balancers);
            if let Some(mode) = bound.auth {
                endpoint = endpoint.auth(mode.into());
            }
            if bound.implicit_tls {
                endpoint = endpoint.implicit_tls();
            }
            builder.endpoint(endpoint)
        })
    }
}

fn bind_configured(configuration: &Configuration) -> Result<Sockets, Error> {
    let targets = configuration.look_up_listeners()?;
    let sockets = if configuration.reuse_port {
        listen_beside(targets)?
    } else {
        targets.into_iter().map(bind).collect::<Result<_, _>>()?
    };
    let mut bound = Vec::new();
    for (configured, listeners) in configuration.listeners.iter().zip(sockets) {
        bound.extend(listeners.into_iter().map(|listener| Bound {
            listener,
            implicit_tls: configured.implicit_tls,
            balancers: configured.proxy_protocol_from.clone(),
            auth: configured.auth,
        }));
    }
    Ok(Sockets(bound))
}

/// Binds every address before it listens on any: one that cannot be had is found out before any takes connections from the
/// process beside which this one starts.
fn listen_beside(targets: Vec<Target>) -> Result<Vec<Vec<Listener>>, BindError> {
    let bound: Vec<Vec<BoundSocket>> = targets
        .into_iter()
        .map(bind_shared)
        .collect::<Result<_, _>>()?;
    let listen = |sockets: Vec<BoundSocket>| sockets.into_iter().map(BoundSocket::listen).collect();
    bound.into_iter().map(listen).collect()
}

/// Listens on all that an address stands for.
pub(crate) fn bind(target: Target) -> Result<Vec<Listener>, BindError> {
    match target {
        Target::Both(Scope::Loopback, port) => Listener::bind_localhost(port),
        Target::Both(Scope::All, port) => Listener::bind_all(port),
        Target::Addresses(addresses) => addresses.into_iter().map(Listener::bind).collect(),
    }
}

/// Binds all that an address stands for beside other processes, and does not listen.
pub(crate) fn bind_shared(target: Target) -> Result<Vec<BoundSocket>, BindError> {
    match target {
        Target::Both(Scope::Loopback, port) => BoundSocket::bind_localhost_shared(port),
        Target::Both(Scope::All, port) => BoundSocket::bind_all_shared(port),
        Target::Addresses(addresses) => addresses
            .into_iter()
            .map(BoundSocket::bind_shared)
            .collect(),
    }
}

fn take_over(
    configuration: &Configuration,
    inherited: Vec<(Purpose, TcpListener)>,
) -> Result<Sockets, Error> {
    let balancers = balancers_of_all(configuration)?;
    let auth = auth_of_all(configuration)?;
    let mut bound = Vec::with_capacity(inherited.len());
    for (index, (purpose, socket)) in inherited.into_iter().enumerate() {
        let invalid = |problem: String| Invalid {
            place: format!("inherited socket {}", index + 1),
            problem,
        };
        let implicit_tls = purpose == Purpose::Smtps;
        if implicit_tls && !configuration.tls.is_on() {
            let problem = "needs a certificate; add --tls-cert and --tls-key, or --tls-self-signed";
            return Err(invalid(problem.to_owned()).into());
        }
        let listener = Listener::try_from(socket)
            .map_err(|error| invalid(format!("cannot be used: {error}")))?;
        bound.push(Bound {
            listener: listener.leave_backlog(),
            implicit_tls,
            balancers: balancers.clone(),
            auth,
        });
    }
    Ok(Sockets(bound))
}

/// An inherited socket has no table in the configuration, so whom it trusts has to be the same everywhere.
fn balancers_of_all(configuration: &Configuration) -> Result<Vec<IpNet>, Invalid> {
    let mut all = configuration
        .listeners
        .iter()
        .map(|listener| &listener.proxy_protocol_from);
    let first = all.next().cloned().unwrap_or_default();
    if all.all(|networks| *networks == first) {
        return Ok(first);
    }
    Err(Invalid {
        place: "listener.proxy-protocol-from".to_owned(),
        problem: "differs between listeners, which inherited sockets replace; \
                  set --proxy-protocol-from, which is for all of them"
            .to_owned(),
    })
}

/// The same for logins.
fn auth_of_all(configuration: &Configuration) -> Result<Option<Mode>, Invalid> {
    let mut all = configuration.listeners.iter().map(|listener| listener.auth);
    let first = all.next().flatten();
    if all.all(|mode| mode == first) {
        return Ok(first);
    }
    Err(Invalid {
        place: "listener.auth".to_owned(),
        problem: "differs between listeners, which inherited sockets replace; \
                  set --auth, which is for all of them"
            .to_owned(),
    })
}
