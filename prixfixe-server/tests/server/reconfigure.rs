//! Settings that change while the server runs.

use std::sync::Arc;

use prixfixe_server::{
    Accepted, AuthMode, CertificateSource, Check, CheckSession, Client as From, Mail, Message,
    Rcpt, Reply, Session, SettingsError, TlsConfig, Transport, inbox, reply,
};
use tokio::sync::Notify;

use crate::client::{Client, builder, start};
use crate::on_both_transports;

on_both_transports![
    new_connections_have_new_settings_and_sessions_keep_theirs,
    a_lower_connection_limit_ends_nobody,
    accepted_domains_are_replaced,
    relaying_for_users_is_a_matter_of_each_transaction,
    a_transaction_goes_by_one_moment_however_long_mail_takes,
    who_came_before_logins_were_required_connects_again,
    who_logged_in_where_anybody_could_connects_again,
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
    // The transaction under way keeps what it began with, the next one of the same session does
    // not.
    assert!(client.ask("RCPT TO:<a@old.test>").await.starts_with("250"));
    let refused = client.ask("RCPT TO:<a@new.test>").await;
    assert!(refused.starts_with("550 5.7.1"), "{refused}");
    assert!(client.ask("RSET").await.starts_with("250"));
    assert!(client.ask("MAIL FROM:<>").await.starts_with("250"));
    let refused = client.ask("RCPT TO:<a@old.test>").await;
    assert!(refused.starts_with("550 5.7.1"), "{refused}");
    assert!(client.ask("RCPT TO:<a@new.test>").await.starts_with("250"));
}

async fn relaying_for_users_is_a_matter_of_each_transaction(transport: Transport) {
    let (handler, _inbox) = inbox();
    let server = builder(transport)
        .auth(AuthMode::Any)
        .accept_domains(["our.test"])
        .handler(handler)
        .start()
        .expect("it starts");
    let mut client = Client::greeted(server.local_address()).await;
    let login = client.ask("AUTH PLAIN AGFubgB3aGF0ZXZlcg==").await;
    assert!(login.starts_with("235"), "{login}");
    for (relay, before, after) in [(true, "550", "250"), (false, "250", "550")] {
        assert!(
            client
                .ask("MAIL FROM:<a@our.test>")
                .await
                .starts_with("250")
        );
        server
            .reconfigure(|settings| settings.relay_for_users(relay))
            .expect("good settings");
        let said = client.ask("RCPT TO:<b@other.test>").await;
        assert!(said.starts_with(before), "{said}");
        assert!(client.ask("RSET").await.starts_with("250"));
        assert!(
            client
                .ask("MAIL FROM:<a@our.test>")
                .await
                .starts_with("250")
        );
        let said = client.ask("RCPT TO:<b@other.test>").await;
        assert!(said.starts_with(after), "{said}");
        assert!(client.ask("RSET").await.starts_with("250"));
    }
}

async fn who_came_before_logins_were_required_connects_again(transport: Transport) {
    let (handler, _inbox) = inbox();
    let server = builder(transport)
        .accept_domains(["our.test"])
        .handler(handler)
        .start()
        .expect("it starts");
    let mut client = Client::greeted(server.local_address()).await;
    assert!(client.ask("MAIL FROM:<>").await.starts_with("250"));
    let source = CertificateSource::self_signed(["mx.test"]);
    let tls = TlsConfig::builder()
        .certificate(source)
        .build()
        .expect("a certificate");
    server
        .reconfigure(|settings| {
            let settings = settings.tls(tls).auth(AuthMode::Require);
            settings.accept_domains([""; 0])
        })
        .expect("good settings");
    let said = client.ask("RCPT TO:<a@other.test>").await;
    assert!(said.starts_with("550 5.7.1"), "{said}");
    assert!(client.ask("RSET").await.starts_with("250"));
    let said = client.ask("MAIL FROM:<>").await;
    assert!(said.starts_with("421 4.3.2"), "{said}");
}

async fn who_logged_in_where_anybody_could_connects_again(transport: Transport) {
    let (handler, _inbox) = inbox();
    let server = builder(transport)
        .auth(AuthMode::Any)
        .accept_domains(["our.test"])
        .handler(handler)
        .start()
        .expect("it starts");
    let mut before = Client::greeted(server.local_address()).await;
    let mut after = Client::greeted(server.local_address()).await;
    let login = "AUTH PLAIN AGFubgBwYXNz";
    assert!(before.ask(login).await.starts_with("235"));
    assert!(before.ask("MAIL FROM:<>").await.starts_with("250"));
    assert!(before.ask("RSET").await.starts_with("250"));
    let source = CertificateSource::self_signed(["mx.test"]);
    let tls = TlsConfig::builder()
        .certificate(source)
        .build()
        .expect("a certificate");
    server
        .reconfigure(|settings| {
            let settings = settings.tls(tls).auth(AuthMode::Offer);
            settings.relay_for_users(true)
        })
        .expect("good settings");
    assert!(after.ask(login).await.starts_with("235"));
    for mut client in [before, after] {
        let said = client.ask("MAIL FROM:<>").await;
        assert!(said.starts_with("421 4.3.2"), "{said}");
    }
}

/// Takes its time for MAIL.
#[derive(Clone, Default)]
struct Slow {
    asked: Arc<Notify>,
    go_on: Arc<Notify>,
}

impl Check for Slow {
    type Session = Self;

    async fn connect(self: &Arc<Self>, _: &From) -> Result<Self, Reply> {
        Ok(Self::clone(self))
    }
}

impl CheckSession for Slow {
    async fn mail(&mut self, _: Mail<'_>) -> Result<(), Reply> {
        self.asked.notify_one();
        self.go_on.notified().await;
        Ok(())
    }
}

/// Says what is attached at each question.
#[derive(Default)]
struct Seeing(Option<u32>);

impl Session for Seeing {
    async fn mail(&mut self, mail: Mail<'_>) -> Result<(), Reply> {
        self.0 = mail.attached().map(|number| *number);
        assert_eq!(mail.attached::<String>(), None);
        Ok(())
    }

    async fn rcpt(&mut self, rcpt: Rcpt<'_>) -> Result<(), Reply> {
        let now = rcpt.envelope().attached::<u32>().map(|number| *number);
        match (self.0, now) {
            (Some(1), Some(1)) => Err(reply!(550 5.1.1 "one")),
            (Some(2), Some(2)) => Err(reply!(550 5.1.1 "two")),
            _ => Err(reply!(550 5.1.1 "of several moments")),
        }
    }

    async fn message(&mut self, _: Message) -> Result<Accepted, Reply> {
        Ok(Accepted::default())
    }
}

async fn a_transaction_goes_by_one_moment_however_long_mail_takes(transport: Transport) {
    let slow = Slow::default();
    let server = builder(transport)
        .accept_domains(["old.test"])
        .check(slow.clone())
        .sessions(|_| async { Ok(Seeing::default()) })
        .start()
        .expect("it starts");
    let attach = |number: u32, domain: &'static str| {
        server
            .reconfigure(|settings| settings.attach(Arc::new(number)).accept_domains([domain]))
            .expect("good settings");
    };
    attach(1, "old.test");
    let mut client = Client::greeted(server.local_address()).await;
    client.send("MAIL FROM:<>\r\n").await;
    slow.asked.notified().await;
    attach(2, "new.test");
    slow.go_on.notify_one();
    assert!(client.reply().await.starts_with("250"));
    let said = client.ask("RCPT TO:<a@old.test>").await;
    assert!(said.starts_with("550 5.1.1 one"), "{said}");
    assert!(client.ask("RSET").await.starts_with("250"));
    slow.go_on.notify_one();
    assert!(client.ask("MAIL FROM:<>").await.starts_with("250"));
    let said = client.ask("RCPT TO:<a@new.test>").await;
    assert!(said.starts_with("550 5.1.1 two"), "{said}");
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
