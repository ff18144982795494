//! Never a relay for everybody: who can reach a target that passes mail on.

use prixfixe_delivery::{RecipientPattern, TargetUrl};

use super::Configuration;
use super::accept::OnFailure;
use super::auth;
use super::given::Invalid;
use super::listeners::Listener;
use super::sources::Sources;
use super::targets::DEFAULT;

impl Configuration {
    pub(crate) fn check_relay(&self, sources: &Sources<'_>) -> Result<(), Invalid> {
        self.relay_fault().map_or(Ok(()), |fault| {
            let place = match fault.key {
                "route" => {
                    let place = sources.file.place("route", fault.route);
                    place.unwrap_or_default()
                }
                key => sources.place(key),
            };
            Err(Invalid::new(place, fault.problem))
        })
    }

    /// A relay for everybody is found within hours, and its address is on every list the next day.
    pub fn relay_fault(&self) -> Option<RelayFault> {
        let relay = self.open_relay()?;
        let modes = |listener: &Listener| listener.auth.unwrap_or(self.auth.mode);
        if self.listeners.iter().any(|it| modes(it) == auth::Mode::Any) {
            return Some(RelayFault {
                key: "auth.mode",
                route: None,
                problem: format!(
                    "every password is right, and `{}` passes mail on; remove one of them",
                    relay.name
                ),
            });
        }
        // Behind a proxy on this host is everybody.
        let is_of_this_host = |listener: &Listener| {
            let has_proxy =
                !listener.proxy_protocol_from.is_empty() || !listener.xclient_from.is_empty();
            listener.address.is_of_this_host() && !has_proxy
        };
        let is_bound = |listener: &Listener| {
            is_of_this_host(listener) || modes(listener) == auth::Mode::Require
        };
        if !relay.is_open || self.listeners.iter().all(is_bound) && self.has_logins() {
            return None;
        }
        let key = match relay.route {
            None => "delivery.target",
            Some(_) => "route",
        };
        let advice = match (&self.accept.check, self.accept.on_failure) {
            (Some(_), OnFailure::Accept) => {
                "while accept.check gives no answer; set accept.on-failure = \"defer\""
            }
            _ => {
                "; add --accept-domain, --accept-recipients, --check-recipients or --auth require, or recipients \
                 with domains to its route"
            }
        };
        let space = if advice.starts_with(';') { "" } else { " " };
        Some(RelayFault {
            key,
            route: relay.route,
            problem: format!("`{}` passes mail on to anybody{space}{advice}", relay.name),
        })
    }

    fn has_logins(&self) -> bool {
        let modes = self.listeners.iter();
        modes
            .map(|it| it.auth.unwrap_or(self.auth.mode))
            .any(|mode| mode == auth::Mode::Require)
    }

    /// A relay that mail can reach: one that is open to everybody before any other.
    fn open_relay(&self) -> Option<Relay> {
        let accept = &self.accept;
        // A server that may be silent binds nobody: whoever asks it often enough has it silent.
        let is_checked = accept.check.is_some() && accept.on_failure == OnFailure::Defer;
        let is_accepting_all =
            accept.domains.is_empty() && accept.recipients_file.is_none() && !is_checked;
        let url_of = |name: &str| match name {
            DEFAULT => self.delivery.target.url(),
            name => self.targets.iter().find(|it| it.name == name)?.url.as_ref(),
        };
        let is_relay = |name: &str| url_of(name).is_some_and(TargetUrl::is_relay);
        if self.routes.is_empty() {
            return is_relay(self.default_name()).then(|| Relay {
                name: self.delivery.target.to_string(),
                route: None,
                is_open: is_accepting_all,
            });
        }
        let relays = self.routes.iter().enumerate().filter_map(|(index, route)| {
            let name = route.to.iter().find(|name| is_relay(name))?;
            let names_domains = !route.recipients.is_empty()
                && route.recipients.iter().all(RecipientPattern::names_domain);
            Some(Relay {
                name: name.clone(),
                route: Some(index),
                is_open: is_accepting_all && !names_domains,
            })
        });
        relays.max_by_key(|relay| relay.is_open)
    }
}

/// A relay that everybody could use.
#[derive(Debug)]
pub struct RelayFault {
    /// Where it is said.
    key: &'static str,
    /// Which of the routes.
    route: Option<usize>,
    pub problem: String,
}

/// A target that passes mail on, and how it is reached.
struct Relay {
    name: String,
    /// The number of its route; `None` without routes.
    route: Option<usize>,
    /// Any recipient can reach it.
    is_open: bool,
}
