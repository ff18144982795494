//! `prixfixe check`: the configuration that `serve` would run with.

use std::process::ExitCode;

use prixfixe_config::{Configuration, ConfigurationArguments, Environment, Scope, Target};

use crate::auth;
use crate::error::{Error, print, warn};
use crate::{policy, privileges};

pub(crate) fn run(arguments: &ConfigurationArguments) -> Result<ExitCode, Error> {
    let configuration = Configuration::load(arguments)?;
    let targets = configuration.look_up_listeners()?;
    configuration
        .user
        .as_deref()
        .map(privileges::look_up)
        .transpose()?;
    for listener in &configuration.listeners {
        listener
            .group
            .as_deref()
            .map(prixfixe_config::look_up_group)
            .transpose()?;
    }
    let targets_groups = configuration.targets.iter().map(|target| &target.group);
    for group in targets_groups
        .chain([&configuration.delivery.group])
        .flatten()
    {
        prixfixe_config::look_up_group(group)?;
    }
    configuration.admin.look_up()?;
    configuration.tls.load(&configuration.domain)?;
    policy::filters(&configuration)?;
    let logins = auth::prepare(&configuration)?;
    print(&(configuration.ways() + "\n" + &configuration.to_toml()?))?;
    for warning in logins
        .warnings()
        .into_iter()
        .chain(auth::warning(&configuration))
        .chain(configuration.mail_warnings())
        .chain(prixfixe_spooling::warnings(&configuration))
    {
        warn(&warning);
    }
    for warning in Environment::of_this_process().warnings() {
        warn(&warning);
    }
    if let Some(warning) = shared_address(&configuration, &targets) {
        warn(&warning);
    }
    Ok(ExitCode::SUCCESS)
}

/// What to say of a limit that nobody has set, where somebody behind a load balancer may meet it.
fn shared_address(configuration: &Configuration, targets: &[Target]) -> Option<String> {
    let limits = &configuration.limits;
    if limits.max_connections_per_client.is_some() {
        return None;
    }
    let mut listeners = configuration.listeners.iter().zip(targets);
    let (listener, _) = listeners.find(|(listener, target)| {
        listener.proxy_protocol_from.is_empty()
            && listener.xclient_from.is_empty()
            && !is_loopback(target)
    })?;
    Some(format!(
        "limits.max-connections-per-client is not set: on listener {} a client with a public address has half of \
         max-connections, {} of {}. Behind a load balancer without the PROXY protocol all clients share its address: \
         set proxy-protocol-from, or max-connections-per-client",
        listener.address,
        (limits.max_connections.get() / 2).max(1),
        limits.max_connections.get(),
    ))
}

fn is_loopback(target: &Target) -> bool {
    match target {
        Target::Both(scope, _) => *scope == Scope::Loopback,
        Target::Addresses(addresses) => addresses.iter().all(|it| it.ip().is_loopback()),
        Target::Unix(_) => true,
    }
}
