//! What checks found of a message's sender, as JSON has it.

use prixfixe_server::{Finding, Verdict};
use serde::Serialize;

/// SPF, DKIM and DMARC, in the words of RFC 8601.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Authentication {
    spf: Option<Spf>,
    dkim: Vec<Dkim>,
    dmarc: Option<Dmarc>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Spf {
    result: Box<str>,
    domain: Option<Box<str>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Dkim {
    result: Box<str>,
    domain: Option<Box<str>>,
    selector: Option<Box<str>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Dmarc {
    result: Box<str>,
    domain: Option<Box<str>>,
    policy: Option<Box<str>>,
}

impl Authentication {
    /// Nothing where none of the three was looked at.
    pub(crate) fn of(verdict: &Verdict) -> Option<Self> {
        let named = |name: &'static str| {
            let findings = verdict.findings().iter();
            findings.filter(move |finding| &*finding.name == name)
        };
        let spf = named("spf").next().map(|finding| Spf {
            result: finding.value.clone(),
            domain: property(finding, "smtp.mailfrom").or_else(|| property(finding, "smtp.helo")),
        });
        // That there is no signature is a finding too, and none in the list.
        let signatures = named("dkim").filter(|finding| &*finding.value != "none");
        let dkim: Vec<_> = signatures
            .map(|finding| Dkim {
                result: finding.value.clone(),
                domain: property(finding, "header.d"),
                selector: property(finding, "header.s"),
            })
            .collect();
        let dmarc = named("dmarc").next().map(|finding| Dmarc {
            result: finding.value.clone(),
            domain: property(finding, "header.from"),
            policy: property(finding, "policy.dmarc"),
        });
        let is_known = spf.is_some() || dmarc.is_some() || named("dkim").next().is_some();
        is_known.then_some(Self { spf, dkim, dmarc })
    }

    /// SPF's word, as a form has it.
    #[cfg(feature = "webhook")]
    pub(crate) fn spf(&self) -> &str {
        self.spf.as_ref().map_or("none", |spf| &spf.result)
    }

    /// The signatures as SendGrid writes them: `{@example.com : pass}`. Nothing without any.
    #[cfg(feature = "webhook")]
    pub(crate) fn dkim(&self) -> Option<String> {
        let written = self.dkim.iter().filter_map(|dkim| {
            let domain = dkim.domain.as_ref()?;
            Some(format!("@{domain} : {}", dkim.result))
        });
        let written: Vec<_> = written.collect();
        (!written.is_empty()).then(|| format!("{{{}}}", written.join(", ")))
    }
}

fn property(finding: &Finding, name: &str) -> Option<Box<str>> {
    finding.get(name).map(Into::into)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn json(verdict: &Verdict) -> String {
        serde_json::to_string(&Authentication::of(verdict)).unwrap()
    }

    #[test]
    fn it_is_null_until_something_was_looked_at() {
        assert_eq!(json(&Verdict::default().finding("spam", "1.5")), "null");
        let none = Verdict::default().finding("dkim", "none");
        assert_eq!(json(&none), r#"{"spf":null,"dkim":[],"dmarc":null}"#);
    }

    #[test]
    fn each_finding_has_its_place() {
        let spf = Finding::new("spf", "pass").property("smtp.mailfrom", "example.com");
        let dkim = Finding::new("dkim", "pass").property("header.d", "example.com");
        let dkim = dkim.property("header.s", "s1");
        let dmarc = Finding::new("dmarc", "pass").property("header.from", "example.com");
        let dmarc = dmarc.property("policy.dmarc", "reject");
        let verdict = Verdict::default().found(spf).found(dkim).found(dmarc);
        assert_eq!(
            json(&verdict),
            r#"{"spf":{"result":"pass","domain":"example.com"},"dkim":[{"result":"pass","domain":"example.com","selector":"s1"}],"dmarc":{"result":"pass","domain":"example.com","policy":"reject"}}"#
        );
    }
}
