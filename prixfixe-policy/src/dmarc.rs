//! DMARC (RFC 9989): does the domain that a reader sees stand behind this message?

use mail_auth::dmarc::Policy;
use mail_auth::dmarc::verify::DmarcParameters;
use mail_auth::{AuthenticatedMessage, DkimOutput, DmarcOutput};
use mail_parser::parsers::MessageStream;
use mail_parser::{Address, HeaderValue};
use prixfixe_http::BoxFuture;
use prixfixe_server::Finding;

use crate::results::fields;
use crate::{Outcome, Resolver, spf};

/// What DMARC says of a message.
#[derive(Debug)]
pub(crate) struct Answer {
    outcome: Outcome,
    domain: String,
    policy: Policy,
}

impl Answer {
    /// The domain asks that such a message be refused, or it cannot be told whose message it is.
    ///
    /// RFC 9989 leaves out what has several domains in one From field. Two From fields are no such message: RFC 5322
    /// section 3.6 allows one, and which of them a reader is shown nobody knows.
    pub(crate) fn asks_for_refusal(&self) -> bool {
        match self.outcome {
            Outcome::Fail => self.policy == Policy::Reject,
            Outcome::PermError => self.domain.is_empty(),
            _ => false,
        }
    }

    pub(crate) fn outcome(&self) -> Outcome {
        self.outcome
    }

    pub(crate) fn finding(&self) -> Finding {
        let finding = Finding::new("dmarc", self.outcome.as_str());
        if self.domain.is_empty() {
            return finding;
        }
        let policy = match self.outcome {
            Outcome::None => None,
            _ => Some(self.policy.to_string()),
        };
        let finding = finding.property("header.from", &*self.domain);
        match policy {
            Some(policy) => finding.property("policy.dmarc", policy),
            None => finding,
        }
    }
}

/// Looks up what the author's domain asks for, and whether SPF or DKIM speak for it.
pub(crate) fn evaluate<'f>(
    header: &'f [u8],
    signatures: &'f [DkimOutput<'f>],
    spf: &'f spf::Answer,
    resolver: &'f Resolver,
) -> BoxFuture<'f, Answer> {
    Box::pin(async move {
        // Of the message, the authors alone are looked at.
        let message = match authors(header) {
            Authors::Of(from) => AuthenticatedMessage {
                from,
                ..AuthenticatedMessage::default()
            },
            Authors::Ambiguous => {
                return Answer {
                    outcome: Outcome::PermError,
                    domain: String::new(),
                    policy: Policy::None,
                };
            }
        };
        let output = spf.output();
        let parameters = DmarcParameters::new(&message, signatures, spf.domain(), &output);
        let answer = resolver.in_time(resolver.dns().verify_dmarc(parameters));
        match answer.await {
            Some(output) => Answer::from(&output),
            None => Answer {
                outcome: Outcome::TempError,
                domain: domain_of(&message.from),
                policy: Policy::None,
            },
        }
    })
}

impl From<&DmarcOutput> for Answer {
    fn from(output: &DmarcOutput) -> Self {
        Self {
            outcome: (&output.result()).into(),
            domain: output.domain().into(),
            policy: output.policy(),
        }
    }
}

fn domain_of(addresses: &[String]) -> String {
    let address = addresses.first().and_then(|it| it.rsplit_once('@'));
    address.map_or_else(String::new, |(_, domain)| domain.to_ascii_lowercase())
}

/// Who a message says that it is from.
#[derive(Debug, PartialEq, Eq)]
enum Authors {
    /// What the one From field has; nothing without one.
    Of(Vec<String>),
    /// There are several From fields.
    Ambiguous,
}

/// Reads From as readers do, blanks before the colon included.
fn authors(header: &[u8]) -> Authors {
    let mut fields = fields(header).filter(|field| field.is_named("From"));
    let (field, second) = (fields.next(), fields.next());
    if second.is_some() {
        return Authors::Ambiguous;
    }
    let value = field.map(|field| MessageStream::new(field.value).parse_address());
    let Some(HeaderValue::Address(address)) = value else {
        return Authors::Of(Vec::new());
    };
    let addresses: Vec<_> = match address {
        Address::List(list) => list,
        Address::Group(groups) => groups.into_iter().flat_map(|it| it.addresses).collect(),
    };
    let addresses = addresses.into_iter().filter_map(|it| it.address);
    Authors::Of(addresses.map(String::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_is_read_as_readers_read_it() {
        let of = |addresses: &[&str]| Authors::Of(addresses.iter().map(|&it| it.into()).collect());
        for (header, expected) in [
            ("From: Ann <ann@a.test>\r\n", of(&["ann@a.test"])),
            ("from : ann@a.test\r\n", of(&["ann@a.test"])),
            (
                "From:\r\n \"b@b.test\"\r\n <ann@a.test>\r\n",
                of(&["ann@a.test"]),
            ),
            (
                "From: ann@a.test, bob@b.test\r\n",
                of(&["ann@a.test", "bob@b.test"]),
            ),
            (
                "From: us: ann@a.test, bob@b.test;\r\n",
                of(&["ann@a.test", "bob@b.test"]),
            ),
            ("To: ann@a.test\r\n", of(&[])),
            ("From:\r\n", of(&[])),
            (
                "From: ann@a.test\r\nFROM : bob@b.test\r\n",
                Authors::Ambiguous,
            ),
        ] {
            assert_eq!(authors(header.as_bytes()), expected, "{header:?}");
        }
    }
}
