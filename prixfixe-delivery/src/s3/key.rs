//! Which key a message has.

use super::url::is_path;

/// A template of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Digest,
    Id,
    Date,
    Domain,
}

/// What a key is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names<'a> {
    pub(super) digest: &'a str,
    pub(super) id: &'a str,
    /// `YYYY-MM-DD`.
    pub(super) date: &'a str,
    /// Lower-case A-labels, or an address literal.
    pub(super) domain: &'a str,
}

impl Template {
    /// Reads a template. An error is what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (plain, braces) = rest.split_at(rest.find('{').unwrap_or(rest.len()));
            if !plain.is_empty() {
                pieces.push(Piece::Text(plain.into()));
            }
            let Some(inside) = braces.strip_prefix('{') else {
                break;
            };
            let (name, behind) = inside
                .split_once('}')
                .ok_or_else(|| format!("key = {text:?}: a brace is not closed"))?;
            pieces.push(match name {
                "digest" => Piece::Digest,
                "id" => Piece::Id,
                "date" => Piece::Date,
                "domain" => Piece::Domain,
                _ => {
                    return Err(format!(
                        "key = {text:?}: {{{name}}} is none of {{digest}}, {{id}}, {{date}}, {{domain}}"
                    ));
                }
            });
            rest = behind;
        }
        let template = Self(pieces);
        if !template.has(&Piece::Digest) && !template.has(&Piece::Id) {
            return Err(format!(
                "key = {text:?}: without {{digest}} or {{id}} one message would be taken for another"
            ));
        }
        let sample = Names {
            digest: "d",
            id: "i",
            date: "2026-11-28",
            domain: "example.com",
        };
        match is_path(&template.key("", &sample)) {
            true => Ok(template),
            false => Err(format!(
                "key = {text:?}: write words of letters, digits, dots, -, _ and = with slashes between them"
            )),
        }
    }

    fn has(&self, piece: &Piece) -> bool {
        self.0.contains(piece)
    }

    /// True where each recipient domain has a key of its own.
    pub(super) fn is_by_domain(&self) -> bool {
        self.has(&Piece::Domain)
    }

    /// True where a repeat of the same message may have another key.
    pub(super) fn may_repeat(&self) -> bool {
        self.has(&Piece::Id) || self.has(&Piece::Date)
    }

    /// The key, without `.json` or `.eml`.
    pub(super) fn key(&self, prefix: &str, names: &Names<'_>) -> String {
        let mut key = prefix.to_owned();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => key.push_str(text),
                Piece::Digest => key.push_str(names.digest),
                Piece::Id => key.push_str(names.id),
                Piece::Date => key.push_str(names.date),
                // An address literal is in brackets, which are escaped in as many ways as there are
                // stores.
                Piece::Domain => key.extend(names.domain.chars().map(|letter| match letter {
                    'a'..='z' | '0'..='9' | '-' | '_' | '.' => letter,
                    _ => '_',
                })),
            }
        }
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: Names<'static> = Names {
        digest: "abc",
        id: "ID",
        date: "2026-11-28",
        domain: "example.org",
    };

    #[test]
    fn a_template_is_filled_in() {
        for (text, key) in [
            ("{digest}", "in/abc"),
            ("{date}/{domain}/{digest}", "in/2026-11-28/example.org/abc"),
            ("mail-{id}.x", "in/mail-ID.x"),
        ] {
            assert_eq!(Template::parse(text).unwrap().key("in/", &NAMES), key);
        }
        let literal = Names {
            domain: "[ipv6:::1]",
            ..NAMES
        };
        let template = Template::parse("{domain}/{digest}").unwrap();
        assert_eq!(template.key("", &literal), "_ipv6___1_/abc");
    }

    #[test]
    fn what_would_mix_messages_up_is_refused() {
        for (text, word) in [
            ("", "without"),
            ("{date}", "without"),
            ("{domain}", "without"),
            ("{digest", "not closed"),
            ("{local}/{digest}", "none of"),
            ("/{digest}", "words"),
            ("../{digest}", "words"),
            ("a//{digest}", "words"),
            ("{digest}/", "words"),
            ("a b{digest}", "words"),
            ("}{digest}", "words"),
        ] {
            let error = Template::parse(text).expect_err(text);
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn only_keys_with_a_date_or_an_id_may_repeat_a_message() {
        let may = |text: &str| Template::parse(text).unwrap().may_repeat();
        assert!(!may("{digest}") && !may("{domain}/{digest}"));
        assert!(may("{date}/{digest}") && may("{id}"));
    }
}
