//! `[[target]]` and `[[route]]` tables: where mail goes, and which recipients.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use prixfixe_delivery::{RecipientPattern, TargetOptions, TargetUrl, TlsUse};
use serde::{Deserialize, Serialize};

use super::Configuration;
use super::accept::OnFailure;
use super::auth;
use super::delivery::Destination;
use super::given::Invalid;
use super::listeners::Listener;
use super::sockets::Mode;
use super::sources::Sources;
use super::units::{Count, Seconds};
use super::words::{display_all, display_some, read};
use crate::privileges::look_up_group;

/// The name of `delivery.target`.
pub(crate) const DEFAULT: &str = "default";

/// Of every kind but webhooks.
const USUAL_FINAL: Duration = Duration::from_secs(300);

/// One `[[target]]` table. Which of the options a kind takes it knows itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Target {
    #[serde(deserialize_with = "read::target_name")]
    pub(crate) name: String,
    #[serde(
        serialize_with = "display_some",
        deserialize_with = "read::delivery_target"
    )]
    pub(crate) url: Option<TargetUrl>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) concurrency: Option<Count<1, 10_000>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timeout: Option<Seconds<1>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) final_timeout: Option<Seconds<1>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) username: Option<String>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read::path"
    )]
    pub(crate) password_file: Option<PathBuf>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read::path"
    )]
    pub(crate) creds_file: Option<PathBuf>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read::some_word"
    )]
    pub(crate) tls: Option<Tls>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read::path"
    )]
    pub(crate) tls_ca: Option<PathBuf>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read::path"
    )]
    pub(crate) tls_cert: Option<PathBuf>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read::path"
    )]
    pub(crate) tls_key: Option<PathBuf>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read::path"
    )]
    pub(crate) secret_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) format: Option<String>,
    #[serde(rename = "on-4xx", skip_serializing_if = "Option::is_none")]
    pub(crate) on_4xx: Option<String>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read::path"
    )]
    pub(crate) header_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) args: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) region: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path_style: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) min_replicas: Option<Count<1, 5>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) objects: Option<String>,
    #[serde(rename = "strict-8bit", skip_serializing_if = "Option::is_none")]
    pub(crate) strict_8bit: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) insecure: Option<bool>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "display_some",
        deserialize_with = "read::mode"
    )]
    pub(crate) mode: Option<Mode>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read::group"
    )]
    pub(crate) group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) create: Option<bool>,
}

/// How strong TLS to a target has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tls {
    Off,
    Opportunistic,
    Require,
    Verify,
}

/// One `[[route]]` table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Route {
    /// Empty: all that no route before has.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        serialize_with = "display_all",
        deserialize_with = "read::recipients"
    )]
    pub(crate) recipients: Vec<RecipientPattern>,
    #[serde(default)]
    pub(crate) to: Vec<String>,
}

impl Target {
    pub(crate) fn options(&self) -> TargetOptions {
        TargetOptions {
            concurrency: self.concurrency.map(Count::size),
            timeout: self.timeout.map(Seconds::get),
            final_timeout: self.final_timeout.map(Seconds::get),
            username: self.username.clone(),
            password_file: self.password_file.clone(),
            creds_file: self.creds_file.clone(),
            tls: self.tls.map(TlsUse::from),
            tls_ca: self.tls_ca.clone(),
            tls_cert: self.tls_cert.clone(),
            tls_key: self.tls_key.clone(),
            secret_file: self.secret_file.clone(),
            format: self.format.clone(),
            on_4xx: self.on_4xx.clone(),
            header_file: self.header_file.clone(),
            args: self.args.clone(),
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            path_style: self.path_style,
            key: self.key.clone(),
            min_replicas: self.min_replicas.map(Count::size),
            objects: self.objects.clone(),
            strict_8bit: self.strict_8bit,
            insecure: self.insecure,
            mode: self.mode.map(|mode| mode.0),
            // Whether there is such a group is another question.
            group: self
                .group
                .as_deref()
                .map(|name| look_up_group(name).unwrap_or(u32::MAX)),
            create: self.create,
        }
    }
}

impl From<Tls> for TlsUse {
    fn from(tls: Tls) -> Self {
        match tls {
            Tls::Off => Self::Off,
            Tls::Opportunistic => Self::Opportunistic,
            Tls::Require => Self::Require,
            Tls::Verify => Self::Verify,
        }
    }
}

impl Configuration {
    /// The name of the target that mail goes to without a route.
    pub(crate) fn default_name(&self) -> &str {
        match &self.delivery.target {
            Destination::Url(_) => DEFAULT,
            Destination::Named(name) => name,
        }
    }

    /// The targets that mail can reach, by their names.
    pub(crate) fn routed_targets(&self) -> Vec<Target> {
        let default = self.delivery.target.url().map(|url| Target {
            name: DEFAULT.to_owned(),
            url: Some(url.clone()),
            // It says nothing where mail goes elsewhere.
            secret_file: match url.scheme() {
                "https" | "http" => self.delivery.secret_file.clone(),
                _ => None,
            },
            ..Target::default()
        });
        let is_routed = |name: &str| match &*self.routes {
            [] => name == self.default_name(),
            routes => routes
                .iter()
                .any(|route| route.to.iter().any(|it| it == name)),
        };
        let all = default.into_iter().chain(self.targets.iter().cloned());
        all.filter(|target| is_routed(&target.name))
            .map(|target| Target {
                timeout: target.timeout.or(Some(self.delivery.timeout)),
                final_timeout: target.final_timeout.or(self.delivery.final_timeout),
                ..target
            })
            .collect()
    }

    /// Recipients that the configuration spells out: a Maildir of their own may be made for them.
    pub(crate) fn named_recipients(&self) -> Vec<RecipientPattern> {
        let routes = self.routes.iter().flat_map(|route| &route.recipients);
        let exact = routes.filter(|pattern| pattern.is_exact()).cloned();
        // A name below `*.example.com` is a stranger's invention.
        let domains = self.accept.domains.iter();
        let spelt_out = domains.filter(|domain| !domain.starts_with("*."));
        let postmasters =
            spelt_out.filter_map(|domain| format!("postmaster@{domain}").parse().ok());
        exact.chain(postmasters).collect()
    }

    /// Recipients of one message may have to go different ways, of which a transaction has one.
    pub(crate) fn is_routed_apart(&self) -> bool {
        let targets: HashSet<_> = self.routes.iter().flat_map(|route| &route.to).collect();
        targets.len() > 1
    }

    /// Mail may go to another mail server, which may not take BINARYMIME.
    pub(crate) fn hands_on(&self) -> bool {
        let targets = self.routed_targets();
        let mut schemes = targets
            .iter()
            .filter_map(|it| Some(it.url.as_ref()?.scheme()));
        schemes.any(|scheme| matches!(scheme, "smtp" | "smtps" | "lmtp"))
    }

    /// Where messages go that have no room in memory: beside the mail, where that is in a Maildir. `None`: where the system
    /// has its temporary files.
    pub(crate) fn temporary(&self) -> Option<PathBuf> {
        let beside_mail = || {
            let targets = self.routed_targets();
            let paths = targets
                .iter()
                .filter_map(|it| it.url.as_ref()?.maildir_path());
            paths.map(|path| path.join("tmp")).find(|it| it.is_dir())
        };
        self.limits.temporary.clone().or_else(beside_mail)
    }

    /// How long one question to a target, and to the DNS before it, may take at the most: it is answered by then, or
    /// its own time is over.
    pub(crate) fn longest_answer(&self) -> Duration {
        let time_of = |target: &Target| {
            let each = target.timeout.map_or(Duration::ZERO, Seconds::get);
            let last = target.final_timeout.map_or(USUAL_FINAL, Seconds::get);
            // To connect, to be greeted, to log in, and to say who the mail is from: then the message.
            each.saturating_mul(8).saturating_add(last)
        };
        let targets = self.routed_targets();
        let target = targets.iter().map(time_of).max().unwrap_or(USUAL_FINAL);
        target.saturating_add(self.policy.longest())
    }

    /// What no table says by itself: names that are there and meet, and a relay that is not open to everybody.
    pub(super) fn check_targets(&self, sources: &Sources<'_>) -> Result<(), Invalid> {
        let mut names = HashSet::from([DEFAULT]);
        for (index, target) in self.targets.iter().enumerate() {
            let wrong = |key: &str, problem: String| {
                let place = sources.file.place(&format!("target.{key}"), Some(index));
                Err(Invalid::new(place.unwrap_or_default(), problem))
            };
            let Some(url) = &target.url else {
                return wrong(
                    "url",
                    "has no url; add url = \"maildir:PATH\", say".to_owned(),
                );
            };
            if target.name.is_empty() {
                return wrong("name", "has no name; add name = \"NAME\"".to_owned());
            }
            if !names.insert(&target.name) {
                let problem = format!(
                    "`{}` is the name of another target; give each its own",
                    target.name
                );
                return wrong("name", problem);
            }
            if let Err((key, problem)) = url.check_options(&target.options()) {
                return wrong(key, problem);
            }
        }
        if let (Destination::Named(name), true) = (&self.delivery.target, self.routes.is_empty())
            && !self.targets.iter().any(|target| target.name == *name)
        {
            let problem = format!(
                "`{name}` is no target of the file, and no kind of target; give maildir:{name}, say"
            );
            return Err(Invalid::new(sources.place("delivery.target"), problem));
        }
        for (index, route) in self.routes.iter().enumerate() {
            self.check_route(route, &names).map_err(|problem| {
                let place = sources.file.place("route.to", Some(index));
                Invalid::new(place.unwrap_or_default(), problem)
            })?;
        }
        Ok(())
    }

    fn check_route(&self, route: &Route, names: &HashSet<&str>) -> Result<(), String> {
        match &*route.to {
            [] => Err("leads nowhere; add to = [\"NAME\"]".to_owned()),
            [name] if names.contains(name.as_str()) => Ok(()),
            [name] => {
                let mut known: Vec<&str> = names.iter().copied().collect();
                known.sort_unstable();
                Err(format!(
                    "`{name}` is no target; give one of {}",
                    known.join(", ")
                ))
            }
            [_, _, ..] => Err("more than one target needs a spool; give one".to_owned()),
        }
    }

    pub(super) fn check_relay(&self, sources: &Sources<'_>) -> Result<(), Invalid> {
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
    pub(crate) fn relay_fault(&self) -> Option<RelayFault> {
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
pub(crate) struct RelayFault {
    /// Where it is said.
    key: &'static str,
    /// Which of the routes.
    route: Option<usize>,
    pub(crate) problem: String,
}

/// A target that passes mail on, and how it is reached.
struct Relay {
    name: String,
    /// The number of its route; `None` without routes.
    route: Option<usize>,
    /// Any recipient can reach it.
    is_open: bool,
}
