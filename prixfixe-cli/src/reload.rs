//! SIGHUP: configuration and certificates are read again.

use std::collections::BTreeMap;

use prixfixe_tls::{Reloaded, TlsConfig};
use toml::{Table, Value};
use tracing::{error, info, warn};

use crate::config::{Configuration, ConfigurationArguments};

/// What a reload starts from.
#[derive(Debug)]
pub(crate) struct Reload {
    arguments: ConfigurationArguments,
    running: Configuration,
    tls: Option<TlsConfig>,
}

impl Reload {
    pub(crate) fn new(
        arguments: ConfigurationArguments,
        running: Configuration,
        tls: Option<TlsConfig>,
    ) -> Self {
        Self {
            arguments,
            running,
            tls,
        }
    }

    /// Takes over what can change while running, and names what cannot. Of what is bad the old one stays.
    pub(crate) fn run(&self) {
        match Configuration::load(&self.arguments) {
            Ok(new) => {
                for key in differences(&self.running, &new) {
                    warn!(target: "prixfixe", key, "this change takes effect at the next start");
                }
            }
            Err(error) => {
                error!(target: "prixfixe", %error, "the new configuration is bad; the old one stays");
                return;
            }
        }
        match self.tls.as_ref().map(TlsConfig::reload) {
            None => {}
            Some(Ok(Reloaded::Changed)) => info!(target: "prixfixe", "new certificates are in use"),
            Some(Ok(Reloaded::Unchanged)) => {
                info!(target: "prixfixe", "certificates are unchanged")
            }
            Some(Err(error)) => {
                error!(target: "prixfixe", %error, "the new certificates are bad; the old ones stay")
            }
        }
        info!(target: "prixfixe", "reloaded");
    }
}

/// The keys in which two configurations differ.
fn differences(old: &Configuration, new: &Configuration) -> Vec<String> {
    let (mut old, mut new) = (values(old), values(new));
    let keys: Vec<String> = old.keys().chain(new.keys()).cloned().collect();
    keys.into_iter()
        .filter(|key| old.remove(key) != new.remove(key))
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
