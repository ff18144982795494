//! What a handler decides, and what becomes of its mistakes.

use std::future::pending;
use std::time::Duration;

use prixfixe_server::{
    Accepted, EnhancedCode, Mail, Message, OriginalRecipient, Rcpt, Reply, Session, Sessions,
    SettingsError, StartError, Transport, inbox,
};

use crate::client::{Client, builder, start};
use crate::on_both_transports;

on_both_transports![
    each_stage_is_refused_with_the_handlers_own_words,
    a_refused_connection_is_closed,
    a_refusal_of_the_message_leaves_the_session_usable,
    an_early_refusal_is_given_after_the_end_of_the_content,
    an_accepted_message_is_answered_with_its_id_or_its_own_text,
    a_copy_names_its_own_recipients_alone,
    a_panic_is_a_421_and_ends_only_its_session,
    a_handler_that_never_answers_is_given_up,
    a_success_code_is_no_refusal,
    hooks_see_the_client_and_the_envelope,
    hooks_see_the_parameters_of_dsn,
    an_application_offers_extensions_under_its_own_name,
    limits_and_parameters_are_offered_where_they_are_asked_for,
    keywords_that_are_there_twice_or_too_many_are_an_error,
    recipients_outside_the_accepted_domains_never_reach_the_handler,
];

fn refusal(code: u16, enhanced: EnhancedCode, text: &'static str) -> Reply {
    Reply::new(code, enhanced, text).expect("the codes agree")
}

/// Refuses whatever has `bad` in it.
struct Picky;

impl Session for Picky {
    async fn mail(&mut self, mail: Mail<'_>) -> Result<(), Reply> {
        if mail.reverse_path().to_string().contains("bad") {
            return Err(refusal(553, EnhancedCode(5, 1, 8), "that sender, no"));
        }
        Ok(())
    }

    async fn rcpt(&mut self, rcpt: Rcpt<'_>) -> Result<(), Reply> {
        if rcpt.path().to_string().contains("bad") {
            return Err(refusal(450, EnhancedCode(4, 2, 1), "that mailbox, later"));
        }
        Ok(())
    }

    async fn message(&mut self, message: Message) -> Result<Accepted, Reply> {
        let message = message.collect().await?;
        if message.content().starts_with(b"bad") {
            return Err(refusal(554, EnhancedCode(5, 6, 0), "that content, no"));
        }
        Ok(Accepted::with_text("taken with thanks"))
    }
}

async fn each_stage_is_refused_with_the_handlers_own_words(transport: Transport) {
    let server = start(transport, Sessions::new(|_| async { Ok(Picky) }));
    let mut client = Client::greeted(server.local_address()).await;
    assert_eq!(
        client.ask("MAIL FROM:<bad@example.com>").await,
        "553 5.1.8 that sender, no"
    );
    assert!(
        client
            .ask("MAIL FROM:<ann@example.com>")
            .await
            .starts_with("250 2.")
    );
    assert_eq!(
        client.ask("RCPT TO:<bad@example.com>").await,
        "450 4.2.1 that mailbox, later"
    );
    assert!(
        client.ask("DATA").await.starts_with("503 5.5.1"),
        "no recipient was accepted"
    );
}

async fn a_refused_connection_is_closed(transport: Transport) {
    let refused = |_| async { Err::<Picky, _>(refusal(554, EnhancedCode(5, 7, 1), "not you")) };
    let server = start(transport, Sessions::new(refused));
    let mut client = Client::connect(server.local_address()).await;
    assert_eq!(client.rest().await, "554 5.7.1 not you\r\n");
}

async fn a_refusal_of_the_message_leaves_the_session_usable(transport: Transport) {
    let server = start(transport, Sessions::new(|_| async { Ok(Picky) }));
    let mut client = Client::greeted(server.local_address()).await;
    assert_eq!(client.deliver("bad").await, "554 5.6.0 that content, no");
    assert_eq!(client.deliver("good").await, "250 2.0.0 taken with thanks");
}

async fn an_early_refusal_is_given_after_the_end_of_the_content(transport: Transport) {
    let server = start(transport, |_: Message| async {
        Err::<Accepted, _>(refusal(452, EnhancedCode(4, 3, 1), "no room"))
    });
    let mut client = Client::greeted(server.local_address()).await;
    let content = "x".repeat(70) + "\r\n";
    assert_eq!(
        client.deliver(&content.repeat(20_000)).await,
        "452 4.3.1 no room"
    );
    assert!(client.ask("NOOP").await.starts_with("250"));
}

async fn an_accepted_message_is_answered_with_its_id_or_its_own_text(transport: Transport) {
    let (handler, mut inbox) = inbox();
    let server = start(transport, handler);
    let mut client = Client::greeted(server.local_address()).await;
    let reply = client.deliver("hello").await;
    let message = inbox.next().await.expect("it was delivered");
    assert_eq!(reply, format!("250 2.0.0 OK {}", message.id()));
    let headers = String::from_utf8(message.trace_headers(message.envelope().recipients()))
        .expect("headers are text");
    assert!(headers.ends_with(" +0000\r\n"), "{headers}");
    assert!(
        headers.contains(&format!("by mx.test with ESMTP id {}", message.id())),
        "{headers}"
    );
}

/// RFC 5321 section 7.2: who got a blind copy is told to nobody.
async fn a_copy_names_its_own_recipients_alone(transport: Transport) {
    let (handler, mut inbox) = inbox();
    let server = start(transport, handler);
    let mut client = Client::greeted(server.local_address()).await;
    client.ask("MAIL FROM:<ann@client.test>").await;
    for recipient in ["one", "two", "blind"] {
        let reply = client.ask(&format!("RCPT TO:<{recipient}@b.test>")).await;
        assert!(reply.starts_with("250 "), "{reply}");
    }
    client.ask("DATA").await;
    assert!(client.ask("\r\n.").await.starts_with("250 "));
    let message = inbox.next().await.expect("it was delivered");
    let paths = message.envelope().recipients();
    let text = |headers: Vec<u8>| String::from_utf8(headers).expect("headers are text");
    let named = |headers: &str| {
        let all = ["one@b.test", "two@b.test", "blind@b.test"];
        all.map(|name| headers.matches(name).count())
    };

    let shared = text(message.trace_headers(message.envelope().recipients()));
    assert_eq!(named(&shared), [1, 1, 1], "{shared}");
    let own = text(message.trace_headers([&paths[0]]));
    assert_eq!(named(&own), [2, 0, 0], "{own}");
    assert!(
        own.starts_with("Return-Path: <ann@client.test>\r\nDelivered-To: one@b.test\r\nReceived: ")
    );
    assert!(own.contains("\r\n\tfor <one@b.test>;\r\n"), "{own}");
    let of_two = text(message.trace_headers(&paths[..2]));
    assert_eq!(named(&of_two), [1, 1, 0], "{of_two}");
    let received = text(message.received_header());
    assert!(received.starts_with("Received: from "), "{received}");
    assert_eq!(named(&received), [0, 0, 0], "{received}");
    assert!(shared.ends_with(&received));
}

async fn a_panic_is_a_421_and_ends_only_its_session(transport: Transport) {
    struct Fragile;
    impl Session for Fragile {
        async fn rcpt(&mut self, rcpt: Rcpt<'_>) -> Result<(), Reply> {
            assert!(
                !rcpt.path().to_string().contains("bad"),
                "a bug of the handler's, on purpose"
            );
            Ok(())
        }
        async fn message(&mut self, message: Message) -> Result<Accepted, Reply> {
            let message = message.collect().await?;
            assert!(
                !message.content().starts_with(b"bad"),
                "a bug of the handler's, on purpose"
            );
            Ok(Accepted::default())
        }
    }
    let server = start(transport, Sessions::new(|_| async { Ok(Fragile) }));
    let mut bystander = Client::greeted(server.local_address()).await;

    let mut client = Client::greeted(server.local_address()).await;
    client.ask("MAIL FROM:<>").await;
    client.send("RCPT TO:<bad@example.com>\r\n").await;
    assert!(client.rest().await.starts_with("421 4.3.0"));

    let mut client = Client::greeted(server.local_address()).await;
    client.open_data().await;
    client.send("bad\r\n.\r\n").await;
    assert!(client.rest().await.starts_with("421 4.3.0"));

    assert!(bystander.deliver("fine").await.starts_with("250 2.0.0"));
}

async fn a_handler_that_never_answers_is_given_up(transport: Transport) {
    let server = builder(transport)
        .handler_timeout(Duration::from_millis(20))
        .handler(|_: Message| pending::<Result<Accepted, Reply>>())
        .start()
        .expect("the server starts");
    let mut client = Client::greeted(server.local_address()).await;
    assert!(client.deliver("hello").await.starts_with("451 4.3.0"));
    // The handler reads nothing either, so a large content stalls before its end.
    let content = "x".repeat(70) + "\r\n";
    assert!(
        client
            .deliver(&content.repeat(20_000))
            .await
            .starts_with("451 4.3.0")
    );
    assert!(client.ask("NOOP").await.starts_with("250"));
}

async fn a_success_code_is_no_refusal(transport: Transport) {
    let server = start(transport, |_: Message| async {
        Err::<Accepted, _>(refusal(250, EnhancedCode(2, 0, 0), "surely"))
    });
    let mut client = Client::greeted(server.local_address()).await;
    assert!(client.deliver("hello").await.starts_with("451 4.3.0"));
}

async fn hooks_see_the_client_and_the_envelope(transport: Transport) {
    struct Curious;
    impl Session for Curious {
        async fn rcpt(&mut self, rcpt: Rcpt<'_>) -> Result<(), Reply> {
            let seen = format!(
                "{} {} {} {} {}",
                rcpt.client().peer().ip().expect("it has an address"),
                rcpt.client().helo().unwrap_or_default(),
                rcpt.envelope().reverse_path(),
                rcpt.envelope().recipients().len(),
                rcpt.path(),
            );
            Err(Reply::permanent(seen))
        }
        async fn message(&mut self, _: Message) -> Result<Accepted, Reply> {
            Ok(Accepted::default())
        }
    }
    let server = start(transport, Sessions::new(|_| async { Ok(Curious) }));
    let mut client = Client::greeted(server.local_address()).await;
    client.ask("MAIL FROM:<ann@example.com>").await;
    assert_eq!(
        client.ask("RCPT TO:<bob@example.com>").await,
        "550 5.7.1 127.0.0.1 client.test ann@example.com 0 bob@example.com"
    );
}

/// RFC 3461 section 4.
async fn hooks_see_the_parameters_of_dsn(transport: Transport) {
    struct Curious;
    impl Session for Curious {
        async fn rcpt(&mut self, rcpt: Rcpt<'_>) -> Result<(), Reply> {
            let mail = rcpt.envelope().parameters();
            let rcpt = rcpt.parameters();
            let orcpt = rcpt.orcpt.as_ref().map(OriginalRecipient::address);
            let notify = rcpt.notify.map(|notify| notify.to_string());
            let seen = format!("{:?} {:?} {notify:?} {orcpt:?}", mail.ret, mail.envid);
            Err(Reply::permanent(seen))
        }
        async fn message(&mut self, _: Message) -> Result<Accepted, Reply> {
            Ok(Accepted::default())
        }
    }
    let server = builder(transport)
        .dsn(true)
        .handler(Sessions::new(|_| async { Ok(Curious) }))
        .start()
        .expect("it starts");
    let mut client = Client::greeted(server.local_address()).await;
    client
        .ask("MAIL FROM:<ann@example.com> RET=HDRS ENVID=a+2Bb")
        .await;
    assert_eq!(
        client
            .ask("RCPT TO:<bob@example.com> NOTIFY=DELAY,SUCCESS ORCPT=rfc822;bob+2B1@example.org")
            .await,
        r#"550 5.7.1 Some(Headers) Some("a+b") Some("SUCCESS,DELAY") Some("bob+1@example.org")"#
    );
}

/// RFC 5321 section 4.1.1.1.
async fn an_application_offers_extensions_under_its_own_name(transport: Transport) {
    let (handler, _inbox) = inbox();
    let server = builder(transport)
        .product("Help Desk")
        .ehlo_keyword("XTICKET 1".parse().expect("a keyword"))
        .handler(handler)
        .start()
        .expect("it starts");
    let mut client = Client::connect(server.local_address()).await;
    assert_eq!(client.reply().await, "220 mx.test ESMTP Help Desk");
    client.send("EHLO client.test\r\nQUIT\r\n").await;
    let rest = client.rest().await;
    assert!(rest.contains("\r\n250-XTICKET 1\r\n250 HELP\r\n"), "{rest}");
}

async fn limits_and_parameters_are_offered_where_they_are_asked_for(transport: Transport) {
    let (handler, mut inbox) = inbox();
    let server = builder(transport)
        .max_recipients(7)
        .one_recipient_domain(true)
        .mt_priority(true)
        .binary_mime(false)
        .handler(handler)
        .start()
        .expect("it starts");
    let mut client = Client::greeted(server.local_address()).await;
    let ehlo = client.ask("EHLO client.test").await;
    assert!(
        ehlo.contains("250-LIMITS RCPTMAX=7 RCPTDOMAINMAX=1"),
        "{ehlo}"
    );
    assert!(ehlo.contains("250-MT-PRIORITY"), "{ehlo}");
    assert!(!ehlo.contains("BINARYMIME"), "{ehlo}");
    let code = client.ask("MAIL FROM:<> BODY=BINARYMIME").await;
    assert!(code.starts_with("555 5.5.4"), "{code}");
    let code = client.ask("MAIL FROM:<> MT-PRIORITY=10").await;
    assert!(code.starts_with("501 5.5.4"), "{code}");
    let code = client.ask("MAIL FROM:<> REQUIRETLS").await;
    assert!(code.starts_with("555 5.5.4"), "{code}");
    client.ask("MAIL FROM:<> MT-PRIORITY=-3").await;
    client.ask("RCPT TO:<a@b>").await;
    client.ask("DATA").await;
    client.ask(".").await;
    let message = inbox.next().await.expect("a message");
    assert_eq!(message.envelope().parameters().mt_priority, Some(-3));
}

async fn keywords_that_are_there_twice_or_too_many_are_an_error(transport: Transport) {
    let keyword = |text: &str| text.parse().expect("a keyword");
    let (handler, _inbox) = inbox();
    let started = builder(transport)
        .ehlo_keyword(keyword("XTICKET 1"))
        .ehlo_keyword(keyword("xticket 2"))
        .handler(handler)
        .start();
    assert!(
        matches!(started, Err(StartError::Settings(SettingsError::EhloKeyword(it))) if it == "xticket")
    );
    let (handler, _inbox) = inbox();
    let many = (0..33).fold(builder(transport), |builder, number| {
        builder.ehlo_keyword(keyword(&format!("X{number}")))
    });
    let started = many.handler(handler).start();
    assert!(
        matches!(started, Err(StartError::Settings(SettingsError::EhloKeyword(it))) if it == "X32")
    );
}

async fn recipients_outside_the_accepted_domains_never_reach_the_handler(transport: Transport) {
    let (handler, _inbox) = inbox();
    let server = builder(transport)
        .accept_domains(["Example.COM.", "xn--bcher-kva.example", "*.sub.example"])
        .handler(handler)
        .start()
        .expect("it starts");
    let mut client = Client::greeted(server.local_address()).await;
    client.ask("MAIL FROM:<> SMTPUTF8").await;
    for (recipient, code) in [
        ("bob@example.org", "550 5.7.1"),
        ("bob@sub.example.com", "550 5.7.1"),
        ("bob@sub.example", "550 5.7.1"),
        ("postmaster@example.org", "550 5.7.1"),
        ("bob@eXample.com", "250"),
        ("bob@example.com.", "250"),
        ("bob@b\u{fc}cher.example", "250"),
        ("bob@BU\u{308}CHER.example", "250"),
        ("bob@mx.Sub.example", "250"),
        ("postmaster@mx.test", "250"),
    ] {
        let reply = client.ask(&format!("RCPT TO:<{recipient}>")).await;
        assert!(reply.starts_with(code), "{recipient}: {reply}");
    }
    assert!(client.ask("RCPT TO:<postmaster>").await.starts_with("250"));
}
