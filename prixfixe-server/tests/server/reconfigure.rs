//! Settings that change while the server runs.

use prixfixe_server::{CertificateSource, SettingsError, TlsConfig, Transport, inbox};

use crate::client::{Client, builder, start};
use crate::on_both_transports;

on_both_transports![
    new_connections_have_new_settings_and_sessions_keep_theirs,
    a_lower_connection_limit_ends_nobody,
    accepted_domains_are_replaced,
    tls_comes_and_goes,
    settings_that_cannot_work_change_nothing,
];

async fn new_connections_have_new_settings_and_sessions_keep_theirs(transport: Transport) {
    let (handler, _inbox) = inbox();
    let server = start(transport, handler);
    let mut old = Client::connect(server.local_address()).await;
    assert!(old.reply().await.starts_with("220 mx.test "));

    server
        .reconfigure(|settings| {
            let settings = settings.domain("new.test").max_message_size(1000);
            settings.max_recipients(1).max_errors(0)
        })
        .expect("good settings");
    let mut new = Client::connect(server.local_address()).await;
    assert!(new.reply().await.starts_with("220 new.test "));
    let offers = new.ask("EHLO client.test").await;
    assert!(offers.starts_with("250-new.test"), "{offers}");
    assert!(offers.contains("SIZE 1000\r\n"), "{offers}");
    assert!(new.ask("MAIL FROM:<>").await.starts_with("250"));
    assert!(new.ask("RCPT TO:<a@b.test>").await.starts_with("250"));
    assert!(new.ask("RCPT TO:<b@b.test>").await.starts_with("452 4.5.3"));
    assert!(new.ask("NONSENSE").await.starts_with("421 4.7.0"));

    assert!(old.ask("NONSENSE").await.starts_with("500 5.5.1"));
    let offers = old.ask("EHLO client.test").await;
    assert!(offers.starts_with("250-mx.test"), "{offers}");
    assert!(offers.contains("SIZE 10485760\r\n"), "{offers}");
    assert!(old.ask("MAIL FROM:<>").await.starts_with("250"));
    assert!(old.ask("RCPT TO:<a@b.test>").await.starts_with("250"));
    assert!(old.ask("RCPT TO:<b@b.test>").await.starts_with("250"));
}

async fn a_lower_connection_limit_ends_nobody(transport: Transport) {
    let (handler, _inbox) = inbox();
    let server = start(transport, handler);
    let mut first = Client::greeted(server.local_address()).await;
    let mut second = Client::greeted(server.local_address()).await;
    server
        .reconfigure(|settings| settings.max_connections(1))
        .expect("good settings");
    let mut third = Client::connect(server.local_address()).await;
    assert!(third.rest().await.starts_with("421 4.3.2"));
    assert!(first.ask("NOOP").await.starts_with("250"));
    assert!(second.ask("NOOP").await.starts_with("250"));

    server
        .reconfigure(|settings| settings.max_connections(3))
        .expect("good settings");
    Client::greeted(server.local_address()).await;
}

async fn accepted_domains_are_replaced(transport: Transport) {
    let (handler, _inbox) = inbox();
    let server = builder(transport)
        .accept_domains(["old.test"])
        .handler(handler)
        .start()
        .expect("it starts");
    let mut client = Client::greeted(server.local_address()).await;
    assert!(client.ask("MAIL FROM:<>").await.starts_with("250"));
    server
        .reconfigure(|settings| settings.accept_domains(["New.test"]))
        .expect("good settings");
    // The transaction under way keeps what it began with, the next one of the same session does not.
    assert!(client.ask("RCPT TO:<a@old.test>").await.starts_with("250"));
    let refused = client.ask("RCPT TO:<a@new.test>").await;
    assert!(refused.starts_with("550 5.7.1"), "{refused}");
    assert!(client.ask("RSET").await.starts_with("250"));
    assert!(client.ask("MAIL FROM:<>").await.starts_with("250"));
    let refused = client.ask("RCPT TO:<a@old.test>").await;
    assert!(refused.starts_with("550 5.7.1"), "{refused}");
    assert!(client.ask("RCPT TO:<a@new.test>").await.starts_with("250"));
}

async fn tls_comes_and_goes(transport: Transport) {
    let (handler, _inbox) = inbox();
    let server = start(transport, handler);
    let source = CertificateSource::self_signed(["mx.test"]);
    let tls = TlsConfig::builder()
        .certificate(source)
        .build()
        .expect("a certificate");
    server
        .reconfigure(|settings| settings.tls(tls).tls_required(true))
        .expect("good settings");
    let mut client = Client::greeted(server.local_address()).await;
    assert!(client.ask("MAIL FROM:<>").await.starts_with("530 5.7.0"));
    assert!(client.ask("STARTTLS").await.starts_with("220"));

    server
        .reconfigure(|settings| settings.without_tls().tls_required(false))
        .expect("good settings");
    let mut client = Client::greeted(server.local_address()).await;
    assert!(client.ask("STARTTLS").await.starts_with("502 5.5.1"));
}

async fn settings_that_cannot_work_change_nothing(transport: Transport) {
    let (handler, _inbox) = inbox();
    let server = start(transport, handler);
    let no_certificate = server.reconfigure(|settings| settings.tls_required(true).domain("x"));
    assert_eq!(no_certificate, Err(SettingsError::NoCertificate));
    let no_domain = server.reconfigure(|settings| settings.max_connections(0).domain("two words"));
    assert_eq!(
        no_domain,
        Err(SettingsError::Domain("two words".to_owned()))
    );
    // Greeted as `mx.test`, and within the limit.
    let mut client = Client::greeted(server.local_address()).await;
    assert!(client.ask("MAIL FROM:<>").await.starts_with("250"));
}
