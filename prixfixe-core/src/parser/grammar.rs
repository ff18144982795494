//! The grammar of paths and parameters once more, as combinators: what the parsers by hand have to
//! agree with, for any text.

use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::{tag, take_while, take_while1};
use nom::character::complete::{char, satisfy, space1};
use nom::combinator::{eof, opt, peek, recognize, value, verify};
use nom::multi::many0_count;
use nom::sequence::{delimited, preceded, terminated};
use proptest::prelude::*;

use super::literal::address_literal;
use super::{Parsed, ascii_no_case, is_non_ascii};

/// What a path is, without its type: a mailbox and where its `@` stands, or none.
type Found<'i> = Option<(&'i str, usize)>;

fn reverse_path(input: &str) -> Parsed<'_, Found<'_>> {
    alt((value(None, tag("<>")), path.map(Some))).parse(input)
}

fn forward_path(input: &str) -> Parsed<'_, Found<'_>> {
    let bare = terminated(ascii_no_case("postmaster"), end_of_word);
    let postmaster = alt((ascii_no_case("<postmaster>"), bare));
    alt((path.map(Some), value(None, postmaster))).parse(input)
}

fn path(input: &str) -> Parsed<'_, (&str, usize)> {
    let source_route = opt(terminated(a_d_l, char(':')));
    let path = delimited(char('<'), preceded(source_route, mailbox), char('>'));
    alt((path, bare_path)).parse(input)
}

fn bare_path(input: &str) -> Parsed<'_, (&str, usize)> {
    let has_no_blank = |(mailbox, _): &(&str, usize)| !mailbox.contains(' ');
    terminated(verify(mailbox, has_no_blank), end_of_word).parse(input)
}

fn end_of_word(input: &str) -> Parsed<'_, &str> {
    peek(alt((space1, eof))).parse(input)
}

fn a_d_l(input: &str) -> Parsed<'_, &str> {
    recognize((at_domain, many0_count(preceded(char(','), at_domain)))).parse(input)
}

fn at_domain(input: &str) -> Parsed<'_, &str> {
    preceded(char('@'), domain).parse(input)
}

fn mailbox(input: &str) -> Parsed<'_, (&str, usize)> {
    let mut parts = (local_part, char('@'), alt((domain, address_literal)));
    let (rest, (local_part, _, domain)) = parts.parse(input)?;
    let length = local_part.len() + 1 + domain.len();
    Ok((rest, (&input[..length], local_part.len())))
}

fn local_part(input: &str) -> Parsed<'_, &str> {
    let short = |local_part: &str| local_part.len() <= 255;
    verify(alt((dot_string, quoted_string)), short).parse(input)
}

fn dot_string(input: &str) -> Parsed<'_, &str> {
    let is_atext = |c: char| {
        c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c) || is_non_ascii(c)
    };
    let has_atom = |local_part: &str| local_part.contains(|c| c != '.');
    verify(take_while1(is_atext), has_atom).parse(input)
}

fn quoted_string(input: &str) -> Parsed<'_, &str> {
    let text = take_while1(|c| matches!(c, ' '..='!' | '#'..='[' | ']'..='~') || is_non_ascii(c));
    let pair = recognize((char('\\'), satisfy(|c| matches!(c, ' '..='~'))));
    recognize(delimited(
        char('"'),
        many0_count(alt((text, pair))),
        char('"'),
    ))
    .parse(input)
}

fn domain(input: &str) -> Parsed<'_, &str> {
    let domain = recognize((sub_domain, many0_count(preceded(char('.'), sub_domain))));
    let domain = verify(domain, |domain: &str| domain.len() <= 255);
    terminated(domain, opt(char('.'))).parse(input)
}

fn sub_domain(input: &str) -> Parsed<'_, &str> {
    let is_ldh = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_') || is_non_ascii(c);
    let is_label =
        |label: &str| label.len() <= 63 && !label.starts_with('-') && !label.ends_with('-');
    verify(take_while1(is_ldh), is_label).parse(input)
}

/// The parameters up to the first bad one, and whether there is such a one.
fn parameters(input: &str) -> (Vec<(&str, Option<&str>)>, bool) {
    let mut rest = input;
    let mut found = Vec::new();
    while !rest.is_empty() {
        match terminated(esmtp_param, alt((space1, eof))).parse(rest) {
            Ok((behind, parameter)) => {
                rest = behind;
                found.push(parameter);
            }
            Err(_) => return (found, true),
        }
    }
    (found, false)
}

fn esmtp_param(input: &str) -> Parsed<'_, (&str, Option<&str>)> {
    let first = satisfy(|c| c.is_ascii_alphanumeric());
    let others = take_while(|c: char| c.is_ascii_alphanumeric() || c == '-');
    let text = take_while1(|c| matches!(c, '!'..='<' | '>'..='~') || is_non_ascii(c));
    (recognize((first, others)), opt(preceded(char('='), text))).parse(input)
}

/// Texts that are nearly paths: every sign that matters to the grammar, characters of two and more
/// octets with and without control, words at the limits.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => "[<>@.:,\"\\\\ \t\\[\\]=_a1-]",
        4 => "[<>@.]?[a-z0-9-]{1,5}[@.>: ]?",
        2 => "[\u{7f}-\u{a1}\u{c1}\u{e9}\u{7ff}\u{800}\u{10000}]",
        1 => Just("<".to_owned()),
        1 => "(<?[pP]ost[Mm]aster>?|<>|\\[1\\.2\\.3\\.4\\]|\\[IPv6:::1\\])",
        1 => "(x{62,65}|x{60}\\.x{60}\\.x{60}\\.|x{253,257})",
    ];
    let any = proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat());
    let path = "<(@a[,.]?(@b)?:)?[a.\"\\\\ \u{e9}]{0,4}@[a-b.\u{85}\u{a0}_-]{0,6}\\.?>?([ \t]X=1)?";
    prop_oneof![any, path]
}

/// The same of what the parsers found.
fn parts<'m>(mailbox: Option<&'m crate::Mailbox<&str>>) -> Found<'m> {
    mailbox.map(|it| (it.as_str(), it.local_part().len()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn paths_are_those_of_the_grammar(text in text()) {
        let found = super::mailbox::reverse_path(&text);
        let found = found.as_ref().map(|(rest, path)| (*rest, parts(path.mailbox())));
        let expected = reverse_path(&text);
        prop_assert_eq!(found, expected.as_ref().copied());
        let found = super::mailbox::forward_path(&text);
        let found = found.as_ref().map(|(rest, path)| (*rest, parts(path.mailbox())));
        let expected = forward_path(&text);
        prop_assert_eq!(found, expected.as_ref().copied());
        prop_assert_eq!(super::domain::domain(&text), domain(&text));
    }

    #[test]
    fn parameters_are_those_of_the_grammar(
        text in "[ \t]?([A-C1-]{1,3}(=[a=<>~\u{7f}-\u{a1}\u{e9}-]{0,3})?[ \t]{0,2}){0,4}"
    ) {
        let text = format!(" {text}");
        let (expected, is_bad) = parameters(super::behind_blanks(&text));
        let mut found = super::Parameters::behind_path(&text).unwrap();
        for parameter in expected {
            prop_assert_eq!(found.next(), Some(Ok(parameter)));
        }
        prop_assert_eq!(found.next().is_some_and(|it| it.is_err()), is_bad);
        prop_assert_eq!(found.next(), None);
    }
}
