//! The configuration file: TOML, in which every key must be known and of its type.
//!
//! serde stops at the first mistake. To tell all of them, the entry at fault is taken out and what
//! is left is read again.

use std::fs::File as Handle;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, Deserializer};

use super::Configuration;
use super::given::{Invalid, Mistakes};
use super::hints::{meant_by, unknown_key};

/// More than this is no configuration.
const LARGEST: u64 = 1 << 20;

/// Who makes more mistakes than this has another file in hand.
const MOST_MISTAKES: usize = 20;

/// What is expected where a table is repeated.
pub(super) const TABLES: &str = "an array of tables";

/// The text, to find places in.
#[derive(Debug, Default)]
pub(super) struct File {
    path: PathBuf,
    text: String,
}

type Table<'a> = DeTable<'a>;
type Value<'a> = Spanned<DeValue<'a>>;

impl File {
    /// Reads and checks the file; without one, the defaults.
    pub(super) fn read(path: Option<&Path>) -> Result<(Self, Configuration), Mistakes> {
        let Some(path) = path else {
            return Ok((Self::default(), Configuration::default()));
        };
        let mut text = String::new();
        let invalid =
            |problem: String| Invalid::new(format!("--config {}", path.display()), problem);
        Handle::open(path)
            .and_then(|file| file.take(LARGEST + 1).read_to_string(&mut text))
            .map_err(|error| invalid(error.to_string()))?;
        if text.len() as u64 > LARGEST {
            let problem = "is larger than 1 MiB; this is no configuration file";
            return Err(invalid(problem.to_owned()).into());
        }
        let path = path.to_owned();
        let file = Self { path, text };
        let configuration = file.parse()?;
        Ok((file, configuration))
    }

    fn parse(&self) -> Result<Configuration, Mistakes> {
        let document = Table::parse(&self.text).map_err(|error| self.not_toml(&error))?;
        let (span, mut table) = (document.span(), document.into_inner());
        let mut mistakes: Vec<(usize, Invalid)> = Vec::new();
        let mut taken = Vec::new();
        for _ in 0..2 * MOST_MISTAKES {
            let document = Spanned::new(span.clone(), table.clone());
            let error = match Configuration::deserialize(Deserializer::from(document)) {
                Ok(configuration) if mistakes.is_empty() => return Ok(configuration),
                Ok(_) => break,
                Err(error) => error,
            };
            let at = error.span().unwrap_or_default();
            let Some(found) = find(&table, &at) else {
                let place = format!("{}:{}", self.path.display(), self.line(at.start));
                mistakes.push((at.start, Invalid::new(place, one_line(error.message()))));
                break;
            };
            if !is_consequence(error.message(), &found.key, &taken) {
                let place = self.place_of(&found.key, found.start);
                let problem = problem(error.message(), &found);
                mistakes.push((found.start, Invalid::new(place, problem)));
            }
            if mistakes.len() == MOST_MISTAKES {
                break;
            }
            take_out(&mut table, &found.path);
            taken.extend(meant_by(&found.key));
            taken.push(found.key);
        }
        mistakes.sort_by_key(|(start, _)| *start);
        Err(Mistakes(mistakes.into_iter().map(|(_, it)| it).collect()))
    }

    /// Where a key was written: in the table of this number, where it is one of an array. A table
    /// that lacks the key is where it should stand.
    pub(super) fn place(&self, key: &str, mut index: Option<usize>) -> Option<String> {
        let document = Table::parse(&self.text).ok()?;
        let mut table = document.get_ref();
        let (mut start, mut is_inside) = (0, false);
        for part in key.split('.') {
            let Some((name, value)) = table.get_key_value(part) else {
                if is_inside {
                    break;
                }
                return None;
            };
            start = name.span().start;
            table = match value.get_ref() {
                DeValue::Table(inner) => inner,
                DeValue::Array(items) if index.is_some() => {
                    let item = items.get(index.take()?)?;
                    (start, is_inside) = (item.span().start, true);
                    item.get_ref().as_table()?
                }
                _ => break,
            };
        }
        Some(self.place_of(key, start))
    }

    fn place_of(&self, key: &str, start: usize) -> String {
        format!("{}:{}: {key}", self.path.display(), self.line(start))
    }

    /// The parser's own words for what is no TOML, with the text that it stumbled over.
    fn not_toml(&self, error: &toml::de::Error) -> Invalid {
        let span = error.span().unwrap_or_default();
        let place = format!("{}:{}", self.path.display(), self.line(span.start));
        let mut problem = one_line(error.message());
        let culprit = self.text.get(span).map(str::trim).unwrap_or_default();
        if !culprit.is_empty() {
            problem.push_str(&format!(": `{culprit}`"));
        }
        Invalid::new(place, problem)
    }

    fn line(&self, start: usize) -> usize {
        let before = self.text.bytes().take(start);
        1 + before.filter(|byte| *byte == b'\n').count()
    }
}

fn one_line(message: &str) -> String {
    message.replace('\n', "; ")
}

/// A step from a table to one of its entries, or from an array to one of its items.
#[derive(Clone)]
enum Step {
    Key(String),
    Index(usize),
}

/// What a mistake is about.
struct Found {
    path: Vec<Step>,
    key: String,
    /// Of the key; of the item, where an array may be spread over lines.
    start: usize,
    kind: &'static str,
}

impl Found {
    fn within(mut self, step: Step, name: &str) -> Self {
        self.path.insert(0, step);
        if !name.is_empty() {
            self.key = match self.key.as_str() {
                "" => name.to_owned(),
                rest => format!("{name}.{rest}"),
            };
        }
        self
    }
}

/// The innermost entry or item whose key or value is there.
fn find(table: &Table<'_>, at: &Range<usize>) -> Option<Found> {
    for (name, value) in table {
        let inner = match value.get_ref() {
            DeValue::Table(inner) => find(inner, at),
            DeValue::Array(items) => items.iter().enumerate().find_map(|(index, item)| {
                let inner = item.get_ref().as_table().and_then(|table| find(table, at));
                let itself = || here(item, item.span().start, item.span() == *at);
                Some(inner.or_else(itself)?.within(Step::Index(index), ""))
            }),
            _ => None,
        };
        let is_here = name.span() == *at || value.span() == *at;
        let found = inner.or_else(|| here(value, name.span().start, is_here));
        if let Some(found) = found {
            let name = name.get_ref();
            return Some(found.within(Step::Key(name.to_string()), name));
        }
    }
    None
}

fn here(value: &Value<'_>, start: usize, is_here: bool) -> Option<Found> {
    let kind = match value.get_ref() {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a floating-point number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    };
    is_here.then(|| Found {
        path: Vec::new(),
        key: String::new(),
        start,
        kind,
    })
}

/// Takes an entry or an item out. An array is not left empty, which would be another mistake.
fn take_out<'a>(table: &mut Table<'a>, path: &[Step]) {
    let [Step::Key(name), rest @ ..] = path else {
        return;
    };
    let is_left = match (table.get_mut(name.as_str()).map(Spanned::get_mut), rest) {
        (Some(DeValue::Table(inner)), [_, ..]) => {
            take_out(inner, rest);
            true
        }
        (Some(DeValue::Array(items)), [Step::Index(index)]) => {
            let all = std::mem::replace(items, DeArray::new())
                .into_iter()
                .enumerate();
            *items = all
                .filter(|(at, _)| at != index)
                .map(|(_, item)| item)
                .collect();
            !items.is_empty()
        }
        (Some(DeValue::Array(items)), [Step::Index(index), rest @ ..]) => {
            if let Some(DeValue::Table(inner)) = items.get_mut(*index).map(Spanned::get_mut) {
                take_out(inner, rest);
            }
            true
        }
        _ => false,
    };
    if !is_left {
        table.remove(name.as_str());
    }
}

fn missing(message: &str) -> Option<&str> {
    let field = message.strip_prefix("missing field `")?;
    Some(field.trim_end_matches('`'))
}

/// What is missing may be what was taken out, under its own or another name.
fn is_consequence(message: &str, key: &str, taken: &[String]) -> bool {
    missing(message).is_some_and(|field| taken.contains(&format!("{key}.{field}")))
}

/// serde's words in ours.
fn problem(message: &str, found: &Found) -> String {
    let key = &found.key;
    if message.starts_with("unknown field `") {
        return unknown_key(key);
    }
    if let Some(field) = missing(message) {
        let value = if field == "address" {
            "ADDR:PORT"
        } else {
            "FILE"
        };
        return format!("has no {field}; add {field} = \"{value}\"");
    }
    if !message.starts_with("invalid type: ") {
        return one_line(message);
    }
    let expected = match message.rsplit_once(", expected ").map(|(_, it)| it) {
        Some(TABLES) if found.kind == "a string" && key == "tls.certificate" => {
            return "is an array of tables; did you mean `tls.cert`?".to_owned();
        }
        Some(TABLES) => {
            return format!("is {TABLES}; write [[{key}]] with two brackets");
        }
        Some("a boolean") => "true or false",
        Some(expected) if expected.starts_with("struct ") => "a table",
        Some(expected) => expected,
        None => return one_line(message),
    };
    format!("must be {expected}, not {}", found.kind)
}
