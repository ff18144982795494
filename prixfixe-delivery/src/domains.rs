//! The recipients of a mail, by their domains.

use std::collections::HashMap;

use prixfixe_server::{ForwardPath, Recipient};

/// The recipients of one domain.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Copy<'a> {
    /// Lower-case A-labels, or an address literal.
    pub(crate) domain: String,
    pub(crate) recipients: Vec<&'a Recipient>,
    /// Where they stand among all recipients.
    pub(crate) places: Vec<usize>,
}

/// The copies of a mail, in the order in which their domains were named first. `own` is the domain
/// of `postmaster` alone.
pub(crate) fn copies<'a>(recipients: &'a [Recipient], own: &str) -> Vec<Copy<'a>> {
    let mut copies: Vec<Copy<'a>> = Vec::new();
    let mut known = HashMap::new();
    for (place, recipient) in recipients.iter().enumerate() {
        let domain = domain(recipient, own);
        let index = *known.entry(domain.clone()).or_insert(copies.len());
        if index == copies.len() {
            copies.push(Copy {
                domain,
                recipients: Vec::new(),
                places: Vec::new(),
            });
        }
        if let Some(copy) = copies.get_mut(index) {
            copy.recipients.push(recipient);
            copy.places.push(place);
        }
    }
    copies
}

fn domain(recipient: &Recipient, own: &str) -> String {
    match recipient.path() {
        ForwardPath::Mailbox(mailbox) => mailbox.domain().to_ascii().into_owned(),
        ForwardPath::Postmaster => own.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_copy_for_each_domain_however_it_is_written() {
        let list: Vec<Recipient> = [
            "a@Example.com",
            "b@example.org",
            "c@example.com.",
            "d@B\u{fc}cher.example",
            "e@xn--bcher-kva.example",
            "postmaster",
        ]
        .iter()
        .map(|it| Recipient::new(it.parse().unwrap()))
        .collect();
        let copies: Vec<_> = copies(&list, "Example.org")
            .into_iter()
            .map(|copy| (copy.domain, copy.places))
            .collect();
        let expected = [
            ("example.com", vec![0, 2]),
            ("example.org", vec![1, 5]),
            ("xn--bcher-kva.example", vec![3, 4]),
        ];
        let expected = expected.map(|(domain, places)| (domain.to_owned(), places));
        assert_eq!(copies, expected);
    }
}
