//! What the sources say, put together, with defaults for what none of them says.

use std::num::NonZeroUsize;
use std::time::Duration;

use prixfixe_delivery::MinFree;

use super::arguments::{AdminArguments, ConfigurationArguments};
use super::file::File;
use super::given::{Given, Invalid, Origin};
use super::options::{self, Opt};
use super::sources::{Environment, Sources};
use super::{
    Accept, Admin, BareLineEnds, Configuration, Delivery, DeliveryTarget, Limits, ListenAddress,
    Listener, Log, LogFormat, LogLevel, Transport, units, words,
};

const DEFAULT_PORT: u16 = 2525;

/// Reads the file that the arguments name, and puts everything together.
pub(super) fn resolve(
    arguments: &ConfigurationArguments,
    environment: Environment<'_>,
) -> Result<Configuration, Invalid> {
    sources(arguments, environment)?.resolve()
}

/// The same, for the admin endpoints alone.
pub(super) fn admin(
    AdminArguments(arguments): &AdminArguments,
    environment: Environment<'_>,
) -> Result<Admin, Invalid> {
    sources(arguments, environment)?.admin()
}

fn sources<'a>(
    arguments: &'a ConfigurationArguments,
    environment: Environment<'a>,
) -> Result<Sources<'a>, Invalid> {
    let file = match &arguments.config {
        Some(path) => File::read(path)?,
        None => File::default(),
    };
    Ok(Sources {
        arguments,
        environment,
        file,
    })
}

impl Sources<'_> {
    fn resolve(&self) -> Result<Configuration, Invalid> {
        let limits = self.limits()?;
        Ok(Configuration {
            domain: self
                .one(&options::DOMAIN, words::own_domain)?
                .unwrap_or_else(|| "localhost".to_owned()),
            transport: self
                .one(&options::TRANSPORT, words::transport)?
                .unwrap_or(Transport::Auto),
            threads: self
                .one(&options::THREADS, words::threads)?
                .unwrap_or_else(cores),
            reuse_port: self
                .one(&options::REUSE_PORT, units::switch)?
                .unwrap_or(false),
            user: self.one(&options::USER, words::user)?,
            tls: self.tls()?,
            accept: Accept {
                domains: self
                    .list(&options::ACCEPT_DOMAINS, words::accepted_domain)?
                    .unwrap_or_default(),
                bare_line_ends: self
                    .one(&options::BARE_LINE_ENDS, words::bare_line_ends)?
                    .unwrap_or(BareLineEnds::Refuse),
            },
            delivery: Delivery {
                target: self
                    .one(&options::DELIVER, words::delivery_target)?
                    .unwrap_or_else(|| DeliveryTarget::Maildir("./mail".into())),
                min_free: self
                    .one(&options::MIN_FREE, |text| units::size(text, 0..=1 << 50))?
                    .unwrap_or_else(|| MinFree::for_messages_of(limits.max_message_size).bytes),
                fsync: !self
                    .one(&options::NO_FSYNC, units::switch)?
                    .unwrap_or(false),
            },
            limits,
            admin: self.admin()?,
            log: Log {
                format: self
                    .one(&options::LOG_FORMAT, words::log_format)?
                    .unwrap_or(LogFormat::Text),
                level: self
                    .one(&options::LOG_LEVEL, words::log_level)?
                    .unwrap_or(LogLevel::Info),
            },
            listeners: self.listeners()?,
        })
    }

    fn admin(&self) -> Result<Admin, Invalid> {
        let listen = self.one(&options::ADMIN, |text| text.parse())?;
        Ok(Admin { listen })
    }

    fn limits(&self) -> Result<Limits, Invalid> {
        let size = |text: &str| units::size(text, 1..=1 << 40);
        let rate = |text: &str| {
            units::size(text, 0..=1 << 30)
                .and_then(|rate| u32::try_from(rate).map_err(|error| error.to_string()))
        };
        let of_client =
            |option: &'static Opt| self.one(option, |text| units::count(text, 0..=1_000_000));
        Ok(Limits {
            max_connections: self
                .one(&options::MAX_CONNECTIONS, |text| {
                    units::count(text, 1..=1_000_000)
                })?
                .unwrap_or(100),
            max_connections_per_client: of_client(&options::MAX_CONNECTIONS_PER_CLIENT)?,
            connections_per_minute: of_client(&options::CONNECTIONS_PER_MINUTE)?.unwrap_or(0),
            messages_per_minute: of_client(&options::MESSAGES_PER_MINUTE)?.unwrap_or(0),
            max_idle_commands: of_client(&options::MAX_IDLE_COMMANDS)?.unwrap_or(100),
            idle_timeout: self
                .one(&options::IDLE_TIMEOUT, |text| units::time(text, 1))?
                .unwrap_or(Duration::from_secs(600)),
            max_message_size: self
                .one(&options::MAX_MESSAGE_SIZE, size)?
                .unwrap_or(10_485_760),
            max_recipients: self
                .one(&options::MAX_RECIPIENTS, |text| {
                    units::count(text, 1..=100_000)
                })?
                .unwrap_or(1000),
            max_errors: self
                .one(&options::MAX_ERRORS, |text| {
                    units::count(text, 1..=1_000_000)
                })?
                .unwrap_or(10),
            command_timeout: self
                .one(&options::COMMAND_TIMEOUT, |text| units::time(text, 1))?
                .unwrap_or(Duration::from_secs(300)),
            min_data_rate: self.one(&options::MIN_DATA_RATE, rate)?.unwrap_or(500),
            drain_timeout: self
                .one(&options::DRAIN_TIMEOUT, |text| units::time(text, 0))?
                .unwrap_or(Duration::from_secs(30)),
        })
    }

    /// Flags and variables replace the file's listeners of their kind, in clear or with TLS first.
    fn listeners(&self) -> Result<Vec<Listener>, Invalid> {
        let mut found = self.listeners_of_kind(&options::LISTEN, false)?;
        if found.is_empty() && self.file.listeners.is_none() {
            let address = ListenAddress::localhost(self.default_port()?);
            found.push((
                Origin::Flag("listen"),
                Listener {
                    address,
                    implicit_tls: false,
                    proxy_protocol_from: Vec::new(),
                },
            ));
        }
        found.extend(self.listeners_of_kind(&options::LISTEN_TLS, true)?);
        let mut listeners: Vec<Listener> = Vec::with_capacity(found.len());
        let networks = self.list(&options::PROXY_PROTOCOL_FROM, words::network)?;
        for (origin, mut listener) in found {
            // A flag or a variable is for all listeners, and goes before what the file says of each.
            if let Some(networks) = &networks {
                listener.proxy_protocol_from.clone_from(networks);
            }
            let is_same = |other: &Listener| other.address == listener.address;
            if !listener.address.is_any_port() && listeners.iter().any(is_same) {
                return Err(
                    origin.invalid(format!("`{}` is there twice; remove one", listener.address))
                );
            }
            listeners.push(listener);
        }
        Ok(listeners)
    }

    fn default_port(&self) -> Result<u16, Invalid> {
        let port = self.one(&options::PORT, |text| units::count(text, 0..=u16::MAX))?;
        Ok(port.unwrap_or(DEFAULT_PORT))
    }

    pub(super) fn listeners_of_kind(
        &self,
        option: &'static Opt,
        implicit_tls: bool,
    ) -> Result<Vec<(Origin, Listener)>, Invalid> {
        if let Some(given) = self.flag_or_variable(option)? {
            return given
                .iter()
                .map(|address| match address.text.as_str() {
                    // The default listener on all addresses: what a container image says.
                    "*" if !implicit_tls => self.listener_on_all(address),
                    _ => listener(address, implicit_tls, &[]),
                })
                .collect();
        }
        let tables = self.file.listeners.iter().flatten();
        tables
            .filter(|table| table.implicit_tls == implicit_tls)
            .map(|table| listener(&table.address, implicit_tls, &table.proxy_protocol_from))
            .collect()
    }
}

impl Sources<'_> {
    fn listener_on_all(&self, given: &Given) -> Result<(Origin, Listener), Invalid> {
        let listener = Listener {
            address: ListenAddress::all(self.default_port()?),
            implicit_tls: false,
            proxy_protocol_from: Vec::new(),
        };
        Ok((given.origin.clone(), listener))
    }
}

fn listener(
    address: &Given,
    implicit_tls: bool,
    networks: &[Given],
) -> Result<(Origin, Listener), Invalid> {
    let listener = Listener {
        address: address.parse(|text| text.parse())?,
        implicit_tls,
        proxy_protocol_from: networks
            .iter()
            .map(|network| network.parse(words::network))
            .collect::<Result<_, _>>()?,
    };
    Ok((address.origin.clone(), listener))
}

fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}
