//! Domains with macros in them (RFC 7208 section 7).

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::IpAddr;

use super::record::Malformed;

/// The longest name that the DNS has (RFC 7208 section 7.3).
const MAX_NAME: usize = 253;

/// Between the parts of what a macro stands for.
const DELIMITERS: &[char] = &['.', '-', '+', ',', '/', '_', '='];

/// A `domain-spec`: a text that becomes a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DomainSpec(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Macro(Macro),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Macro {
    letter: Letter,
    /// Written in upper case: what it stands for is escaped as in a URL.
    escape: bool,
    /// How many parts count, from the right; all if nothing is said.
    keep: Option<usize>,
    reverse: bool,
    /// What separates parts, `.` if nothing is said.
    delimiters: String,
}

/// What a macro stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Letter {
    Sender,
    LocalPart,
    SenderDomain,
    Domain,
    Address,
    ValidatedName,
    Family,
    Helo,
    /// Of explanations alone: `c`, `r` and `t`.
    OfExplanation,
}

/// What macros stand for in one question.
#[derive(Debug, Clone, Copy)]
pub(super) struct Values<'a> {
    pub(super) client: IpAddr,
    /// With a local part.
    pub(super) sender: &'a str,
    pub(super) domain: &'a str,
    pub(super) helo: &'a str,
    /// The client's name in the DNS where [`DomainSpec::asks_name`] says so, else anything.
    pub(super) name: &'a str,
}

impl DomainSpec {
    /// Parses `domain-spec` (section 7.1): it ends with a label that no number is, or with a macro.
    pub(super) fn parse(text: &str) -> Result<Self, Malformed> {
        let spec = Self(parts(text)?);
        if spec.0.iter().any(|part| part.is(Letter::OfExplanation)) {
            return Err(Malformed);
        }
        match spec.0.last() {
            Some(Part::Macro(_)) => Ok(spec),
            Some(Part::Text(end)) if ends_with_label(end) => Ok(spec),
            _ => Err(Malformed),
        }
    }

    /// Checks a `macro-string`, which an unknown modifier has.
    pub(super) fn check_text(text: &str) -> Result<(), Malformed> {
        parts(text).map(drop)
    }

    /// True if `%{p}` is in it, which costs look-ups.
    pub(super) fn asks_name(&self) -> bool {
        self.0.iter().any(|part| part.is(Letter::ValidatedName))
    }

    /// The domain. What is too long loses labels on the left (section 7.3).
    pub(super) fn expand(&self, values: &Values<'_>) -> String {
        let mut domain = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => domain.push_str(text),
                Part::Macro(it) => it.expand(values, &mut domain),
            }
        }
        let mut rest = domain.strip_suffix('.').unwrap_or(&domain);
        while rest.len() > MAX_NAME
            && let Some((_, shorter)) = rest.split_once('.')
        {
            rest = shorter;
        }
        rest.into()
    }
}

impl Part {
    fn is(&self, letter: Letter) -> bool {
        matches!(self, Self::Macro(it) if it.letter == letter)
    }
}

fn parts(text: &str) -> Result<Vec<Part>, Malformed> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        rest = rest.get(first.len_utf8()..).unwrap_or_default();
        if first != '%' {
            if !first.is_ascii_graphic() {
                return Err(Malformed);
            }
            literal.push(first);
            continue;
        }
        let escaped = rest.chars().next().ok_or(Malformed)?;
        rest = rest.get(escaped.len_utf8()..).unwrap_or_default();
        match escaped {
            '%' => literal.push('%'),
            '_' => literal.push(' '),
            '-' => literal.push_str("%20"),
            '{' => {
                let (inner, behind) = rest.split_once('}').ok_or(Malformed)?;
                if !literal.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut literal)));
                }
                parts.push(Part::Macro(Macro::parse(inner)?));
                rest = behind;
            }
            _ => return Err(Malformed),
        }
    }
    if !literal.is_empty() {
        parts.push(Part::Text(literal));
    }
    Ok(parts)
}

/// `"." toplabel ["."]` at the end: letters, digits and hyphens, no hyphen at either end, not all
/// digits.
fn ends_with_label(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let Some((_, label)) = text.rsplit_once('.') else {
        return false;
    };
    let of_label = |c: char| c.is_ascii_alphanumeric() || c == '-';
    !label.is_empty()
        && label.chars().all(of_label)
        && !label.starts_with('-')
        && !label.ends_with('-')
        && !label.chars().all(|c| c.is_ascii_digit())
}

impl Macro {
    /// What stands in braces: a letter, digits, `r`, delimiters.
    fn parse(text: &str) -> Result<Self, Malformed> {
        let first = text.chars().next().ok_or(Malformed)?;
        let letter = match first.to_ascii_lowercase() {
            's' => Letter::Sender,
            'l' => Letter::LocalPart,
            'o' => Letter::SenderDomain,
            'd' => Letter::Domain,
            'i' => Letter::Address,
            'p' => Letter::ValidatedName,
            'v' => Letter::Family,
            'h' => Letter::Helo,
            'c' | 'r' | 't' => Letter::OfExplanation,
            _ => return Err(Malformed),
        };
        let rest = text.get(1..).ok_or(Malformed)?;
        let end = rest.find(|c: char| !c.is_ascii_digit());
        let (digits, rest) = rest.split_at(end.unwrap_or(rest.len()));
        let keep = match digits {
            "" => None,
            digits => Some(
                digits
                    .parse()
                    .ok()
                    .filter(|keep| *keep > 0)
                    .ok_or(Malformed)?,
            ),
        };
        let (reverse, delimiters) = match rest.strip_prefix(['r', 'R']) {
            Some(delimiters) => (true, delimiters),
            None => (false, rest),
        };
        if !delimiters.chars().all(|c| DELIMITERS.contains(&c)) {
            return Err(Malformed);
        }
        Ok(Self {
            letter,
            escape: first.is_ascii_uppercase(),
            keep,
            reverse,
            delimiters: delimiters.into(),
        })
    }

    fn expand(&self, values: &Values<'_>, domain: &mut String) {
        let value = self.letter.value(values);
        let is_delimiter = |c: char| match &*self.delimiters {
            "" => c == '.',
            delimiters => delimiters.contains(c),
        };
        let mut parts: Vec<_> = value.split(is_delimiter).collect();
        if self.reverse {
            parts.reverse();
        }
        let skipped = parts.len().saturating_sub(self.keep.unwrap_or(usize::MAX));
        for (at, part) in parts.iter().skip(skipped).enumerate() {
            if at > 0 {
                domain.push('.');
            }
            match self.escape {
                true => escape(part, domain),
                false => domain.push_str(part),
            }
        }
    }
}

/// As in a URL (RFC 3986 section 2.3: what is not unreserved).
fn escape(text: &str, into: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                into.push(byte.into());
            }
            byte => {
                let _ = write!(into, "%{byte:02X}");
            }
        }
    }
}

impl Letter {
    fn value<'a>(self, values: &Values<'a>) -> Cow<'a, str> {
        let sender = values.sender.rsplit_once('@');
        match self {
            Self::Sender => values.sender.into(),
            Self::LocalPart => sender.map_or("", |(local_part, _)| local_part).into(),
            Self::SenderDomain => sender.map_or("", |(_, domain)| domain).into(),
            Self::Domain => values.domain.into(),
            Self::Address => address(values.client).into(),
            Self::ValidatedName => values.name.into(),
            Self::Helo => values.helo.into(),
            Self::Family if values.client.is_ipv4() => "in-addr".into(),
            Self::Family => "ip6".into(),
            Self::OfExplanation => "".into(),
        }
    }
}

/// IPv4 as usual, IPv6 as its digits with dots between.
fn address(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let digits = format!("{:032x}", u128::from(address));
            let digits: Vec<_> = digits.chars().map(String::from).collect();
            digits.join(".")
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// RFC 7208 section 7.4.
    #[test]
    fn the_examples_of_the_rfc() {
        let values = |client: &str| Values {
            client: client.parse().unwrap(),
            sender: "strong-bad@email.example.com",
            domain: "email.example.com",
            helo: "mx.example.com",
            name: "mx.example.org",
        };
        let v4 = values("192.0.2.3");
        let v6 = values("2001:db8::cb01");
        let nibbles = "2.0.0.1.0.d.b.8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.c.b.0.1";
        let reversed = "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2";
        for (spec, values, expected) in [
            ("%{s}", v4, "strong-bad@email.example.com"),
            ("%{o}", v4, "email.example.com"),
            ("%{d}", v4, "email.example.com"),
            ("%{d4}", v4, "email.example.com"),
            ("%{d2}", v4, "example.com"),
            ("%{d1}", v4, "com"),
            ("%{dr}", v4, "com.example.email"),
            ("%{d2r}", v4, "example.email"),
            ("%{l}", v4, "strong-bad"),
            ("%{l-}", v4, "strong.bad"),
            ("%{lr}", v4, "strong-bad"),
            ("%{lr-}", v4, "bad.strong"),
            ("%{l1r-}", v4, "strong"),
            (
                "%{ir}.%{v}._spf.%{d2}",
                v4,
                "3.2.0.192.in-addr._spf.example.com",
            ),
            ("%{lr-}.lp._spf.%{d2}", v4, "bad.strong.lp._spf.example.com"),
            ("%{i}.%{v}.test", v6, &format!("{nibbles}.ip6.test")),
            (
                "%{ir}.%{v}._spf.%{d2}",
                v6,
                &format!("{reversed}.ip6._spf.example.com"),
            ),
            (
                "%{S}.%%.%_.%-.test",
                v4,
                "strong-bad%40email.example.com.%. .%20.test",
            ),
            ("%{p}.%{h}", v4, "mx.example.org.mx.example.com"),
        ] {
            let spec_of = DomainSpec::parse(spec).unwrap();
            assert_eq!(spec_of.expand(&values), expected, "{spec}");
        }
    }

    #[test]
    fn a_name_that_is_too_long_loses_labels_on_the_left() {
        let long = format!("{}end.test", "abcdefghi.".repeat(30));
        let values = Values {
            client: [192, 0, 2, 1].into(),
            sender: "a@b.test",
            domain: &long,
            helo: "",
            name: "",
        };
        let expanded = DomainSpec::parse("%{d}").unwrap().expand(&values);
        assert!(expanded.len() <= MAX_NAME && expanded.len() > 240);
        assert!(long.ends_with(&expanded) && expanded.starts_with("abcdefghi."));
    }
}
