//! SIGHUP: the configuration is read again, and what can change while running changes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use prixfixe_delivery::AcceptRecipients;
use prixfixe_server::{BareLineEnds, Server, Settings};
use prixfixe_tls::{Reloaded, TlsConfig, Watch};
use toml::{Table, Value};
use tracing::{info, warn};

use crate::admin::Notice;
use crate::auth::{self, Logins};
use crate::config::{self, Configuration, ConfigurationArguments};
use crate::error::Error;
use crate::file_limit::{FileLimit, Room};
use crate::logging::Logging;
use crate::policy::Policy;
use crate::recipients;
use crate::sockets::Origins;
use crate::targets::Targets;

/// What runs, and what it was read from.
pub(crate) struct Reload {
    pub(crate) arguments: ConfigurationArguments,
    pub(crate) running: Configuration,
    pub(crate) tls: Certificates,
    /// TLS comes first on one of the sockets in use, whatever the configuration says of those that it would have opened.
    pub(crate) needs_tls: bool,
    pub(crate) origins: Origins,
    pub(crate) server: Arc<Server>,
    pub(crate) targets: Targets,
    pub(crate) recipients: AcceptRecipients,
    pub(crate) policy: Policy,
    pub(crate) logins: Logins,
    pub(crate) file_limit: FileLimit,
    pub(crate) logging: Arc<Logging>,
    pub(crate) notice: Notice,
}

/// The certificates in use, and the thread that looks for new ones.
#[derive(Default)]
pub(crate) struct Certificates {
    config: Option<TlsConfig>,
    /// Ends with the thread.
    #[expect(dead_code, reason = "held for its drop")]
    watch: Option<Watch>,
}

impl Certificates {
    pub(crate) fn new(tls: &config::Tls, config: Option<TlsConfig>) -> Result<Self, Error> {
        let interval = tls.reload_interval.get();
        let watch = config
            .as_ref()
            .filter(|_| !interval.is_zero())
            .map(|config| config.watch(interval))
            .transpose()
            .map_err(Error::Threads)?;
        Ok(Self { config, watch })
    }
}

impl Reload {
    /// Takes over what can change while running, and names what cannot: all of it, or, after an error, nothing.
    pub(crate) fn run(&mut self) -> Result<(), Error> {
        let wanted = Configuration::load(&self.arguments)?;
        let next = self.running.changed_while_running(&wanted, self.needs_tls);
        // What bounds a relay may be among what waits for the next start: a listener where clients must log in, say.
        if let Some(fault) = next.relay_fault() {
            return Err(Error::Relay(fault.problem));
        }
        let tls = self.certificates(&next)?;
        let targets = self.targets.prepare(&next)?;
        let recipients = recipients::Prepared::new(&next)?;
        let rules = self.policy.prepare(&next)?;
        self.change_fsync(&next)?;
        if let Err(error) = self.change_server(&next, tls) {
            // Back to what it was, which cannot fail: at most the directories are synced once more.
            let delivery = self.targets.delivery();
            let _ = delivery.set_fsync(self.running.delivery.fsync);
            return Err(error);
        }
        self.targets.replace(targets);
        recipients.put_into(&self.recipients);
        self.policy.replace(rules);
        let delivery = self.targets.delivery();
        delivery.set_min_free(next.delivery.min_free());
        self.report(&next, &wanted);
        self.running = next;
        Ok(())
    }

    /// Those that the new configuration asks for, read and checked. `None`: the ones in use will do.
    fn certificates(&self, next: &Configuration) -> Result<Option<Certificates>, Error> {
        if self.running.has_certificates_of(next) {
            if self.running.tls.reload_interval == next.tls.reload_interval {
                return Ok(None);
            }
            return Certificates::new(&next.tls, self.tls.config.clone()).map(Some);
        }
        let config = next.tls.load(&next.domain)?;
        Certificates::new(&next.tls, config).map(Some)
    }

    fn change_fsync(&self, next: &Configuration) -> Result<(), Error> {
        if self.running.delivery.fsync == next.delivery.fsync {
            return Ok(());
        }
        let changed = self.targets.delivery().set_fsync(next.delivery.fsync);
        changed.map_err(Error::Fsync)
    }

    fn change_server(
        &mut self,
        next: &Configuration,
        tls: Option<Certificates>,
    ) -> Result<(), Error> {
        let is_new = !self.running.has_certificates_of(next);
        let config = tls.as_ref().map_or(&self.tls.config, |tls| &tls.config);
        let reloaded = match config {
            Some(config) if !is_new => Some(config.reload()?),
            _ => None,
        };
        let room = self.file_limit.room(next);
        let logins = self.logins.next(next)?;
        let listeners = Listeners::of(&self.origins, next)?;
        let settings = settings(next, room, config.clone(), &logins, listeners);
        self.server.reconfigure(|_| settings)?;
        self.logins = logins;
        if let Some(tls) = tls {
            self.tls = tls;
        }
        match reloaded {
            Some(Reloaded::Unchanged) => info!(target: "prixfixe", "certificates are unchanged"),
            Some(_) => info!(target: "prixfixe", "new certificates are in use"),
            None if self.tls.config.is_some() => {
                info!(target: "prixfixe", "new certificates are in use");
            }
            None => {}
        }
        Ok(())
    }

    fn report(&self, next: &Configuration, wanted: &Configuration) {
        // A change is told at whichever of the two levels tells more.
        let quieter = next.log.level < self.running.log.level;
        if !quieter {
            self.logging.change(&next.log);
        }
        for Difference { key, old, new } in differences(&self.running, next) {
            info!(target: "prixfixe", key, old, new, "changed");
        }
        for Difference { key, old, new } in differences(next, wanted) {
            warn!(target: "prixfixe", key, old, new, "this change takes effect at the next start");
        }
        if quieter {
            self.logging.change(&next.log);
        }
        let warning = auth::warning(next);
        if let Some(warning) = &warning {
            warn!(target: "prixfixe", "{warning}");
        }
        self.notice.set(warning);
        if next.limits.max_connections > self.running.limits.max_connections {
            self.file_limit.warn(next);
        }
    }
}

/// To be called when the process has become another user.
pub(crate) fn warn_of_what_is_unreadable(
    arguments: &ConfigurationArguments,
    tls: Option<&TlsConfig>,
) {
    if let Err(error) = Configuration::load(arguments) {
        warn!(target: "prixfixe", %error, "this user cannot read the configuration again: a reload will fail");
    }
    if let Some(Err(error)) = tls.map(TlsConfig::reload) {
        warn!(target: "prixfixe", %error, "this user cannot read the certificates again: new ones need a restart");
    }
}

/// What is said of each socket that mail is received at, where it is not as everywhere.
pub(crate) struct Listeners {
    modes: Vec<Option<config::Mode>>,
    early_talkers: Vec<Option<Duration>>,
}

impl Listeners {
    pub(crate) fn of(origins: &Origins, configuration: &Configuration) -> Result<Self, Error> {
        Ok(Self {
            modes: origins.auth(configuration)?,
            early_talkers: origins.early_talkers(configuration),
        })
    }
}

/// What the server is told of a configuration.
pub(crate) fn settings(
    configuration: &Configuration,
    room: Room,
    tls: Option<TlsConfig>,
    logins: &Logins,
    listeners: Listeners,
) -> Settings {
    let limits = &configuration.limits;
    let settings = Settings::default()
        .domain(&configuration.domain)
        .max_connections(room.connections)
        .connections_per_minute(limits.connections_per_minute.get())
        .messages_per_minute(limits.messages_per_minute.get())
        .max_idle_commands(limits.max_idle_commands.get())
        .idle_timeout(limits.idle_timeout.get())
        .max_message_size(limits.max_message_size.get())
        .max_recipients(limits.max_recipients.size())
        .max_errors(limits.max_errors.get())
        .command_timeout(limits.command_timeout.get())
        .min_data_rate(u32::try_from(limits.min_data_rate.get()).unwrap_or(u32::MAX))
        .drain_timeout(limits.drain_timeout.get())
        .message_memory(limits.message_memory.get())
        .handler_timeout(configuration.longest_answer())
        .one_recipient_domain(configuration.is_routed_apart())
        .binary_mime(!configuration.hands_on())
        .accept_domains(&configuration.accept.domains)
        .relay_for_users(configuration.accept.relay == config::Relay::Authenticated)
        .bare_line_ends(match configuration.accept.bare_line_ends {
            config::BareLineEnds::Refuse => BareLineEnds::Refuse,
            config::BareLineEnds::Repair => BareLineEnds::Repair,
        })
        .tls_required(configuration.tls.required)
        .early_talker(configuration.policy.early_talker.get())
        .endpoint_early_talker(listeners.early_talkers)
        .endpoint_auth(listeners.modes.into_iter().map(|mode| mode.map(Into::into)));
    let settings = logins.add_to(settings, &configuration.auth);
    let settings = match limits.max_connections_per_client {
        Some(connections) => settings.max_connections_per_client(connections.get()),
        None => settings,
    };
    let settings = match room.closing {
        Some(connections) => settings.max_closing_connections(connections),
        None => settings,
    };
    let settings = match configuration.temporary() {
        Some(directory) => settings.temporary(directory),
        None => settings,
    };
    match tls {
        Some(tls) => settings.tls(tls),
        None => settings,
    }
}

impl Configuration {
    /// This one, with what can change while running as `wanted` has it.
    ///
    /// Every field is named: a new one is to be put on one side or the other.
    fn changed_while_running(&self, wanted: &Self, needs_tls: bool) -> Self {
        let tls = match needs_tls && !wanted.tls.is_on() {
            true => &self.tls,
            false => &wanted.tls,
        };
        Self {
            domain: wanted.domain.clone(),
            transport: self.transport,
            threads: self.threads,
            reuse_port: self.reuse_port,
            user: self.user.clone(),
            limits: wanted.limits.clone(),
            tls: tls.clone(),
            auth: wanted.auth.clone(),
            accept: wanted.accept.clone(),
            policy: wanted.policy.clone(),
            delivery: wanted.delivery.clone(),
            admin: self.admin.clone(),
            log: wanted.log.clone(),
            listeners: self.listeners_changed_as(wanted),
            targets: wanted.targets.clone(),
            routes: wanted.routes.clone(),
        }
    }

    /// The listeners that there are, each with what can change of the one at the same address.
    fn listeners_changed_as(&self, wanted: &Self) -> Vec<config::Listener> {
        // Port 0 may be there more than once.
        let changed = |(index, listener): (usize, &config::Listener)| {
            let is_same = |other: &&config::Listener| other.address == listener.address;
            let before = self.listeners.iter().take(index).filter(is_same).count();
            let other = wanted.listeners.iter().filter(is_same).nth(before);
            config::Listener {
                auth: other.map_or(listener.auth, |other| other.auth),
                early_talker: other.map_or(listener.early_talker, |other| other.early_talker),
                ..listener.clone()
            }
        };
        self.listeners.iter().enumerate().map(changed).collect()
    }

    /// Whether its certificates and the policy around them are the same. A self-signed certificate is for the domain.
    fn has_certificates_of(&self, other: &Self) -> bool {
        let same_name = !self.tls.self_signed || self.domain == other.domain;
        let tls = config::Tls {
            required: self.tls.required,
            reload_interval: self.tls.reload_interval,
            ..other.tls.clone()
        };
        same_name && self.tls == tls
    }
}

/// A key in which two configurations differ, with its values as `prixfixe check` prints them.
#[derive(Debug, PartialEq, Eq)]
struct Difference {
    key: String,
    old: String,
    new: String,
}

fn differences(old: &Configuration, new: &Configuration) -> Vec<Difference> {
    let (old, new) = (values(old), values(new));
    let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.into_iter()
        .filter(|key| old.get(*key) != new.get(*key))
        .map(|key| Difference {
            key: key.clone(),
            old: text(old.get(key)),
            new: text(new.get(key)),
        })
        .collect()
}

fn values(configuration: &Configuration) -> BTreeMap<String, Value> {
    let mut values = BTreeMap::new();
    for (key, value) in Table::try_from(configuration).unwrap_or_default() {
        match value {
            Value::Table(table) => {
                values.extend(
                    table
                        .into_iter()
                        .map(|(name, value)| (format!("{key}.{name}"), value)),
                );
            }
            value => drop(values.insert(key, value)),
        }
    }
    values
}

fn text(value: Option<&Value>) -> String {
    match value {
        // Not `none`: that would be another limit than the default.
        None => "unset".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    }
}
