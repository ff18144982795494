//! What is said of a key that is not known, and of a value that is not of its type.

use toml::de::DeValue;

use super::given::{Invalid, Origin};
use super::{options, tables};

pub(super) fn wrong_type(origin: &Origin, expected: &str, found: &DeValue<'_>) -> Invalid {
    let found = match found {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a floating-point number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    };
    origin.invalid(format!("must be {expected}, not {found}"))
}

/// The name of a flag in place of that of a key, and a key in the wrong table, are mistakes like typing errors.
pub(super) fn unknown(origin: &Origin, key: &str) -> Invalid {
    let sections = options::keys()
        .filter_map(|known| known.split_once('.'))
        .map(|(section, _)| section.to_owned());
    let by_flag = options::ALL
        .iter()
        .find(|option| option.flag.is_some() && option.flag == last_part(key));
    let nearest = || {
        let candidates = options::keys()
            .map(str::to_owned)
            .chain(tables::keys())
            .chain(sections);
        candidates
            .map(|known| {
                let whole = strsim::jaro_winkler(&known, key);
                let last = match (last_part(&known), last_part(key)) {
                    (Some(known), Some(key)) => strsim::jaro_winkler(known, key),
                    _ => 0.0,
                };
                (whole.max(last), known)
            })
            .filter(|(likeness, _)| *likeness > 0.85)
            .max_by(|(a, _), (b, _)| a.total_cmp(b))
            .map(|(_, known)| known)
    };
    let suggestion = by_flag
        .and_then(|option| option.key)
        .map(str::to_owned)
        .or_else(nearest);
    match suggestion {
        Some(known) => origin.invalid(format!("unknown key; did you mean `{known}`?")),
        None => origin.invalid("unknown key; `prixfixe check` prints those that are known"),
    }
}

fn last_part(key: &str) -> Option<&str> {
    key.rsplit('.').next()
}
