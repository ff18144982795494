//! The sockets on which mail is received: configured, or inherited.

use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use prixfixe_config::policy::EarlyTalker;
use prixfixe_config::{self as config, Configuration, Dsn, Invalid, Mode, Scope, Target, Trusted};
use prixfixe_delivery::Delivery;
use prixfixe_server::{
    BindError, BoundSocket, BoundUnixSocket, Endpoint, EndpointRules, Listener, Protocol,
    ServerBuilder, UnixSocket,
};

use crate::error::Error;
use crate::systemd::{Inherited, Purpose};

/// They listen already, though nothing is accepted yet.
pub(crate) struct Sockets(Vec<Bound>);

struct Bound {
    listener: Listener,
    origin: Origin,
    manner: Manner,
}

/// Where a socket comes from.
#[derive(Debug, Clone, Copy)]
enum Origin {
    /// The table of this number.
    Table(usize),
    /// Another process: what is said of all listeners holds.
    Inherited(Purpose),
}

/// How clients are met at a socket.
struct Manner {
    /// As [`name_of`] a listener has it.
    name: Option<String>,
    /// TLS comes first.
    implicit_tls: bool,
    protocol: Protocol,
    /// Where load balancers are.
    balancers: Vec<Trusted>,
    dsn: Dsn,
    /// Where mail proxies are that say whose session it is.
    proxies: Vec<Trusted>,
    /// How long clients have to keep quiet. `None`: as everywhere.
    early_talker: Option<Duration>,
}

impl Manner {
    fn of(listener: &config::Listener) -> Self {
        Self {
            name: Some(name_of(listener)),
            implicit_tls: listener.implicit_tls,
            protocol: listener.protocol,
            balancers: listener.proxy_protocol_from.clone(),
            dsn: listener.dsn,
            proxies: listener.xclient_from.clone(),
            early_talker: listener.own_early_talker().map(EarlyTalker::get),
        }
    }

    fn inherited(configuration: &Configuration, purpose: Purpose) -> Result<Self, Invalid> {
        let balancers = same_for_all(configuration, "proxy-protocol-from", |it| {
            &it.proxy_protocol_from
        })?;
        let proxies = same_for_all(configuration, "xclient-from", |it| &it.xclient_from)?;
        let dsn = alike(configuration, "dsn", "give all of them the same", |it| {
            it.dsn
        })?;
        Ok(Self {
            name: None,
            implicit_tls: purpose == Purpose::Smtps,
            protocol: match purpose {
                Purpose::Lmtp => Protocol::Lmtp,
                Purpose::Smtp | Purpose::Smtps | Purpose::Admin => Protocol::Smtp,
            },
            balancers,
            dsn,
            proxies,
            // Strangers are not judged there.
            early_talker: (purpose == Purpose::Lmtp).then_some(Duration::ZERO),
        })
    }

    fn apply(self, endpoint: Endpoint, delivery: &Delivery) -> Endpoint {
        let mut endpoint = match self.name {
            Some(name) => endpoint.name(name),
            None => endpoint,
        };
        endpoint = endpoint
            .protocol(self.protocol)
            .proxy_protocol_from(Trusted::networks(&self.balancers))
            .xclient_from(Trusted::networks(&self.proxies));
        if self.proxies.contains(&Trusted::Unix) {
            endpoint = endpoint.xclient_from_unix();
        }
        if self.balancers.contains(&Trusted::Unix) {
            endpoint = endpoint.proxy_protocol_from_unix();
        }
        if let Some(time) = self.early_talker {
            endpoint = endpoint.early_talker(time);
        }
        if self.dsn == Dsn::Pass {
            let delivery = delivery.clone();
            endpoint = endpoint.dsn_while(move || delivery.offers_dsn());
        }
        match self.implicit_tls {
            true => endpoint.implicit_tls(),
            false => endpoint,
        }
    }
}

impl Sockets {
    /// Inherited ones replace those that are configured.
    pub(crate) fn open(
        configuration: &Configuration,
        inherited: Vec<(Purpose, Inherited)>,
    ) -> Result<Self, Error> {
        if inherited.is_empty() {
            bind_configured(configuration)
        } else {
            take_over(configuration, inherited)
        }
    }

    /// What each of them speaks.
    pub(crate) fn protocols(&self) -> Vec<Protocol> {
        self.0.iter().map(|bound| bound.manner.protocol).collect()
    }

    /// Where each of them is configured.
    pub(crate) fn origins(&self) -> Origins {
        Origins(self.0.iter().map(|bound| bound.origin).collect())
    }

    /// For each of them, whether TLS comes first.
    pub(crate) fn implicit_tls(&self) -> Vec<bool> {
        self.0
            .iter()
            .map(|bound| bound.manner.implicit_tls)
            .collect()
    }

    /// With a socket for each thread, where each is to have its own: for a process that will not
    /// have the right to bind them.
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
    pub(crate) fn add_to<H>(
        self,
        builder: ServerBuilder<H>,
        delivery: &Delivery,
    ) -> ServerBuilder<H> {
        self.0.into_iter().fold(builder, |builder, bound| {
            let endpoint = bound.manner.apply(bound.listener.into(), delivery);
            builder.listen(endpoint)
        })
    }
}

/// Where each socket comes from, in their order: what the configuration says of it can change while
/// running.
#[derive(Debug, Clone)]
pub(crate) struct Origins(Vec<Origin>);

impl Origins {
    /// Whether clients may or must log in at each of them. `None`: as everywhere.
    pub(crate) fn auth(&self, configuration: &Configuration) -> Result<Vec<Option<Mode>>, Invalid> {
        let auth = |origin: &Origin| match origin {
            Origin::Inherited(_) => auth_of_all(configuration),
            Origin::Table(index) => {
                let listener = configuration.listeners.get(*index);
                Ok(listener.and_then(|listener| listener.auth))
            }
        };
        self.0.iter().map(auth).collect()
    }

    /// How clients are met at each of them.
    pub(crate) fn rules(
        &self,
        configuration: &Configuration,
        delivery: &Delivery,
    ) -> Result<Vec<EndpointRules>, Invalid> {
        let listeners = &configuration.listeners;
        let mut rules = Vec::with_capacity(self.0.len());
        for origin in &self.0 {
            let manner = match origin {
                Origin::Inherited(purpose) => Manner::inherited(configuration, *purpose)?,
                Origin::Table(index) => match listeners.get(*index) {
                    Some(listener) => Manner::of(listener),
                    // The listeners that are open stay those of the start.
                    None => continue,
                },
            };
            // Where it is has been settled at the start.
            let nowhere = Endpoint::new(([0, 0, 0, 0], 0));
            rules.push(manner.apply(nowhere, delivery).rules());
        }
        Ok(rules)
    }

    /// TLS comes first on one of them, with these listeners.
    pub(crate) fn need_tls(&self, listeners: &[config::Listener]) -> bool {
        let needs_tls = |origin: &Origin| match origin {
            Origin::Inherited(purpose) => *purpose == Purpose::Smtps,
            Origin::Table(index) => listeners.get(*index).is_some_and(|it| it.implicit_tls),
        };
        self.0.iter().any(needs_tls)
    }
}

fn bind_configured(configuration: &Configuration) -> Result<Sockets, Error> {
    let targets = configuration.look_up_listeners()?;
    let wanted = configuration.listeners.iter().zip(targets);
    let sockets = if configuration.reuse_port {
        listen_beside(wanted)?
    } else {
        wanted.map(listen).collect::<Result<_, _>>()?
    };
    let mut bound = Vec::new();
    for (index, (configured, listeners)) in configuration.listeners.iter().zip(sockets).enumerate()
    {
        bound.extend(listeners.into_iter().map(|listener| Bound {
            listener,
            origin: Origin::Table(index),
            manner: Manner::of(configured),
        }));
    }
    Ok(Sockets(bound))
}

/// Binds every address before it listens on any: one that cannot be had is found out before any
/// takes connections from the process beside which this one starts.
fn listen_beside<'c>(
    wanted: impl Iterator<Item = (&'c config::Listener, Target)>,
) -> Result<Vec<Vec<Listener>>, Error> {
    let bind = |(configured, target)| match target {
        Target::Unix(path) => Ok(Beside::Unix(unix_socket(configured, &path)?.bind_shared()?)),
        target => Ok(Beside::Ports(bind_shared(target)?)),
    };
    let bound: Vec<Beside> = wanted.map(bind).collect::<Result<_, Error>>()?;
    let listen = |bound| match bound {
        Beside::Unix(socket) => Ok(vec![socket.listen()?]),
        Beside::Ports(sockets) => sockets.into_iter().map(BoundSocket::listen).collect(),
    };
    let listeners: Result<_, BindError> = bound.into_iter().map(listen).collect();
    Ok(listeners?)
}

/// What is bound where another process may listen, and does not listen yet.
enum Beside {
    Ports(Vec<BoundSocket>),
    Unix(BoundUnixSocket),
}

/// How clients that come by a listener are known to have done so.
pub(crate) fn name_of(listener: &config::Listener) -> String {
    listener.address.to_string()
}

/// Listens on all that the address of a listener stands for.
fn listen((configured, target): (&config::Listener, Target)) -> Result<Vec<Listener>, Error> {
    match target {
        Target::Unix(path) => {
            let socket = unix_socket(configured, &path)?;
            Ok(vec![Listener::bind_unix(&socket)?])
        }
        target => Ok(bind(target)?),
    }
}

fn unix_socket(configured: &config::Listener, path: &Path) -> Result<UnixSocket, Error> {
    let mut socket = UnixSocket::new(path);
    if let Some(mode) = configured.mode {
        socket = socket.mode(mode.0);
    }
    if let Some(group) = &configured.group {
        socket = socket.group(prixfixe_config::look_up_group(group)?);
    }
    Ok(socket)
}

/// Listens on all that an address stands for.
pub(crate) fn bind(target: Target) -> Result<Vec<Listener>, BindError> {
    match target {
        Target::Both(Scope::Loopback, port) => Listener::bind_localhost(port),
        Target::Both(Scope::All, port) => Listener::bind_all(port),
        Target::Addresses(addresses) => addresses.into_iter().map(Listener::bind).collect(),
        Target::Unix(path) => Ok(vec![Listener::bind_unix(&UnixSocket::new(path))?]),
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
        // They have ways of their own.
        Target::Unix(_) => Ok(Vec::new()),
    }
}

fn take_over(
    configuration: &Configuration,
    inherited: Vec<(Purpose, Inherited)>,
) -> Result<Sockets, Error> {
    auth_of_all(configuration)?;
    let mut bound = Vec::with_capacity(inherited.len());
    for (index, (purpose, socket)) in inherited.into_iter().enumerate() {
        let invalid = |problem: String| Invalid {
            place: format!("inherited socket {}", index + 1),
            problem,
        };
        let manner = Manner::inherited(configuration, purpose)?;
        if manner.implicit_tls && !configuration.tls.is_on() {
            let problem = "needs a certificate; add --tls-cert and --tls-key, or --tls-self-signed";
            return Err(invalid(problem.to_owned()).into());
        }
        let listener = socket
            .listener()
            .map_err(|error| invalid(format!("cannot be used: {error}")))?;
        if manner.protocol == Protocol::Lmtp && listener.local_address().port() == 25 {
            let problem = "has port 25, which is for SMTP alone; choose another for LMTP, like 24";
            return Err(invalid(problem.to_owned()).into());
        }
        bound.push(Bound {
            listener: listener.leave_backlog(),
            origin: Origin::Inherited(purpose),
            manner,
        });
    }
    Ok(Sockets(bound))
}

/// An inherited socket has no table in the configuration, so whom it trusts has to be the same
/// everywhere.
fn same_for_all(
    configuration: &Configuration,
    key: &str,
    of: fn(&config::Listener) -> &Vec<Trusted>,
) -> Result<Vec<Trusted>, Invalid> {
    let mut all = configuration.listeners.iter().map(of);
    let first = all.next().cloned().unwrap_or_default();
    if all.all(|networks| *networks == first) {
        return Ok(first);
    }
    Err(Invalid {
        place: format!("listener.{key}"),
        problem: format!(
            "differs between listeners, which inherited sockets replace; \
             set --{key}, which is for all of them"
        ),
    })
}

fn auth_of_all(configuration: &Configuration) -> Result<Option<Mode>, Invalid> {
    let mends = "set --auth, which is for all of them";
    alike(configuration, "auth", mends, |it| it.auth)
}

/// The same for a single value.
fn alike<T: PartialEq + Default>(
    configuration: &Configuration,
    key: &str,
    what_mends_it: &str,
    of: fn(&config::Listener) -> T,
) -> Result<T, Invalid> {
    let mut all = configuration.listeners.iter().map(of);
    let first = all.next().unwrap_or_default();
    if all.all(|value| value == first) {
        return Ok(first);
    }
    Err(Invalid {
        place: format!("listener.{key}"),
        problem: format!(
            "differs between listeners, which inherited sockets replace; {what_mends_it}"
        ),
    })
}
