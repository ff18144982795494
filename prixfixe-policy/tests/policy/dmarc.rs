//! DMARC: policies, alignment, and authors that cannot be told.

use prixfixe_policy::{Authentication, Mode};
use prixfixe_server::Transport;

use crate::authentication::zone;
use crate::dns::Known;
use crate::on_both_transports;
use crate::served::{ID, Served, resolver};

on_both_transports![what_a_policy_says_decides, two_from_fields_are_no_author,];

/// What becomes of a message from `envelope` and `author`.
struct Case {
    envelope: &'static str,
    author: &'static str,
    /// A reply that refuses, or what is written.
    expected: &'static str,
}

const fn case(envelope: &'static str, author: &'static str, expected: &'static str) -> Case {
    Case {
        envelope,
        author,
        expected,
    }
}

const CASES: &[Case] = &[
    case(
        "ann@sender.test",
        "ann@sender.test",
        "dmarc=pass header.from=sender.test policy.dmarc=reject",
    ),
    // SPF speaks for another domain.
    case("eve@client.test", "ann@sender.test", "550 5.7.26 "),
    case("eve@client.test", "Ann <ANN@Sender.TEST>", "550 5.7.26 "),
    // A record at the organisational domain counts below it (the tree walk), with sp where there is
    // one.
    case(
        "eve@client.test",
        "ann@deep.below.sender.test",
        "dmarc=fail header.from=deep.below.sender.test policy.dmarc=quarantine",
    ),
    case("ann@sender.test", "ann@below.sender.test", "dmarc=pass"),
    // Under test, and quarantined: marked.
    case(
        "eve@client.test",
        "ann@testing.test",
        "dmarc=fail header.from=testing.test policy.dmarc=quarantine",
    ),
    case(
        "eve@client.test",
        "ann@quarantine.test",
        "dmarc=fail header.from=quarantine.test policy.dmarc=quarantine",
    ),
    case(
        "eve@client.test",
        "ann@nobody.test",
        "dmarc=none header.from=nobody.test",
    ),
    case("eve@client.test", "ann@down.test", "451 4.7.24 "),
    // Several authors of several domains are left out (RFC 9989).
    case(
        "eve@client.test",
        "ann@sender.test, bob@client.test",
        "dmarc=none",
    ),
];

async fn what_a_policy_says_decides(transport: Transport) {
    let dns = zone();
    dns.txt("_dmarc.sender.test", "v=DMARC1; p=reject; sp=quarantine")
        .txt("_dmarc.testing.test", "v=DMARC1; p=reject; t=y")
        .txt("_dmarc.quarantine.test", "v=DMARC1; p=quarantine")
        .a("deep.below.sender.test", [127, 0, 0, 1])
        .knows("_dmarc.down.test", Known::Failure);
    let check = Authentication::new(resolver(&dns), ID).dmarc(Mode::Enforce);
    let mut served = Served::with(transport, check);
    for case in CASES {
        let content = format!("From: {}\r\nSubject: a\r\n\r\nb", case.author);
        let told = format!("{} {}", case.envelope, case.author);
        if case.expected.starts_with("dmarc=") {
            let kept = served.keeps(case.envelope, &content).await;
            assert!(kept.contains(case.expected), "{told}: {kept}");
        } else {
            let reply = served.gets(case.envelope, &content).await;
            assert!(reply.starts_with(case.expected), "{told}: {reply}");
        }
    }
}

async fn two_from_fields_are_no_author(transport: Transport) {
    let dns = zone();
    let content = "From: ann@sender.test\r\nfrom : eve@client.test\r\n\r\nb";
    let check = Authentication::new(resolver(&dns), ID);
    let served = Served::with(transport, check.clone().dmarc(Mode::Enforce));
    let reply = served.gets("eve@client.test", content).await;
    assert!(reply.starts_with("550 5.7.26 "), "{reply}");
    let mut served = Served::with(transport, check.dmarc(Mode::Mark));
    let kept = served.keeps("eve@client.test", content).await;
    assert!(kept.contains("dmarc=permerror"), "{kept}");
}
