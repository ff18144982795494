//! Who hears of failures: no report goes to somebody who has not sent the message.

use prixfixe_delivery::bounce::may_report_to;
use prixfixe_server::{Client, Finding, Identity, ReversePath, Verdict};

fn verdict(findings: &[(&str, &str, &str, &str)]) -> Verdict {
    let add = |verdict: Verdict, (name, value, property, domain): &(&str, &str, &str, &str)| {
        verdict.found(Finding::new(*name, *value).property(*property, *domain))
    };
    findings.iter().fold(Verdict::default(), add)
}

#[test]
fn a_client_that_logged_in_hears_and_a_null_sender_never() {
    let client = Client::builder().identity(Identity::new("ann")).build();
    let nothing = Verdict::default();
    let sender: ReversePath = "ann@example.com".parse().unwrap();
    assert!(may_report_to(&sender, &client, &nothing));
    assert!(!may_report_to(&ReversePath::Null, &client, &nothing));
}

#[test]
fn a_stranger_hears_where_the_address_of_its_envelope_is_proven() {
    let dmarc = |value: &'static str, domain: &'static str| ("dmarc", value, "header.from", domain);
    let spf = |value: &'static str, domain: &'static str| ("spf", value, "smtp.mailfrom", domain);
    let cases = [
        (vec![], false),
        (
            vec![dmarc("fail", "example.com"), spf("pass", "example.com")],
            false,
        ),
        // SPF alone says nothing of who wrote it.
        (vec![spf("pass", "example.com")], false),
        (vec![dmarc("pass", "example.com")], true),
        (
            vec![dmarc("pass", "EXAMPLE.com."), spf("fail", "example.com")],
            true,
        ),
        (vec![dmarc("pass", "com"), spf("fail", "example.com")], true),
        // A service that sends for others proves its own address.
        (
            vec![
                dmarc("pass", "customer.example"),
                spf("pass", "example.com"),
            ],
            true,
        ),
        // A stranger's own domain passes, and the address of the envelope is a victim's.
        (vec![dmarc("pass", "attacker.example")], false),
        (
            vec![
                dmarc("pass", "attacker.example"),
                spf("softfail", "example.com"),
            ],
            false,
        ),
        (
            vec![
                dmarc("pass", "attacker.example"),
                spf("pass", "attacker.example"),
            ],
            false,
        ),
        (
            vec![
                dmarc("pass", "attacker.example.com"),
                spf("none", "example.com"),
            ],
            false,
        ),
        (
            vec![dmarc("pass", "ample.com"), spf("none", "example.com")],
            false,
        ),
    ];
    let client = Client::builder().build();
    let sender: ReversePath = "ann@example.com".parse().unwrap();
    for (findings, expected) in cases {
        let may = may_report_to(&sender, &client, &verdict(&findings));
        assert_eq!(may, expected, "{findings:?}");
    }
}
