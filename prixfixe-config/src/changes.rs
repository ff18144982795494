//! What a running server can take over from another configuration, and where two of them differ.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::{Configuration, Listener, Tls};

impl Configuration {
    /// This one, with what can change while running as `wanted` has it.
    ///
    /// Every field is named: a new one is to be put on one side or the other. `need_tls` says
    /// whether one of the listeners that are open needs certificates, with these in place of what
    /// was said of them.
    #[must_use]
    pub fn changed_while_running(
        &self,
        wanted: &Self,
        need_tls: impl FnOnce(&[Listener]) -> bool,
    ) -> Self {
        let listeners = self.listeners_as_in(wanted);
        // On one whose table is gone, too, as long as it is open.
        let tls = match need_tls(&listeners) && !wanted.tls.is_on() {
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
            spool: self.spool.changed_while_running(&wanted.spool),
            admin: self.admin.clone(),
            log: wanted.log.clone(),
            listeners,
            targets: wanted.targets.clone(),
            routes: wanted.routes.clone(),
        }
    }

    /// With listeners as they stand in the other one, as far as they are there: their order says
    /// nothing, and follows from what is said of each.
    #[must_use]
    pub fn in_order_of(mut self, other: &Self) -> Self {
        let mut rest = std::mem::take(&mut self.listeners);
        for listener in &other.listeners {
            let same = rest.iter().position(|it| it.address == listener.address);
            self.listeners.extend(same.map(|index| rest.remove(index)));
        }
        self.listeners.append(&mut rest);
        self
    }

    /// The listeners that are open, each with what the one at the same address says of connections
    /// to come.
    fn listeners_as_in(&self, wanted: &Self) -> Vec<Listener> {
        // Port 0 may be there more than once.
        let changed = |(index, listener): (usize, &Listener)| {
            let is_same = |other: &&Listener| other.address == listener.address;
            let before = self.listeners.iter().take(index).filter(is_same).count();
            let other = wanted.listeners.iter().filter(is_same).nth(before);
            Listener {
                address: listener.address.clone(),
                // Of the socket itself.
                mode: listener.mode,
                group: listener.group.clone(),
                ..other.unwrap_or(listener).clone()
            }
        };
        self.listeners.iter().enumerate().map(changed).collect()
    }

    /// Whether its certificates and the policy around them are the same. A self-signed certificate
    /// is for the domain.
    #[must_use]
    pub fn has_certificates_of(&self, other: &Self) -> bool {
        let same_name = !self.tls.self_signed || self.domain == other.domain;
        let tls = Tls {
            required: self.tls.required,
            reload_interval: self.tls.reload_interval,
            ..other.tls.clone()
        };
        same_name && self.tls == tls
    }
}

/// A key in which two configurations differ, with its values as `prixfixe check` prints them.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference {
    /// As in the file, with its table.
    pub key: String,
    /// `unset` where there is none.
    pub old: String,
    /// Likewise.
    pub new: String,
}

/// All keys in which they differ, in alphabetical order.
#[must_use]
pub fn differences(old: &Configuration, new: &Configuration) -> Vec<Difference> {
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
