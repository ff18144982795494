//! Recipients as configuration names them.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use prixfixe_server::{Domain, DomainPattern, ForwardPath, Mailbox};

/// Which recipients are meant: one, a local part, a domain, or the domains below one.
///
/// | written | means |
/// |---|---|
/// | `bob@example.com` | this address |
/// | `abuse@` | this local part in every domain |
/// | `@example.com` | every address in this domain |
/// | `@*.example.com` | every address in the domains below it |
///
/// Local parts are compared without regard to the case of ASCII letters, as nearly every site does
/// (RFC 5321 section 2.4 leaves that to the receiving server); domains as [`Domain`] compares.
///
/// ```
/// use prixfixe_delivery::RecipientPattern;
///
/// let pattern: RecipientPattern = "@*.Example.com".parse()?;
/// assert_eq!(pattern.to_string(), "@*.example.com");
/// assert!("example.com".parse::<RecipientPattern>().is_err());
/// # Ok::<(), prixfixe_delivery::InvalidPattern>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RecipientPattern {
    local: Box<str>,
    domain: Box<str>,
}

/// The text names no recipients.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no recipients: write bob@example.com, abuse@, @example.com or @*.example.com")]
pub struct InvalidPattern(String);

impl RecipientPattern {
    /// True unless it is a local part in every domain: mail for it goes to domains that are named.
    #[must_use]
    pub fn names_domain(&self) -> bool {
        !self.domain.is_empty()
    }

    /// True for one address, which is spelt out.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        !self.local.is_empty() && !self.domain.is_empty()
    }

    /// The domain of one address, in its one form.
    pub(crate) fn domain_of_address(&self) -> Option<&str> {
        self.is_exact().then_some(&*self.domain)
    }
}

impl FromStr for RecipientPattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidPattern(text.to_owned());
        let (local, domain) = text.rsplit_once('@').ok_or_else(invalid)?;
        let local = match local {
            "" => String::new(),
            // As the dialogue reads it, so that quoting makes no difference.
            local => {
                let probe = format!("{local}@example.com");
                let mailbox = Mailbox::try_from(probe.as_str()).map_err(|_| invalid())?;
                mailbox.local_part().to_ascii_lowercase()
            }
        };
        let domain = match domain {
            "" if local.is_empty() => return Err(invalid()),
            "" => "".into(),
            domain => {
                let pattern: DomainPattern = domain.parse().map_err(|_| invalid())?;
                let is_below = pattern.as_str().starts_with("*.");
                if is_below && !local.is_empty() {
                    return Err(invalid());
                }
                pattern.as_str().into()
            }
        };
        Ok(Self {
            local: local.into(),
            domain,
        })
    }
}

impl fmt::Display for RecipientPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

/// What stands first among patterns that match a recipient. A look-up costs a few hashes, however
/// many patterns there are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Index {
    exact: HashMap<(Box<str>, Box<str>), usize>,
    locals: HashMap<Box<str>, usize>,
    domains: HashMap<Box<str>, usize>,
    parents: HashMap<Box<str>, usize>,
    everything: Option<usize>,
}

impl Index {
    /// Adds a pattern; the smallest number of those that match is what a look-up gives.
    pub(crate) fn add(&mut self, pattern: &RecipientPattern, number: usize) {
        let (local, domain) = (pattern.local.clone(), pattern.domain.clone());
        match (&*local, &*domain, domain.strip_prefix("*.")) {
            ("", _, Some(parent)) => keep_first(&mut self.parents, parent.into(), number),
            ("", _, None) => keep_first(&mut self.domains, domain, number),
            (_, "", _) => keep_first(&mut self.locals, local, number),
            _ => keep_first(&mut self.exact, (local, domain), number),
        }
    }

    /// Adds what matches every recipient.
    pub(crate) fn add_everything(&mut self, number: usize) {
        let first = self.everything.map_or(number, |first| first.min(number));
        self.everything = Some(first);
    }

    /// True where every recipient finds the same.
    pub(crate) fn is_everything(&self) -> bool {
        let Self {
            exact,
            locals,
            domains,
            parents,
            everything,
        } = self;
        let is_empty = exact.is_empty() && locals.is_empty();
        everything.is_some() && is_empty && domains.is_empty() && parents.is_empty()
    }

    /// Whether a pattern is this very address.
    pub(crate) fn spells_out(&self, path: &ForwardPath) -> bool {
        path.mailbox().is_some_and(|mailbox| {
            let local = mailbox.local_part().to_ascii_lowercase();
            let key = (local.into(), mailbox.domain().to_ascii().into());
            self.exact.contains_key(&key)
        })
    }

    /// The first pattern that matches. A bare `postmaster` is one at the server's own domain.
    pub(crate) fn find(&self, path: &ForwardPath, own: &str) -> Option<usize> {
        let (local, domain) = match path {
            ForwardPath::Postmaster => ("postmaster".into(), own.to_ascii_lowercase()),
            ForwardPath::Mailbox(mailbox) => (
                mailbox.local_part().to_ascii_lowercase(),
                mailbox.domain().to_ascii().into_owned(),
            ),
        };
        let is_literal = Domain::try_from(&*domain).is_ok_and(Domain::is_literal);
        let below = parents(&domain)
            .filter(|_| !is_literal)
            .filter_map(|parent| self.parents.get(parent).copied());
        let local: Box<str> = local.into();
        let domain_number = self.domains.get(&*domain).copied();
        let found = [
            self.locals.get(&local).copied(),
            domain_number,
            self.everything,
        ];
        let least = below.chain(found.into_iter().flatten()).min();
        // The key is made of both: last, where there are any.
        if self.exact.is_empty() {
            return least;
        }
        let exact = self.exact.get(&(local, domain.into())).copied();
        exact.into_iter().chain(least).min()
    }
}

/// `b.c` and `c` of `a.b.c`.
fn parents(domain: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(parent(domain), |name| parent(name))
}

fn parent(domain: &str) -> Option<&str> {
    domain.split_once('.').map(|(_, parent)| parent)
}

fn keep_first<K: std::hash::Hash + Eq>(map: &mut HashMap<K, usize>, key: K, number: usize) {
    let first = map.entry(key).or_insert(number);
    *first = number.min(*first);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(patterns: &[&str]) -> Index {
        let mut index = Index::default();
        for (number, pattern) in patterns.iter().enumerate() {
            index.add(&pattern.parse().unwrap(), number);
        }
        index
    }

    #[test]
    fn the_first_that_matches_wins() {
        let index = index(&[
            "bob@example.com",
            "@example.com",
            "abuse@",
            "@*.example.org",
            "@b\u{fc}cher.example",
            "@[192.0.2.1]",
            "\"a b\"@example.net",
        ]);
        for (path, expected) in [
            ("bob@example.com", Some(0)),
            ("BOB@Example.COM.", Some(0)),
            ("ann@example.com", Some(1)),
            ("abuse@example.com", Some(1)),
            ("abuse@other.example", Some(2)),
            ("x@mx.example.org", Some(3)),
            ("x@a.b.example.org", Some(3)),
            ("x@example.org", None),
            ("x@xn--bcher-kva.example", Some(4)),
            ("x@[192.0.2.1]", Some(5)),
            ("\"A B\"@example.net", Some(6)),
            ("x@example.net", None),
        ] {
            let path = path.parse().unwrap();
            assert_eq!(index.find(&path, "mx.example.com"), expected, "{path}");
        }
    }

    #[test]
    fn a_bare_postmaster_is_at_the_servers_own_domain() {
        let index = index(&["@mx.example.com"]);
        assert_eq!(
            index.find(&ForwardPath::Postmaster, "MX.example.com"),
            Some(0)
        );
        assert_eq!(index.find(&ForwardPath::Postmaster, "other.example"), None);
    }

    #[test]
    fn what_names_nobody_is_refused() {
        for text in [
            "",
            "@",
            "example.com",
            "a b@example.com",
            "@-",
            "bob@*.example.com",
            "@*.[192.0.2.1]",
        ] {
            assert!(text.parse::<RecipientPattern>().is_err(), "{text}");
        }
    }

    #[test]
    fn everything_is_behind_what_stands_before_it() {
        let mut index = index(&["@example.com"]);
        index.add_everything(1);
        let find = |path: &str| index.find(&path.parse().unwrap(), "mx.example.com");
        assert_eq!(find("x@example.com"), Some(0));
        assert_eq!(find("x@example.org"), Some(1));
    }
}
