//! What a client asks of delivery status notifications (RFC 3461).

use std::fmt;
use std::str::FromStr;

use crate::parser;

/// `RET=`: how much of the message a notification of its failure returns (RFC 3461 section 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ret {
    /// All of it.
    Full,
    /// Its header section alone.
    Headers,
}

/// `NOTIFY=`: what the sender wants to hear of for one recipient (RFC 3461 section 4.1).
///
/// ```
/// use prixfixe_core::Notify;
///
/// let notify: Notify = "FAILURE,DELAY".parse()?;
/// assert!(notify.failure() && notify.delay() && !notify.success());
/// assert!("NEVER".parse::<Notify>()?.is_never());
/// assert_eq!(notify.to_string(), "FAILURE,DELAY");
/// # Ok::<(), prixfixe_core::InvalidDsn>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Notify {
    pub(crate) success: bool,
    pub(crate) failure: bool,
    pub(crate) delay: bool,
}

impl Notify {
    /// `NEVER`: of nothing.
    pub const NEVER: Self = Self {
        success: false,
        failure: false,
        delay: false,
    };

    /// The message was delivered.
    #[must_use]
    pub const fn success(self) -> bool {
        self.success
    }

    /// The message cannot be delivered.
    #[must_use]
    pub const fn failure(self) -> bool {
        self.failure
    }

    /// The delivery takes longer than usual.
    #[must_use]
    pub const fn delay(self) -> bool {
        self.delay
    }

    /// Of nothing.
    #[must_use]
    pub const fn is_never(self) -> bool {
        !(self.success || self.failure || self.delay)
    }
}

impl fmt::Display for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_never() {
            return f.write_str("NEVER");
        }
        let wanted = [
            (self.success, "SUCCESS"),
            (self.failure, "FAILURE"),
            (self.delay, "DELAY"),
        ];
        let mut comma = "";
        for (_, word) in wanted.into_iter().filter(|(wanted, _)| *wanted) {
            write!(f, "{comma}{word}")?;
            comma = ",";
        }
        Ok(())
    }
}

impl FromStr for Notify {
    type Err = InvalidDsn;

    fn from_str(text: &str) -> Result<Self, InvalidDsn> {
        parser::notify_value(Some(text)).ok_or(InvalidDsn)
    }
}

/// `ORCPT=`: the recipient that the sender named, before any forwarding (RFC 3461 section 4.2).
///
/// ```
/// use prixfixe_core::OriginalRecipient;
///
/// let original: OriginalRecipient = "rfc822;bob+2Bnews@example.com".parse()?;
/// assert_eq!(original.address_type(), "rfc822");
/// assert_eq!(original.address(), "bob+news@example.com");
/// # Ok::<(), prixfixe_core::InvalidDsn>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OriginalRecipient(Box<Original>);

/// Apart, for every connection has room for a recipient, and few recipients have this.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Original {
    address_type: Box<str>,
    address: Box<str>,
}

impl OriginalRecipient {
    pub(crate) fn new(address_type: &str, address: String) -> Self {
        Self(Box::new(Original {
            address_type: address_type.into(),
            address: address.into(),
        }))
    }

    /// `rfc822`, `utf-8` (RFC 6533 section 3), or another registered type, as the client wrote it.
    #[must_use]
    pub fn address_type(&self) -> &str {
        &self.0.address_type
    }

    /// The address, decoded. It has no control characters. Not to be trusted: no rule binds it to
    /// the recipient.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.0.address
    }
}

impl FromStr for OriginalRecipient {
    type Err = InvalidDsn;

    /// Takes the form that stands behind `ORCPT=`, in a transaction with SMTPUTF8.
    fn from_str(text: &str) -> Result<Self, InvalidDsn> {
        parser::orcpt_value(Some(text), true).ok_or(InvalidDsn)
    }
}

/// A text is no value of the DSN parameter that it was read as. RFC 3461 section 4 has its grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a value of this DSN parameter (RFC 3461 section 4)")]
pub struct InvalidDsn;

/// The parameters of RCPT. There are none but those of DSN, which clients send unasked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct RcptParameters {
    /// `NOTIFY=`. Without it the sender hears of failures, and perhaps of delays.
    pub notify: Option<Notify>,
    /// `ORCPT=`.
    pub orcpt: Option<OriginalRecipient>,
}

impl RcptParameters {
    /// What a RCPT without parameters says.
    pub const NONE: Self = Self {
        notify: None,
        orcpt: None,
    };
}
