//! The checks that `[policy]` asks for. They change while the server runs.

mod numbers;

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use prixfixe_policy::{
    Authentication, AuthenticationSession, Blocklist, BlocklistSession, ListedAction,
    Mode as PolicyMode, Resolver,
};
use prixfixe_server::{Check, CheckSession, Client, Content, Mail, Protocol, Rcpt, Reply, Verdict};

pub(crate) use self::numbers::Numbers;
use crate::config::Configuration;
use crate::config::policy::{Action, Marking, Mode, Policy as Wanted};
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
    authentication: Option<Arc<Authentication>>,
    lists: Vec<Arc<Blocklist>>,
    /// The names of listeners on which nobody is judged.
    exempt: HashSet<String>,
}

impl Policy {
    pub(crate) fn numbers(&self) -> Arc<Numbers> {
        Arc::clone(&self.numbers)
    }

    /// The rules that a configuration has, not in force yet.
    pub(crate) fn prepare(&self, configuration: &Configuration) -> Result<Arc<Rules>, Error> {
        let wanted = &configuration.policy;
        let listeners = configuration.listeners.iter();
        let mut rules = Rules {
            exempt: listeners
                .filter(|it| !it.has_policy())
                .map(name_of)
                .collect(),
            ..Rules::default()
        };
        if !wanted.asks_dns() {
            return Ok(Arc::new(rules));
        }
        let resolver = resolver(wanted)?;
        if wanted.authenticates() {
            let id = wanted.authserv_id.as_ref().unwrap_or(&configuration.domain);
            let check = Authentication::new(resolver.clone(), &**id)
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
        Ok(Arc::new(rules))
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

impl Rules {
    fn concern(&self, client: &Client) -> bool {
        match client.endpoint() {
            Some(name) => !self.exempt.contains(name),
            // An inherited socket.
            None => client.protocol() == Protocol::Smtp,
        }
    }
}

impl From<Mode> for PolicyMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Off => Self::Off,
            Mode::Mark => Self::Mark,
            Mode::Enforce => Self::Enforce,
        }
    }
}

impl From<Action> for ListedAction {
    fn from(action: Action) -> Self {
        match action {
            Action::Mark => Self::Mark,
            Action::Reject => Self::Reject,
        }
    }
}

impl Check for Policy {
    type Session = PolicySession;

    async fn connect(self: &Arc<Self>, client: &Client) -> Result<PolicySession, Reply> {
        let rules = self.rules();
        let mut lists = Vec::new();
        if rules.concern(client) {
            for list in &rules.lists {
                lists.push(list.connect(client).await?);
            }
        }
        Ok(PolicySession {
            policy: Policy::clone(self),
            lists,
            authentication: None,
        })
    }

    fn needs_runtime(&self) -> bool {
        true
    }
}

/// One connection.
pub(crate) struct PolicySession {
    policy: Policy,
    lists: Vec<BlocklistSession>,
    /// Of the transaction, if it is looked at.
    authentication: Option<AuthenticationSession>,
}

impl CheckSession for PolicySession {
    async fn mail(&mut self, mail: Mail<'_>) -> Result<(), Reply> {
        self.authentication = None;
        let rules = mail.attached().unwrap_or_else(|| self.policy.rules());
        let check = rules.authentication.as_ref();
        if let Some(check) = check.filter(|_| rules.concern(mail.client())) {
            let session = check.connect(mail.client()).await?;
            self.authentication.insert(session).mail(mail).await?;
        }
        Ok(())
    }

    async fn rcpt(&mut self, rcpt: Rcpt<'_>) -> Result<(), Reply> {
        for list in &mut self.lists {
            list.rcpt(rcpt).await?;
        }
        match &mut self.authentication {
            Some(session) => session.rcpt(rcpt).await,
            None => Ok(()),
        }
    }

    fn reads_content(&self) -> bool {
        let authentication = self.authentication.as_ref();
        self.lists.iter().any(CheckSession::reads_content)
            || authentication.is_some_and(CheckSession::reads_content)
    }

    async fn content(&mut self, content: Content<'_>) -> Result<Verdict, Reply> {
        let mut verdict = Verdict::default();
        for list in &mut self.lists {
            verdict = verdict.and(list.content(content).await?);
        }
        if let Some(session) = &mut self.authentication {
            verdict = verdict.and(session.content(content).await?);
        }
        Ok(verdict)
    }

    fn reset(&mut self) {
        self.authentication = None;
    }
}
