//! DNS blocklists.

use prixfixe_policy::{Blocklist, ListedAction};
use prixfixe_server::{Server, Transport};

use crate::dns::{Dns, Known};
use crate::on_both_transports;
use crate::served::{Served, resolver};

on_both_transports![
    who_is_listed_is_refused_but_may_write_to_postmaster,
    who_is_listed_is_marked,
    a_list_that_does_not_answer_lists_nobody,
];

async fn who_is_listed_is_refused_but_may_write_to_postmaster(transport: Transport) {
    let dns = Dns::start();
    dns.a("1.0.0.127.bl.test", [127, 0, 0, 2]);
    let check = Blocklist::new(resolver(&dns), "bl.test").action(ListedAction::Reject);
    let served = Served::with(transport, check);
    let replies = served
        .says(&[
            "MAIL FROM:<eve@client.test>",
            "RCPT TO:<bob@receiver.test>",
            "RCPT TO:<PostMaster@receiver.test>",
            "RCPT TO:<postmaster>",
        ])
        .await;
    let codes: Vec<_> = replies.iter().map(|reply| &reply[..9]).collect();
    assert_eq!(codes, ["250 2.1.0", "554 5.7.1", "250 2.1.5", "250 2.1.5"]);
}

async fn who_is_listed_is_marked(transport: Transport) {
    let dns = Dns::start();
    dns.a("1.0.0.127.one.test", [127, 0, 0, 4]);
    dns.a("1.0.0.127.three.test", [127, 0, 0, 2]);
    let list = |zone| Blocklist::new(resolver(&dns), zone);
    let builder = Server::builder().transport(transport);
    let builder = builder.check(list("one.test")).check(list("two.test"));
    let mut served = Served::of(builder.check(list("three.test")));
    let reply = served.gets("eve@client.test", "Subject: a\r\n\r\nb").await;
    assert!(reply.starts_with("250 "), "{reply}");
    let message = served.accepted().await;
    let zones = message.verdict().findings().iter();
    let zones: Vec<_> = zones
        .filter_map(|finding| finding.get("dns.zone"))
        .collect();
    assert_eq!(zones, ["one.test", "three.test"]);
    let content = String::from_utf8_lossy(message.content());
    let marks = "X-Blocklist: three.test (127.0.0.2)\r\nX-Blocklist: one.test (127.0.0.4)\r\n";
    assert!(content.starts_with(marks), "{content}");
}

async fn a_list_that_does_not_answer_lists_nobody(transport: Transport) {
    let dns = Dns::start();
    dns.a("1.0.0.127.full.test", [127, 255, 255, 254]);
    dns.a("1.0.0.127.sold.test", [192, 0, 2, 7]);
    dns.knows("1.0.0.127.down.test", Known::Failure);
    for zone in ["full.test", "sold.test", "down.test", "none.test"] {
        let check = Blocklist::new(resolver(&dns), zone).action(ListedAction::Reject);
        let mut served = Served::with(transport, check);
        let kept = served.keeps("eve@client.test", "Subject: a\r\n\r\nb").await;
        assert!(!kept.contains("X-Blocklist"), "{zone}: {kept}");
    }
}
