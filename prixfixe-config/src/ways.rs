//! Where mail goes, in words, and what is allowed and yet may be a mistake.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::Configuration;
use super::listeners::Dsn;
use super::targets::{Route, Target};

impl Configuration {
    /// A line for each recipient, local part and domain that the configuration names, and one for
    /// all others: comments of a TOML file.
    pub fn ways(&self) -> String {
        let mut text = String::from("# Where mail goes:\n");
        let mut say = |who: &str, way: &str| {
            // Writing to a String does not fail. What is not printable would end the comment.
            let line: String = format!("{who}: {way}").escape_debug().collect();
            let line = line.replace("\\\"", "\"").replace("\\'", "'");
            let _ = writeln!(text, "#   {line}");
        };
        if let Some(place) = self.spool.place() {
            say("all mail at first", &place);
        }
        for pattern in self.patterns() {
            let way = self.way_of(&pattern);
            say(&words_of(&pattern), &way);
        }
        let rest = match self.accept.domains.is_empty() {
            true => self.way_by(self.route_of("")),
            false => "refused with 550 5.7.1, as it is not in accept.domains".to_owned(),
        };
        let all = match self.patterns().is_empty() {
            true => "everybody",
            false => "everybody else",
        };
        say(all, &rest);
        text
    }

    /// What `check` and `serve` warn of.
    pub fn mail_warnings(&self) -> Vec<String> {
        let targets = self.routed_targets();
        let of_targets = targets
            .iter()
            .filter_map(|target| self.target_warning(target));
        let patterns = self.patterns();
        let nowhere = patterns.iter().filter_map(|pattern| {
            let is_routed = self.routes.is_empty() || self.route_of(pattern).is_some();
            let who = words_of(pattern);
            match (self.is_accepted(pattern), is_routed) {
                (true, true) => None,
                (true, false) => Some(format!("no route leads anywhere for {who}: 550 5.7.1")),
                (false, _) => Some(format!(
                    "a route is for {who}, which accept.domains refuses with 550 5.7.1"
                )),
            }
        });
        let passes = self.listeners.iter().any(|it| it.dsn == Dsn::Pass);
        let is_one = match &*targets {
            [one] => one
                .url
                .as_ref()
                .is_some_and(|url| ["smtp", "smtps", "lmtp"].contains(&url.scheme())),
            _ => false,
        };
        let dsn = (passes && (!is_one || self.spool.is_on())).then(|| {
            "listener.dsn = \"pass\" offers nothing: that needs one target for all mail, an smtp: or an lmtp: one, \
             and no spool"
                .to_owned()
        });
        of_targets.chain(nowhere).chain(dsn).collect()
    }

    fn target_warning(&self, target: &Target) -> Option<String> {
        let url = target.url.as_ref()?;
        if url.may_repeat(&target.options()) {
            return Some(format!(
                "the keys of `{}` have a date or an id in them: a message that its client sends again may be stored twice; \
                 {{digest}} alone keeps it single",
                target.name
            ));
        }
        let accept = &self.accept;
        let is_open =
            accept.domains.is_empty() && accept.recipients_file.is_none() && accept.check.is_none();
        (target.create == Some(true) && is_open).then(|| {
            format!(
                "`{}` makes a Maildir for whatever recipient a stranger invents: set accept.domains, \
                 accept.recipients-file or accept.check, or leave out create",
                target.name
            )
        })
    }

    /// All that is named: the domains of `accept.domains`, and what routes have.
    fn patterns(&self) -> BTreeSet<String> {
        let accepted = self
            .accept
            .domains
            .iter()
            .map(|domain| format!("@{domain}"));
        let routes = self.routes.iter().flat_map(|route| &route.recipients);
        accepted.chain(routes.map(ToString::to_string)).collect()
    }

    /// Whether `accept.domains` lets mail for it in. A local part in every domain is not refused as
    /// such.
    fn is_accepted(&self, pattern: &str) -> bool {
        let (_, domain) = split(pattern);
        let domains = &self.accept.domains;
        domains.is_empty()
            || domain.is_empty()
            || domain == self.domain
            || domains.iter().any(|accepted| is_within(domain, accepted))
    }

    fn way_of(&self, pattern: &str) -> String {
        match self.is_accepted(pattern) {
            true => self.way_by(self.route_of(pattern)),
            false => "refused with 550 5.7.1, as it is not in accept.domains".to_owned(),
        }
    }

    /// The first route that has all of it.
    fn route_of(&self, pattern: &str) -> Option<&Route> {
        let (local, domain) = split(pattern);
        self.routes.iter().find(|route| {
            let mut patterns = route.recipients.iter().map(ToString::to_string);
            route.recipients.is_empty()
                || patterns.any(|other| {
                    let (other_local, other_domain) = split(&other);
                    (other_local.is_empty() || other_local == local)
                        && (other_domain.is_empty() || is_within(domain, other_domain))
                })
        })
    }

    fn way_by(&self, route: Option<&Route>) -> String {
        let names: Vec<&str> = match (route, &*self.routes) {
            (Some(route), _) => route.to.iter().map(String::as_str).collect(),
            (None, []) => vec![self.default_name()],
            (None, _) => return "refused with 550 5.7.1, as no route has it".to_owned(),
        };
        let targets = self.routed_targets();
        let way = |name: &&str| {
            let target = targets.iter().find(|target| target.name == *name);
            match target.and_then(|target| target.url.as_ref()) {
                Some(url) => format!("{name} ({url})"),
                None => (*name).to_owned(),
            }
        };
        names.iter().map(way).collect::<Vec<_>>().join(" and ")
    }
}

fn split(pattern: &str) -> (&str, &str) {
    pattern.rsplit_once('@').unwrap_or_default()
}

/// Whether all of a domain, or of the domains below one, is what another pattern has.
fn is_within(domain: &str, other: &str) -> bool {
    match other.strip_prefix("*.") {
        None => domain == other,
        Some(parent) => {
            let below = domain.strip_suffix(parent);
            below.is_some_and(|below| below.ends_with('.'))
        }
    }
}

fn words_of(pattern: &str) -> String {
    match split(pattern) {
        ("", domain) => match domain.strip_prefix("*.") {
            Some(parent) => format!("domains below {parent}"),
            None => domain.to_owned(),
        },
        (local, "") => format!("{local}@ in every domain"),
        _ => pattern.to_owned(),
    }
}
