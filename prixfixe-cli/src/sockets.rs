//! The sockets on which mail is received: configured, or inherited.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;

use prixfixe_server::{BindError, Endpoint, IpNet, Listener, ServerBuilder};
use socket2::{Domain, Protocol, Socket, Type};

use crate::config::{Configuration, Invalid, Scope, Target};
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
}

impl Sockets {
    /// Inherited ones replace those that are configured.
    pub(crate) fn open(
        configuration: &Configuration,
        inherited: Vec<(Purpose, TcpListener)>,
    ) -> Result<Self, Error> {
        if inherited.is_empty() {
            bind(configuration)
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
            if bound.implicit_tls {
                endpoint = endpoint.implicit_tls();
            }
            builder.endpoint(endpoint)
        })
    }
}

fn bind(configuration: &Configuration) -> Result<Sockets, Error> {
    let targets = configuration.look_up_listeners()?;
    if configuration.reuse_port {
        rehearse(&targets)?;
    }
    let mut bound = Vec::new();
    for (listener, target) in configuration.listeners.iter().zip(targets) {
        let sockets = match target {
            Target::Both(scope, port) => match (scope, configuration.reuse_port) {
                (Scope::Loopback, true) => Listener::bind_localhost_shared(port)?,
                (Scope::Loopback, false) => Listener::bind_localhost(port)?,
                (Scope::All, true) => Listener::bind_all_shared(port)?,
                (Scope::All, false) => Listener::bind_all(port)?,
            },
            Target::Addresses(addresses) => addresses
                .into_iter()
                .map(match configuration.reuse_port {
                    true => Listener::bind_shared,
                    false => Listener::bind,
                })
                .collect::<Result<Vec<_>, _>>()?,
        };
        bound.extend(sockets.into_iter().map(|socket| Bound {
            listener: socket,
            implicit_tls: listener.implicit_tls,
            balancers: listener.proxy_protocol_from.clone(),
        }));
    }
    Ok(Sockets(bound))
}

/// Binds every address and listens on none: one that cannot be had is found out before any takes connections from the process beside
/// which this one starts.
fn rehearse(targets: &[Target]) -> Result<(), Error> {
    for target in targets {
        let (addresses, may_lack) = match target {
            Target::Both(scope, port) => (scope.addresses(*port).to_vec(), true),
            Target::Addresses(addresses) => (addresses.clone(), false),
        };
        for address in addresses {
            match bind_alone(address, true) {
                // Whether the host has at least one of the families is seen later.
                Err(error) if may_lack && is_family_missing(&error) => {}
                result => drop(result.map_err(|source| BindError { address, source })?),
            }
        }
    }
    Ok(())
}

/// A kernel without IPv6 has no such sockets; one where it is switched off has no such address.
pub(crate) fn is_family_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported
    ) || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

/// A socket with the options of [`Listener::bind`] or [`Listener::bind_shared`], which does not listen.
pub(crate) fn bind_alone(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A process that shares its ports may join one that was not told to, though not the other way round.
    let can_share = cfg!(target_os = "linux");
    socket.set_reuse_port(shared && can_share)?;
    socket.bind(&address.into())?;
    socket.set_reuse_port(can_share)?;
    Ok(socket)
}

fn take_over(
    configuration: &Configuration,
    inherited: Vec<(Purpose, TcpListener)>,
) -> Result<Sockets, Error> {
    let balancers = balancers_of_all(configuration)?;
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
