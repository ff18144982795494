//! Who may hear what became of a message.

use prixfixe_server::{Client, Domain, Finding, Mailbox, ReversePath, Verdict};

/// True where a report goes to the one who has sent the message, and to nobody else.
///
/// A client that logged in answers for the addresses that it writes. From others, DMARC has to have
/// passed. DMARC is about the address in `From`, and a report goes to the one in the envelope. So
/// that one is to be proven too: SPF passed for its domain, or it is of the domain that passed
/// DMARC or of one below it. Else a stranger with a domain of its own could have reports sent to
/// anybody.
#[must_use]
pub fn may_report_to(sender: &ReversePath, client: &Client, verdict: &Verdict) -> bool {
    let Some(sender) = sender.mailbox() else {
        return false;
    };
    client.identity().is_some() || is_proven(sender, verdict)
}

fn is_proven(sender: &Mailbox, verdict: &Verdict) -> bool {
    let passed = |name: &'static str| {
        let findings = verdict.findings().iter();
        findings.filter(move |it| &*it.name == name && &*it.value == "pass")
    };
    let is_of = |finding: &Finding, property: &str| {
        let domain = finding.get(property);
        domain.is_some_and(|domain| is_related(sender.domain(), domain, property))
    };
    passed("dmarc").next().is_some()
        && (passed("spf").any(|it| is_of(it, "smtp.mailfrom"))
            || passed("dmarc").any(|it| is_of(it, "header.from")))
}

/// SPF is about one domain. Who answers for a domain answers for those below it, and not for those
/// above.
fn is_related(sender: Domain<'_>, proven: &str, property: &str) -> bool {
    // SPF's property may be an address.
    let proven = proven.rsplit_once('@').map_or(proven, |(_, domain)| domain);
    let Ok(proven) = Domain::try_from(proven) else {
        return false;
    };
    sender == proven || property == "header.from" && sender.is_below(proven)
}
