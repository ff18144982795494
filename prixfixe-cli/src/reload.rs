//! SIGHUP: the configuration is read again, and what can change while running changes.

use std::sync::Arc;

use prixfixe_admin::Notice;
use prixfixe_config::{
    self as config, Configuration, ConfigurationArguments, Difference, differences,
};
use prixfixe_delivery::{AcceptRecipients, TemporarySpace};
use prixfixe_log::Logging;
use prixfixe_server::{BareLineEnds, Server, Settings};
use prixfixe_tls::{Reloaded, TlsConfig, Watch};
use tracing::{info, warn};

use crate::auth::{self, Logins};
use crate::error::Error;
use crate::file_limit::{FileLimit, Room};
use crate::policy::Policy;
use crate::sockets::Origins;
use crate::targets::Targets;
use crate::{logging, recipients, temporary};

/// What runs, and what it was read from.
pub(crate) struct Reload {
    pub(crate) arguments: ConfigurationArguments,
    pub(crate) running: Configuration,
    pub(crate) tls: Certificates,
    pub(crate) origins: Origins,
    pub(crate) server: Arc<Server>,
    pub(crate) targets: Targets,
    pub(crate) recipients: AcceptRecipients,
    pub(crate) temporary: TemporarySpace,
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
    /// Takes over what can change while running, and names what cannot: all of it, or, after an
    /// error, nothing.
    pub(crate) fn run(&mut self) -> Result<(), Error> {
        let wanted = Configuration::load(&self.arguments)?.in_order_of(&self.running);
        let next = self
            .running
            .changed_while_running(&wanted, |it| self.origins.need_tls(it));
        // What bounds a relay may be among what waits for the next start: a listener where clients
        // must log in, say.
        if let Some(fault) = next.relay_fault() {
            return Err(Error::Relay(fault.problem));
        }
        let tls = self.certificates(&next)?;
        let targets = self.targets.prepare(&next)?;
        let recipients = recipients::prepare(&next)?;
        let policy = self.policy.prepare(&next)?;
        self.change_fsync(&next)?;
        let transactions = |settings: Settings| {
            let settings = match targets.of_transactions() {
                Some(routes) => settings.attach(Arc::new(routes)),
                None => settings,
            };
            settings
                .attach(Arc::new(recipients.clone()))
                .attach(Arc::clone(&policy))
        };
        if let Err(error) = self.change_server(&next, tls, transactions) {
            // Back to what it was, which cannot fail: at most the directories are synced once more.
            let _ = self.targets.set_fsync(self.running.delivery.fsync);
            return Err(error);
        }
        self.targets.replace(&next, targets);
        self.recipients.set_rules(recipients);
        self.policy.replace(policy);
        self.targets.set_min_free(next.delivery.min_free());
        temporary::change(&self.temporary, &next);
        self.report(&next, &wanted);
        self.running = next;
        Ok(())
    }

    /// Those that the new configuration asks for, read and checked. `None`: the ones in use will
    /// do.
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
        let changed = self.targets.set_fsync(next.delivery.fsync);
        changed.map_err(Error::Fsync)
    }

    fn change_server(
        &mut self,
        next: &Configuration,
        tls: Option<Certificates>,
        transactions: impl FnOnce(Settings) -> Settings,
    ) -> Result<(), Error> {
        let is_new = !self.running.has_certificates_of(next);
        let config = tls.as_ref().map_or(&self.tls.config, |tls| &tls.config);
        let reloaded = match config {
            Some(config) if !is_new => Some(config.reload()?),
            _ => None,
        };
        let room = self.file_limit.room(next);
        let logins = self.logins.next(next)?;
        let modes = self.origins.auth(next)?;
        let rules = self.origins.rules(next, self.targets.delivery())?;
        let settings = settings(next, room, config.clone(), &logins, modes).endpoint_rules(rules);
        // What a transaction goes by changes here, all at once.
        self.server.reconfigure(|_| transactions(settings))?;
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
            logging::change(&self.logging, &next.log);
        }
        for Difference { key, old, new } in differences(&self.running, next) {
            info!(target: "prixfixe", key, old, new, "changed");
        }
        for Difference { key, old, new } in differences(next, wanted) {
            warn!(target: "prixfixe", key, old, new, "this change takes effect at the next start");
        }
        if quieter {
            logging::change(&self.logging, &next.log);
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

/// What the server is told of a configuration.
pub(crate) fn settings(
    configuration: &Configuration,
    room: Room,
    tls: Option<TlsConfig>,
    logins: &Logins,
    modes: Vec<Option<config::Mode>>,
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
        .dsn_for_users(configuration.spool.is_on() && configuration.hands_on())
        .accept_domains(&configuration.accept.domains)
        .relay_for_users(configuration.accept.relay == config::Relay::Authenticated)
        .bare_line_ends(match configuration.accept.bare_line_ends {
            config::BareLineEnds::Refuse => BareLineEnds::Refuse,
            config::BareLineEnds::Repair => BareLineEnds::Repair,
        })
        .tls_required(configuration.tls.required)
        .early_talker(configuration.policy.early_talker.get())
        .endpoint_auth(modes.into_iter().map(|mode| mode.map(Into::into)));
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
