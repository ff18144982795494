//! Domains as configuration names them.

use std::fmt;
use std::str::FromStr;

use crate::{Domain, InvalidDomain};

/// A domain, or with `*.` before it every domain [below](Domain::is_below) it.
///
/// ```
/// use prixfixe_core::{Domain, DomainPattern};
///
/// let pattern: DomainPattern = "*.Example.COM.".parse()?;
/// assert_eq!(pattern.as_str(), "*.example.com");
/// assert!(pattern.matches(Domain::try_from("mx.example.com")?));
/// assert!(!pattern.matches(Domain::try_from("example.com")?));
/// # Ok::<(), prixfixe_core::InvalidDomain>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DomainPattern(Box<str>);

const BELOW: &str = "*.";

impl DomainPattern {
    /// The pattern with its domain in the form of [`Domain::to_ascii`], in which equal ones are
    /// equal strings.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the domain is the one meant, or one of those.
    #[must_use]
    pub fn matches(&self, domain: Domain<'_>) -> bool {
        match self.0.strip_prefix(BELOW) {
            Some(parent) => domain.is_below(Domain::new(parent)),
            None => domain == *self.0,
        }
    }
}

impl FromStr for DomainPattern {
    type Err = InvalidDomain;

    fn from_str(string: &str) -> Result<Self, Self::Err> {
        let Some(parent) = string.strip_prefix(BELOW) else {
            return Ok(Self(Domain::try_from(string)?.to_ascii().into()));
        };
        let parent = Domain::try_from(parent)?;
        match parent.is_literal() {
            // Nothing is below an address.
            true => Err(InvalidDomain),
            false => Ok(Self(format!("{BELOW}{}", parent.to_ascii()).into())),
        }
    }
}

impl fmt::Display for DomainPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_its_domain_or_those_below_it() {
        for (pattern, domain, expected) in [
            ("example.com", "Example.com", true),
            ("example.com", "a.example.com", false),
            ("B\u{dc}CHER.example.", "xn--bcher-kva.example", true),
            ("*.example.com", "a.b.EXAMPLE.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "anexample.com", false),
            ("*.xn--bcher-kva.example", "a.bu\u{308}cher.example", true),
            ("[192.0.2.1]", "[192.0.2.1]", true),
        ] {
            let parsed: DomainPattern = pattern.parse().unwrap();
            let domain = Domain::try_from(domain).unwrap();
            assert_eq!(parsed.matches(domain), expected, "{pattern} {domain}");
            assert_eq!(parsed.to_string().parse(), Ok(parsed));
        }
    }

    #[test]
    fn what_is_no_pattern() {
        for text in [
            "",
            "*",
            "*.",
            "**.a",
            "*a.b",
            "a.*.b",
            "*.*.a",
            "*.[192.0.2.1]",
            "a b",
            "@a",
        ] {
            assert_eq!(text.parse::<DomainPattern>(), Err(InvalidDomain), "{text}");
        }
    }
}
