//! What all sessions of a server share.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use crate::tls::TlsConfig;
use prixfixe_core::Config;
use prixfixe_network::{Connection, Service};

use crate::clients::{Clients, Failures};
use crate::conversation::Begin;
use crate::endpoint::{Offer, Rules};
use crate::gate::Gate;
use crate::gather::Gathering;
use crate::in_force::{AtMail, InForce};
use crate::log::Log;
use crate::metrics::Counts;
use crate::observe::{Observation, Observer};
use crate::settings::Auth;
use crate::{AuthMode, Peer, Settings, SettingsError, replies};

/// The parts of a running server that a session needs. A session keeps those that it began with.
pub(crate) struct Shared {
    pub(crate) application: Arc<dyn Begin>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) log: Arc<Log>,
    pub(crate) dialogue: Arc<Config>,
    /// For processes of this machine: what they say crosses no network, so that TLS is never
    /// required.
    local_dialogue: Arc<Config>,
    pub(crate) domain: Arc<str>,
    pub(crate) handler_timeout: Duration,
    /// How long a client has to keep quiet before it is greeted.
    pub(crate) early_talker: Duration,
    pub(crate) clients: Clients,
    pub(crate) in_force: InForce,
    /// As it was in force when sessions with these settings began.
    pub(crate) login_epoch: u32,
    /// The same.
    pub(crate) anybody_epoch: u32,
    pub(crate) tls: Option<TlsConfig>,
    pub(crate) gathering: Gathering,
    pub(crate) auth: Auth,
    pub(crate) failures: Arc<Failures>,
}

impl Shared {
    #[expect(clippy::too_many_arguments, reason = "one for each part, in one place")]
    fn new(
        application: Arc<dyn Begin>,
        counts: Arc<Counts>,
        log: Arc<Log>,
        clients: Clients,
        gathering: Gathering,
        in_force: InForce,
        failures: Arc<Failures>,
        settings: &Settings,
    ) -> Self {
        let mut dialogue = settings.dialogue.clone();
        dialogue.starttls = settings.tls.is_some();
        let auth = settings.auth.clone().in_force();
        dialogue.auth = auth.offered();
        let mut local_dialogue = dialogue.clone();
        local_dialogue.tls_required = false;
        let now = in_force.now();
        Self {
            application,
            counts,
            log,
            domain: dialogue.domain.as_str().into(),
            login_epoch: now.login_epoch,
            anybody_epoch: now.anybody_epoch,
            in_force,
            dialogue: Arc::new(dialogue),
            local_dialogue: Arc::new(local_dialogue),
            handler_timeout: settings.handler_timeout,
            early_talker: settings.early_talker,
            clients,
            tls: settings.tls.clone(),
            gathering,
            auth,
            failures,
        }
    }

    /// What is offered to a client that comes from there.
    pub(crate) fn dialogue_with(&self, peer: Peer) -> Arc<Config> {
        Arc::clone(match peer {
            Peer::Unix(_) => &self.local_dialogue,
            Peer::Ip(_) | Peer::Other => &self.dialogue,
        })
    }

    /// The same, for listeners that differ so.
    fn with(&self, variant: Variant, settings: &Settings) -> Self {
        let mut settings = settings.clone();
        if let Some(mode) = variant.auth {
            settings = settings.auth(mode);
        }
        if let Some(time) = variant.early_talker {
            settings = settings.early_talker(time);
        }
        if variant.dsn {
            settings = settings.dsn(true);
        }
        Self::new(
            Arc::clone(&self.application),
            Arc::clone(&self.counts),
            Arc::clone(&self.log),
            self.clients.clone(),
            self.gathering.clone(),
            self.in_force.clone(),
            Arc::clone(&self.failures),
            &settings,
        )
    }

    /// Where it is told what happens.
    pub(crate) fn observer(&self) -> Observer<'_> {
        Observer {
            log: &self.log,
            counts: &self.counts,
        }
    }
}

/// What sessions share, where listeners do not all offer the same.
struct Sharing {
    usual: Arc<Shared>,
    others: Vec<(Variant, Arc<Shared>)>,
    /// Of each listener. `None`: the usual one.
    modes: Vec<Option<AuthMode>>,
    /// Of each listener.
    rules: Arc<[Rules]>,
}

/// What holds at each listener: what is set, or what it was given at the start.
fn rules_in_force(settings: &Settings, given: &[Rules]) -> Arc<[Rules]> {
    let set = settings.endpoint_rules.iter().map(|rules| &rules.0);
    let rest = given.iter().skip(settings.endpoint_rules.len());
    set.take(given.len()).chain(rest).cloned().collect()
}

/// How logins are handled at each listener, where that is not as usual.
fn modes(settings: &Settings, rules: &[Rules]) -> Vec<Option<AuthMode>> {
    let set = settings.auth.endpoints.iter();
    let rest = rules.iter().skip(set.len()).map(|rules| rules.auth);
    set.take(rules.len()).copied().chain(rest).collect()
}

/// Nothing can come of some of it without a certificate. The rules are those that the listeners
/// were given at the start.
pub(crate) fn check(settings: &Settings, given: &[Rules]) -> Result<(), SettingsError> {
    let rules = rules_in_force(settings, given);
    let implicit = rules.iter().any(|rules| rules.implicit_tls);
    let mut of_logins = modes(settings, &rules).into_iter().flatten();
    settings.check(implicit || of_logins.any(AuthMode::needs_tls))
}

/// In what the sessions of a listener differ from the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Variant {
    auth: Option<AuthMode>,
    early_talker: Option<Duration>,
    dsn: bool,
}

impl Variant {
    const USUAL: Self = Self {
        auth: None,
        early_talker: None,
        dsn: false,
    };

    /// All that may be needed for a listener.
    fn all(auth: Option<AuthMode>, rules: &Rules) -> impl Iterator<Item = Self> {
        let without = Self::new(auth, rules, false);
        let with = rules.dsn.as_ref().map(|_| Self::new(auth, rules, true));
        [without].into_iter().chain(with)
    }

    fn now(auth: Option<AuthMode>, rules: &Rules) -> Self {
        let dsn = rules.dsn.as_ref().is_some_and(Offer::is_made);
        Self::new(auth, rules, dsn)
    }

    const fn new(auth: Option<AuthMode>, rules: &Rules, dsn: bool) -> Self {
        Self {
            auth,
            early_talker: rules.early_talker,
            dsn,
        }
    }
}

impl Sharing {
    fn new(usual: Shared, settings: &Settings, given: &[Rules]) -> Self {
        let mut others: Vec<(Variant, Arc<Shared>)> = Vec::new();
        let rules = rules_in_force(settings, given);
        let modes = modes(settings, &rules);
        let each = modes.iter().zip(rules.iter());
        for variant in each.flat_map(|(auth, rules)| Variant::all(*auth, rules)) {
            let is_known = others.iter().any(|(other, _)| *other == variant);
            if !is_known && variant != Variant::USUAL {
                others.push((variant, Arc::new(usual.with(variant, settings))));
            }
        }
        let usual = Arc::new(usual);
        Self {
            usual,
            others,
            modes,
            rules,
        }
    }

    fn by(&self, listener: usize, rules: &Rules) -> Arc<Shared> {
        let auth = self.modes.get(listener).copied().flatten();
        let variant = Variant::now(auth, rules);
        let other = self.others.iter().find(|(other, _)| *other == variant);
        Arc::clone(other.map_or(&self.usual, |(_, shared)| shared))
    }
}

fn rules_of<'a>(rules: &'a [Rules], connection: &Connection) -> &'a Rules {
    static NONE: Rules = Rules::none();
    rules.get(connection.listener).unwrap_or(&NONE)
}

/// Makes a session for each connection.
pub(crate) struct SmtpService {
    /// Swapped whole when the server is reconfigured. Looked at once a connection.
    shared: RwLock<Sharing>,
    counts: Arc<Counts>,
    log: Arc<Log>,
    /// Of each listener, as it was given at the start.
    given: Vec<Rules>,
    over_limit: Vec<u8>,
}

impl SmtpService {
    pub(crate) fn new(application: Arc<dyn Begin>, settings: &Settings, given: Vec<Rules>) -> Self {
        let mut over_limit = Vec::new();
        replies::TOO_MANY_CONNECTIONS.encode(&mut over_limit);
        let now = Instant::now();
        let counts = Arc::new(Counts::new(now));
        let clients = Clients::new(settings.client_limits, settings.max_connections, now);
        let log = Arc::new(Log::new(now));
        let shared = Shared::new(
            application,
            Arc::clone(&counts),
            Arc::clone(&log),
            clients,
            Gathering::new(settings.message_memory, settings.temporary.clone()),
            InForce::new(AtMail::new(settings, 0, 0)),
            Arc::new(Failures::new(now)),
            settings,
        );
        Self {
            shared: RwLock::new(Sharing::new(shared, settings, &given)),
            counts,
            log,
            given,
            over_limit,
        }
    }

    fn observer(&self) -> Observer<'_> {
        Observer {
            log: &self.log,
            counts: &self.counts,
        }
    }

    /// Of each listener.
    pub(crate) fn auth_modes(&self) -> Vec<AuthMode> {
        let sharing = self.sharing();
        let usual = sharing.usual.auth.mode;
        let modes = sharing.modes.iter();
        modes.map(|mode| mode.unwrap_or(usual)).collect()
    }

    pub(crate) fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// As where nothing is said of logins.
    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.sharing().usual)
    }

    fn sharing(&self) -> RwLockReadGuard<'_, Sharing> {
        self.shared.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of each listener.
    pub(crate) fn rules(&self) -> Arc<[Rules]> {
        Arc::clone(&self.sharing().rules)
    }
}

impl SmtpService {
    /// Sessions made from now on have these settings. An error changes nothing.
    pub(crate) fn reconfigure(&self, settings: &Settings) -> Result<(), SettingsError> {
        check(settings, &self.given)?;
        let old = self.shared();
        let clients = old.clients.with_limits(
            settings.client_limits,
            settings.max_connections,
            Instant::now(),
        );
        let login_epoch = match self.is_stricter(settings) {
            true => old.login_epoch.wrapping_add(1),
            false => old.login_epoch,
        };
        let anybody_epoch = match self.leaves_any(settings) {
            true => old.anybody_epoch.wrapping_add(1),
            false => old.anybody_epoch,
        };
        let at_mail = AtMail::new(settings, login_epoch, anybody_epoch);
        let (application, counts) = (Arc::clone(&old.application), Arc::clone(&self.counts));
        let shared = Shared::new(
            application,
            counts,
            Arc::clone(&self.log),
            clients,
            old.gathering
                .with(settings.message_memory, settings.temporary.clone()),
            old.in_force.replaced(at_mail),
            Arc::clone(&old.failures),
            settings,
        );
        let shared = Sharing::new(shared, settings, &self.given);
        *self.shared.write().unwrap_or_else(PoisonError::into_inner) = shared;
        Ok(())
    }

    /// Whether clients must log in at a listener where they did not have to.
    fn is_stricter(&self, settings: &Settings) -> bool {
        let mut changes = self.auth_changes(settings).into_iter();
        changes.any(|(now, next)| now != next && next == AuthMode::Require)
    }

    /// Whether passwords are checked where any was right: who logged in there may be nobody.
    fn leaves_any(&self, settings: &Settings) -> bool {
        let usual = (self.shared().auth.mode, settings.auth.mode);
        let mut changes = self.auth_changes(settings).into_iter().chain([usual]);
        changes.any(|(now, next)| now != next && now == AuthMode::Any)
    }

    /// How logins are handled at each listener, and how they will be.
    fn auth_changes(&self, settings: &Settings) -> Vec<(AuthMode, AuthMode)> {
        let rules = rules_in_force(settings, &self.given);
        let next = modes(settings, &rules).into_iter();
        let next = next.map(|mode| mode.unwrap_or(settings.auth.mode));
        self.auth_modes().into_iter().zip(next).collect()
    }

    /// A session for a stream of the caller's own.
    pub(crate) fn own_session(&self, now: Instant) -> Gate {
        self.log.tick(now);
        Gate::of_own_stream(self.shared(), now)
    }

    /// What a stream of the caller's own is told over the connection limit.
    pub(crate) fn own_over_limit(&self, now: Instant) -> &[u8] {
        let observation = Observation::Crowded;
        self.observer()
            .observe(now, Peer::Other.into(), &observation);
        &self.over_limit
    }

    /// The last session is gone: what the log has not told yet is told.
    pub(crate) fn stopped(&self) {
        self.log.tell_rest();
    }
}

impl Service for SmtpService {
    type Session = Gate;

    fn session(&self, now: Instant, connection: &Connection) -> Gate {
        self.log.tick(now);
        let sharing = self.sharing();
        let all = Arc::clone(&sharing.rules);
        let rules = rules_of(&all, connection);
        let shared = sharing.by(connection.listener, rules);
        drop(sharing);
        Gate::new(shared, rules, now, connection)
    }

    fn over_limit(&self, now: Instant, connection: &Connection) -> &[u8] {
        let peer = Peer::from(connection.peer);
        self.observer()
            .observe(now, peer.into(), &Observation::Crowded);
        // Clear text would only be noise to a client that expects a handshake.
        if rules_of(&self.rules(), connection).implicit_tls {
            &[]
        } else {
            &self.over_limit
        }
    }
}
