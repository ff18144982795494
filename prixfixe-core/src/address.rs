//! Mail addresses and the paths they stand in (RFC 5321 section 4.1.2, RFC 6531 section 3.3).

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use crate::{Domain, parser};

/// An address: a local part, `@`, and a domain or an address literal.
///
/// A value of this type is well-formed by RFC 5321 section 4.1.2 and RFC 6531 section 3.3, but for
/// what [`local_part`](Self::local_part) says. Printed between `<` and `>` it is a path of one
/// line, which reads back as the same. `S` is `&str` in events, which borrow from the input, and
/// `Box<str>` where it is kept.
///
/// Two of them are equal if their local parts are the same octets and their [domains](Domain) are
/// equal: a server of another domain alone knows what its local parts mean (RFC 5321 section 2.4).
///
/// ```
/// use prixfixe_core::Mailbox;
///
/// let mailbox: Mailbox = "\"a b\"@[192.0.2.1]".parse()?;
/// assert_eq!(mailbox.local_part(), "\"a b\"");
/// assert_eq!(mailbox.domain(), "[192.0.2.1]");
/// assert!("a b@example.com".parse::<Mailbox>().is_err());
/// # Ok::<(), prixfixe_core::InvalidMailbox>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Mailbox<S = Box<str>> {
    address: S,
    /// Where the `@` between local part and domain stands.
    at: usize,
}

/// Where a message comes from and its failures go to.
#[derive(Debug, Clone, Copy)]
pub enum ReversePath<S = Box<str>> {
    /// `<>`: a notification, not to be answered by another (RFC 5321 section 4.5.5).
    Null,
    /// A sender.
    Mailbox(Mailbox<S>),
}

/// Where a message goes.
#[derive(Debug, Clone, Copy)]
pub enum ForwardPath<S = Box<str>> {
    /// `<postmaster>` without a domain (RFC 5321 section 4.5.1), in any case.
    Postmaster,
    /// A recipient.
    Mailbox(Mailbox<S>),
}

/// The string is no mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a mail address")]
pub struct InvalidMailbox;

impl<S: AsRef<str>> Mailbox<S> {
    /// The address as it was sent, without a source route and a final dot.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.address.as_ref()
    }

    /// What stands before the `@`, with its quotes if it has them. At most 255 octets.
    ///
    /// Its dots may stand first, last or in a row, which RFC 5321 section 4.1.2 has only in quotes.
    /// It is never all dots.
    #[must_use]
    pub fn local_part(&self) -> &str {
        self.as_str().get(..self.at).unwrap_or_default()
    }

    /// What stands behind the `@`: a domain without a final dot, or an address literal with its
    /// brackets. At most 255 octets.
    #[must_use]
    pub fn domain(&self) -> Domain<'_> {
        Domain::new(self.as_str().get(self.at + 1..).unwrap_or_default())
    }

    fn borrowed(&self) -> Mailbox<&str> {
        Mailbox {
            address: self.as_str(),
            at: self.at,
        }
    }

    /// An address to keep.
    #[must_use]
    pub fn to_owned(&self) -> Mailbox {
        Mailbox {
            address: self.as_str().into(),
            at: self.at,
        }
    }
}

impl<S: AsRef<str>> ReversePath<S> {
    /// A path to keep.
    #[must_use]
    pub fn to_owned(&self) -> ReversePath {
        match self {
            Self::Null => ReversePath::Null,
            Self::Mailbox(mailbox) => ReversePath::Mailbox(mailbox.to_owned()),
        }
    }

    /// The sender, if there is one.
    #[must_use]
    pub fn mailbox(&self) -> Option<&Mailbox<S>> {
        match self {
            Self::Null => None,
            Self::Mailbox(mailbox) => Some(mailbox),
        }
    }
}

impl<S: AsRef<str>> ForwardPath<S> {
    /// A path to keep.
    #[must_use]
    pub fn to_owned(&self) -> ForwardPath {
        match self {
            Self::Postmaster => ForwardPath::Postmaster,
            Self::Mailbox(mailbox) => ForwardPath::Mailbox(mailbox.to_owned()),
        }
    }

    /// The recipient's address, if it has a domain.
    #[must_use]
    pub fn mailbox(&self) -> Option<&Mailbox<S>> {
        match self {
            Self::Postmaster => None,
            Self::Mailbox(mailbox) => Some(mailbox),
        }
    }
}

impl<S: AsRef<str>, T: AsRef<str>> PartialEq<Mailbox<T>> for Mailbox<S> {
    fn eq(&self, other: &Mailbox<T>) -> bool {
        self.local_part() == other.local_part() && self.domain() == other.domain()
    }
}

impl<S: AsRef<str>> Eq for Mailbox<S> {}

impl<S: AsRef<str>> Hash for Mailbox<S> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.local_part().hash(state);
        self.domain().hash(state);
    }
}

impl<S: AsRef<str>, T: AsRef<str>> PartialEq<ReversePath<T>> for ReversePath<S> {
    fn eq(&self, other: &ReversePath<T>) -> bool {
        self.mailbox().map(Mailbox::borrowed) == other.mailbox().map(Mailbox::borrowed)
    }
}

impl<S: AsRef<str>> Eq for ReversePath<S> {}

impl<S: AsRef<str>> Hash for ReversePath<S> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.mailbox().hash(state);
    }
}

impl<S: AsRef<str>, T: AsRef<str>> PartialEq<ForwardPath<T>> for ForwardPath<S> {
    fn eq(&self, other: &ForwardPath<T>) -> bool {
        self.mailbox().map(Mailbox::borrowed) == other.mailbox().map(Mailbox::borrowed)
    }
}

impl<S: AsRef<str>> Eq for ForwardPath<S> {}

impl<S: AsRef<str>> Hash for ForwardPath<S> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.mailbox().hash(state);
    }
}

impl<S: AsRef<str>> ReversePath<S> {
    /// Needs no SMTPUTF8.
    pub(crate) fn is_ascii(&self) -> bool {
        self.mailbox()
            .is_none_or(|mailbox| mailbox.as_str().is_ascii())
    }
}

impl<S: AsRef<str>> ForwardPath<S> {
    /// Needs no SMTPUTF8.
    pub(crate) fn is_ascii(&self) -> bool {
        self.mailbox()
            .is_none_or(|mailbox| mailbox.as_str().is_ascii())
    }
}

impl<'i> Mailbox<&'i str> {
    /// Only for the parser, which knows that it is one.
    pub(crate) fn from_parts(address: &'i str, at: usize) -> Self {
        Self { address, at }
    }
}

impl<'i> TryFrom<&'i str> for Mailbox<&'i str> {
    type Error = InvalidMailbox;

    fn try_from(string: &'i str) -> Result<Self, Self::Error> {
        parser::complete_mailbox(string).ok_or(InvalidMailbox)
    }
}

impl FromStr for Mailbox {
    type Err = InvalidMailbox;

    fn from_str(string: &str) -> Result<Self, Self::Err> {
        Mailbox::<&str>::try_from(string).map(|mailbox| mailbox.to_owned())
    }
}

impl FromStr for ReversePath {
    type Err = InvalidMailbox;

    /// From what [`Display`](fmt::Display) shows: the empty string is [`Null`](Self::Null).
    fn from_str(string: &str) -> Result<Self, Self::Err> {
        match string {
            "" => Ok(Self::Null),
            mailbox => mailbox.parse().map(Self::Mailbox),
        }
    }
}

impl FromStr for ForwardPath {
    type Err = InvalidMailbox;

    /// From what [`Display`](fmt::Display) shows.
    fn from_str(string: &str) -> Result<Self, Self::Err> {
        if string.eq_ignore_ascii_case("postmaster") {
            return Ok(Self::Postmaster);
        }
        string.parse().map(Self::Mailbox)
    }
}

impl<S: AsRef<str>> fmt::Display for Mailbox<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<S: AsRef<str>> fmt::Display for ReversePath<S> {
    /// The address, or nothing for the null reverse-path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => Ok(()),
            Self::Mailbox(mailbox) => mailbox.fmt(f),
        }
    }
}

impl<S: AsRef<str>> fmt::Display for ForwardPath<S> {
    /// The address, or `postmaster`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postmaster => f.write_str("postmaster"),
            Self::Mailbox(mailbox) => mailbox.fmt(f),
        }
    }
}
