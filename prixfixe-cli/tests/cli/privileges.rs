//! Giving up root's rights. Only root can show that: other users skip what needs it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use prixfixe_test_support::{SelfSigned, wait_until};
use rustix::process::{Signal, getuid};
use tempfile::TempDir;

use crate::admin::get;
use crate::harness::{Client, PROFILE, Serve, has, prixfixe, run};
use crate::restart::{beside, free_address, is_draining};

/// It has this number wherever it has this name in the test's environments; the binary asks the
/// system.
const NOBODY: &str = "nobody";

fn is_root() -> bool {
    let is_root = getuid().is_root();
    if !is_root {
        eprintln!("skipped: only root can become somebody else");
    }
    is_root
}

/// A directory that everybody may write to.
fn open_directory() -> TempDir {
    let directory = TempDir::new().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).unwrap();
    directory
}

fn start_as_nobody(arguments: &[&str], directory: TempDir) -> Serve {
    let common = [
        "serve",
        "--user",
        NOBODY,
        "--listen",
        "127.0.0.1:0",
        "--threads=3",
    ];
    let arguments = [&common, arguments].concat();
    let mut command = prixfixe(&arguments);
    Serve::spawn(command.current_dir(directory.path()), directory)
}

/// The numbers behind a name in `/proc/PID/status`.
fn status(serve: &Serve, name: &str) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{}/status", serve.process())).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .unwrap();
    line.split_whitespace()
        .map(|number| number.parse().unwrap())
        .collect()
}

#[test]
fn root_is_warned_of_unless_a_user_is_named() {
    let warning = "running as root, which nothing needs; set user=NAME, or start as another user";
    let is_root = getuid().is_root();
    // It comes before the server says where it listens.
    let warned = |serve: Serve| {
        serve
            .seen(warning)
            .is_some_and(|line| line.contains(" WARN "))
    };
    let discard = "--deliver=discard:";
    assert_eq!(warned(Serve::start(&[discard])), is_root);
    if is_root {
        assert!(!warned(start_as_nobody(&[discard], open_directory())));
        // Whoever names root means it.
        assert!(!warned(Serve::start(&[discard, "--user=root"])));
    }
}

#[test]
fn root_becomes_somebody_else_for_good() {
    if !is_root() {
        return;
    }
    for transport in ["tokio", "raw"] {
        let serve = start_as_nobody(&["--transport", transport], open_directory());
        assert!(
            serve
                .seen("root's rights are given up user=nobody")
                .is_some()
        );
        let user = status(&serve, "Uid:");
        assert_ne!(user[0], 0);
        // Real, effective, saved and file system user: the same one, and so for every group.
        assert_eq!(user, [user[0]; 4]);
        let group = status(&serve, "Gid:");
        assert_ne!(group[0], 0);
        assert_eq!(group, [group[0]; 4]);
        assert!(!status(&serve, "Groups:").contains(&0));
        let tasks = fs::read_dir(format!("/proc/{}/task", serve.process())).unwrap();
        for task in tasks {
            let text = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
            assert!(
                text.contains(&format!("Uid:\t{0}\t{0}\t{0}\t{0}\n", user[0])),
                "{text}"
            );
            assert!(text.contains("CapEff:\t0000000000000000\n"), "{text}");
        }

        // More of them than threads: each thread's socket is served.
        let mut clients: Vec<Client> = (0..30).map(|_| Client::greeted(&serve)).collect();
        for client in &mut clients {
            client.begin_message();
            client.ask("\r\n.", "250 2.0.0 ");
        }
        let maildir = serve.directory.path().join("mail");
        for path in ["", "new", "tmp", "cur"] {
            assert_eq!(fs::metadata(maildir.join(path)).unwrap().uid(), user[0]);
        }
        assert_eq!(serve.messages().len(), 30);
    }
}

/// Threads that ran before would make files as root, in a directory that the user owns.
#[test]
fn delivery_has_no_threads_before_the_process_is_somebody_else() {
    if !is_root() || !has("strace") {
        return;
    }
    let directory = open_directory();
    let calls = directory.path().join("calls");
    let mut command = Command::new("strace");
    command
        .args(["-D", "-f", "-qq", "-e", "trace=setuid,prctl,mkdir", "-o"])
        .arg(&calls)
        .arg(env!("CARGO_BIN_EXE_prixfixe"))
        .args(["serve", "--user", NOBODY, "--listen=127.0.0.1:0"]);
    let serve = Serve::spawn(command.current_dir(directory.path()), directory);
    Client::greeted(&serve).ask("NOOP", "250 ");
    let calls = fs::read_to_string(calls).unwrap();
    let place = |part: &str| {
        calls
            .find(part)
            .unwrap_or_else(|| panic!("{part}: {calls}"))
    };
    // It is named as it begins.
    assert!(place(" setuid(") < place("\"maildir-"), "{calls}");
    assert!(place(" mkdir(") < place(" setuid("), "{calls}");
    assert!(!calls[place("\"maildir-")..].contains(" mkdir("), "{calls}");
}

/// What it listens on again is root's as before: otherwise the kernel would not let root's
/// successor share the port.
#[test]
fn a_process_that_drains_as_somebody_else_lets_root_take_over() {
    if !is_root() {
        return;
    }
    let (address, admin) = (free_address(), free_address());
    let start = || {
        let directory = open_directory();
        let mut command = beside(address, admin, "tokio");
        command.args(["--user", NOBODY]);
        Serve::spawn(command.current_dir(directory.path()), directory)
    };
    let old = start();
    let mut client = Client::greeted(&old);
    client.begin_message();
    old.signal(Signal::TERM);
    wait_until("/readyz says so", || is_draining(admin));
    let new = start();
    let mut other = Client::greeted(&new);
    other.begin_message();
    other.ask("\r\n.", "250 2.0.0 ");
    drop(other);
    client.ask("\r\n.", "250 2.0.0 ");
    drop(client);
    assert_eq!(old.wait().0.code(), Some(0));
    assert_eq!(get(admin, "/readyz").code, 200);
    new.signal(Signal::TERM);
}

#[test]
fn a_key_for_root_alone_is_read_once_and_that_is_said() {
    if !is_root() {
        return;
    }
    let directory = open_directory();
    install(directory.path());
    fs::set_permissions(
        directory.path().join("key.pem"),
        Permissions::from_mode(0o600),
    )
    .unwrap();
    let arguments = [
        "--tls-cert=cert.pem",
        "--tls-key=key.pem",
        "--deliver=discard:",
    ];
    let mut serve = start_as_nobody(&arguments, directory);
    let warning =
        serve.seen("this user cannot read the certificates again: new ones need a restart");
    assert!(warning.unwrap().contains("key.pem"));

    serve.signal(Signal::HUP);
    let line = serve.line("the new configuration is bad; the old one stays");
    assert!(line.contains("key.pem"), "{line}");
    let mut client = Client::greeted(&serve);
    client.ask("EHLO client.example", "250 ");
    client.ask("STARTTLS", "220 ");
}

fn install(directory: &Path) {
    SelfSigned::new("mx.example").install(directory);
}

/// A build under a directory for root alone is out of reach for others.
fn others_can_run_it() -> bool {
    let can = prixfixe(&["--version"])
        .uid(65534)
        .gid(65534)
        .output()
        .is_ok();
    if !can {
        eprintln!("skipped: the binary is where only root can run it");
    }
    can
}

#[test]
fn who_is_not_root_stays_who_he_is() {
    if !is_root() || !others_can_run_it() {
        return;
    }
    let mut command = prixfixe(&["serve", "--user", "root", "--deliver=discard:"]);
    let (status, _, stderr) = run(command.uid(65534).gid(65534).env(PROFILE, "/dev/null"));
    assert_eq!(status, 2);
    let problem = "prixfixe: user root: only root can become another user; start as root or as root, or leave it out\n";
    assert_eq!(stderr, problem);

    let directory = open_directory();
    let mut command = prixfixe(&[
        "serve",
        "--user=65534",
        "--listen=127.0.0.1:0",
        "--deliver=discard:",
    ]);
    let serve = Serve::spawn(
        command.uid(65534).gid(65534).current_dir(directory.path()),
        directory,
    );
    Client::greeted(&serve).ask("NOOP", "250 ");
}

#[test]
fn a_user_that_is_not_there_is_named() {
    for subcommand in ["serve", "check"] {
        let (status, _, stderr) = run(&mut prixfixe(&[subcommand, "--user", "no-such-user"]));
        let problem = "prixfixe: user no-such-user: there is no such user; give one of this host\n";
        assert_eq!((status, stderr.as_str()), (2, problem));
    }
}
