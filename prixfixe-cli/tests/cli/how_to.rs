//! The configurations of the guides, as they stand there: none is refused.

use std::fs;

use tempfile::tempdir;

use crate::harness::{prixfixe, run};

const PAGES: [(&str, &str); 7] = [
    ("dovecot", include_str!("../../../docs/how-to/dovecot.md")),
    ("fleet", include_str!("../../../docs/how-to/fleet.md")),
    ("nats", include_str!("../../../docs/how-to/nats.md")),
    ("pipe", include_str!("../../../docs/how-to/pipe.md")),
    ("postfix", include_str!("../../../docs/how-to/postfix.md")),
    ("s3", include_str!("../../../docs/how-to/s3.md")),
    ("webhook", include_str!("../../../docs/how-to/webhook.md")),
];

/// The blocks of a language.
fn blocks<'p>(page: &'p str, language: &'p str) -> impl Iterator<Item = &'p str> {
    let begins = page.split("\n```").skip(1).step_by(2);
    begins.filter_map(move |block| block.strip_prefix(language)?.strip_prefix('\n'))
}

#[test]
fn what_a_guide_has_in_a_file_is_a_configuration() {
    let mut count = 0;
    for (name, page) in PAGES {
        for block in blocks(page, "toml") {
            // Every host has its own groups and certificates.
            let text = block.replace("group = \"vmail\"", "").replace(
                "cert = \"/etc/prixfixe/cert.pem\"\nkey = \"/etc/prixfixe/key.pem\"",
                "self-signed = true",
            );
            let text = text.replace("/etc/prixfixe/users", "users");
            let folder = tempdir().unwrap();
            fs::write(folder.path().join("users"), "").unwrap();
            fs::write(folder.path().join("mail.toml"), &text).unwrap();
            let mut command = prixfixe(&["check", "--config", "mail.toml"]);
            let (status, _, errors) = run(command.current_dir(folder.path()));
            assert_eq!(status, 0, "{name}: {errors}\n{text}");
            count += 1;
        }
    }
    assert!(count >= 7, "{count} blocks");
}

#[test]
fn what_a_guide_has_on_a_command_line_is_a_configuration() {
    let mut count = 0;
    for (name, page) in PAGES {
        for line in page.lines() {
            let line = line.strip_prefix("$ ").unwrap_or(line);
            let Some(arguments) = line.strip_prefix("prixfixe serve ") else {
                continue;
            };
            // The file is the page's, and was looked at.
            if arguments.starts_with("--config") {
                continue;
            }
            let arguments = ["check"].into_iter().chain(arguments.split_whitespace());
            let arguments: Vec<&str> = arguments.collect();
            let folder = tempdir().unwrap();
            let (status, _, errors) = run(prixfixe(&arguments).current_dir(folder.path()));
            assert_eq!(status, 0, "{name}: {errors}\n{line}");
            count += 1;
        }
    }
    assert!(count >= 5, "{count} lines");
}
