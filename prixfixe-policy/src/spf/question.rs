//! What is asked of SPF about a transaction, and the answer.

use std::net::IpAddr;

use mail_auth::SpfOutput;
use prixfixe_core::{Domain, ReversePath};
use prixfixe_http::BoxFuture;
use prixfixe_server::{Client, Finding};

use super::evaluate::{Asked, check_host};
use crate::{Outcome, Resolver};

/// What is asked of SPF, kept until it is answered.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    client: IpAddr,
    helo: String,
    /// `local@domain`, or empty for a bounce: then the name of HELO counts (RFC 7208 section 2.4).
    sender: String,
}

/// The answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    outcome: Outcome,
    domain: String,
    of_helo: bool,
}

impl Question {
    /// What is asked about a transaction; nothing where the client has no address.
    pub(crate) fn new(client: &Client, sender: &ReversePath) -> Option<Self> {
        let mailbox = sender.mailbox();
        let sender = mailbox.map(|mailbox| {
            let domain = mailbox.domain().to_ascii();
            format!("{}@{domain}", mailbox.local_part())
        });
        let sender = sender.unwrap_or_default();
        let address = client.peer().ip()?;
        Some(Self::of(address, &helo_domain(client), &sender))
    }

    fn of(client: IpAddr, helo: &str, sender: &str) -> Self {
        Self {
            client: client.to_canonical(),
            helo: helo.into(),
            sender: sender.into(),
        }
    }

    /// Asks the DNS. RFC 7208 section 4.6.4 bounds how much: ten look-ups.
    pub(crate) fn ask(self, resolver: Resolver) -> BoxFuture<'static, Answer> {
        Box::pin(async move {
            let of_helo = self.sender.is_empty();
            let domain = match self.sender.rsplit_once('@') {
                Some((_, domain)) => domain,
                None => &self.helo,
            };
            // A sender without a local part is the postmaster (section 4.3).
            let sender = match self.sender.rsplit_once('@') {
                None | Some(("", _)) => &format!("postmaster@{domain}"),
                Some(_) => &self.sender,
            };
            let asked = Asked {
                client: self.client,
                helo: &self.helo,
                sender,
            };
            let outcome = resolver.in_time(check_host(&resolver, asked, domain)).await;
            Answer {
                outcome: outcome.unwrap_or(Outcome::TempError),
                domain: domain.into(),
                of_helo,
            }
        })
    }
}

impl Resolver {
    /// SPF alone: may this client send for this sender (RFC 7208 section 4)?
    ///
    /// `helo` is the name that the client gave, `sender` its reverse-path: empty for a bounce, about which the name of
    /// HELO is asked.
    pub async fn check_host(&self, client: IpAddr, helo: &str, sender: &str) -> Outcome {
        let question = Question::of(client, helo, sender);
        question.ask(self.clone()).await.outcome()
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
        self.outcome
    }

    /// As DMARC takes it.
    pub(crate) fn output(&self) -> SpfOutput {
        SpfOutput::new(self.domain.clone()).with_result(self.outcome.into())
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
