//! `[[target]]` and `[[route]]` tables: where mail goes, and which recipients.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use prixfixe_delivery::{RecipientPattern, TargetOptions, TargetUrl, TlsUse};
use serde::{Deserialize, Serialize};

use super::Configuration;
use super::delivery::Destination;
use super::given::Invalid;
use super::groups::look_up_group;
use super::sockets::Mode;
use super::sources::Sources;
use super::units::{Count, Seconds};
use super::words::{display_all, display_some, read};

/// The name of `delivery.target`.
pub const DEFAULT: &str = "default";

/// Of every kind but webhooks.
const USUAL_FINAL: Duration = Duration::from_secs(300);

/// One `[[target]]` table. Which of the options a kind takes it knows itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Target {
    #[serde(deserialize_with = "read::target_name")]
    pub name: String,
    #[serde(
        serialize_with = "display_some",
        deserialize_with = "read::delivery_target"
    )]
    pub url: Option<TargetUrl>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Count<1, 10_000>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Seconds<1>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub final_timeout: Option<Seconds<1>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read::path"
    )]
    pub password_file: Option<PathBuf>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read::path"
    )]
    pub creds_file: Option<PathBuf>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read::some_word"
    )]
    pub tls: Option<Tls>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read::path"
    )]
    pub tls_ca: Option<PathBuf>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read::path"
    )]
    pub tls_cert: Option<PathBuf>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read::path"
    )]
    pub tls_key: Option<PathBuf>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read::path"
    )]
    pub secret_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    #[serde(rename = "on-4xx", skip_serializing_if = "Option::is_none")]
    pub on_4xx: Option<String>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read::path"
    )]
    pub header_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_style: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_replicas: Option<Count<1, 5>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objects: Option<String>,
    #[serde(rename = "strict-8bit", skip_serializing_if = "Option::is_none")]
    pub strict_8bit: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub insecure: Option<bool>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "display_some",
        deserialize_with = "read::mode"
    )]
    pub mode: Option<Mode>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read::group"
    )]
    pub group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub create: Option<bool>,
}

/// How strong TLS to a target has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    Off,
    Opportunistic,
    Require,
    Verify,
}

/// One `[[route]]` table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Route {
    /// Empty: all that no route before has.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        serialize_with = "display_all",
        deserialize_with = "read::recipients"
    )]
    pub recipients: Vec<RecipientPattern>,
    #[serde(default)]
    pub to: Vec<String>,
}

impl Target {
    pub fn options(&self) -> TargetOptions {
        let mut options = TargetOptions::default();
        options.concurrency = self.concurrency.map(Count::size);
        options.timeout = self.timeout.map(Seconds::get);
        options.final_timeout = self.final_timeout.map(Seconds::get);
        options.username = self.username.clone();
        options.password_file = self.password_file.clone();
        options.creds_file = self.creds_file.clone();
        options.tls = self.tls.map(TlsUse::from);
        options.tls_ca = self.tls_ca.clone();
        options.tls_cert = self.tls_cert.clone();
        options.tls_key = self.tls_key.clone();
        options.secret_file = self.secret_file.clone();
        options.format = self.format.clone();
        options.on_4xx = self.on_4xx.clone();
        options.header_file = self.header_file.clone();
        options.args = self.args.clone();
        options.endpoint = self.endpoint.clone();
        options.region = self.region.clone();
        options.path_style = self.path_style;
        options.key = self.key.clone();
        options.min_replicas = self.min_replicas.map(Count::size);
        options.objects = self.objects.clone();
        options.strict_8bit = self.strict_8bit;
        options.insecure = self.insecure;
        options.mode = self.mode.map(|mode| mode.0);
        // Whether there is such a group is another question.
        options.group = self
            .group
            .as_deref()
            .map(|name| look_up_group(name).unwrap_or(u32::MAX));
        options.create = self.create;
        options
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
    pub fn default_name(&self) -> &str {
        match &self.delivery.target {
            Destination::Url(_) => DEFAULT,
            Destination::Named(name) => name,
        }
    }

    /// The names of all targets, whether or not mail can reach them.
    pub fn target_names(&self) -> Vec<String> {
        let named = self.targets.iter().map(|target| target.name.clone());
        named.chain([DEFAULT.to_owned()]).collect()
    }

    /// The targets that mail can reach, by their names.
    pub fn routed_targets(&self) -> Vec<Target> {
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
            // Mail in the spool may still be for one that no route leads to any more.
            _ if self.spool.is_on() && name != DEFAULT => true,
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
    pub fn named_recipients(&self) -> Vec<RecipientPattern> {
        let routes = self.routes.iter().flat_map(|route| &route.recipients);
        let exact = routes.filter(|pattern| pattern.is_exact()).cloned();
        // A name below `*.example.com` is a stranger's invention.
        let domains = self.accept.domains.iter();
        let spelt_out = domains.filter(|domain| !domain.starts_with("*."));
        let postmasters =
            spelt_out.filter_map(|domain| format!("postmaster@{domain}").parse().ok());
        exact.chain(postmasters).collect()
    }

    /// Recipients of one message may have to go different ways, of which a transaction has one. A
    /// spool has all of them.
    pub fn is_routed_apart(&self) -> bool {
        if self.spool.is_on() {
            return false;
        }
        let targets: HashSet<_> = self.routes.iter().flat_map(|route| &route.to).collect();
        targets.len() > 1
    }

    /// Mail may go to another mail server, which may not take BINARYMIME.
    pub fn hands_on(&self) -> bool {
        let targets = self.routed_targets();
        let mut schemes = targets
            .iter()
            .filter_map(|it| Some(it.url.as_ref()?.scheme()));
        schemes.any(|scheme| matches!(scheme, "smtp" | "smtps" | "lmtp"))
    }

    /// Where messages go that have no room in memory: beside the mail, where that is in a spool or
    /// a Maildir. `None`: where the system has its temporary files.
    pub fn temporary(&self) -> Option<PathBuf> {
        let beside_mail = || {
            let targets = self.routed_targets();
            let paths = targets
                .iter()
                .filter_map(|it| it.url.as_ref()?.maildir_path());
            let paths = paths.map(|path| path.join("tmp"));
            // A spool has all mail, and one Maildir of several need not.
            let mut all = self.spool.path.clone().into_iter().chain(paths);
            all.find(|it| it.is_dir())
        };
        self.limits.temporary.clone().or_else(beside_mail)
    }

    /// How long one question to a target, and to the DNS before it, may take at the most: it is
    /// answered by then, or its own time is over.
    pub fn longest_answer(&self) -> Duration {
        let time_of = |target: &Target| {
            let each = target.timeout.map_or(Duration::ZERO, Seconds::get);
            let last = target.final_timeout.map_or(USUAL_FINAL, Seconds::get);
            // To connect, to be greeted, to log in, and to say who the mail is from: then the
            // message.
            each.saturating_mul(8).saturating_add(last)
        };
        let targets = self.routed_targets();
        let target = targets.iter().map(time_of).max().unwrap_or(USUAL_FINAL);
        target.saturating_add(self.policy.longest())
    }

    /// What no table says by itself: names that are there and meet.
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
        if route.to.is_empty() {
            return Err("leads nowhere; add to = [\"NAME\"]".to_owned());
        }
        if let Some(name) = route.to.iter().find(|name| !names.contains(name.as_str())) {
            let mut known: Vec<&str> = names.iter().copied().collect();
            known.sort_unstable();
            let known = known.join(", ");
            return Err(format!("`{name}` is no target; give one of {known}"));
        }
        let mut seen = HashSet::new();
        if let Some(name) = route.to.iter().find(|name| !seen.insert(name.as_str())) {
            return Err(format!("`{name}` stands there twice; give it once"));
        }
        match route.to.len() > 1 && !self.spool.is_on() {
            true => Err(
                "more than one target needs a spool; give one, or set spool.path or spool.url"
                    .to_owned(),
            ),
            false => Ok(()),
        }
    }
}
