//! Where a recipient's Maildir is.

use std::borrow::Cow;
use std::fmt::Write;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use prixfixe_server::ForwardPath;

/// The path of a Maildir for each recipient, such as `/var/mail/{domain}/{local}`.
///
/// `{domain}` is the recipient's domain as a lower-case A-label, `{local}` its local part in lower
/// case. In both, what is outside of `a-z0-9+_=.-` and a first dot become `%XX`, so that neither
/// ever is a path of its own, and two recipients share a Maildir only where their local parts
/// differ in nothing but quotes that they do not need and the case of ASCII letters.
///
/// ```
/// use prixfixe_delivery::MaildirTemplate;
///
/// let template: MaildirTemplate = "/var/mail/{domain}/{local}".parse()?;
/// let path = template.path(&"Bob/../x@B\u{fc}cher.example".parse().unwrap(), "mx.example.com");
/// assert_eq!(path.unwrap().to_str(), Some("/var/mail/xn--bcher-kva.example/bob%2F..%2Fx"));
/// assert!("/var/mail/{user}".parse::<MaildirTemplate>().is_err());
/// # Ok::<(), prixfixe_delivery::InvalidTemplate>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaildirTemplate {
    base: PathBuf,
    below: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Fixed(Box<str>),
    Domain,
    Local,
}

/// The text is no path with `{domain}` or `{local}` in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidTemplate(String);

/// No local part takes more in a path: RFC 5321 has 64 octets for it.
const MAX_LOCAL: usize = 200;

/// No file system takes a longer name.
const MAX_NAME: usize = 255;

impl MaildirTemplate {
    /// True for a path that is meant as a template.
    #[must_use]
    pub fn is_one(path: &str) -> bool {
        path.contains(['{', '}'])
    }

    /// The directory that all Maildirs are in: what stands before the first `{`.
    #[must_use]
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// The same below another directory.
    pub(crate) fn below(self, base: PathBuf) -> Self {
        Self { base, ..self }
    }

    /// Where the recipient's Maildir is; `own` is the server's domain, where a bare `postmaster`
    /// is. `None`: it can have none, since its local part is empty or too long.
    #[must_use]
    pub fn path(&self, recipient: &ForwardPath, own: &str) -> Option<PathBuf> {
        let (local, domain) = match recipient.mailbox() {
            None => (Cow::Borrowed("postmaster"), own.to_ascii_lowercase()),
            Some(mailbox) => (
                unquoted(mailbox.local_part()),
                mailbox.domain().to_ascii().into_owned(),
            ),
        };
        let local = encoded(&local);
        let domain = encoded(&domain);
        if local.len() > MAX_LOCAL {
            return None;
        }
        let mut path = self.base.clone();
        for part in &self.below {
            let name: &str = match part {
                Part::Fixed(name) => name,
                Part::Domain => &domain,
                Part::Local => &local,
            };
            if name.is_empty() || name.len() > MAX_NAME {
                return None;
            }
            path.push(name);
        }
        Some(path)
    }
}

/// What quotes and backslashes say: `"bob"` is `bob` (RFC 5321 section 4.1.2).
fn unquoted(local: &str) -> Cow<'_, str> {
    let inner = local
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    let Some(inner) = inner else {
        return local.into();
    };
    let mut is_escaped = false;
    let kept = inner.chars().filter(|it| {
        is_escaped = *it == '\\' && !is_escaped;
        !is_escaped
    });
    kept.collect()
}

/// Lower case, and nothing in it that means something in a path.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes().map(|byte| byte.to_ascii_lowercase()) {
        match byte {
            b'.' if encoded.is_empty() => encoded.push_str("%2E"),
            b'a'..=b'z' | b'0'..=b'9' | b'+' | b'_' | b'=' | b'.' | b'-' => {
                encoded.push(char::from(byte));
            }
            // Writing to a String does not fail.
            _ => drop(write!(encoded, "%{byte:02X}")),
        }
    }
    encoded
}

impl FromStr for MaildirTemplate {
    type Err = InvalidTemplate;

    fn from_str(text: &str) -> Result<Self, InvalidTemplate> {
        let mut base = PathBuf::new();
        let mut below = Vec::new();
        for component in Path::new(text).components() {
            let part = match component {
                Component::Normal(name) => match name.to_str().unwrap_or_default() {
                    "{domain}" => Part::Domain,
                    "{local}" => Part::Local,
                    name if name.contains(['{', '}']) => {
                        return Err(InvalidTemplate(format!(
                            "{name:?} is none of {{domain}} and {{local}}, which stand alone between slashes"
                        )));
                    }
                    name => Part::Fixed(name.into()),
                },
                Component::ParentDir if !below.is_empty() => {
                    let problem = ".. behind {domain} or {local} leads out of the Maildirs";
                    return Err(InvalidTemplate(problem.to_owned()));
                }
                other => {
                    base.push(other);
                    continue;
                }
            };
            match part {
                Part::Fixed(name) if below.is_empty() => base.push(&*name),
                part => below.push(part),
            }
        }
        if below.is_empty() {
            let problem = "it needs {domain} or {local}, such as /var/mail/{domain}/{local}";
            return Err(InvalidTemplate(problem.to_owned()));
        }
        Ok(Self { base, below })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    const BASE: &str = "/var/mail";

    fn path(recipient: &str) -> Option<String> {
        let template: MaildirTemplate = "/var/mail/{domain}/{local}".parse().unwrap();
        let recipient: ForwardPath = recipient.parse().unwrap();
        let path = template.path(&recipient, "MX.example.com")?;
        Some(path.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_path_is_what_the_recipient_is_and_no_way_out() {
        for (recipient, expected) in [
            ("bob@example.com", "example.com/bob"),
            ("Bob+Tag@EXAMPLE.com.", "example.com/bob+tag"),
            ("a.b_c=d-e@example.com", "example.com/a.b_c=d-e"),
            ("bob@b\u{fc}cher.example", "xn--bcher-kva.example/bob"),
            ("bob@xn--bcher-kva.example", "xn--bcher-kva.example/bob"),
            ("\"..\"@example.com", "example.com/%2E."),
            ("\".\"@example.com", "example.com/%2E"),
            ("\"Bob\"@example.com", "example.com/bob"),
            ("\"a\\\\\\b\"@example.com", "example.com/a%5Cb"),
            (".bob@example.com", "example.com/%2Ebob"),
            ("\"../../etc\"@example.com", "example.com/%2E.%2F..%2Fetc"),
            ("/@example.com", "example.com/%2F"),
            ("\"a b\"@example.com", "example.com/a%20b"),
            ("\"a\\\"b\"@example.com", "example.com/a%22b"),
            ("100%@example.com", "example.com/100%25"),
            ("%2f@example.com", "example.com/%252f"),
            ("b\u{fc}b@example.com", "example.com/b%C3%BCb"),
            ("bob@[192.0.2.1]", "%5B192.0.2.1%5D/bob"),
            ("postmaster", "mx.example.com/postmaster"),
            ("PostMaster", "mx.example.com/postmaster"),
        ] {
            let expected = format!("{BASE}/{expected}");
            assert_eq!(path(recipient), Some(expected), "{recipient}");
        }
    }

    #[test]
    fn what_is_empty_or_too_long_has_no_maildir() {
        let of = |local: &str| path(&format!("{local}@example.com"));
        assert_eq!(of("\"\""), None);
        assert!(of(&"x".repeat(200)).is_some());
        assert_eq!(of(&"x".repeat(201)), None);
        assert!(of(&"/".repeat(66)).is_some());
        assert_eq!(of(&"/".repeat(67)), None);
    }

    #[test]
    fn a_template_has_its_names_alone_between_slashes() {
        for (text, base) in [
            ("/var/mail/{domain}/{local}", "/var/mail"),
            ("/var/mail/{domain}/x/{local}/Maildir", "/var/mail"),
            ("./mail/{local}", "./mail"),
            ("{domain}", ""),
            ("../a//b/{domain}", "../a/b"),
        ] {
            let template: MaildirTemplate = text.parse().unwrap();
            assert_eq!(template.base(), Path::new(base), "{text}");
        }
        for text in [
            "/var/mail",
            "/var/mail/{user}",
            "/var/mail/{local}@{domain}",
            "/var/{/mail/{local}",
            "/var/mail/{domain}/../{local}",
            "",
        ] {
            assert!(text.parse::<MaildirTemplate>().is_err(), "{text}");
        }
    }

    proptest! {
        /// Whatever the parser lets through stays in a directory of its own, two levels below the
        /// base.
        #[test]
        fn every_address_stays_below_the_base(
            local in prop_oneof![".{0,70}", "[./%~\\\\ -]{1,70}", "[a-zA-Z/.]{1,255}"],
            domain in prop_oneof!["[a-zA-Z0-9.-]{1,60}", "\\[[!-Z^-~]{1,40}\\]", "\\PC{1,20}"],
        ) {
            let quoted = format!("\"{}\"", local.replace('\\', "\\\\").replace('"', "\\\""));
            for local in [local, quoted] {
                let Ok(recipient) = format!("{local}@{domain}").parse::<ForwardPath>() else {
                    continue;
                };
                let template: MaildirTemplate = "/var/mail/{domain}/{local}".parse().unwrap();
                let Some(path) = template.path(&recipient, "mx.example.com") else {
                    continue;
                };
                let below = path.strip_prefix(BASE).unwrap();
                let names: Vec<_> = below.components().collect();
                prop_assert_eq!(names.len(), 2, "{}", path.display());
                for name in names {
                    let Component::Normal(name) = name else {
                        return Err(TestCaseError::fail(format!("{}", path.display())));
                    };
                    let name = name.to_str().unwrap();
                    prop_assert!(name.len() <= MAX_NAME && !name.starts_with('.'));
                    prop_assert!(name.bytes().all(|it| it.is_ascii_graphic() && it != b'/'));
                }
            }
        }

        /// Local parts that differ in more than case never meet.
        #[test]
        fn two_recipients_share_a_path_only_where_case_is_all_that_differs(
            locals in prop::collection::vec("[aA%25eEfF./\u{e9}\u{212a}kK]{1,4}", 1..40),
        ) {
            let mut known: HashMap<String, String> = HashMap::new();
            for local in locals {
                let quoted = format!("\"{local}\"@example.com");
                let Some(path) = path(&quoted) else {
                    continue;
                };
                let folded = local.to_ascii_lowercase();
                let before = known.entry(path).or_insert_with(|| folded.clone());
                prop_assert_eq!(&*before, &folded);
            }
        }
    }
}
