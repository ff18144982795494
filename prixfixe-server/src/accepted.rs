//! The domains that mail is accepted for.

use std::collections::HashSet;

use prixfixe_core::{Domain, DomainPattern, ForwardPath};

/// The domains that mail is accepted for, and the server's own.
#[derive(Debug)]
pub(crate) struct AcceptedDomains {
    own: Box<str>,
    /// In the one form that equal domains have.
    domains: HashSet<Box<str>>,
    /// In the same form: all below them are accepted.
    parents: HashSet<Box<str>>,
}

impl AcceptedDomains {
    pub(crate) fn new(own: &str, patterns: &[DomainPattern]) -> Self {
        let (mut domains, mut parents) = (HashSet::new(), HashSet::new());
        for pattern in patterns.iter().map(DomainPattern::as_str) {
            match pattern.strip_prefix("*.") {
                Some(parent) => parents.insert(parent.into()),
                None => domains.insert(pattern.into()),
            };
        }
        Self {
            own: own.into(),
            domains,
            parents,
        }
    }

    /// Whether a recipient is in one of them. Without any, all are.
    pub(crate) fn accept(&self, forward_path: &ForwardPath) -> bool {
        let mailbox = match forward_path {
            // RFC 5321 section 4.5.1: always ours.
            ForwardPath::Postmaster => return true,
            ForwardPath::Mailbox(mailbox) => mailbox,
        };
        if self.domains.is_empty() && self.parents.is_empty() {
            return true;
        }
        let is_postmaster = mailbox.local_part().eq_ignore_ascii_case("postmaster");
        self.contain(mailbox.domain()) || (is_postmaster && mailbox.domain() == *self.own)
    }

    fn contain(&self, domain: Domain<'_>) -> bool {
        let name = domain.to_ascii();
        if self.domains.contains(&*name) {
            return true;
        }
        if self.parents.is_empty() || domain.is_literal() {
            return false;
        }
        let mut rest = &*name;
        while let Some((_, parent)) = rest.split_once('.') {
            if self.parents.contains(parent) {
                return true;
            }
            rest = parent;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(patterns: &[&str], recipient: &str) -> bool {
        let patterns: Vec<DomainPattern> = patterns.iter().map(|it| it.parse().unwrap()).collect();
        AcceptedDomains::new("mx.own.example", &patterns).accept(&recipient.parse().unwrap())
    }

    #[test]
    fn domains_are_accepted_in_any_spelling_and_others_are_not() {
        let patterns = ["Example.com.", "b\u{fc}cher.example", "*.sub.example"];
        for (recipient, accepted) in [
            ("a@EXAMPLE.com", true),
            ("a@example.com.", true),
            ("a@mx.example.com", false),
            ("a@xn--bcher-kva.example", true),
            ("a@bu\u{308}cher.example", true),
            ("a@bucher.example", false),
            ("a@x.sub.example", true),
            ("a@x.y.Sub.example", true),
            ("a@sub.example", false),
            ("a@notsub.example", false),
            ("a@[x:a.sub.example]", false),
            ("a@mx.own.example", false),
        ] {
            assert_eq!(accept(&patterns, recipient), accepted, "{recipient}");
            assert!(accept(&[], recipient), "without any all are accepted");
        }
    }

    #[test]
    fn postmaster_is_accepted_at_the_servers_own_name_and_at_each_domain() {
        for (recipient, accepted) in [
            ("postmaster", true),
            ("PostMaster@MX.own.example.", true),
            ("postmaster@example.com", true),
            ("postmaster@x.sub.example", true),
            ("postmaster@other.example", false),
            ("postmaster@own.example", false),
            ("postmasters@mx.own.example", false),
        ] {
            let result = accept(&["example.com", "*.sub.example"], recipient);
            assert_eq!(result, accepted, "{recipient}");
        }
    }
}
