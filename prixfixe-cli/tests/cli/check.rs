//! `prixfixe check`.

use std::fs::File;

use crate::harness::{prixfixe, run};

const DEFAULTS: &str = r#"# Where mail goes:
#   everybody: default (maildir:./mail)

domain = "localhost"
transport = "auto"
threads = 3

[limits]
max-connections = 100
connections-per-minute = 0
messages-per-minute = 0
max-idle-commands = 100
idle-timeout = 600
max-message-size = 10485760
max-recipients = 1000
max-errors = 10
command-timeout = 300
min-data-rate = 500
drain-timeout = 30
message-memory = 268435456

[tls]
self-signed = false
min-version = "1.2"
required = false
client-auth = "off"
handshake-timeout = 30
reload-interval = 60

[auth]
mode = "off"
sender = "any"

[accept]
domains = []
on-failure = "defer"
relay = "none"
bare-line-ends = "refuse"

[policy]
spf = "off"
dkim = "off"
dmarc = "off"
dns = []
timeout = 10
early-talker = "off"
client-name = false

[delivery]
target = "maildir:./mail"
timeout = 30
fsync = true
min-free = 15728640

[log]
format = "text"
level = "info"

[[listener]]
address = "localhost:2525"
"#;

#[test]
fn the_defaults_are_the_documented_ones() {
    assert_eq!(
        run(&mut prixfixe(&["check", "--threads=3"])),
        (0, DEFAULTS.to_owned(), String::new())
    );
}

#[test]
fn what_it_prints_is_a_configuration_file_for_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = [
        "check",
        "--listen=[::1]:0",
        "--listen-tls=127.0.0.1:0",
        "--tls-self-signed",
        "--threads=3",
    ];
    let (status, printed, _) = run(prixfixe(&arguments).env(
        "SMTP_ACCEPT_DOMAINS",
        "A.example.,*.b.example,bücher.example",
    ));
    assert_eq!(status, 0);
    assert_ne!(printed, DEFAULTS);
    std::fs::write(directory.path().join("mail.toml"), &printed).unwrap();
    let again = run(prixfixe(&["check", "--config", "mail.toml"]).current_dir(directory.path()));
    assert_eq!(again, (0, printed, String::new()));
}

fn check_file(file: &str) -> (i32, String, String) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("mail.toml"), file).unwrap();
    run(prixfixe(&["check", "--config", "mail.toml"]).current_dir(directory.path()))
}

const ROUTED: &str = r#"
[accept]
domains = ["example.com", "*.example.org", "example.net"]
[[target]]
name = "bus"
url = "nats://127.0.0.1/mail"
[[target]]
name = "keep"
url = "maildir:/var/mail/{domain}/{local}"
[[target]]
name = "store"
url = "s3://mail/in"
key = "{date}/{digest}"
[[route]]
recipients = ["bob@example.com", "abuse@", "@other.example"]
to = ["keep"]
[[route]]
recipients = ["@example.com", "@*.example.org"]
to = ["bus"]
[[route]]
recipients = ["ann@mx.example.org"]
to = ["store"]
"#;

#[test]
fn it_says_where_each_domain_goes_and_what_may_be_a_mistake() {
    let (status, printed, stderr) = check_file(ROUTED);
    assert_eq!(status, 0);
    let comments: Vec<&str> = printed
        .lines()
        .take_while(|it| it.starts_with('#'))
        .collect();
    assert_eq!(
        comments,
        [
            "# Where mail goes:",
            "#   domains below example.org: bus (nats://127.0.0.1/mail)",
            "#   example.com: bus (nats://127.0.0.1/mail)",
            "#   example.net: refused with 550 5.7.1, as no route has it",
            "#   other.example: refused with 550 5.7.1, as it is not in accept.domains",
            "#   abuse@ in every domain: keep (maildir:/var/mail/{domain}/{local})",
            "#   ann@mx.example.org: bus (nats://127.0.0.1/mail)",
            "#   bob@example.com: keep (maildir:/var/mail/{domain}/{local})",
            "#   everybody else: refused with 550 5.7.1, as it is not in accept.domains",
        ]
    );
    let warnings: Vec<&str> = stderr.lines().collect();
    let expected = [
        "the keys of `store` have a date or an id in them",
        "no route leads anywhere for example.net: 550 5.7.1",
        "a route is for other.example, which accept.domains refuses",
    ];
    assert_eq!(warnings.len(), expected.len(), "{stderr}");
    for (warning, expected) in warnings.iter().zip(expected) {
        assert!(warning.contains(expected), "{warning}");
    }
    let (status, again, _) = check_file(&printed);
    assert_eq!((status, again), (0, printed));
}

#[test]
fn it_warns_of_what_strangers_may_make_and_of_dsn_that_nobody_offers() {
    let create =
        "[[target]]\nname = 'a'\nurl = 'maildir:m/{local}'\ncreate = true\n[[route]]\nto = ['a']\n";
    let (status, _, stderr) = check_file(create);
    assert_eq!(status, 0);
    assert!(
        stderr.contains("`a` makes a Maildir for whatever recipient"),
        "{stderr}"
    );
    let bound = format!("accept.domains = ['example.com']\n{create}");
    assert_eq!(check_file(&bound).2, "");

    let pass = "[[listener]]\naddress = '127.0.0.1:0'\ndsn = 'pass'\n";
    let (_, _, stderr) = check_file(pass);
    assert!(
        stderr.contains("listener.dsn = \"pass\" offers nothing"),
        "{stderr}"
    );
    let next = format!("delivery.target = 'lmtp:127.0.0.1:24'\n{pass}");
    assert_eq!(check_file(&next).2, "");
}

/// What could end the comment, and with it be read as a key.
#[test]
fn a_target_cannot_write_into_what_is_printed() {
    let file = "delivery.target = \"maildir:x\\ntransport = 'raw'\\r\\u2028\"\n";
    let (status, printed, _) = check_file(file);
    assert_eq!(status, 0);
    assert!(printed.contains("transport = \"auto\"\n"), "{printed}");
    assert_eq!(check_file(&printed).1, printed);
}

/// A limit that nobody has set is said where a balancer's clients may share it, and nowhere else.
#[test]
fn it_warns_where_clients_may_share_an_address_under_the_default_limit() {
    let check = |arguments: &[&str]| run(&mut prixfixe(&[&["check"], arguments].concat()));
    for quiet in [
        &[][..],
        &["--listen=127.0.0.1:0,[::1]:0,localhost:0"],
        &["--listen=0.0.0.0:0", "--max-connections-per-client=0"],
        &["--listen=0.0.0.0:0", "--max-connections-per-client=9"],
        &["--listen=0.0.0.0:0", "--proxy-protocol-from=192.0.2.1"],
    ] {
        let (status, _, stderr) = check(quiet);
        assert_eq!((status, stderr.as_str()), (0, ""), "{quiet:?}");
    }
    let (status, printed, stderr) =
        check(&["--listen=127.0.0.1:0,0.0.0.0:2525", "--max-connections=11"]);
    assert_eq!(status, 0);
    assert_eq!(
        stderr,
        "prixfixe: warning: limits.max-connections-per-client is not set: on listener 0.0.0.0:2525 a client with a \
         public address has half of max-connections, 5 of 11. Behind a load balancer without the PROXY protocol all \
         clients share its address: set proxy-protocol-from, or max-connections-per-client\n"
    );
    assert!(!printed.contains("warning") && !printed.contains("per-client"));
}

#[test]
fn it_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(run(prixfixe(&["check"]).current_dir(directory.path())).0, 0);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_full_stdout_is_an_error() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = prixfixe(&["check"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        stderr,
        "prixfixe: cannot write to standard output: No space left on device (os error 28)\n"
    );
}
