//! The checks that `[policy]` asks for. They change while the server runs.

mod numbers;

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use prixfixe_config::policy::{self as config, Marking, Policy as Wanted};
use prixfixe_config::{Configuration, Invalid};
use prixfixe_policy::{
    Authentication, AuthenticationSession, Blocklist, BlocklistSession, ClientName,
    ClientNameSession, Milter, MilterSession, OnFailure, Resolver, Rspamd, RspamdSession,
    remove_forged_results,
};
use prixfixe_server::{
    Check, CheckSession, Client, Command, Content, Data, Edit, Hello, Mail, Protocol, Rcpt, Reply,
    Verdict,
};

pub(crate) use self::numbers::Numbers;
use crate::error::Error;
use crate::sockets::name_of;

/// The check. Cheap to clone; clones are one.
#[derive(Clone, Default)]
pub(crate) struct Policy {
    rules: Arc<RwLock<Arc<Rules>>>,
    numbers: Arc<Numbers>,
}

/// What is asked, and where.
#[derive(Default)]
pub(crate) struct Rules {
    /// Of `Authentication-Results`.
    id: Box<str>,
    authentication: Option<Arc<Authentication>>,
    lists: Vec<Arc<Blocklist>>,
    client_name: Option<Arc<ClientName>>,
    filters: Vec<Arc<Rspamd>>,
    milters: Vec<Asked>,
    /// The names of listeners on which nobody is judged.
    exempt: HashSet<String>,
}

/// A milter that is asked.
#[derive(Clone)]
struct Asked {
    wanted: WantedMilter,
    check: Arc<Milter>,
}

/// All that a milter is configured with. One that stays the same keeps its connections through a
/// reload.
#[derive(Clone, PartialEq, Eq)]
struct WantedMilter {
    milter: config::Milter,
    timeout: Duration,
    domain: Box<str>,
    max_body: u64,
}

impl Policy {
    pub(crate) fn numbers(&self) -> Arc<Numbers> {
        Arc::clone(&self.numbers)
    }

    /// The rules that a configuration has, not in force yet.
    pub(crate) fn prepare(&self, configuration: &Configuration) -> Result<Arc<Rules>, Error> {
        let wanted = &configuration.policy;
        let listeners = configuration.listeners.iter();
        let id = wanted.authserv_id.as_ref().unwrap_or(&configuration.domain);
        let mut rules = Rules {
            id: id.as_str().into(),
            exempt: listeners
                .filter(|it| !it.has_policy())
                .map(name_of)
                .collect(),
            ..Rules::default()
        };
        let filters = filters(configuration)?.into_iter();
        let filters = filters.map(|filter| Arc::new(filter.observer(self.numbers())));
        rules.filters = filters.collect();
        let milters = milters(configuration).map(|wanted| self.asked(wanted));
        rules.milters = milters.collect();
        if !wanted.asks_dns() {
            return Ok(Arc::new(rules));
        }
        let resolver = resolver(wanted)?;
        if wanted.authenticates() {
            let check = Authentication::new(resolver.clone(), &*rules.id)
                .spf(wanted.spf.into())
                .dkim(wanted.dkim == Marking::Mark)
                .dmarc(wanted.dmarc.into())
                .observer(self.numbers());
            rules.authentication = Some(Arc::new(check));
        }
        let lists = wanted.lists.iter().map(|list| {
            let check = Blocklist::new(resolver.clone(), &*list.zone)
                .action(list.action.into())
                .observer(self.numbers());
            Arc::new(check)
        });
        rules.lists = lists.collect();
        if wanted.client_name {
            let check = ClientName::new(resolver.clone()).observer(self.numbers());
            rules.client_name = Some(Arc::new(check));
        }
        Ok(Arc::new(rules))
    }

    /// The milter that is asked already, if there is one that is configured so.
    fn asked(&self, wanted: WantedMilter) -> Asked {
        let rules = self.rules();
        let same = rules.milters.iter().find(|it| it.wanted == wanted);
        same.cloned().unwrap_or_else(|| {
            let check = Arc::new(wanted.check().observer(self.numbers()));
            Asked { wanted, check }
        })
    }

    /// Puts rules into force for transactions that begin from now on.
    pub(crate) fn replace(&self, rules: Arc<Rules>) {
        let mut current = self.rules.write().unwrap_or_else(PoisonError::into_inner);
        *current = rules;
    }

    fn rules(&self) -> Arc<Rules> {
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&rules)
    }
}

fn resolver(wanted: &Wanted) -> Result<Resolver, Error> {
    let resolver = match wanted.dns.is_empty() {
        true => Resolver::system()?,
        false => Resolver::with_servers(wanted.dns.iter().copied())?,
    };
    Ok(resolver.timeout(wanted.timeout.get()))
}

/// Those that are asked about contents. None of them is connected to.
pub(crate) fn filters(configuration: &Configuration) -> Result<Vec<Rspamd>, Error> {
    let wanted = &configuration.policy;
    let filter = |(index, it): (usize, &config::Rspamd)| {
        let check = match it.insecure {
            true => Rspamd::insecure(&it.url),
            false => Rspamd::new(&it.url),
        };
        let place = format!("policy.rspamd {}", index + 1);
        let check = check.map_err(|error| Invalid::new(place, error))?;
        let check = check.timeout(wanted.timeout.get());
        let check = check.on_failure(on_failure(it.on_failure));
        Ok(check.name(&*configuration.domain))
    };
    wanted.rspamd.iter().enumerate().map(filter).collect()
}

fn milters(configuration: &Configuration) -> impl Iterator<Item = WantedMilter> {
    let milters = configuration.policy.milters.iter();
    milters.map(|milter| WantedMilter {
        milter: milter.clone(),
        timeout: configuration.policy.timeout.get(),
        domain: configuration.domain.as_str().into(),
        max_body: configuration.limits.max_message_size.get(),
    })
}

impl WantedMilter {
    /// The check. Nothing is connected to.
    fn check(&self) -> Milter {
        let milter = Milter::new(self.milter.socket.clone()).timeout(self.timeout);
        let milter = milter.on_failure(on_failure(self.milter.on_failure));
        milter.name(self.domain.clone()).max_body(self.max_body)
    }
}

const fn on_failure(wanted: prixfixe_config::OnFailure) -> OnFailure {
    match wanted {
        prixfixe_config::OnFailure::Defer => OnFailure::Defer,
        prixfixe_config::OnFailure::Accept => OnFailure::Accept,
    }
}

impl Rules {
    fn concern(&self, client: &Client) -> bool {
        match client.endpoint() {
            Some(name) => !self.exempt.contains(name),
            // An inherited socket.
            None => client.protocol() == Protocol::Smtp,
        }
    }

    /// Asks those that are asked about a connection, but the milters.
    async fn look_at(&self, client: &Client) -> Result<Connected, Reply> {
        let mut connected = Connected::default();
        if !self.concern(client) {
            return Ok(connected);
        }
        if let Some(check) = &self.client_name {
            connected.client_name = Some(check.connect(client).await?);
        }
        for list in &self.lists {
            connected.lists.push(list.connect(client).await?);
        }
        Ok(connected)
    }

    /// Asks all that are asked about a connection.
    async fn connect(&self, client: &Client) -> Result<Connected, Reply> {
        let mut connected = self.look_at(client).await?;
        if self.concern(client) {
            for milter in &self.milters {
                connected.milters.push(milter.check.connect(client).await?);
            }
        }
        Ok(connected)
    }

    /// The milters of a connection for which other rules were in force. One that has not changed
    /// keeps its own, and a new one connects when it hears of the message.
    fn take_over(
        &self,
        client: &Client,
        before: &Self,
        milters: Vec<MilterSession>,
    ) -> Vec<MilterSession> {
        if !self.concern(client) {
            return Vec::new();
        }
        let mut old: Vec<_> = before.milters.iter().zip(milters).collect();
        let mut session = |milter: &Asked| {
            let is_it = |(it, _): &(&Asked, _)| Arc::ptr_eq(&it.check, &milter.check);
            match old.iter().position(is_it) {
                Some(place) => old.swap_remove(place).1,
                None => milter.check.session(client),
            }
        };
        self.milters.iter().map(&mut session).collect()
    }
}

impl Check for Policy {
    type Session = PolicySession;

    async fn connect(self: &Arc<Self>, client: &Client) -> Result<PolicySession, Reply> {
        let rules = self.rules();
        Ok(PolicySession {
            policy: Policy::clone(self),
            connected: rules.connect(client).await?,
            rules,
            authentication: None,
            filters: Vec::new(),
        })
    }

    fn needs_runtime(&self) -> bool {
        true
    }
}

/// One connection.
pub(crate) struct PolicySession {
    policy: Policy,
    /// Those of the last transaction, or of the connection.
    rules: Arc<Rules>,
    connected: Connected,
    /// Of the transaction, if it is looked at.
    authentication: Option<AuthenticationSession>,
    filters: Vec<RspamdSession>,
}

/// Those that are asked about a connection.
#[derive(Default)]
struct Connected {
    lists: Vec<BlocklistSession>,
    client_name: Option<ClientNameSession>,
    milters: Vec<MilterSession>,
}

impl CheckSession for PolicySession {
    async fn hello(&mut self, hello: Hello<'_>) -> Result<(), Reply> {
        for milter in &mut self.connected.milters {
            milter.hello(hello).await?;
        }
        Ok(())
    }

    async fn mail(&mut self, mail: Mail<'_>) -> Result<(), Reply> {
        self.reset();
        let rules: Arc<Rules> = mail.attached().unwrap_or_else(|| self.policy.rules());
        if !Arc::ptr_eq(&rules, &self.rules) {
            // Where that refuses, it is asked again with the next MAIL.
            let connected = Box::pin(rules.look_at(mail.client())).await?;
            let before = std::mem::replace(&mut self.connected, connected);
            let milters = rules.take_over(mail.client(), &self.rules, before.milters);
            self.connected.milters = milters;
            self.rules = Arc::clone(&rules);
        }
        if !rules.concern(mail.client()) {
            return Ok(());
        }
        // Each future apart: the hook's own is boxed for every MAIL, and nobody is asked at most of
        // them.
        if let Some(check) = &rules.authentication {
            let session = check.connect(mail.client()).await?;
            let session = self.authentication.insert(session);
            Box::pin(session.mail(mail)).await?;
        }
        for check in &rules.filters {
            let mut session = check.connect(mail.client()).await?;
            Box::pin(session.mail(mail)).await?;
            self.filters.push(session);
        }
        for milter in &mut self.connected.milters {
            Box::pin(milter.mail(mail)).await?;
        }
        Ok(())
    }

    async fn rcpt(&mut self, rcpt: Rcpt<'_>) -> Result<(), Reply> {
        for list in &mut self.connected.lists {
            list.rcpt(rcpt).await?;
        }
        if let Some(session) = &mut self.authentication {
            session.rcpt(rcpt).await?;
        }
        for milter in &mut self.connected.milters {
            milter.rcpt(rcpt).await?;
        }
        Ok(())
    }

    async fn data(&mut self, data: Data<'_>) -> Result<(), Reply> {
        if let Some(session) = &mut self.connected.client_name {
            session.data(data).await?;
        }
        for milter in &mut self.connected.milters {
            milter.data(data).await?;
        }
        Ok(())
    }

    async fn command(&mut self, command: Command<'_>) -> Result<(), Reply> {
        for milter in &mut self.connected.milters {
            milter.command(command).await?;
        }
        Ok(())
    }

    fn reads_content(&self) -> bool {
        let authentication = self.authentication.as_ref();
        self.connected.lists.iter().any(CheckSession::reads_content)
            || self.filters.iter().any(CheckSession::reads_content)
            || self
                .connected
                .milters
                .iter()
                .any(CheckSession::reads_content)
            || authentication.is_some_and(CheckSession::reads_content)
    }

    async fn content(&mut self, content: Content<'_>) -> Result<Verdict, Reply> {
        let mut verdict = Verdict::default();
        for list in &mut self.connected.lists {
            verdict = verdict.and(list.content(content).await?);
        }
        if let Some(session) = &mut self.authentication {
            verdict = verdict.and(session.content(content).await?);
        } else {
            verdict = verdict.and(remove_forged_results(content, &self.rules.id).await?);
        }
        // What is refused without them costs them nothing.
        let mut of_filters = Verdict::default();
        for filter in &mut self.filters {
            of_filters = of_filters.and(filter.content(content).await?);
        }
        let milters = &mut self.connected.milters;
        if !milters.iter().any(CheckSession::reads_content) {
            return Ok(of_filters.and(verdict));
        }
        // Each milter sees what those before it have written, and no result that somebody has
        // forged.
        let (on_top, below) = split(&verdict);
        let mut verdict = of_filters.and(below);
        for milter in milters {
            if milter.reads_content() {
                let edited = content.edited(&verdict).await?;
                verdict = verdict.then(milter.content(content.with(&edited)).await?);
            }
        }
        Ok(verdict.then(on_top))
    }

    fn is_indifferent(&self) -> bool {
        self.connected.lists.is_empty()
            && self.connected.client_name.is_none()
            && self.authentication.is_none()
            && self.filters.is_empty()
            && self.connected.milters.is_empty()
    }

    fn reset(&mut self) {
        self.authentication = None;
        self.filters.clear();
        self.connected
            .milters
            .iter_mut()
            .for_each(CheckSession::reset);
    }
}

/// The fields that go on top of all others, such as `Authentication-Results`, and the rest of a
/// verdict.
fn split(verdict: &Verdict) -> (Verdict, Verdict) {
    let findings = verdict.findings().iter().cloned();
    let below = findings.fold(Verdict::default(), Verdict::found);
    let edits = verdict.edits().iter().cloned();
    edits.fold(
        (Verdict::default(), below),
        |(on_top, below), edit| match edit {
            Edit::Prepend { .. } => (on_top.edit(edit), below),
            edit => (on_top, below.edit(edit)),
        },
    )
}
