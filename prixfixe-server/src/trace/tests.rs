//! RFC 3848, RFC 6531 section 4.3.

use super::*;
use crate::tls::{TlsInfo, TlsVersion};
use crate::{Client, Envelope, Identity, MailParameters, Message};

#[test]
fn the_protocol_is_named_by_what_was_spoken() {
    for (extended, smtputf8, tls, login, name) in [
        (false, false, false, false, "SMTP"),
        (true, false, false, false, "ESMTP"),
        (true, false, false, true, "ESMTPA"),
        (true, false, true, false, "ESMTPS"),
        (true, false, true, true, "ESMTPSA"),
        (true, true, false, false, "UTF8SMTP"),
        (true, true, false, true, "UTF8SMTPA"),
        (true, true, true, false, "UTF8SMTPS"),
        (true, true, true, true, "UTF8SMTPSA"),
    ] {
        let mut client = match extended {
            true => Client::builder().ehlo("c"),
            false => Client::builder().helo("c"),
        };
        if tls {
            client = client.tls(TlsInfo::new(TlsVersion::Tls13, "suite"));
        }
        if login {
            client = client.identity(Identity::new("ann"));
        }
        let mut parameters = MailParameters::default();
        parameters.smtputf8 = smtputf8;
        let envelope = Envelope::new("ann@example.com".parse().unwrap(), parameters);
        let message = Message::new(client.build(), envelope, ["x\r\n"]);
        assert_eq!(protocol(&message.head), name);
    }
}

#[test]
fn a_name_that_was_looked_up_stands_beside_the_address() {
    let received = |client: &Client| {
        let envelope = Envelope::builder().build();
        let message = Message::new(client.clone(), envelope, ["x\r\n"]);
        let header = String::from_utf8(message.received_header()).unwrap();
        header.lines().next().unwrap_or_default().to_owned()
    };
    // What a proxy has told is shown where somebody asks for it.
    let told = Client::builder()
        .ehlo("c.test")
        .host_name("mx.test")
        .build();
    assert_eq!(received(&told), "Received: from c.test ([192.0.2.1])");
    assert_eq!(told.host_name(), Some("mx.test"));
    let client = Client::builder().ehlo("c.test").build();
    for no_name in [
        "",
        "a b.test",
        "(x",
        "a\r\nX: y",
        "b\u{fc}cher.test",
        "[192.0.2.7]",
    ] {
        client.found_host_name(no_name);
        assert_eq!(
            received(&client),
            "Received: from c.test ([192.0.2.1])",
            "{no_name:?}"
        );
    }
    let known_before = client.clone();
    client.found_host_name("mx.test");
    client.found_host_name("other.test");
    assert_eq!(known_before.host_name(), Some("mx.test"));
    assert_eq!(
        received(&known_before),
        "Received: from c.test (mx.test [192.0.2.1])"
    );
}
