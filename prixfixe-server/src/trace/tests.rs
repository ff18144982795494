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
