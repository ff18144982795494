//! Which recipients there are: the check that `accept.*` asks for.

use prixfixe_config::{Configuration, OnFailure, Relay};
use prixfixe_delivery::{
    AcceptRecipients, AskOptions, AskRecipients, RecipientPattern, RecipientsFile,
};
use prixfixe_server::DomainPattern;

use crate::error::Error;

/// What is ready, and not in force yet.
pub(crate) struct Prepared {
    file: Option<RecipientsFile>,
    ask: Option<AskRecipients>,
    named: Vec<RecipientPattern>,
    relay: bool,
    /// Where `postmaster` is: at our own domain, and at each that is accepted.
    postmaster: Vec<DomainPattern>,
}

impl Prepared {
    pub(crate) fn new(configuration: &Configuration) -> Result<Self, Error> {
        let accept = &configuration.accept;
        let file = accept.recipients_file.as_ref();
        let file = file.map(RecipientsFile::open).transpose()?;
        let ask = match &accept.check {
            Some(url) => Some(ask(url, accept.on_failure)?),
            None => None,
        };
        let relay = accept.relay == Relay::Authenticated;
        let domains = accept.domains.iter().chain([&configuration.domain]);
        let named = configuration.named_recipients();
        Ok(Self {
            file,
            ask,
            named,
            relay,
            postmaster: domains.filter_map(|it| it.parse().ok()).collect(),
        })
    }

    pub(crate) fn put_into(self, recipients: &AcceptRecipients) {
        recipients.set_file(self.file);
        recipients.set_ask(self.ask);
        recipients.set_named(self.named);
        recipients.set_relay_for_users(self.relay);
        recipients.set_postmaster_domains(self.postmaster);
    }
}

fn ask(url: &str, on_failure: OnFailure) -> Result<AskRecipients, Error> {
    let wrong = |error: &dyn std::error::Error| Error::Check(error.to_string());
    let url = url.parse().map_err(|error| wrong(&error))?;
    let mut options = AskOptions::default();
    options.accept_on_failure = on_failure == OnFailure::Accept;
    AskRecipients::new(&url, options).map_err(|error| wrong(&error))
}
