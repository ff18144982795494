//! SIGHUP: what changes while the server runs.

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::harness::{Client, Serve, prixfixe};

/// A server with a file that a test writes anew.
struct Reloading {
    serve: Serve,
    file: PathBuf,
}

impl Reloading {
    fn start(text: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("mail.toml");
        fs::write(&file, with_listener(text)).unwrap();
        let mut command = prixfixe(&["serve", "--config", "mail.toml"]);
        let serve = Serve::spawn(command.current_dir(directory.path()), directory);
        Self { serve, file }
    }

    /// Writes the file and has it read; the lines that tell of it, without those of clients, up to
    /// the one with this in it.
    fn reload(&mut self, text: &str, last: &str) -> Vec<String> {
        fs::write(&self.file, with_listener(text)).unwrap();
        self.hang_up(last)
    }

    fn hang_up(&mut self, last: &str) -> Vec<String> {
        self.serve.signal(Signal::HUP);
        let mut lines = Vec::new();
        loop {
            let line = self.serve.line("");
            // A line of text begins with its time.
            let line = line.split_once(' ').map_or(line.as_str(), |(_, rest)| rest);
            if !line.contains(" peer=") && !line.contains("\"peer\":") {
                lines.push(line.trim_start().to_owned());
            }
            if line.contains(last) {
                return lines;
            }
        }
    }
}

/// Keys of the top come first in a file.
fn with_listener(text: &str) -> String {
    format!("{text}\n[[listener]]\naddress = '127.0.0.1:0'\n")
}

const DISCARD: &str = "delivery.target = 'discard:'\n";

#[test]
fn limits_and_names_change_for_new_connections() {
    let mut server = Reloading::start(DISCARD);
    let mut old = Client::greeted(&server.serve);
    let lines = server.reload(
        &format!(
            "domain = 'new.example'\n{DISCARD}accept.domains = ['here.example']\n\
             limits = {{ max-connections = 2, max-message-size = 1000, max-errors = 1 }}\n"
        ),
        "reloaded",
    );
    assert_eq!(
        lines,
        [
            "INFO  changed key=accept.domains old=[] new=\"[\\\"here.example\\\"]\"",
            "INFO  changed key=delivery.min-free old=15728640 new=1500",
            "INFO  changed key=domain old=localhost new=new.example",
            "INFO  changed key=limits.max-connections old=100 new=2",
            "INFO  changed key=limits.max-errors old=10 new=1",
            "INFO  changed key=limits.max-message-size old=10485760 new=1000",
            "INFO  reloaded",
        ]
    );
    old.ask("EHLO client.example", "250 ");
    old.ask("MAIL FROM:<a@b.example> SIZE=1001", "250 ");
    // What recipients are accepted changes with the next transaction.
    old.ask("RCPT TO:<a@elsewhere.example>", "550 5.7.1 ");
    old.ask("RCPT TO:<a@here.example>", "250 ");

    let mut new = server.serve.connect();
    assert_eq!(new.reply(), "220 new.example ESMTP PrixFixe");
    assert!(server.serve.connect().reply().starts_with("421 4.3.2 "));
    new.ask("EHLO client.example", "250 ");
    new.ask("MAIL FROM:<a@b.example> SIZE=1001", "552 5.3.4 ");
    new.ask("MAIL FROM:<a@b.example>", "250 ");
    new.ask("RCPT TO:<a@elsewhere.example>", "550 5.7.1 ");
    new.ask("RCPT TO:<a@here.example>", "250 ");
}

#[test]
fn what_one_client_may_do_changes_for_new_connections() {
    let mut server = Reloading::start(DISCARD);
    let mut old = Client::greeted(&server.serve);
    let lines = server.reload(
        &format!(
            "{DISCARD}accept.bare-line-ends = 'repair'\nlimits.max-connections-per-client = 2\n\
             limits.max-idle-commands = 2\nlimits.idle-timeout = '5m'\n"
        ),
        "reloaded",
    );
    assert_eq!(
        lines,
        [
            "INFO  changed key=accept.bare-line-ends old=refuse new=repair",
            "INFO  changed key=limits.idle-timeout old=600 new=300",
            "INFO  changed key=limits.max-connections-per-client old=unset new=2",
            "INFO  changed key=limits.max-idle-commands old=100 new=2",
            "INFO  reloaded",
        ]
    );
    let message = |client: &mut Client, reply: &str| {
        client.ask("MAIL FROM:<a@b.example>", "250 ");
        client.ask("RCPT TO:<a@here.example>", "250 ");
        client.ask("DATA", "354 ");
        client.ask("a\nb\r\n.", reply);
    };
    old.ask("HELO client.example", "250 ");
    message(&mut old, "550 5.5.2 ");

    let mut new = Client::greeted(&server.serve);
    new.ask("HELO client.example", "250 ");
    message(&mut new, "250 2.0.0 ");
    let _second = Client::greeted(&server.serve);
    assert!(server.serve.connect().reply().starts_with("421 4.7.0 "));
    for client in [&mut old, &mut new] {
        client.ask("NOOP", "250 ");
        client.ask("NOOP", "250 ");
    }
    old.ask("NOOP", "250 ");
    new.ask("NOOP", "421 4.7.0 ");
}

#[test]
fn what_must_wait_is_named_every_time_until_it_is_taken_back() {
    let mut server = Reloading::start(DISCARD);
    let elsewhere = "threads = 3\ntransport = 'raw'\ndelivery.target = 'discard:'\n";
    let cores = std::thread::available_parallelism().unwrap().get();
    for _ in 0..2 {
        let lines = server.reload(elsewhere, "reloaded");
        let waits = "WARN  this change takes effect at the next start";
        assert_eq!(
            lines,
            [
                format!("{waits} key=threads old={cores} new=3"),
                format!("{waits} key=transport old=auto new=raw"),
                "INFO  reloaded".to_owned(),
            ]
        );
    }
    assert_eq!(server.reload(DISCARD, "reloaded"), ["INFO  reloaded"]);
}

#[test]
fn targets_and_routes_change_for_new_transactions() {
    let mut server = Reloading::start(DISCARD);
    let mut client = Client::greeted(&server.serve);
    client.ask("HELO client.example", "250");
    client.ask("MAIL FROM:<>", "250");
    client.ask("RCPT TO:<ann@example.com>", "250");
    // The routes that a transaction began with are its routes.
    let routed = "[[target]]\nname = 'keep'\nurl = 'maildir:kept'\n\
                  [[route]]\nrecipients = ['@example.com']\nto = ['keep']\n";
    server.reload(routed, "reloaded");
    client.ask("RCPT TO:<ann@example.org>", "250");
    client.ask("RSET", "250");
    client.ask("MAIL FROM:<>", "250");
    client.ask("RCPT TO:<ann@example.org>", "550 5.7.1");
    client.ask("RCPT TO:<ann@example.com>", "250");
    client.ask("DATA", "354");
    client.send("Hello\r\n.\r\n");
    assert!(client.reply().starts_with("250"));
    let kept = server.file.with_file_name("kept").join("new");
    assert_eq!(fs::read_dir(kept).unwrap().count(), 1);

    // What cannot be opened changes nothing.
    let bad = routed.replace("maildir:kept", "maildir:mail.toml/kept");
    let lines = server.reload(&bad, "the old one stays");
    assert!(lines[0].contains("[[target]] keep: "), "{lines:#?}");
    client.ask("MAIL FROM:<>", "250");
    client.ask("RCPT TO:<ann@example.com>", "250");
    client.ask("RSET", "250");
    server.reload(
        "[[route]]\nto = ['default']\ndelivery.target = 'discard:'\n",
        "the old one stays",
    );
}

#[test]
fn recipients_of_a_file_are_accepted_and_no_others() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("recipients");
    fs::write(&file, "ann@example.com\n@example.org\n").unwrap();
    let accept = format!("{DISCARD}accept.recipients-file = '{}'\n", file.display());
    let mut server = Reloading::start(&accept);
    let mut client = Client::greeted(&server.serve);
    client.ask("HELO client.example", "250");
    client.ask("MAIL FROM:<>", "250");
    client.ask("RCPT TO:<ann@example.com>", "250");
    client.ask("RCPT TO:<bob@example.org>", "250");
    client.ask("RCPT TO:<bob@example.com>", "550 5.1.1");
    client.ask("RCPT TO:<postmaster>", "250");
    server.reload(DISCARD, "reloaded");
    // A transaction is judged by what was set when it began, as its route is.
    client.ask("RCPT TO:<bob@example.com>", "550 5.1.1");
    client.ask("RSET", "250");
    client.ask("MAIL FROM:<>", "250");
    client.ask("RCPT TO:<bob@example.com>", "250");
}

#[test]
fn a_bad_configuration_changes_nothing() {
    let mut server = Reloading::start(DISCARD);
    let bad = [
        (
            "domain = 'new.example'\nlimits.max-errors = 'x'\n",
            "mail.toml:2: limits.max-errors: ",
        ),
        (
            "domain = 'new.example'\ntls = { cert = 'none.pem', key = 'none.pem' }\n",
            "none.pem",
        ),
    ];
    for (text, cause) in bad {
        let lines = server.reload(text, "the old one stays");
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(
            lines[0].starts_with("ERROR the new configuration is bad;"),
            "{lines:#?}"
        );
        assert!(lines[0].contains(cause), "{lines:#?}");
        let mut client = server.serve.connect();
        assert_eq!(client.reply(), "220 localhost ESMTP PrixFixe");
    }
}

/// The listener where clients must log in would come with the next start, the recipients from
/// anywhere at once.
#[test]
fn a_reload_does_not_open_a_relay_until_the_next_start() {
    let relay = "delivery.target = 'smtp:127.0.0.1:9'\n";
    let bound = format!("accept.domains = ['example.com']\n{relay}");
    let mut server = Reloading::start(&bound);
    let login = "tls.self-signed = true\nauth.users = '/dev/null'\nauth.mode = 'offer'\n";
    let required = format!(
        "{login}{relay}[[listener]]\naddress = '0.0.0.0:0'\nauth = 'require'\n[[target]]\nname = 'x'\nurl = 'discard:'\n"
    );
    let lines = server.reload(&required, "the old one stays");
    let cause = "until the next start `smtp:127.0.0.1:9` passes mail on to anybody";
    assert!(lines[0].contains(cause), "{lines:#?}");
    let mut client = Client::greeted(&server.serve);
    client.ask("HELO client.example", "250");
    client.ask("MAIL FROM:<ann@example.net>", "250");
    client.ask("RCPT TO:<bob@example.org>", "550 5.7.1");
}

#[test]
fn tls_comes_changes_and_goes() {
    let mut server = Reloading::start(DISCARD);
    let starttls = |server: &Reloading, expected: &str| {
        let mut client = Client::greeted(&server.serve);
        client.ask("EHLO client.example", "250 ");
        client.ask("STARTTLS", expected);
    };
    starttls(&server, "502 5.5.1 ");

    let on = format!("{DISCARD}[tls]\nself-signed = true\nrequired = true\n");
    let lines = server.reload(&on, "reloaded");
    assert!(
        lines.contains(&"INFO  new certificates are in use".to_owned()),
        "{lines:#?}"
    );
    starttls(&server, "220 ");
    let mut client = Client::greeted(&server.serve);
    client.ask("EHLO client.example", "250 ");
    client.ask("MAIL FROM:<>", "530 5.7.0 ");

    // The policy around it is a new certificate, what else is said of TLS is not.
    let newest = format!("{on}min-version = '1.3'\n");
    let lines = server.reload(&newest, "reloaded");
    assert!(
        lines.contains(&"INFO  new certificates are in use".to_owned()),
        "{lines:#?}"
    );
    let lines = server.reload(&format!("{newest}reload-interval = 0\n"), "reloaded");
    assert!(
        lines.contains(&"INFO  certificates are unchanged".to_owned()),
        "{lines:#?}"
    );

    let lines = server.reload(DISCARD, "reloaded");
    assert!(
        lines.contains(&"INFO  changed key=tls.self-signed old=true new=false".to_owned()),
        "{lines:#?}"
    );
    starttls(&server, "502 5.5.1 ");
}

#[test]
fn a_listener_with_tls_first_keeps_its_certificates() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("mail.toml");
    let clear = with_listener(DISCARD);
    let implicit = "tls = 'implicit'\n[tls]\nself-signed = true\n";
    fs::write(
        &file,
        format!("{clear}[[listener]]\naddress = '127.0.0.1:0'\n{implicit}"),
    )
    .unwrap();
    let mut command = prixfixe(&["serve", "--config", "mail.toml"]);
    let serve = Serve::spawn(command.current_dir(directory.path()), directory);
    let mut server = Reloading { serve, file };
    server.serve.line("listening");
    let lines = server.reload(DISCARD, "reloaded");
    for key in ["listener", "tls.self-signed"] {
        let waits = format!("WARN  this change takes effect at the next start key={key} ");
        assert!(
            lines.iter().any(|line| line.starts_with(&waits)),
            "{lines:#?}"
        );
    }
    let mut client = Client::greeted(&server.serve);
    client.ask("EHLO client.example", "250 ");
    client.ask("STARTTLS", "220 ");
}

/// All but where it listens, and who may connect to it.
#[test]
fn what_is_said_of_a_listener_changes_for_new_connections() {
    let text = |own: &str| {
        format!("{DISCARD}tls.self-signed = true\n[[listener]]\naddress = '127.0.0.2:0'\n{own}\n")
    };
    let mut server = Reloading::start(&text(""));
    let changing = server.serve.address();
    let second = server.serve.line("listening");
    let second = crate::harness::listening_address(&second);
    let mut old = Client::connect(changing);
    assert!(old.reply().starts_with("220 "));
    let reload = |server: &mut Reloading, own: &str| {
        let lines = server.reload(&text(own), "reloaded");
        let has = |part: &str| lines.iter().any(|line| line.contains(part));
        assert!(
            has("changed key=listener ") && !has("next start"),
            "{lines:#?}"
        );
        Client::connect(changing)
    };

    let mut client = reload(&mut server, "proxy-protocol-from = ['127.0.0.0/8']");
    client.send("PROXY TCP4 192.0.2.7 192.0.2.1 40112 25\r\n");
    assert!(client.reply().starts_with("220 "));
    let mut client = reload(&mut server, "xclient-from = ['127.0.0.0/8']");
    assert!(client.reply().starts_with("220 "));
    client.ask("EHLO client.example", "250 ");
    client.ask("XCLIENT ADDR=192.0.2.7", "220 ");
    let mut client = reload(&mut server, "protocol = 'lmtp'");
    assert!(client.reply().starts_with("220 "));
    client.ask("LHLO client.example", "250 ");
    let mut client = reload(&mut server, "tls = 'implicit'");
    client.send("EHLO client.example\r\n");
    assert_eq!(client.reply(), "554 5.5.1 TLS comes first on this port");

    old.ask("EHLO client.example", "250 ");
    old.ask("XCLIENT ADDR=192.0.2.7", "550 ");
    assert!(Client::connect(second).reply().starts_with("220 "));
}

#[test]
fn the_log_changes_level_and_format() {
    let mut server = Reloading::start(DISCARD);
    let log = |level: &str| {
        format!(
            "{DISCARD}accept.domains = ['here.example']\nlog = {{ level = '{level}', format = 'json' }}\n"
        )
    };
    server.reload(&log("debug"), r#""message":"reloaded""#);
    let changed =
        r#""level":"INFO","message":"changed","key":"log.level","old":"info","new":"debug"}"#;
    assert!(server.serve.seen(changed).is_some());
    let mut client = Client::greeted(&server.serve);
    client.ask("EHLO client.example", "250 ");
    client.ask("MAIL FROM:<>", "250 ");
    client.ask("RCPT TO:<a@elsewhere.example>", "550 5.7.1 ");
    server.serve.line(r#""level":"INFO","message":"refused""#);
    // Who leaves without a command is of interest to nobody else.
    drop(Client::greeted(&server.serve));
    server
        .serve
        .line(r#""level":"DEBUG","message":"connection""#);

    // What changes to silence is told before it.
    server.reload(
        &log("error"),
        r#""key":"log.level","old":"debug","new":"error"}"#,
    );
    client.ask("QUIT", "221 ");
    client.assert_closed();
    let lines = server.reload("domain = 5\n", "the old one stays");
    assert_eq!(lines.len(), 1, "{lines:#?}");
}

#[test]
fn fsync_is_switched_while_mail_comes_in() {
    let mut server = Reloading::start("delivery.fsync = true\n");
    for fsync in [false, true] {
        let lines = server.reload(&format!("delivery.fsync = {fsync}\n"), "reloaded");
        let changed = format!(
            "INFO  changed key=delivery.fsync old={} new={fsync}",
            !fsync
        );
        assert_eq!(lines, [&changed, "INFO  reloaded"]);
        let mut client = Client::greeted(&server.serve);
        client.begin_message();
        client.ask("\r\n.", "250 2.0.0 ");
    }
    assert_eq!(server.serve.messages().len(), 2);
}

#[test]
fn a_storm_of_hangups_is_harmless() {
    let patient = format!("{DISCARD}limits.max-idle-commands = 0\n");
    let mut server = Reloading::start(&patient);
    let mut client = Client::greeted(&server.serve);
    for round in 1..=200 {
        let text = format!("{patient}limits.max-errors = {round}\n");
        fs::write(&server.file, with_listener(&text)).unwrap();
        server.serve.signal(Signal::HUP);
        client.ask("NOOP", "250 ");
    }
    // The last file is the one in force, whichever of the signals were one.
    while !server
        .serve
        .line("changed key=limits.max-errors")
        .ends_with(" new=200")
    {}
    server.serve.line("reloaded");
    server.serve.signal(Signal::TERM);
    server.serve.signal(Signal::HUP);
    assert!(client.reply().starts_with("421 4.3.2 "));
    assert_eq!(server.serve.wait().0.code(), Some(0));
}

/// Whether logins are required, everywhere and at one listener, and who checks them.
#[test]
fn logins_change_for_new_connections() {
    let directory = TempDir::new().unwrap();
    let users = ["first", "second"].map(|name| directory.path().join(name));
    for file in &users {
        fs::write(file, "").unwrap();
    }
    let text = |mode: &str, own: &str, file: &PathBuf| {
        format!(
            "{DISCARD}[auth]\nmode = '{mode}'\nusers = '{}'\n[tls]\nself-signed = true\n\
             [[listener]]\naddress = '127.0.0.1:0'\n{own}",
            file.display()
        )
    };
    let mut server = Reloading::start(&text("off", "auth = 'off'", &users[0]));
    let open = server.serve.address();
    let second = server.serve.line("listening");
    let second = crate::harness::listening_address(&second);
    let mail = |address, expected: &str| {
        let mut client = Client::connect(address);
        assert!(client.reply().starts_with("220 "));
        client.ask("EHLO client.example", "250 ");
        client.ask("MAIL FROM:<a@client.example>", expected);
    };
    mail(open, "250 ");
    mail(second, "250 ");
    let lines = server.reload(&text("require", "auth = 'off'", &users[1]), "reloaded");
    assert!(
        lines.iter().any(|line| line.contains("users file read")),
        "{lines:?}"
    );
    mail(open, "250 ");
    mail(second, "530 5.7.0 ");
    server.reload(&text("off", "auth = 'require'", &users[1]), "reloaded");
    mail(open, "530 5.7.0 ");
    mail(second, "250 ");
    server.reload(&text("require", "", &users[1]), "reloaded");
    mail(open, "530 5.7.0 ");
    mail(second, "530 5.7.0 ");
}
