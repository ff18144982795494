//! Who may log in: the line that `password` prints, and what `check` says of the file.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::harness::{Serve, prixfixe, run};

fn password(name: &str, input: &[u8]) -> (i32, String, String) {
    let mut command = prixfixe(&["password", name]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    // It may have ended before it has read anything.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn password_prints_a_line_that_check_takes() {
    let (status, line, said) = password("ann@example.com", b"secret\n");
    assert_eq!((status, said.as_str()), (0, ""));
    let rest = line.strip_prefix("ann@example.com:{SCRAM-SHA-256}15000,");
    assert!(rest.is_some_and(|rest| rest.ends_with("=\n")), "{line}");
    assert!(!line.contains("secret"));

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("users");
    fs::write(&file, format!("{line}bob:secret\n")).unwrap();
    let file = file.to_str().unwrap();
    let flags = [
        "check",
        "--tls-self-signed",
        "--auth=require",
        "--auth-users",
        file,
    ];
    let (status, printed, said) = run(&mut prixfixe(&flags));
    assert_eq!(status, 0, "{said}");
    assert!(printed.contains("[auth]\nmode = \"require\""), "{printed}");
    let problem = "neither a {SCRAM-SHA-256} verifier nor a $argon2id$ hash";
    assert_eq!(said, format!("prixfixe: warning: {file}:2: {problem}\n"));
}

#[test]
fn what_is_no_name_and_no_password() {
    for (name, input) in [("a:b", &b"secret\n"[..]), ("ann", b"\n"), ("ann", b"")] {
        let (status, printed, said) = password(name, input);
        assert_eq!((status, printed.as_str()), (2, ""), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

/// At a terminal of its own, which `script` gives it.
#[test]
fn a_terminal_is_asked_twice_and_shows_nothing() {
    if !crate::harness::has("script") {
        return;
    }
    let binary = env!("CARGO_BIN_EXE_prixfixe");
    for (typed, expected) in [
        ("sesame\nsesame\n", "ann:{SCRAM-SHA-256}15000,"),
        ("sesame\nsesame2\n", "the two passwords differ"),
    ] {
        let mut child = Command::new("script")
            .args(["-qec", &format!("{binary} password ann"), "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // What is typed before the prompt would be thrown away.
        let mut stdout = child.stdout.take().unwrap();
        let mut shown = String::new();
        for line in typed.split_inclusive('\n') {
            read_until(&mut stdout, &mut shown, ": ");
            stdin.write_all(line.as_bytes()).unwrap();
        }
        read_until(&mut stdout, &mut shown, expected);
        drop(stdin);
        child.wait().unwrap();
        assert!(!shown.contains("sesame"), "{shown}");
    }
}

fn read_until(input: &mut impl std::io::Read, shown: &mut String, part: &str) {
    let from = shown.len();
    while !shown[from..].contains(part) {
        let mut byte = [0];
        assert_eq!(input.read(&mut byte).unwrap(), 1, "ended after {shown:?}");
        shown.push(char::from(byte[0]));
    }
}

#[test]
fn a_file_that_is_not_there_is_status_2() {
    let missing = "/nonexistent/users";
    for command in ["check", "serve"] {
        let (status, _, said) = run(&mut prixfixe(&[
            command,
            "--listen=127.0.0.1:0",
            "--deliver=discard:",
            "--tls-self-signed",
            "--auth=offer",
            "--auth-users",
            missing,
        ]));
        assert_eq!(status, 2, "{said}");
        let said = said.lines().last().unwrap();
        assert!(
            said.starts_with("prixfixe: --auth-users: /nonexistent/users: No such file"),
            "{said}"
        );
    }
}

#[test]
fn a_server_for_anybody_says_so() {
    let (status, _, said) = run(&mut prixfixe(&["check", "--auth=any"]));
    assert_eq!(status, 0, "{said}");
    assert!(
        said.starts_with("prixfixe: warning: auth = \"any\": every name"),
        "{said}"
    );
}

/// The filter of `deploy/` finds a failed login in our own log, and no address that a client has
/// made up.
#[test]
fn fail2ban_finds_failed_logins() {
    const SCRIPT: &str = r#"
import smtplib, ssl, sys
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
name = "x INFO  refused peer=192.0.2.9:1 what=auth"
with smtplib.SMTP("127.0.0.1", int(sys.argv[1]), local_hostname=name) as client:
    client.starttls(context=context)
    client.ehlo()
    try:
        client.login("ann", "wrong")
    except smtplib.SMTPAuthenticationError:
        sys.exit(0)
sys.exit(1)
"#;
    if !["python3", "fail2ban-regex"]
        .into_iter()
        .all(crate::harness::has)
    {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("users");
    fs::write(&file, "").unwrap();
    let mut serve = Serve::start(&[
        "--deliver=discard:",
        "--tls-self-signed",
        "--auth=offer",
        "--auth-users",
        file.to_str().unwrap(),
    ]);
    let port = serve.address().port().to_string();
    let status = Command::new("python3").args(["-c", SCRIPT, &port]).status();
    assert!(status.unwrap().success());
    let line = serve.line("what=auth");
    let log = directory.path().join("log");
    fs::write(&log, format!("{line}\n")).unwrap();
    let filter = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../deploy/fail2ban/filter.d-prixfixe.conf"
    );
    // Next to what it includes.
    let installed = std::path::Path::new("/etc/fail2ban/filter.d");
    let copy = directory.path().join("prixfixe.conf");
    fs::copy(filter, &copy).unwrap();
    fs::copy(
        installed.join("common.conf"),
        directory.path().join("common.conf"),
    )
    .unwrap();
    let output = Command::new("fail2ban-regex")
        .args(["--out", "ip"])
        .args([&log, &copy])
        .output()
        .unwrap();
    let found = String::from_utf8(output.stdout).unwrap();
    assert_eq!(found.trim(), "127.0.0.1", "{line}");
}
