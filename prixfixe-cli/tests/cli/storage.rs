//! Free space and standard output: what is answered, and what is shown.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::admin::{get, get_until};
use crate::chromium::Chromium;
use crate::harness::{Client, Serve, listening_address, prixfixe, run};

const TRANSPORTS: [&str; 2] = ["tokio", "raw"];

/// A small file system. It is unmounted when this is dropped.
struct Mount(PathBuf);

impl Mount {
    /// `None`: the test is skipped.
    fn new(path: &Path, options: &str) -> Option<Self> {
        fs::create_dir(path).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "none"])
            .arg(path)
            .output()
            .unwrap();
        if mounted.status.success() {
            return Some(Self(path.to_owned()));
        }
        let reason = String::from_utf8_lossy(&mounted.stderr).into_owned();
        let required = std::env::var_os("PRIXFIXE_TEST_REQUIRE_TOOLS").is_some();
        assert!(!required, "no file system can be mounted: {reason}");
        eprintln!("skipped: no file system can be mounted: {reason}");
        None
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

const FILE: &str = "[limits]\nmax-message-size = '2MiB'\n";

fn start(transport: &str, directory: TempDir) -> Serve {
    fs::write(directory.path().join("prixfixe.toml"), FILE).unwrap();
    let mut command = prixfixe(&["serve", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0"]);
    command.args(["--config", "prixfixe.toml", "--transport", transport]);
    Serve::spawn(command.current_dir(directory.path()), directory)
}

/// The value of the series of the Maildir.
fn gauge(metrics: &str, name: &str, path: &Path) -> f64 {
    let series = format!("{name}{{path=\"{}\"}} ", path.display());
    let line = metrics.lines().find_map(|line| line.strip_prefix(&series));
    line.unwrap_or_else(|| panic!("no {series} in {metrics}"))
        .parse()
        .unwrap()
}

#[test]
fn mail_is_refused_before_its_body_while_there_is_too_little_space() {
    for transport in TRANSPORTS {
        let directory = TempDir::new().unwrap();
        let mail = directory.path().join("mail");
        let Some(_mount) = Mount::new(&mail, "size=8m,nr_inodes=5000") else {
            return;
        };
        let mut serve = start(transport, directory);
        let admin = listening_address(serve.seen("admin endpoints").unwrap());
        let mut client = Client::greeted(&serve);
        client.ask("EHLO client.example", "250 ");
        client.ask("MAIL FROM:<a@client.example>", "250 ");
        assert_eq!(get(admin, "/readyz").code, 200);
        let metrics = get(admin, "/metrics").body;
        assert!(gauge(&metrics, "smtp_storage_free_bytes", &mail) > f64::from(7 << 20));
        assert!(gauge(&metrics, "smtp_storage_free_inodes", &mail) > 4000.0);
        assert!(metrics.contains("\nsmtp_ready 1\n"));

        // 3 MiB are the least; 2.5 MiB are left.
        let ballast = mail.join("ballast");
        fs::write(&ballast, vec![0; 11 << 19]).unwrap();
        let answer = get_until(admin, "/readyz", 503);
        let begin = format!(
            "mail cannot be delivered: cannot take mail for {}: ",
            mail.display()
        );
        assert!(
            answer.body.starts_with(&begin)
                && answer
                    .body
                    .ends_with(" bytes are free, 3460300 are needed\n"),
            "{}",
            answer.body
        );
        // It has begun, and there is room for it.
        client.ask("RCPT TO:<b@here.example>", "250 ");
        client.ask("DATA", "354 ");
        client.ask("Subject: hello\r\n\r\n.", "250 ");
        client.ask("MAIL FROM:<a@client.example>", "452 4.3.1 ");
        let metrics = get(admin, "/metrics").body;
        assert!(metrics.contains("\nsmtp_ready 0\n"));
        let status: Value = serde_json::from_str(&get(admin, "/status.json").body).unwrap();
        let storage = &status["storage"][0];
        assert_eq!(storage["path"], mail.to_str().unwrap());
        assert_eq!(storage["min_free_bytes"], 3 << 20);
        assert_eq!(storage["min_free_inodes"], 1000);
        assert_eq!(storage["short"], true);
        assert!(storage["free_bytes"].as_u64().unwrap() < 3 << 20);
        serve.line("MAIL is answered 452 until there is more free space");
        assert!(serve.seen("delivery works again").is_none());

        // A new least holds at once, and so does the old one again.
        let file = serve.directory.path().join("prixfixe.toml");
        fs::write(&file, format!("{FILE}[delivery]\nmin-free = '1MiB'\n")).unwrap();
        serve.signal(Signal::HUP);
        serve.line("reloaded");
        assert_eq!(get(admin, "/readyz").code, 200);
        client.ask("MAIL FROM:<a@client.example> SIZE=2000000", "250 ");
        client.ask("RSET", "250 ");
        fs::write(&file, FILE).unwrap();
        serve.signal(Signal::HUP);
        serve.line("reloaded");
        assert_eq!(get(admin, "/readyz").code, 503);

        fs::remove_file(&ballast).unwrap();
        get_until(admin, "/readyz", 200);
        client.ask("MAIL FROM:<a@client.example>", "250 ");
    }
}

#[test]
fn a_declared_size_that_does_not_fit_is_refused_at_once() {
    let directory = TempDir::new().unwrap();
    let mail = directory.path().join("mail");
    let Some(_mount) = Mount::new(&mail, "size=4m") else {
        return;
    };
    fs::write(
        directory.path().join("prixfixe.toml"),
        "[delivery]\nmin-free = '1MiB'\n",
    )
    .unwrap();
    let mut command = prixfixe(&["serve", "--listen=127.0.0.1:0", "--config=prixfixe.toml"]);
    let serve = Serve::spawn(command.current_dir(directory.path()), directory);
    let mut client = Client::greeted(&serve);
    client.ask("EHLO client.example", "250 ");
    client.ask("MAIL FROM:<> SIZE=5000000", "452 4.3.1 ");
    client.ask("MAIL FROM:<> SIZE=1000000", "250 ");
}

#[test]
fn the_page_shows_what_is_free_and_why_mail_is_refused() {
    let directory = TempDir::new().unwrap();
    let mail = directory.path().join("mail");
    let Some(_mount) = Mount::new(&mail, "size=2m,nr_inodes=5000") else {
        return;
    };
    let serve = start("tokio", directory);
    let admin = listening_address(serve.seen("admin endpoints").unwrap());
    let Some(mut chromium) = Chromium::start() else {
        return;
    };
    chromium.open(&format!("http://{admin}/"));
    chromium.until("document.getElementById('state').dataset.state === 'failing'");
    let text = |chromium: &mut Chromium, id: &str| {
        let text = chromium.evaluate(&format!("document.getElementById('{id}').innerText"));
        text.as_str().unwrap().to_owned()
    };
    let state = text(&mut chromium, "state");
    assert!(state.contains(" are needed"), "{state}");
    let storage = text(&mut chromium, "storage");
    for part in [
        mail.to_str().unwrap(),
        " inodes",
        "mail is refused below 3 MiB or 1,000 inodes",
    ] {
        assert!(storage.contains(part), "{part}: {storage}");
    }
    chromium.until("document.querySelector('#storage b').className === 'bad'");
}

#[test]
fn a_standard_output_that_is_closed_is_an_error_at_start() {
    let binary = env!("CARGO_BIN_EXE_prixfixe");
    let script = format!("exec {binary} serve --listen=127.0.0.1:0 --deliver=stdout: >&-");
    let (code, _, stderr) = run(Command::new("sh").args(["-c", &script]));
    assert_eq!(code, 1, "{stderr}");
    assert_eq!(
        stderr,
        "prixfixe: --deliver: cannot write to the standard output: it is closed; leave it open, or drop mail with discard:\n"
    );
}

#[test]
fn a_standard_output_that_nobody_reads_any_more_shows_without_a_message() {
    let directory = TempDir::new().unwrap();
    let mut command = prixfixe(&["serve", "--listen=127.0.0.1:0", "--deliver=stdout:"]);
    command.args(["--admin=127.0.0.1:0"]).stdout(Stdio::piped());
    let mut serve = Serve::spawn(command.current_dir(directory.path()), directory);
    let admin = listening_address(serve.seen("admin endpoints").unwrap());
    assert_eq!(get(admin, "/readyz").code, 200);
    serve.close_stdout();
    let answer = get_until(admin, "/readyz", 503);
    assert!(
        answer
            .body
            .starts_with("mail cannot be delivered: cannot write to the standard output: "),
        "{}",
        answer.body
    );
}

const DOCUMENTATION: &str = include_str!("../../../docs/METRICS.md");

/// Those of the library have a test there.
#[test]
fn the_metrics_of_the_program_are_in_the_documentation() {
    let (_serve, admin) = crate::admin::start(&["--spool", "spool"]);
    let metrics = get(admin, "/metrics").body;
    let types = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "));
    let all: BTreeMap<&str, &str> = types.filter_map(|line| line.split_once(' ')).collect();
    let (library, program) = DOCUMENTATION
        .split_once("\n## What the program adds\n")
        .unwrap();
    let program = program.split("\n## ").next().unwrap();
    let rows = program.lines().filter(|line| line.starts_with("| `"));
    let documented: BTreeSet<(&str, &str)> = rows
        .map(|row| {
            let mut cells = row.split('|').map(|cell| cell.trim().trim_matches('`'));
            let name = cells.nth(1).unwrap();
            (name, cells.next().unwrap())
        })
        .collect();
    let of_the_library = |name: &str| library.contains(&format!("| `{name}` |"));
    let encoded: BTreeSet<(&str, &str)> = all
        .into_iter()
        .filter(|(name, _)| !of_the_library(name))
        .collect();
    assert_eq!(documented, encoded);
}

/// Mail only passes through there, and would fill it all the same.
#[test]
fn mail_is_refused_while_there_is_too_little_space_for_what_is_gathered() {
    for transport in TRANSPORTS {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("temporary");
        let Some(_mount) = Mount::new(&path, "size=8m,nr_inodes=5000") else {
            return;
        };
        let ballast = path.join("ballast");
        fs::write(&ballast, vec![0; 6 << 20]).unwrap();
        let file = format!("{FILE}temporary = 'temporary'\n");
        fs::write(directory.path().join("mail.toml"), file).unwrap();
        let mut command = prixfixe(&["serve", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0"]);
        command.args(["--config", "mail.toml", "--transport", transport]);
        let mut serve = Serve::spawn(command.current_dir(directory.path()), directory);
        let admin = listening_address(serve.seen("admin endpoints").unwrap());
        let mut client = Client::greeted(&serve);
        client.ask("EHLO client.example", "250");
        client.ask("MAIL FROM:<a@client.example>", "452 4.3.1 ");
        let ready = get(admin, "/readyz");
        assert_eq!(ready.code, 503);
        assert!(ready.body.contains("temporary"), "{}", ready.body);
        fs::remove_file(&ballast).unwrap();
        // A reload looks at once.
        serve.signal(Signal::HUP);
        serve.line("reloaded");
        assert_eq!(get(admin, "/readyz").code, 200);
        client.ask("MAIL FROM:<a@client.example>", "250");
    }
}
