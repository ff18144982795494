//! What a milter is told of a client beside the commands, by the names that Sendmail gave.

use prixfixe_core::{BodyType, ForwardPath, MailParameters, ReversePath};
use prixfixe_milter::{Address, Macros};
use prixfixe_server::{Client, Peer};

use super::Milter;

pub(super) fn address(client: &Client) -> Address {
    match client.peer() {
        Peer::Ip(address) => Address::Ip(address),
        Peer::Unix(_) => Address::Unix,
        _ => Address::Unknown,
    }
}

/// Of the connection.
pub(super) fn connection(macros: &mut Macros, check: &Milter, client: &Client) {
    let host = client.host_name().unwrap_or("unknown");
    macros.set("j", &*check.name);
    macros.set("v", concat!("PrixFixe ", env!("CARGO_PKG_VERSION")));
    macros.set("{daemon_name}", client.endpoint().unwrap_or("prixfixe"));
    macros.set("{if_name}", &*check.name);
    macros.set("{client_name}", host);
    if let Peer::Ip(peer) = client.peer() {
        let address = peer.ip().to_canonical();
        macros.set("_", format!("{host} [{address}]"));
        macros.set("{client_addr}", address.to_string());
        macros.set("{client_port}", peer.port().to_string());
        macros.set("{client_ptr}", host);
    }
    if let Some(local) = client.local() {
        let address = local.ip().to_canonical().to_string();
        macros.set("{if_addr}", &*address);
        macros.set("{daemon_addr}", address);
        macros.set("{daemon_port}", local.port().to_string());
    }
    if let Some(tls) = client.tls() {
        macros.set("{tls_version}", format!("TLSv{}", tls.version.as_str()));
        macros.set("{cipher}", tls.cipher_suite);
        if let Some(subject) = &tls.client_subject {
            macros.set("{cert_subject}", &**subject);
        }
    }
    if let Some(identity) = client.identity() {
        macros.set("{auth_authen}", identity.name());
    }
}

/// Of MAIL.
pub(super) fn sender(macros: &mut Macros, sender: &ReversePath) {
    macros.set("{mail_addr}", sender.to_string());
    macros.set("{mail_mailer}", "esmtp");
    if let Some(mailbox) = sender.mailbox() {
        macros.set("{mail_host}", mailbox.domain().as_str());
    }
}

/// Of RCPT.
pub(super) fn recipient(macros: &mut Macros, recipient: &ForwardPath) {
    macros.set("{rcpt_addr}", recipient.to_string());
    macros.set("{rcpt_mailer}", "local");
    if let Some(mailbox) = recipient.mailbox() {
        macros.set("{rcpt_host}", mailbox.domain().as_str());
    }
}

/// Those that filters look at.
pub(super) fn mail_parameters(parameters: &MailParameters) -> Vec<String> {
    let size = parameters.size.map(|size| format!("SIZE={size}"));
    let body = match parameters.body {
        BodyType::EightBitMime => Some("BODY=8BITMIME".to_owned()),
        BodyType::BinaryMime => Some("BODY=BINARYMIME".to_owned()),
        _ => None,
    };
    let utf8 = parameters.smtputf8.then(|| "SMTPUTF8".to_owned());
    let envid = parameters.envid.as_ref().map(|id| format!("ENVID={id}"));
    [size, body, utf8, envid].into_iter().flatten().collect()
}
