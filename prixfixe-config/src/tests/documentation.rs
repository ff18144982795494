//! docs/CONFIGURATION.md says what the options are.

use super::*;
use crate::arguments::default_of;
use crate::hints::KEYS;

const DOCUMENTATION: &str = include_str!("../../../docs/CONFIGURATION.md");

/// One cell of a row that has something in it.
fn code(text: &str) -> String {
    format!(" `{}` ", text.replace('|', "\\|"))
}

fn row(cells: [Option<String>; 4]) -> String {
    let cells = cells.map(|cell| cell.unwrap_or_else(|| " ".to_owned()));
    format!("|{}|", cells.join("|"))
}

/// Where a flag's value stands in the file.
fn key(id: &str) -> Option<String> {
    let key = match id {
        "listen" => " `[[listener]]` `address` ".to_owned(),
        "listen-tls" => " `[[listener]]` `tls = \"implicit\"` ".to_owned(),
        "listen-lmtp" => " `[[listener]]` `protocol = \"lmtp\"` ".to_owned(),
        "xclient-from" => " `[[listener]]` `xclient-from` ".to_owned(),
        "proxy-protocol-from" => " `[[listener]]` `proxy-protocol-from` ".to_owned(),
        "policy.dnsbl" => " `[[policy.dnsbl]]` `zone` ".to_owned(),
        "policy.rspamd" => " `[[policy.rspamd]]` `url` ".to_owned(),
        "policy.milter" => " `[[policy.milter]]` `socket` ".to_owned(),
        _ => code(KEYS.iter().find(|key| *key == id)?),
    };
    Some(key)
}

/// In tables of their own.
fn is_apart(key: &str) -> bool {
    let apart = [
        "listener.",
        "target.",
        "route.",
        "policy.dnsbl.zone",
        "policy.rspamd.url",
        "policy.milter.socket",
    ];
    apart.iter().any(|table| key.starts_with(table))
}

/// The rows of all flags, and of the keys that have none.
fn rows() -> Vec<String> {
    let flags = COMMAND.get_arguments().map(|arg| {
        let (id, flag) = (arg.get_id().as_str(), arg.get_long().unwrap());
        let usage = match value_name(arg) {
            "BOOLEAN" => format!("--{flag}"),
            value => format!("--{flag} {value}"),
        };
        let default = default_of(id).filter(|_| value_name(arg) != "BOOLEAN");
        let variable = Some(code(&variable_of(flag)));
        row([
            Some(code(&usage)),
            variable,
            key(id),
            default.as_deref().map(code),
        ])
    });
    let has_flag = |key: &str| COMMAND.get_arguments().any(|arg| arg.get_id() == key);
    let is_table = |key: &str| {
        KEYS.iter()
            .any(|other| other.starts_with(&format!("{key}.")))
    };
    let keys = KEYS
        .iter()
        .filter(|key| !has_flag(key) && !is_table(key) && !is_apart(key));
    let in_table = |key: &str| {
        let tables = [
            "tls.certificate",
            "policy.dnsbl",
            "policy.rspamd",
            "policy.milter",
        ];
        tables.into_iter().find_map(|table| {
            let key = key.strip_prefix(table)?.strip_prefix('.')?;
            Some(format!(" `[[{table}]]` `{key}` "))
        })
    };
    let keys = keys.map(|key| match in_table(key) {
        Some(key) => row([None, None, Some(key), None]),
        None => row([
            None,
            None,
            Some(code(key)),
            default_of(key).as_deref().map(code),
        ]),
    });
    let port = row([None, Some(code("SMTP_PORT")), None, None]);
    flags.chain(keys).chain([port]).collect()
}

#[test]
fn every_option_has_its_row_in_the_documentation_and_no_other_has() {
    let table = DOCUMENTATION
        .split_once("## Options")
        .and_then(|(_, rest)| rest.split_once("### Values"));
    let documented = table
        .unwrap()
        .0
        .lines()
        .filter(|line| line.starts_with('|'));
    // The head of the table.
    let mut documented: Vec<&str> = documented.skip(2).collect();
    let mut rows = rows();
    documented.sort_unstable();
    rows.sort_unstable();
    assert!(rows.len() > 40);
    assert_eq!(documented, rows);
}

#[test]
fn every_key_of_targets_and_routes_has_its_row() {
    let (_, section) = DOCUMENTATION.split_once("## Targets and routes").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let of_table = |key: &'static String| {
        key.strip_prefix("target.")
            .or_else(|| key.strip_prefix("route."))
    };
    for key in KEYS.iter().filter_map(of_table) {
        assert!(section.contains(&format!("| `{key}` |")), "{key}");
    }
}

/// A flag's name in clap is its key, so that a place can be told in either words.
#[test]
fn every_flag_but_those_of_listeners_is_a_key() {
    for arg in COMMAND.get_arguments() {
        assert!(key(arg.get_id().as_str()).is_some(), "{arg:?}");
    }
}

#[test]
fn the_file_in_the_documentation_is_one() {
    let (_, rest) = DOCUMENTATION.split_once("```toml\n").unwrap();
    let (file, _) = rest.split_once("```").unwrap();
    let configuration = load(file, &[], &[]).unwrap();
    assert_eq!(configuration.listeners.len(), 2);
    assert_eq!(configuration.limits.max_message_size.get(), 25 << 20);
}
