//! The configuration file: TOML, in which every key must be known and of its type.

use std::fs::File as Handle;
use std::io::Read;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::given::{Given, Invalid, Origin};
use super::mistakes::{unknown, wrong_type};
use super::options::{self, Kind, Opt};
use super::tables::{self, CertificateTable, ListenerTable};

/// More than this is no configuration.
const LARGEST: u64 = 1 << 20;

/// What a file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct File {
    values: Vec<(&'static Opt, Vec<Given>)>,
    /// `None`: the file has no `[[listener]]` at all.
    pub(crate) listeners: Option<Vec<ListenerTable>>,
    pub(crate) certificates: Vec<CertificateTable>,
}

impl File {
    /// Reads and checks the file.
    pub(crate) fn read(path: &Path) -> Result<Self, Invalid> {
        let mut text = String::new();
        let invalid = |problem: String| Invalid {
            place: format!("--config {}", path.display()),
            problem,
        };
        Handle::open(path)
            .and_then(|file| file.take(LARGEST + 1).read_to_string(&mut text))
            .map_err(|error| invalid(error.to_string()))?;
        if text.len() as u64 > LARGEST {
            return Err(invalid(
                "is larger than 1 MiB; this is no configuration file".to_owned(),
            ));
        }
        Self::parse(path, &text)
    }

    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, Invalid> {
        let reader = Reader {
            path: path.into(),
            text,
        };
        let document = DeTable::parse(text).map_err(|error| reader.not_toml(&error))?;
        let mut file = Self::default();
        reader.read_table("", document.get_ref(), &mut file)?;
        Ok(file)
    }

    /// What the file says of an option: several values for a list, else one. `None`: nothing.
    pub(crate) fn get(&self, option: &Opt) -> Option<&[Given]> {
        self.values
            .iter()
            .find(|(known, _)| *known == option)
            .map(|(_, given)| given.as_slice())
    }
}

pub(super) struct Reader<'a> {
    path: Arc<Path>,
    text: &'a str,
}

pub(super) type Value<'a> = Spanned<DeValue<'a>>;

impl Reader<'_> {
    /// `prefix` is the table's name with a dot behind it, or empty at the top.
    fn read_table(
        &self,
        prefix: &str,
        table: &DeTable<'_>,
        file: &mut File,
    ) -> Result<(), Invalid> {
        for (name, value) in in_order(table) {
            let key = format!("{prefix}{}", name.get_ref());
            let origin = self.origin(name.span(), &key);
            if key == tables::LISTENER {
                file.listeners = Some(self.read_listeners(&origin, value)?);
            } else if key == tables::CERTIFICATE {
                file.certificates = self.read_certificates(&origin, value)?;
            } else if let Some(option) = options::ALL
                .iter()
                .find(|option| option.key == Some(key.as_str()))
            {
                file.values
                    .push((option, self.read_option(option, &origin, value)?));
            } else if is_section(&key) {
                let DeValue::Table(table) = value.get_ref() else {
                    return Err(wrong_type(&origin, "a table", value.get_ref()));
                };
                self.read_table(&format!("{key}."), table, file)?;
            } else {
                return Err(unknown(&origin, &key));
            }
        }
        Ok(())
    }

    fn read_option(
        &self,
        option: &Opt,
        origin: &Origin,
        value: &Value<'_>,
    ) -> Result<Vec<Given>, Invalid> {
        let text = match (option.kind, value.get_ref()) {
            (Kind::Text | Kind::Quantity, DeValue::String(text)) => text.to_string(),
            (Kind::Count | Kind::Quantity, DeValue::Integer(number)) => decimal(number),
            (Kind::Switch, DeValue::Boolean(on)) => on.to_string(),
            (Kind::InvertedSwitch, DeValue::Boolean(on)) => (!on).to_string(),
            (Kind::List, _) => return self.read_list(origin, value),
            (kind, other) => return Err(wrong_type(origin, kind.toml_type(), other)),
        };
        Ok(vec![Given {
            text,
            origin: origin.clone(),
        }])
    }

    pub(super) fn read_list(
        &self,
        origin: &Origin,
        value: &Value<'_>,
    ) -> Result<Vec<Given>, Invalid> {
        let DeValue::Array(items) = value.get_ref() else {
            return Err(wrong_type(origin, Kind::List.toml_type(), value.get_ref()));
        };
        let read = |item: &Value<'_>| {
            // An array may be spread over lines: the item's own is the one to look at.
            let origin = self.moved(origin, item.span());
            match item.get_ref() {
                DeValue::String(text) => Ok(Given {
                    text: text.to_string(),
                    origin,
                }),
                other => Err(wrong_type(&origin, Kind::List.toml_type(), other)),
            }
        };
        items.iter().map(read).collect()
    }

    /// The parser's own words for what is no TOML, with the text that it stumbled over.
    fn not_toml(&self, error: &toml::de::Error) -> Invalid {
        let span = error.span().unwrap_or_default();
        let mut problem = error.message().replace('\n', "; ");
        if let Some(culprit) = self
            .text
            .get(span.clone())
            .map(str::trim)
            .filter(|text| !text.is_empty())
        {
            problem.push_str(&format!(": `{culprit}`"));
        }
        Invalid {
            place: format!("{}:{}", self.path.display(), self.line(span)),
            problem,
        }
    }

    pub(super) fn origin(&self, span: Range<usize>, key: &str) -> Origin {
        Origin::File {
            path: Arc::clone(&self.path),
            line: self.line(span),
            key: key.to_owned(),
        }
    }

    /// The same key, at another place.
    pub(super) fn moved(&self, origin: &Origin, span: Range<usize>) -> Origin {
        match origin {
            Origin::File { key, .. } => self.origin(span, key),
            other => other.clone(),
        }
    }

    fn line(&self, span: Range<usize>) -> usize {
        1 + self
            .text
            .bytes()
            .take(span.start)
            .filter(|byte| *byte == b'\n')
            .count()
    }
}

/// In the order of the text, so that the first mistake is reported first.
pub(super) fn in_order<'a, 'b>(
    table: &'b DeTable<'a>,
) -> Vec<(&'b Spanned<DeString<'a>>, &'b Value<'a>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    entries
}

impl Kind {
    fn toml_type(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Count => "an integer",
            Self::Quantity => "an integer, or a string with a unit",
            Self::Switch | Self::InvertedSwitch => "true or false",
            Self::List => "an array of strings",
        }
    }
}

/// TOML also writes integers as `0x10`, `0o10` and `0b10`; its parser has taken out underscores and the like.
fn decimal(number: &toml::de::DeInteger<'_>) -> String {
    i128::from_str_radix(number.as_str(), number.radix())
        .map_or_else(|_| number.to_string(), |number| number.to_string())
}

fn is_section(key: &str) -> bool {
    options::keys().any(|known| {
        known
            .strip_prefix(key)
            .is_some_and(|rest| rest.starts_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<File, String> {
        File::parse(Path::new("mail.toml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn values_keep_their_key_and_line() {
        let file = parse(
            "domain = 'mx.example'\n\n[limits]\nmax-message-size = '1MiB'\nmax-errors = 0x10\n",
        )
        .unwrap();
        let given = |option| file.get(option).unwrap().first().unwrap();
        assert_eq!(given(&options::DOMAIN).text, "mx.example");
        assert_eq!(
            given(&options::DOMAIN).origin.to_string(),
            "mail.toml:1: domain"
        );
        assert_eq!(given(&options::MAX_MESSAGE_SIZE).text, "1MiB");
        assert_eq!(
            given(&options::MAX_MESSAGE_SIZE).origin.to_string(),
            "mail.toml:4: limits.max-message-size"
        );
        assert_eq!(given(&options::MAX_ERRORS).text, "16");
        assert_eq!(file.get(&options::LOG_LEVEL), None);
    }

    #[test]
    fn fsync_is_the_opposite_of_its_flag() {
        for (text, no_fsync) in [
            ("delivery.fsync = false", "true"),
            ("delivery.fsync = true", "false"),
        ] {
            assert_eq!(
                parse(text)
                    .unwrap()
                    .get(&options::NO_FSYNC)
                    .unwrap()
                    .first()
                    .unwrap()
                    .text,
                no_fsync
            );
        }
    }

    #[test]
    fn mistakes_name_file_line_and_key() {
        let cases = [
            (
                "\n\nmax = 1\n",
                "mail.toml:3: max: unknown key; `prixfixe check` prints those that are known",
            ),
            (
                "domian = 'x'",
                "mail.toml:1: domian: unknown key; did you mean `domain`?",
            ),
            (
                "domain = 'x'\n[limits]\nmax-errors = 1\nmax-conections = 1\n",
                "mail.toml:4: limits.max-conections: unknown key; did you mean `limits.max-connections`?",
            ),
            (
                "max-errors = 1",
                "mail.toml:1: max-errors: unknown key; did you mean `limits.max-errors`?",
            ),
            (
                "deliver = 'discard:'",
                "mail.toml:1: deliver: unknown key; did you mean `delivery.target`?",
            ),
            (
                "[limit]\nmax-errors = 1",
                "mail.toml:1: limit: unknown key; did you mean `limits`?",
            ),
            (
                "[limits.max-errors]\nx = 1",
                "mail.toml:1: limits.max-errors: must be an integer, not a table",
            ),
            (
                "[[listener]]\naddress = 'a:1'\n[[listener]]\naddress = 'b:1'\nadress = 'c:1'\n",
                "mail.toml:5: listener.adress: unknown key; did you mean `listener.address`?",
            ),
            (
                "[[listener]]\naddress = 'a:1'\n\n[[listener]]\n",
                "mail.toml:4: listener: has no address; add address = \"ADDR:PORT\"",
            ),
            (
                "[listener]\naddress = 'a:1'",
                "mail.toml:1: listener: is an array of tables; write [[listener]] with two brackets",
            ),
            (
                "listener = []",
                "mail.toml:1: listener: is empty; add a table, or leave it out",
            ),
            (
                "[tls]\n[[tls.certificate]]\ncert = 'c'\nkey = 'k'\n[[tls.certificate]]\ncert = 'c'\nkye = 'k'\n",
                "mail.toml:7: tls.certificate.kye: unknown key; did you mean `tls.certificate.key`?",
            ),
            (
                "[[tls.certificate]]\ncert = 'c'\nkey = 'k'\npasswords = 'p'\n",
                "mail.toml:4: tls.certificate.passwords: unknown key; did you mean `tls.certificate.key-password-file`?",
            ),
            (
                "[[tls.certificate]]\ncert = 'c'\n\n[[tls.certificate]]\nkey = 'k'\n",
                "mail.toml:1: tls.certificate: has no key; add key = \"FILE\"",
            ),
            (
                "\n[[tls.certificate]]\nkey = 'k'\n",
                "mail.toml:2: tls.certificate: has no cert; add cert = \"FILE\"",
            ),
            (
                "[[tls.certificate]]\ncert = 1\n",
                "mail.toml:2: tls.certificate.cert: must be a string, not an integer",
            ),
            (
                "[tls.certificate]\ncert = 'c'\nkey = 'k'\n",
                "mail.toml:1: tls.certificate: is an array of tables; write [[tls.certificate]] with two brackets",
            ),
            (
                "tls.certificate = []",
                "mail.toml:1: tls.certificate: is empty; add a table, or leave it out",
            ),
            (
                "[[tls.certificates]]\ncert = 'c'\n",
                "mail.toml:1: tls.certificates: unknown key; did you mean `tls.certificate`?",
            ),
            (
                "listener = [5]",
                "mail.toml:1: listener: must be a table, not an integer",
            ),
            (
                "domain = 1",
                "mail.toml:1: domain: must be a string, not an integer",
            ),
            (
                "limits = 1",
                "mail.toml:1: limits: must be a table, not an integer",
            ),
            (
                "limits.max-errors = '1'",
                "mail.toml:1: limits.max-errors: must be an integer, not a string",
            ),
            (
                "limits.command-timeout = 1.5",
                "mail.toml:1: limits.command-timeout: must be an integer, or a string with a unit, not a floating-point number",
            ),
            (
                "delivery.fsync = 'no'",
                "mail.toml:1: delivery.fsync: must be true or false, not a string",
            ),
            (
                "[accept]\ndomains = [\n  'a.example',\n  2,\n]",
                "mail.toml:4: accept.domains: must be an array of strings, not an integer",
            ),
            (
                "domain = 'a'\ndomain = 'b'\n",
                "mail.toml:2: duplicate key: `domain`",
            ),
            (
                "domain = 'a'\n[limits]\n[limits]\n",
                "mail.toml:3: duplicate key: `limits`",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).unwrap_err(), expected, "{text}");
        }
        let error = parse("domain = 'a'\nlimits = [1,\n").unwrap_err();
        assert!(
            error.starts_with("mail.toml:2: ") || error.starts_with("mail.toml:3: "),
            "{error}"
        );
        assert!(!error.contains('\n'), "{error}");
    }
}
