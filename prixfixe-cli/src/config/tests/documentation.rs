//! docs/CONFIGURATION.md says what the options are.

use super::*;
use crate::config::options::Kind;

const DOCUMENTATION: &str = include_str!("../../../../docs/CONFIGURATION.md");

#[test]
fn every_option_has_its_row_in_the_documentation_and_no_other_has() {
    let code = |text: Option<String>| text.map_or(String::new(), |text| format!(" `{text}`"));
    let row = |option: &Opt| {
        let flag = option.flag.map(|flag| match option.kind {
            Kind::Switch | Kind::InvertedSwitch => format!("--{flag}"),
            _ => format!("--{flag} {}", option.value.replace('|', "\\|")),
        });
        let key = match option.flag {
            Some("listen") => " `[[listener]]` `address`".to_owned(),
            Some("listen-tls") => " `[[listener]]` `tls = \"implicit\"`".to_owned(),
            Some("proxy-protocol-from") => " `[[listener]]` `proxy-protocol-from`".to_owned(),
            _ => code(option.key.map(str::to_owned)),
        };
        let default = code(option.default.map(str::to_owned));
        let variable = code(option.variable.map(str::to_owned));
        format!("|{} |{variable} |{key} |{default} |", code(flag))
    };
    let certificate = options::CERTIFICATE_KEYS
        .iter()
        .map(|key| format!("| | | `[[tls.certificate]]` `{key}` | |"));
    let documented: Vec<&str> = DOCUMENTATION
        .split_once("## Options")
        .and_then(|(_, rest)| rest.split_once("### Values"))
        .unwrap()
        .0
        .lines()
        .filter(|line| line.starts_with('|'))
        // The head of the table.
        .skip(2)
        .collect();
    assert_eq!(
        documented,
        options::ALL
            .iter()
            .map(|option| row(option))
            .chain(certificate)
            .collect::<Vec<_>>()
    );
}

#[test]
fn the_file_in_the_documentation_is_one() {
    let (_, rest) = DOCUMENTATION.split_once("```toml\n").unwrap();
    let (file, _) = rest.split_once("```").unwrap();
    let configuration = load(file, &[], &[]).unwrap();
    assert_eq!(configuration.listeners.len(), 2);
    assert_eq!(configuration.limits.max_message_size, 25 << 20);
}
