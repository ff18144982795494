//! What a caller may offer in the reply to EHLO.

use std::str::FromStr;

/// A line of the reply to EHLO that a caller adds: a keyword and its parameters
/// (RFC 5321 section 4.1.1.1, `ehlo-line`).
///
/// ```
/// use prixfixe_core::EhloKeyword;
///
/// let keyword: EhloKeyword = "XFORWARD NAME ADDR".parse()?;
/// assert_eq!(keyword.as_str(), "XFORWARD NAME ADDR");
/// assert!("SIZE 10".parse::<EhloKeyword>().is_err());
/// # Ok::<(), prixfixe_core::InvalidEhloKeyword>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EhloKeyword(Box<str>);

/// Why a text is no [`EhloKeyword`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidEhloKeyword {
    /// The grammar has words of printable ASCII, the first of letters, digits and hyphens, with one
    /// space between them.
    #[error("not a keyword of EHLO with its parameters (RFC 5321 section 4.1.1.1)")]
    Syntax,
    /// RFC 5321 section 4.5.3.1.5 gives a reply line 512 octets.
    #[error("longer than {} octets", MAX_LENGTH)]
    TooLong,
    /// The dialogue offers this extension by itself, where its settings say so.
    #[error("offered by PrixFixe itself")]
    Own,
}

/// A reply line without `250-` and CR LF.
const MAX_LENGTH: usize = 512 - 6;

/// What this crate offers, or would have to carry out if it were offered.
const OWN: [&str; 15] = [
    "PIPELINING",
    "SIZE",
    "8BITMIME",
    "SMTPUTF8",
    "ENHANCEDSTATUSCODES",
    "CHUNKING",
    "BINARYMIME",
    "STARTTLS",
    "AUTH",
    "DSN",
    "LIMITS",
    "XCLIENT",
    "REQUIRETLS",
    "MT-PRIORITY",
    "HELP",
];

impl EhloKeyword {
    /// The keyword itself, without its parameters. Case makes no difference between two of them.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.split(' ').next().unwrap_or_default()
    }

    /// The line, without the code before it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EhloKeyword {
    type Err = InvalidEhloKeyword;

    fn from_str(text: &str) -> Result<Self, InvalidEhloKeyword> {
        if text.len() > MAX_LENGTH {
            return Err(InvalidEhloKeyword::TooLong);
        }
        let mut words = text.split(' ');
        let keyword = words.next().unwrap_or_default();
        let is_keyword = !keyword.is_empty()
            && !keyword.starts_with('-')
            && keyword
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let mut parameters = words;
        let are_parameters = parameters
            .all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic()));
        if !is_keyword || !are_parameters {
            return Err(InvalidEhloKeyword::Syntax);
        }
        if OWN.iter().any(|own| own.eq_ignore_ascii_case(keyword)) {
            return Err(InvalidEhloKeyword::Own);
        }
        Ok(Self(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5321 section 4.1.1.1.
    #[test]
    fn keywords() {
        let keyword: EhloKeyword = "XFORWARD NAME ADDR".parse().unwrap();
        assert_eq!(keyword.name(), "XFORWARD");
        let longest = "X".repeat(MAX_LENGTH);
        for good in [
            "X",
            "8X-1",
            "XFORWARD NAME ADDR",
            "X-PRIORITY MIXER",
            &longest,
        ] {
            assert_eq!(good.parse::<EhloKeyword>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            " ",
            "-X",
            "X ",
            "X  Y",
            "X\r\n250 Y",
            "X\tY",
            "X_Y",
            "\u{e4}",
        ] {
            let parsed = bad.parse::<EhloKeyword>();
            assert_eq!(parsed, Err(InvalidEhloKeyword::Syntax), "{bad:?}");
        }
        let too_long = "X".repeat(MAX_LENGTH + 1);
        let parsed = too_long.parse::<EhloKeyword>();
        assert_eq!(parsed, Err(InvalidEhloKeyword::TooLong));
        for own in [
            "SIZE 1",
            "starttls",
            "Help",
            "limits RCPTMAX=1",
            "REQUIRETLS",
        ] {
            let parsed = own.parse::<EhloKeyword>();
            assert_eq!(parsed, Err(InvalidEhloKeyword::Own), "{own}");
        }
    }
}
