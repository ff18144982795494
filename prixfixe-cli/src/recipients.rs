//! Which recipients there are: the check that `accept.*` asks for.

use prixfixe_config::{Configuration, OnFailure, Relay};
use prixfixe_delivery::{
    AcceptRecipients, AskOptions, AskRecipients, RecipientRules, RecipientsFile,
};

use crate::error::Error;

/// What the configuration says of recipients, not in force yet.
pub(crate) fn prepare(configuration: &Configuration) -> Result<RecipientRules, Error> {
    let accept = &configuration.accept;
    let file = accept.recipients_file.as_ref();
    let file = file.map(RecipientsFile::open).transpose()?;
    let ask = match &accept.check {
        Some(url) => Some(ask(url, accept.on_failure)?),
        None => None,
    };
    // Where `postmaster` is: at our own domain, and at each that is accepted.
    let domains = accept.domains.iter().chain([&configuration.domain]);
    let recipients = AcceptRecipients::default();
    recipients.set_file(file);
    recipients.set_ask(ask);
    recipients.set_named(configuration.named_recipients());
    recipients.set_relay_for_users(accept.relay == Relay::Authenticated);
    recipients.set_postmaster_domains(domains.filter_map(|it| it.parse().ok()));
    Ok(recipients.rules())
}

fn ask(url: &str, on_failure: OnFailure) -> Result<AskRecipients, Error> {
    let wrong = |error: &dyn std::error::Error| Error::Check(error.to_string());
    let url = url.parse().map_err(|error| wrong(&error))?;
    let mut options = AskOptions::default();
    options.accept_on_failure = on_failure == OnFailure::Accept;
    AskRecipients::new(&url, options).map_err(|error| wrong(&error))
}
