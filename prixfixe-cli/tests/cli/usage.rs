//! What is wrong is said in one line, with an exit status.

use std::net::TcpListener;
use std::process::Stdio;

use crate::harness::{prixfixe, run};

/// Arguments, variables, and what is said of them.
type Case = (
    &'static [&'static str],
    &'static [(&'static str, &'static str)],
    &'static str,
);

#[test]
fn bad_usage_and_bad_configuration_are_one_line_and_status_2() {
    let cases: [Case; 20] = [
        (
            &["server"],
            &[],
            "unrecognized subcommand 'server'; tip: a similar subcommand exists: 'serve'; try `--help`",
        ),
        (
            &["serve", "--max-conections", "1"],
            &[],
            "unexpected argument '--max-conections' found; tip: a similar argument exists: '--max-connections'; try `--help`",
        ),
        (
            &["serve", "--domain"],
            &[],
            "a value is required for '--domain <NAME>' but none was supplied; try `--help`",
        ),
        (
            &["serve", "--domain", "a", "--domain", "b"],
            &[],
            "the argument '--domain <NAME>' cannot be used multiple times; try `--help`",
        ),
        (
            &["serve", "a\tb"],
            &[],
            "unexpected argument 'a\\tb' found; try `--help`",
        ),
        (
            &["serve", "--max-connections", "0"],
            &[],
            "--max-connections: 0 is out of range; give a whole number from 1 to 1000000",
        ),
        (
            &["check"],
            &[("SMTP_COMMAND_TIMEOUT", "soon")],
            "SMTP_COMMAND_TIMEOUT: `soon` is not a time; give 1 to 86400 whole seconds, or with units (90s, 5m, 1h30m)",
        ),
        (
            &["check"],
            &[("SMTP_MAX_MESSAGE_SIZE", "10M")],
            "SMTP_MAX_MESSAGE_SIZE: `10M` leaves open whether MB or MiB is meant; give 1 to 1099511627776, in octets or with a unit (10MB, 10MiB)",
        ),
        (
            &["serve", "--deliver", "mbox:x"],
            &[],
            "--deliver: unknown kind of delivery target \"mbox\": write maildir:PATH, ...",
        ),
        (
            &["serve", "--listen", "nonexistent.invalid:25"],
            &[],
            "listener nonexistent.invalid:25: the name `nonexistent.invalid` has no address; give an address of this host",
        ),
        (
            &["check", "--transport", "udp"],
            &[],
            "--transport: `udp` is not known; give one of auto, tokio, raw",
        ),
        (
            &["serve", "--config", "/nonexistent/prixfixe.toml"],
            &[],
            "--config /nonexistent/prixfixe.toml: No such file or directory (os error 2)",
        ),
        (
            &["serve", "--log", "loud"],
            &[],
            "--log: `loud` is not known; give one of off, error, warn, info, debug, trace",
        ),
        (
            &["serve", "--port", "2525"],
            &[],
            "unexpected argument '--port' found; give --listen localhost:2525, or set SMTP_PORT",
        ),
        (
            &["serve", "--prot", "2525"],
            &[],
            "unexpected argument '--prot' found; give --listen localhost:2525, or set SMTP_PORT",
        ),
        (
            &["serve", "-p", "2525"],
            &[],
            "unexpected argument '-p' found; give --listen localhost:2525, or set SMTP_PORT",
        ),
        (
            &["serve", "extra.toml"],
            &[],
            "unexpected argument 'extra.toml' found; give --config extra.toml",
        ),
        (
            &["serve", "--listen", "::1:2525"],
            &[],
            "--listen: `::1:2525` has no brackets; give [::1]:2525",
        ),
        (
            &["serve", "--admin", "9125"],
            &[],
            "--admin: `9125` has no address; give 127.0.0.1:9125",
        ),
        (
            &["serve", "--listen-tls", "127.0.0.1:0"],
            &[],
            "--listen-tls: needs a certificate; add --tls-cert and --tls-key, or --tls-self-signed",
        ),
    ];
    for (arguments, variables, line) in cases {
        let said = run(prixfixe(arguments).envs(variables.iter().copied()));
        let (status, stdout, stderr) = said;
        assert_eq!((status, stdout.as_str()), (2, ""), "{arguments:?}");
        match line.strip_suffix("...") {
            Some(beginning) => assert!(stderr.starts_with(&format!("prixfixe: {beginning}"))),
            None => assert_eq!(stderr, format!("prixfixe: {line}\n"), "{arguments:?}"),
        }
    }
}

#[test]
fn a_mistake_in_the_file_is_named_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(
        directory.path().join("mail.toml"),
        "domain = \"a\"\n\n[limits]\nmax-conections = 5\n",
    )
    .unwrap();
    let said = run(prixfixe(&["serve", "--config", "mail.toml"]).current_dir(directory.path()));
    let line =
        "mail.toml:4: limits.max-conections: unknown key; did you mean `limits.max-connections`?";
    assert_eq!(said, (2, String::new(), format!("prixfixe: {line}\n")));
}

#[test]
fn all_mistakes_of_a_file_are_told_one_a_line() {
    let directory = tempfile::tempdir().unwrap();
    let text = "domian = \"a\"\n[limits]\nmax-errors = 0\n[log]\nlevel = \"loud\"\n";
    std::fs::write(directory.path().join("mail.toml"), text).unwrap();
    let said = run(prixfixe(&["check", "--config", "mail.toml"]).current_dir(directory.path()));
    let lines = "prixfixe: mail.toml:1: domian: unknown key; did you mean `domain`?\n\
                 prixfixe: mail.toml:3: limits.max-errors: 0 is out of range; give a whole number from 1 to 1000000\n\
                 prixfixe: mail.toml:5: log.level: `loud` is not known; give one of off, error, warn, info, debug, trace\n";
    assert_eq!(said, (2, String::new(), lines.to_owned()));
}

#[test]
fn a_variable_that_is_none_of_ours_is_a_warning_at_start() {
    let (status, _, stderr) = run(prixfixe(&["check"]).env("SMTP_ACCEPT_DOMAIN", "a.example"));
    assert_eq!(status, 0);
    let line = "prixfixe: warning: SMTP_ACCEPT_DOMAIN is not a variable of prixfixe; did you mean SMTP_ACCEPT_DOMAINS?\n";
    assert_eq!(stderr, line);
    // It is in the log of a server, even of one that then cannot start.
    let arguments = ["serve", "--listen=192.0.2.1:0", "--deliver=discard:"];
    let (status, _, stderr) = run(prixfixe(&arguments).env("SMTP_PROT", "2525"));
    assert_eq!(status, 1);
    assert!(stderr.contains("did you mean SMTP_PORT?"), "{stderr}");
}

#[test]
fn alone_it_prints_help() {
    let (status, stdout, stderr) = run(&mut prixfixe(&[]));
    assert_eq!((status, stderr.as_str()), (0, ""));
    assert_eq!(run(&mut prixfixe(&["-h"])).1, stdout);
    assert!(stdout.contains("\nCommands:\n"), "{stdout}");
}

#[test]
fn completions_and_manual_pages_know_the_options() {
    for shell in ["bash", "zsh", "fish"] {
        let (status, stdout, stderr) = run(&mut prixfixe(&["completions", shell]));
        assert_eq!((status, stderr.as_str()), (0, ""), "{shell}");
        assert!(stdout.contains("max-connections-per-client"), "{shell}");
        // A word that a value may have.
        assert!(stdout.contains("repair"), "{shell}");
    }
    let (status, stdout, _) = run(&mut prixfixe(&["man"]));
    assert_eq!(status, 0);
    assert!(
        stdout.contains(".TH prixfixe 1") && stdout.contains("check"),
        "{stdout}"
    );
    let (status, stdout, _) = run(&mut prixfixe(&["man", "serve"]));
    assert_eq!(status, 0);
    assert!(stdout.contains(".TH prixfixe-serve 1"), "{stdout}");
    assert!(stdout.contains("SMTP_MAX_ERRORS"), "{stdout}");
    let (status, _, stderr) = run(&mut prixfixe(&["man", "sevre"]));
    let line = "prixfixe: there is no subcommand `sevre`; `prixfixe --help` lists them\n";
    assert_eq!((status, stderr.as_str()), (2, line));
}

#[test]
fn a_certificate_that_cannot_be_used_is_named_before_anything_is_bound() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("cert.pem"), "no certificate").unwrap();
    std::fs::write(directory.path().join("key.pem"), "no key").unwrap();
    for command in ["serve", "check"] {
        let arguments = [command, "--tls-cert", "cert.pem", "--tls-key", "key.pem"];
        let (status, stdout, stderr) = run(prixfixe(&arguments).current_dir(directory.path()));
        assert_eq!((status, stdout.as_str()), (2, ""));
        assert!(
            stderr.starts_with("prixfixe: ") && stderr.contains("cert.pem"),
            "{stderr}"
        );
        assert_eq!(stderr.matches('\n').count(), 1);
    }
}

#[test]
fn a_failure_while_running_is_one_line_and_status_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said = run(&mut prixfixe(&[
        "serve",
        "--listen",
        &address,
        "--deliver",
        "discard:",
    ]));
    let line = format!(
        "cannot listen on {address}: Address already in use (os error 98); stop the other server, or choose another port with --listen"
    );
    assert_eq!(said, (1, String::new(), format!("prixfixe: {line}\n")));

    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("file"), "").unwrap();
    let arguments = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--deliver",
        "maildir:file/mail",
    ];
    let (status, stdout, stderr) = run(prixfixe(&arguments).current_dir(directory.path()));
    assert_eq!((status, stdout.as_str()), (1, ""));
    assert!(
        stderr.starts_with("prixfixe: --deliver: ") && stderr.contains("file/mail"),
        "{stderr}"
    );
    assert_eq!(stderr.matches('\n').count(), 1);
}

#[test]
fn help_and_version_are_on_stdout_with_status_0() {
    let (status, stdout, stderr) = run(&mut prixfixe(&["--version"]));
    assert_eq!((status, stderr.as_str()), (0, ""));
    assert_eq!(
        stdout,
        concat!("prixfixe ", env!("CARGO_PKG_VERSION"), "\n")
    );
    assert_eq!(run(&mut prixfixe(&["version"])).1, stdout);
    let (status, stdout, _) = run(&mut prixfixe(&["--help"]));
    assert_eq!(status, 0);
    assert!(
        stdout.contains("serve") && stdout.contains("check"),
        "{stdout}"
    );
    for command in ["serve", "check"] {
        let (status, stdout, stderr) = run(&mut prixfixe(&[command, "--help"]));
        assert_eq!((status, stderr.as_str()), (0, ""));
        assert!(
            stdout.contains("Examples:\n") && stdout.contains(&format!("prixfixe {command}")),
            "{stdout}"
        );
        for variable in ["[env: SMTP_MAX_CONNECTIONS]", "SMTP_PORT"] {
            assert!(stdout.contains(variable), "{stdout}");
        }
    }
}

#[test]
fn a_closed_stdout_or_stderr_is_no_panic() {
    for arguments in [&["--help"][..], &["serve", "--help"], &["check"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = prixfixe(arguments).stdout(writer).output().unwrap();
        assert_eq!(
            (output.status.code(), output.stderr),
            (Some(0), Vec::new()),
            "{arguments:?}"
        );
    }
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = prixfixe(&["serve", "--domain="])
        .stdout(Stdio::null())
        .stderr(writer)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(2));
}
