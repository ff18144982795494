//! What a running server can take over from another configuration, and where two of them differ.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::{Configuration, Listener, Tls};

impl Configuration {
    /// This one, with what can change while running as `wanted` has it.
    ///
    /// Every field is named: a new one is to be put on one side or the other.
    #[must_use]
    pub fn changed_while_running(&self, wanted: &Self, needs_tls: bool) -> Self {
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
            listeners: self.listeners_with_auth_of(wanted),
            targets: wanted.targets.clone(),
            routes: wanted.routes.clone(),
        }
    }

    /// The listeners that there are, each with the mode of the one at the same address.
    fn listeners_with_auth_of(&self, wanted: &Self) -> Vec<Listener> {
        // Port 0 may be there more than once.
        let changed = |(index, listener): (usize, &Listener)| {
            let is_same = |other: &&Listener| other.address == listener.address;
            let before = self.listeners.iter().take(index).filter(is_same).count();
            let other = wanted.listeners.iter().filter(is_same).nth(before);
            Listener {
                auth: other.map_or(listener.auth, |other| other.auth),
                early_talker: other.map_or(listener.early_talker, |other| other.early_talker),
                ..listener.clone()
            }
        };
        self.listeners.iter().enumerate().map(changed).collect()
    }

    /// Whether its certificates and the policy around them are the same. A self-signed certificate is for the domain.
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
