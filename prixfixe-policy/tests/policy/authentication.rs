//! What is written into messages, and what is refused.

use prixfixe_policy::{Authentication, Mode};
use prixfixe_server::Transport;

use crate::dns::Dns;
use crate::on_both_transports;
use crate::served::{ID, Served, resolver};

on_both_transports![
    what_is_found_stands_on_top_and_in_the_verdict,
    results_that_came_in_under_our_name_are_removed,
    a_bounce_is_judged_by_the_name_of_helo,
    spf_alone_refuses_at_rcpt,
    with_dmarc_spf_alone_never_refuses,
    nothing_is_asked_where_nothing_is_on,
];

/// A zone for senders on loopback, and for some that are not.
pub(crate) fn zone() -> Dns {
    let dns = Dns::start();
    dns.txt("sender.test", "v=spf1 ip4:127.0.0.1 -all")
        .txt("other.test", "v=spf1 ip4:192.0.2.1 -all")
        .txt("client.test", "v=spf1 a -all")
        .a("client.test", [127, 0, 0, 1]);
    dns
}

async fn what_is_found_stands_on_top_and_in_the_verdict(transport: Transport) {
    let dns = zone();
    let check = Authentication::new(resolver(&dns), ID)
        .spf(Mode::Mark)
        .dkim(true);
    let mut served = Served::with(transport, check);
    let reply = served.gets("ann@sender.test", "Subject: a\r\n\r\nb").await;
    assert!(reply.starts_with("250 "), "{reply}");
    let message = served.accepted().await;
    assert_eq!(message.verdict().get("spf"), Some("pass"));
    assert_eq!(message.verdict().get("dkim"), Some("none"));
    let spf = &message.verdict().findings()[0];
    assert_eq!(spf.get("smtp.mailfrom"), Some("sender.test"));
    let expected = "Authentication-Results: mx.receiver.test;\r\n\
         \tspf=pass smtp.mailfrom=sender.test;\r\n\
         \tdkim=none\r\n\
         Subject: a\r\n\r\nb\r\n";
    assert_eq!(String::from_utf8_lossy(message.content()), expected);
}

async fn results_that_came_in_under_our_name_are_removed(transport: Transport) {
    let dns = zone();
    let check = Authentication::new(resolver(&dns), ID).spf(Mode::Mark);
    let mut served = Served::with(transport, check);
    let forged = "Authentication-Results: other.test; spf=pass\r\n\
         authentication-results :\r\n (a comment) MX.receiver.TEST.;\r\n dmarc=pass\r\n\
         Subject: a\r\n\
         Authentication-Results: \"mx.receiver.test\" 1; dkim=pass\r\n\r\nb";
    let kept = served.keeps("eve@other.test", forged).await;
    let expected = "Authentication-Results: mx.receiver.test;\r\n\
         \tspf=fail smtp.mailfrom=other.test\r\n\
         Authentication-Results: other.test; spf=pass\r\n\
         Subject: a\r\n\r\nb\r\n";
    assert_eq!(kept, expected);
}

async fn a_bounce_is_judged_by_the_name_of_helo(transport: Transport) {
    let dns = zone();
    let check = Authentication::new(resolver(&dns), ID).spf(Mode::Mark);
    let mut served = Served::with(transport, check);
    let kept = served.keeps("", "Subject: a\r\n\r\nb").await;
    assert!(
        kept.contains("spf=pass smtp.helo=client.test\r\n"),
        "{kept}"
    );
}

async fn spf_alone_refuses_at_rcpt(transport: Transport) {
    let dns = zone();
    dns.knows("down.test", crate::dns::Known::Failure);
    let check = Authentication::new(resolver(&dns), ID).spf(Mode::Enforce);
    let mut served = Served::with(transport, check);
    let rcpt = "RCPT TO:<bob@receiver.test>";
    let refused = served.says(&["MAIL FROM:<eve@other.test>", rcpt]).await;
    assert!(refused[0].starts_with("250 "), "{refused:?}");
    assert!(refused[1].starts_with("550 5.7.23 "), "{refused:?}");
    let deferred = served.says(&["MAIL FROM:<eve@down.test>", rcpt]).await;
    assert!(deferred[1].starts_with("451 4.7.24 "), "{deferred:?}");
    let kept = served
        .keeps("ann@unknown.test", "Subject: a\r\n\r\nb")
        .await;
    assert!(
        kept.contains("spf=none smtp.mailfrom=unknown.test"),
        "{kept}"
    );
}

async fn with_dmarc_spf_alone_never_refuses(transport: Transport) {
    let dns = zone();
    let check = Authentication::new(resolver(&dns), ID);
    let check = check.spf(Mode::Enforce).dmarc(Mode::Enforce);
    let mut served = Served::with(transport, check);
    let kept = served
        .keeps("eve@other.test", "From: ann@none.test\r\n\r\nb")
        .await;
    assert!(kept.contains("spf=fail"), "{kept}");
    assert!(kept.contains("dmarc=none header.from=none.test"), "{kept}");
}

async fn nothing_is_asked_where_nothing_is_on(transport: Transport) {
    let dns = zone();
    let check = Authentication::new(resolver(&dns), ID);
    let mut served = Served::with(transport, check);
    let kept = served.keeps("eve@other.test", "Subject: a\r\n\r\nb").await;
    assert_eq!(kept, "Subject: a\r\n\r\nb\r\n");
    assert_eq!(dns.questions(), 0);
}
