//! Domains that cannot be compared wrongly.
//!
//! The same domain is written in several ways: in any case, with a final dot, and with
//! internationalised labels as A-labels (`xn--bcher-kva`) or U-labels (`bücher`), the latter
//! composed or decomposed. All are equivalent (RFC 5890 section 2.3.2.4, RFC 6531 section 3.2). So
//! equality and hash go by one form of all of them, lower-case A-labels without the final dot. What
//! is ASCII, as nearly every domain is, has that form but for case, and is compared where it
//! stands.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};

use unicode_normalization::UnicodeNormalization as _;

use crate::{parser, punycode};

/// A domain or an address literal, as [`Mailbox::domain`](crate::Mailbox::domain) gives it.
///
/// Equality and hash ignore case, a final dot, and whether an internationalised label is an A-label
/// or a U-label. So a comparison with a string is right whatever a client has sent:
///
/// ```
/// use prixfixe_core::{Domain, Mailbox};
///
/// let mailbox: Mailbox = "bob@Example.COM".parse()?;
/// assert!(mailbox.domain() == "example.com");
///
/// let domain = Domain::try_from("xn--bcher-kva.example.")?;
/// assert_eq!(domain, "BÜCHER.example");
/// assert!(domain.is_below(Domain::try_from("example")?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Domain<'a>(&'a str);

/// The string is neither a domain nor an address literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a domain")]
pub struct InvalidDomain;

impl<'a> Domain<'a> {
    /// Only for what the parser has seen.
    pub(crate) const fn new(domain: &'a str) -> Self {
        Self(domain)
    }

    /// The domain as it was written, without a final dot. Not to be compared: that is what this
    /// type is for.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// The domain as lower-case A-labels, the one form in which equal domains are equal strings.
    ///
    /// For what keeps domains: keys, names of files, look-ups. An address literal is in lower case.
    #[must_use]
    pub fn to_ascii(self) -> Cow<'a, str> {
        to_ascii(self.0)
    }

    /// True for every domain that ends with `parent`, but not for `parent` itself.
    #[must_use]
    pub fn is_below(self, parent: Domain<'_>) -> bool {
        if self.is_literal() {
            return false;
        }
        let (this, parent) = (self.to_ascii(), parent.to_ascii());
        let labels = this.strip_suffix(&*parent);
        labels.is_some_and(|labels| labels.ends_with('.'))
    }

    /// An address in brackets (RFC 5321 section 4.1.3) rather than a name.
    #[must_use]
    pub fn is_literal(self) -> bool {
        self.0.starts_with('[')
    }
}

impl<'a> TryFrom<&'a str> for Domain<'a> {
    type Error = InvalidDomain;

    fn try_from(string: &'a str) -> Result<Self, Self::Error> {
        parser::complete_domain(string)
            .map(Self)
            .ok_or(InvalidDomain)
    }
}

impl fmt::Display for Domain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

impl PartialEq<Domain<'_>> for Domain<'_> {
    fn eq(&self, other: &Domain<'_>) -> bool {
        are_equal(self.0, other.0)
    }
}

impl Eq for Domain<'_> {}

impl Hash for Domain<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut hash = |domain: &str| {
            let lower_case = domain.bytes().map(|byte| byte.to_ascii_lowercase());
            lower_case.for_each(|byte| state.write_u8(byte));
        };
        match self.0.is_ascii() {
            true => hash(self.0),
            false => hash(&self.to_ascii()),
        }
        // So that what is hashed behind it is told apart.
        state.write_u8(0xFF);
    }
}

/// Comparisons with what is a string, both ways round.
macro_rules! compare_with {
    ($($string:ty),*) => {
        $(impl PartialEq<$string> for Domain<'_> {
            fn eq(&self, other: &$string) -> bool {
                are_equal(self.0, without_final_dot(other))
            }
        }

        impl PartialEq<Domain<'_>> for $string {
            fn eq(&self, other: &Domain<'_>) -> bool {
                other == self
            }
        })*
    };
}

compare_with!(str, &str, String);

fn without_final_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

fn are_equal(one: &str, other: &str) -> bool {
    match one.is_ascii() && other.is_ascii() {
        true => one.eq_ignore_ascii_case(other),
        false => to_ascii(one) == to_ascii(other),
    }
}

fn to_ascii(domain: &str) -> Cow<'_, str> {
    if !domain.is_ascii() {
        let mut labels = String::with_capacity(2 * domain.len());
        for (place, label) in domain.split('.').enumerate() {
            if place > 0 {
                labels.push('.');
            }
            push_a_label(label, &mut labels);
        }
        return Cow::Owned(labels);
    }
    match domain.contains(|c: char| c.is_ascii_uppercase()) {
        true => Cow::Owned(domain.to_ascii_lowercase()),
        false => Cow::Borrowed(domain),
    }
}

/// RFC 5891 section 5: lower case, then composed (NFC), then Punycode.
fn push_a_label(label: &str, output: &mut String) {
    let lower_case = || label.chars().flat_map(char::to_lowercase);
    let mut mapped: String = lower_case().nfc().collect();
    // A few characters compose to punctuation of ASCII, which must not come into a name by this
    // door.
    if mapped.contains(|c: char| c.is_ascii() && !matches!(c, 'a'..='z' | '0'..='9' | '-' | '_')) {
        mapped = lower_case().collect();
    }
    if mapped.is_ascii() {
        output.push_str(&mapped);
        return;
    }
    let before = output.len();
    output.push_str("xn--");
    if punycode::encode(&mapped, output).is_none() {
        output.truncate(before);
        output.push_str(&mapped);
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher as _;
    use std::hash::RandomState;

    use proptest::prelude::*;

    use super::*;

    /// Every row is one domain, written in several ways.
    const DOMAINS: &[&[&str]] = &[
        &["example.com", "EXAMPLE.com", "eXaMpLe.CoM."],
        &[
            "b\u{fc}cher.example",
            "bu\u{308}cher.example",
            "BU\u{308}CHER.example.",
            "B\u{dc}CHER.Example",
            "xn--bcher-kva.example",
            "XN--BCHER-KVA.EXAMPLE.",
        ],
        &["bucher.example"],
        &[
            "\u{4f8b}\u{3048}.\u{30c6}\u{30b9}\u{30c8}",
            "xn--r8jz45g.xn--zckzah",
        ],
        &[
            "stra\u{df}e.example",
            "STRA\u{1e9e}E.example",
            "xn--strae-oqa.example",
        ],
        &["strasse.example"],
        &["[IPv6:2001:db8::1]", "[ipv6:2001:DB8::1]"],
        &["[192.0.2.1]"],
        // No A-label, whatever it may decode to.
        &["xn--example.com"],
        // The kelvin sign is a K, the Greek question mark no semicolon.
        &["kelvin.example", "\u{212a}elvin.example"],
        &["a\u{37e}b.example"],
    ];

    fn hash(state: &RandomState, name: &str) -> u64 {
        state.hash_one(Domain::try_from(name).unwrap())
    }

    #[test]
    fn a_domain_is_equal_to_itself_in_any_spelling_and_to_no_other() {
        let state = RandomState::new();
        for (row, spellings) in DOMAINS.iter().enumerate() {
            for (other_row, others) in DOMAINS.iter().enumerate() {
                for (one, other) in spellings
                    .iter()
                    .flat_map(|one| others.iter().map(move |other| (*one, *other)))
                {
                    let [first, second] = [one, other].map(|name| Domain::try_from(name).unwrap());
                    let same = row == other_row;
                    assert_eq!(first == second, same, "{one} {other}");
                    assert_eq!(first == other, same, "{one} {other}");
                    assert_eq!(first == *other, same, "{one} {other}");
                    assert_eq!(one == second, same, "{one} {other}");
                    assert_eq!(one.to_owned() + "" == second, same, "{one} {other}");
                    assert_eq!(hash(&state, one) == hash(&state, other), same);
                    assert_eq!(first.to_ascii() == second.to_ascii(), same);
                }
            }
        }
    }

    #[test]
    fn the_ascii_form_is_lower_case_a_labels() {
        for (name, ascii) in [
            ("Example.COM.", "example.com"),
            ("B\u{dc}CHER.example", "xn--bcher-kva.example"),
            ("a\u{37e}b.example", "xn--ab-y4b.example"),
            ("[IPv6:2001:DB8::1]", "[ipv6:2001:db8::1]"),
        ] {
            assert_eq!(Domain::try_from(name).unwrap().to_ascii(), ascii);
        }
        let borrowed = Domain::try_from("example.com.").unwrap().to_ascii();
        assert!(matches!(borrowed, Cow::Borrowed("example.com")));
    }

    #[test]
    fn what_is_no_domain_is_none_but_may_be_compared_with_one() {
        for name in [
            "",
            ".",
            "a..b",
            "-a",
            "a b",
            "a@b",
            "a..",
            "[1.2.3]",
            "*.example.com",
        ] {
            assert_eq!(Domain::try_from(name), Err(InvalidDomain), "{name}");
            assert!(Domain::new("a") != name);
        }
        assert!(Domain::new("a") != "a..");
    }

    #[test]
    fn a_domain_is_below_its_parents_alone() {
        let below = |name, parent| {
            let [name, parent] = [name, parent].map(|it| Domain::try_from(it).unwrap());
            name.is_below(parent)
        };
        assert!(below("a.Example.com", "example.COM."));
        assert!(below("a.b.example.com", "example.com"));
        assert!(below("a.b\u{fc}cher.example", "xn--bcher-kva.example"));
        assert!(!below("example.com", "example.com"));
        assert!(!below("badexample.com", "example.com"));
        assert!(!below("com", "example.com"));
        assert!(!below("[x:a.example.com]", "example.com"));
    }

    proptest! {
        /// Where the mappings of IDNA say no more than lower case and NFC, this form is the one of
        /// UTS 46.
        #[test]
        fn the_ascii_form_is_that_of_uts_46(name in "([a-zA-Z0-9à-öø-ÿÀ-ÖØ-Þа-яА-Яα-ρτ-ωΑ-ΡΤ-Ω一-龥ぁ-ゔ]|[a-zA-Z][\u{300}-\u{304}]){1,10}\\.example") {
            let expected = idna::domain_to_ascii(&name).unwrap();
            prop_assert_eq!(&*Domain::new(&name).to_ascii(), expected.as_str());
        }

        #[test]
        fn the_ascii_form_is_equal_to_what_it_was_made_of(name in "\\PC{1,20}") {
            if let Ok(domain) = Domain::try_from(&*name) {
                let ascii = domain.to_ascii();
                prop_assert!(ascii.chars().all(|c| c.is_ascii_graphic() && !c.is_ascii_uppercase()));
                prop_assert!(domain == *ascii);
                prop_assert_eq!(&to_ascii(&ascii), &ascii);
            }
        }
    }
}
