//! What a milter wants changed, as edits of the server's.

use bytes::Bytes;
use prixfixe_core::{ForwardPath, ReversePath};
use prixfixe_milter::Modification;
use prixfixe_server::{Edit, Recipient};

use super::content::Fields;
use super::link::Failure;

/// The field that says that a message is suspicious.
const QUARANTINE: &str = "X-Quarantine";

pub(super) struct Edits {
    pub(super) edits: Vec<Edit>,
    pub(super) is_quarantined: bool,
}

/// An address without a domain is one of this server's, whose name that is.
pub(super) fn edits(
    changes: Vec<Modification>,
    header: &Fields,
    domain: &str,
) -> Result<Edits, Failure> {
    let mut body: Option<Vec<u8>> = None;
    let mut edits = Vec::with_capacity(changes.len());
    let mut is_quarantined = false;
    for change in changes {
        edits.push(match change {
            Modification::ReplaceBody(piece) => {
                match &mut body {
                    Some(body) => body.extend_from_slice(&piece),
                    None => body = Some(piece),
                }
                continue;
            }
            Modification::AddRecipient { address, .. } => {
                Edit::AddRecipient(Recipient::new(recipient(&address, domain)?))
            }
            Modification::RemoveRecipient { address } => {
                Edit::RemoveRecipient(recipient(&address, domain)?)
            }
            Modification::ChangeSender { address, .. } => {
                Edit::ChangeSender(sender(&address, domain)?)
            }
            Modification::Quarantine { reason } => {
                is_quarantined = true;
                let value = match reason.trim() {
                    "" => "milter".to_owned(),
                    reason => reason.to_owned(),
                };
                Edit::Prepend {
                    name: QUARANTINE.into(),
                    value,
                }
            }
            of_header => match of_field(of_header, header) {
                Some(edit) => edit,
                None => continue,
            },
        });
    }
    if let Some(body) = body {
        edits.push(Edit::ReplaceBody(lines(body)));
    }
    Ok(Edits {
        edits,
        is_quarantined,
    })
}

/// A change of a header field. Place 0 is above our `Received` for Sendmail, and 1 below it:
/// nothing stands above ours.
fn of_field(change: Modification, header: &Fields) -> Option<Edit> {
    let last = usize::MAX;
    Some(match change {
        Modification::AddHeader { name, value } => Edit::Insert {
            at: last,
            name,
            value,
        },
        Modification::InsertHeader {
            at: 0 | 1,
            name,
            value,
        } => Edit::Prepend { name, value },
        Modification::InsertHeader { at, name, value } => {
            let at = usize::try_from(at).unwrap_or(last) - 1;
            Edit::Insert { at, name, value }
        }
        Modification::ChangeHeader {
            name,
            occurrence,
            value,
        } => {
            let occurrence = usize::try_from(occurrence)
                .unwrap_or(last)
                .saturating_sub(1);
            match (value.is_empty(), occurrence < header.count(&name)) {
                (true, _) => Edit::Remove { name, occurrence },
                (false, true) => Edit::Change {
                    name,
                    occurrence,
                    value,
                },
                // As Sendmail does it.
                (false, false) => Edit::Insert {
                    at: last,
                    name,
                    value,
                },
            }
        }
        _ => return None,
    })
}

/// `postmaster` alone is one (RFC 5321 section 4.1.1.3), and a milter is told of it so.
fn recipient(address: &str, domain: &str) -> Result<ForwardPath, Failure> {
    let bare = bare(address);
    if bare.eq_ignore_ascii_case("postmaster") {
        return bare.parse().map_err(|_| Failure::Address);
    }
    full(address, domain).parse().map_err(|_| Failure::Address)
}

fn sender(address: &str, domain: &str) -> Result<ReversePath, Failure> {
    full(address, domain).parse().map_err(|_| Failure::Address)
}

/// The address without its angle brackets, and with a domain.
fn full(address: &str, domain: &str) -> String {
    let address = bare(address);
    match address.is_empty() || address.contains('@') {
        true => address.to_owned(),
        false => format!("{address}@{domain}"),
    }
}

fn bare(address: &str) -> &str {
    let address = address.trim();
    let bare = address.strip_prefix('<');
    bare.and_then(|it| it.strip_suffix('>')).unwrap_or(address)
}

/// A body whose lines end as SMTP's do. A lone CR or LF would be for others to read as they like.
/// Without one the body is not copied, and a copy has no room to spare: bodies are large.
fn lines(body: Vec<u8>) -> Bytes {
    let ends = memchr::memchr2_iter(b'\r', b'\n', &body).count();
    let whole = memchr::memmem::find_iter(&body, b"\r\n").count();
    let lone = ends - 2 * whole;
    if lone == 0 {
        return body.into();
    }
    let mut lines = Vec::with_capacity(body.len() + lone);
    let mut bytes = body.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\r' => {
                bytes.next_if_eq(&b'\n');
                lines.extend_from_slice(b"\r\n");
            }
            b'\n' => lines.extend_from_slice(b"\r\n"),
            byte => lines.push(byte),
        }
    }
    lines.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_body_end_in_one_way() {
        for (body, expected) in [
            ("a\r\nb", "a\r\nb"),
            ("a\nb\n", "a\r\nb\r\n"),
            ("a\rb\r", "a\r\nb\r\n"),
            ("\r\r\n\n.\r\n", "\r\n\r\n\r\n.\r\n"),
        ] {
            assert_eq!(lines(body.as_bytes().to_vec()), expected);
        }
        let whole = b"a\r\n\r\nb".to_vec();
        let place = whole.as_ptr();
        assert_eq!(lines(whole).as_ptr(), place);
    }

    #[test]
    fn addresses_are_taken_with_and_without_brackets_and_domain() {
        for (address, expected) in [
            ("<a@b.test>", "a@b.test"),
            ("a@b.test", "a@b.test"),
            ("<root>", "root@mx.test"),
            ("postmaster", "postmaster"),
            ("<PostMaster>", "postmaster"),
            ("<postmaster@b.test>", "postmaster@b.test"),
        ] {
            assert_eq!(recipient(address, "mx.test").unwrap().to_string(), expected);
        }
        let sent = sender("<postmaster>", "mx.test").unwrap();
        assert_eq!(sent.to_string(), "postmaster@mx.test");
        assert!(sender("<>", "mx.test").unwrap().mailbox().is_none());
        for address in ["<>", "<a b@c.test>", "<a@b.test> SIZE=1", "a@"] {
            assert!(recipient(address, "mx.test").is_err(), "{address}");
        }
    }
}
