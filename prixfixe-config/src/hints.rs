//! The key or flag that was probably meant.

use std::fmt;
use std::sync::LazyLock;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use serde::de::{self, Deserialize, Deserializer, Visitor};

use super::Configuration;
use super::accept::Accept;
use super::admin::Admin;
use super::arguments::COMMAND;
use super::auth::Auth;
use super::delivery::Delivery;
use super::limits::Limits;
use super::listeners::Listener;
use super::log::Log;
use super::policy::{Dnsbl, Milter, Policy, Rspamd};
use super::spool::Spool;
use super::targets::{Route, Target};
use super::tls::{Certificate, Tls};

/// What other programs call it.
const SYNONYMS: &[(&str, &str)] = &[
    ("listen", "[[listener]]` with `address = \"ADDR:PORT\""),
    ("address", "[[listener]]` with `address = \"ADDR:PORT\""),
    ("port", "[[listener]]` with `address = \"ADDR:PORT\""),
    ("listener.listen", "listener.address"),
    ("listener.port", "listener.address"),
    ("admin.address", "admin.listen"),
    ("admin.port", "admin.listen"),
    ("hostname", "domain"),
    ("tls.certificate-key", "tls.key"),
    ("accept.recipients", "accept.domains"),
    ("log-level", "log.level"),
    ("log.log", "log.level"),
];

/// The dotted keys of the file in its order; tables too.
pub(super) static KEYS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let sections = [
        ("", fields::<Configuration>()),
        ("limits.", fields::<Limits>()),
        ("tls.", fields::<Tls>()),
        ("auth.", fields::<Auth>()),
        ("accept.", fields::<Accept>()),
        ("policy.", fields::<Policy>()),
        ("delivery.", fields::<Delivery>()),
        ("spool.", fields::<Spool>()),
        ("admin.", fields::<Admin>()),
        ("log.", fields::<Log>()),
        ("listener.", fields::<Listener>()),
        ("tls.certificate.", fields::<Certificate>()),
        ("policy.dnsbl.", fields::<Dnsbl>()),
        ("policy.rspamd.", fields::<Rspamd>()),
        ("policy.milter.", fields::<Milter>()),
        ("target.", fields::<Target>()),
        ("route.", fields::<Route>()),
    ];
    let keys = sections
        .into_iter()
        .flat_map(|(table, fields)| fields.iter().map(move |field| format!("{table}{field}")));
    keys.collect()
});

/// What to say of a key that is not known.
pub(super) fn unknown_key(key: &str) -> String {
    match meant_by(key) {
        Some(meant) => format!("unknown key; did you mean `{meant}`?"),
        None => "unknown key; `prixfixe check` prints those that are known".to_owned(),
    }
}

/// The name of a flag in place of that of a key, and a key in the wrong table, are mistakes like
/// typing errors.
pub(super) fn meant_by(key: &str) -> Option<String> {
    let synonym = SYNONYMS.iter().find(|(synonym, _)| *synonym == key);
    let flag = || {
        let flag = last_part(key);
        let mut args = COMMAND.get_arguments();
        let id = args.find(|arg| arg.get_long() == Some(flag))?.get_id();
        KEYS.iter().find(|known| *known == id.as_str()).cloned()
    };
    let is_at_the_top = table(key).is_empty();
    synonym
        .map(|(_, meant)| (*meant).to_owned())
        .or_else(|| flag().filter(|_| is_at_the_top))
        .or_else(|| nearest(last_part(key), |known| in_table(known, table(key))))
        .or_else(flag)
        .or_else(|| nearest(key, |known| Some((known, last_part(known)))))
}

/// The longest key that is compared with those that are known.
const MAX_MEANT: usize = 64;

/// The most alike of the known keys, as `names` has them to compare: in full, and the last part.
fn nearest<'a>(
    key: &str,
    names: impl Fn(&'static str) -> Option<(&'a str, &'a str)>,
) -> Option<String> {
    // Likeness costs the product of both lengths, and no key is as long.
    if key.len() > MAX_MEANT {
        return None;
    }
    KEYS.iter()
        .filter_map(|known| {
            let (whole, last) = names(known)?;
            let whole = strsim::jaro_winkler(whole, key);
            let last = strsim::jaro_winkler(last, last_part(key));
            Some((whole.max(last), known))
        })
        .filter(|(likeness, _)| *likeness > 0.85)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known.clone())
}

fn in_table(known: &'static str, name: &str) -> Option<(&'static str, &'static str)> {
    (table(known) == name).then(|| (last_part(known), last_part(known)))
}

fn last_part(key: &str) -> &str {
    key.rsplit_once('.').map_or(key, |(_, last)| last)
}

fn table(key: &str) -> &str {
    key.rsplit_once('.').map_or("", |(table, _)| table)
}

/// What was probably meant by an argument that is not known, where clap would guess wrong or not at
/// all.
pub fn hint_for_argument(error: &clap::Error) -> Option<String> {
    let argument = match (error.kind(), error.get(ContextKind::InvalidArg)?) {
        (ErrorKind::UnknownArgument, ContextValue::String(argument)) => argument,
        _ => return None,
    };
    let name = argument.trim_start_matches('-');
    let is_flag = argument.starts_with('-');
    if is_flag && (name == "p" || strsim::osa_distance(name, "port") <= 1) {
        return Some("give --listen localhost:2525, or set SMTP_PORT".to_owned());
    }
    let is_file = !is_flag && name.ends_with(".toml");
    is_file.then(|| format!("give --config {name}"))
}

/// The names that serde knows of a struct's fields.
fn fields<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    let mut names: &[&str] = &[];
    // It ends with the names, which is an error to serde.
    let _ = T::deserialize(Fields(&mut names));
    names
}

struct Fields<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Fields<'_> {
    type Error = Enough;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Enough> {
        Err(Enough)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Enough> {
        *self.0 = fields;
        Err(Enough)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the names are known")]
struct Enough;

impl de::Error for Enough {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}
