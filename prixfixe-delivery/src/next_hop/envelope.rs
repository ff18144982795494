//! MAIL and RCPT as they are said to the next hop.

use prixfixe_client::{BodyType, Notify, Rcpt, Ret};
use prixfixe_server::{ForwardPath, Mail, MailParameters, Recipient, reply};

use crate::Failure;
use crate::ascii_address::in_ascii;

/// MAIL, with its parameters as far as the next hop will offer them.
pub(super) fn said_mail(mail: Mail<'_>) -> Result<prixfixe_client::Mail<'static>, Failure> {
    let unsendable =
        |_| Failure::said(reply!(553 5.1.7 "This sender's address cannot be passed on"));
    let MailParameters {
        size,
        body,
        ret,
        envid,
        ..
    } = mail.parameters();
    let path = mail.reverse_path().to_string();
    let mut said = prixfixe_client::Mail::new(path).map_err(unsendable)?;
    if let Some(size) = size {
        said = said.size(size.saturating_add(TRACE));
    }
    said = said.body(match body {
        prixfixe_server::BodyType::EightBitMime => BodyType::EightBitMime,
        prixfixe_server::BodyType::BinaryMime => BodyType::BinaryMime,
        _ => BodyType::SevenBit,
    });
    if let Some(ret) = ret {
        said = said.ret(match ret {
            prixfixe_server::Ret::Full => Ret::Full,
            _ => Ret::Headers,
        });
    }
    if let Some(envid) = envid {
        said = said.envid(envid.to_string()).map_err(unsendable)?;
    }
    Ok(said)
}

/// RCPT, with its parameters.
pub(super) fn said_rcpt(recipient: &Recipient) -> Result<Rcpt<'_>, Failure> {
    let unsendable =
        |_| Failure::said(reply!(553 5.1.3 "This recipient's address cannot be passed on"));
    let path = match recipient.path() {
        ForwardPath::Postmaster => "postmaster",
        ForwardPath::Mailbox(mailbox) => mailbox.as_str(),
    };
    let mut rcpt = Rcpt::new(path).map_err(unsendable)?;
    let parameters = recipient.parameters();
    if let Some(notify) = parameters.notify {
        let wanted = [
            (notify.success(), Notify::SUCCESS),
            (notify.failure(), Notify::FAILURE),
            (notify.delay(), Notify::DELAY),
        ];
        let wanted = wanted.into_iter().filter(|(is_wanted, _)| *is_wanted);
        rcpt = rcpt.notify(wanted.fold(Notify::NEVER, |all, (_, one)| all.and(one)));
    }
    // It is for reports alone: one that cannot be said, being too long when it is encoded, is no
    // reason to refuse the mail.
    if let Some(original) = &parameters.orcpt
        && let Ok(with_original) = rcpt
            .clone()
            .original_recipient(original.address_type(), in_ascii(original.address()))
    {
        rcpt = with_original;
    }
    Ok(rcpt)
}

/// Room for our `Received` in the announced size (RFC 1870 section 6.1 wants an estimate that is
/// not too low).
const TRACE: u64 = 512;
