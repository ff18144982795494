//! SPF (RFC 7208): may this host send for that domain?

use std::net::IpAddr;

use mail_auth::SpfOutput;
use mail_auth::spf::verify::SpfParameters;
use prixfixe_core::{Domain, ReversePath};
use prixfixe_server::{Client, Finding};

use crate::{Outcome, Resolver};

/// What is asked of SPF, kept until it is answered.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    client: IpAddr,
    helo: String,
    /// `local@domain`, or empty for a bounce: then the name of HELO counts (RFC 7208 section 2.4).
    sender: String,
    /// Who asks, for explanations that senders write.
    receiver: Box<str>,
}

/// The answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    output: SpfOutput,
    domain: String,
    of_helo: bool,
}

impl Question {
    /// What is asked about a transaction; nothing where the client has no address.
    pub(crate) fn new(client: &Client, sender: &ReversePath, receiver: &str) -> Option<Self> {
        let mailbox = sender.mailbox();
        let sender = mailbox.map(|mailbox| {
            let domain = mailbox.domain().to_ascii();
            format!("{}@{domain}", mailbox.local_part())
        });
        Some(Self {
            client: client.peer().ip()?.to_canonical(),
            helo: helo_domain(client),
            sender: sender.unwrap_or_default(),
            receiver: receiver.into(),
        })
    }

    /// Asks the DNS. RFC 7208 section 4.6.4 bounds how much: ten look-ups.
    pub(crate) async fn ask(self, resolver: Resolver) -> Answer {
        let of_helo = self.sender.is_empty();
        let parameters = match of_helo {
            true => SpfParameters::verify_ehlo(self.client, &self.helo, &self.receiver),
            false => SpfParameters::verify_mail_from(
                self.client,
                &self.helo,
                &self.receiver,
                &self.sender,
            ),
        };
        let output = resolver
            .in_time(resolver.dns().verify_spf(parameters))
            .await;
        let domain = match self.sender.rsplit_once('@') {
            Some((_, domain)) => domain.into(),
            None => self.helo,
        };
        let late = || SpfOutput::new(domain.clone()).with_result(mail_auth::SpfResult::TempError);
        Answer {
            output: output.unwrap_or_else(late),
            domain,
            of_helo,
        }
    }
}

/// The name of HELO if it is a domain: an address literal has no records.
fn helo_domain(client: &Client) -> String {
    let name = client.helo().and_then(|name| Domain::try_from(name).ok());
    let domain = name.filter(|name| !name.is_literal());
    domain.map_or_else(String::new, |domain| domain.to_ascii().into_owned())
}

impl Answer {
    pub(crate) fn outcome(&self) -> Outcome {
        self.output.result().into()
    }

    pub(crate) fn output(&self) -> &SpfOutput {
        &self.output
    }

    /// The domain that was looked at, the sender's or HELO's.
    pub(crate) fn domain(&self) -> &str {
        &self.domain
    }

    pub(crate) fn finding(&self) -> Finding {
        let property = match self.of_helo {
            true => "smtp.helo",
            false => "smtp.mailfrom",
        };
        Finding::new("spf", self.outcome().as_str()).property(property, &*self.domain)
    }
}
