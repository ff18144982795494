//! Name servers that are silent, lie, or lead in circles: bounded in time and in questions.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use mail_auth::hickory_resolver::proto::rr::rdata::CNAME;
use mail_auth::hickory_resolver::proto::rr::{Name, RData};
use prixfixe_policy::{Authentication, Mode, Outcome};
use prixfixe_server::Transport;

use crate::dns::{Dns, Known};
use crate::on_both_transports;
use crate::served::{ID, Served, resolver};

on_both_transports![mail_flows_while_the_dns_is_silent];

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

async fn mail_flows_while_the_dns_is_silent(transport: Transport) {
    let dns = Dns::start();
    dns.knows("silent.test", Known::Silence(None))
        .knows("_dmarc.silent.test", Known::Silence(None));
    let resolver = resolver(&dns).timeout(Duration::from_millis(200));
    let check = Authentication::new(resolver, ID).dmarc(Mode::Mark);
    let mut served = Served::with(transport, check);
    let kept = served
        .keeps("ann@silent.test", "From: ann@silent.test\r\n\r\nb")
        .await;
    assert!(
        kept.contains("spf=temperror smtp.mailfrom=silent.test"),
        "{kept}"
    );
    assert!(
        kept.contains("dmarc=temperror header.from=silent.test"),
        "{kept}"
    );
}

#[tokio::test]
async fn includes_in_a_circle_end_at_the_tenth() {
    let dns = Dns::start();
    dns.txt("a.test", "v=spf1 include:b.test -all")
        .txt("b.test", "v=spf1 include:a.test -all");
    let outcome = resolver(&dns)
        .check_host(CLIENT, "client.test", "ann@a.test")
        .await;
    assert_eq!(outcome, Outcome::PermError);
    assert!(dns.questions() <= 12, "{}", dns.questions());
}

#[tokio::test]
async fn redirects_in_a_circle_end_at_the_tenth() {
    let dns = Dns::start();
    dns.txt("a.test", "v=spf1 redirect=b.test")
        .txt("b.test", "v=spf1 redirect=a.test");
    let outcome = resolver(&dns)
        .check_host(CLIENT, "client.test", "ann@a.test")
        .await;
    assert_eq!(outcome, Outcome::PermError);
}

#[tokio::test]
async fn aliases_in_a_circle_are_an_error() {
    let dns = Dns::start();
    let alias = |to: &str| {
        let name = Name::from_ascii(to).expect("a name");
        Known::Record(RData::CNAME(CNAME(name)))
    };
    dns.knows("a.test", alias("b.test."))
        .knows("b.test", alias("a.test."));
    let resolver = resolver(&dns).timeout(Duration::from_secs(2));
    let outcome = resolver
        .check_host(CLIENT, "client.test", "ann@a.test")
        .await;
    assert!(
        matches!(outcome, Outcome::TempError | Outcome::None),
        "{outcome}"
    );
    assert!(dns.questions() <= 64, "{}", dns.questions());
}

#[tokio::test]
async fn a_record_of_a_thousand_terms_is_bounded() {
    let dns = Dns::start();
    let terms: Vec<_> = (0..1000).map(|at| format!("a:h{at}.a.test")).collect();
    dns.txt("a.test", &format!("v=spf1 {} -all", terms.join(" ")));
    let outcome = resolver(&dns)
        .check_host(CLIENT, "client.test", "ann@a.test")
        .await;
    assert_ne!(outcome, Outcome::Pass);
    assert!(dns.questions() <= 16, "{}", dns.questions());
}
