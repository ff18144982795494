//! DKIM (RFC 6376): who has signed this message?

use mail_auth::{AuthenticatedMessage, DkimOutput, DkimResult, DnsError, Error};
use prixfixe_http::BoxFuture;
use prixfixe_server::Finding;

use crate::{Outcome, Resolver};

/// Verifies the signatures of a message.
pub(crate) fn verify<'m>(
    message: &'m AuthenticatedMessage<'m>,
    resolver: &'m Resolver,
) -> BoxFuture<'m, Vec<DkimOutput<'m>>> {
    Box::pin(async move {
        let outputs = resolver.in_time(resolver.dns().verify_dkim(message)).await;
        outputs.unwrap_or_else(|| {
            let late = |signature| {
                let error = Error::Dns(DnsError::Resolver("no answer in time".into()));
                DkimOutput::temp_err(error).with_signature(signature)
            };
            let signatures = message.dkim_headers.iter();
            signatures.map(|header| late(&header.header)).collect()
        })
    })
}

/// One finding for each signature, or that there is none.
pub(crate) fn findings(outputs: &[DkimOutput<'_>]) -> Vec<Finding> {
    if outputs.is_empty() {
        return vec![Finding::new("dkim", Outcome::None.as_str())];
    }
    outputs.iter().map(finding).collect()
}

fn finding(output: &DkimOutput<'_>) -> Finding {
    let finding = Finding::new("dkim", outcome(output.result()).as_str());
    match output.signature() {
        Some(signature) => finding
            .property("header.d", &*signature.d)
            .property("header.s", &*signature.s),
        None => finding,
    }
}

/// RFC 8601 section 2.7.1: a signature that cannot be read is `neutral`, one that does not verify is `fail`.
fn outcome(result: &DkimResult) -> Outcome {
    match result {
        DkimResult::Neutral(Error::Dkim(mail_auth::dkim::DkimError::FailedBodyHashMatch)) => {
            Outcome::Fail
        }
        result => result.into(),
    }
}

/// The best of all signatures: one that verifies is enough.
pub(crate) fn best(outputs: &[DkimOutput<'_>]) -> Outcome {
    let outcomes = outputs.iter().map(|output| outcome(output.result()));
    let rank = |outcome: &Outcome| match outcome {
        Outcome::Pass => 0,
        Outcome::TempError => 1,
        Outcome::Fail => 2,
        _ => 3,
    };
    outcomes.min_by_key(rank).unwrap_or(Outcome::None)
}
