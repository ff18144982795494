//! A Maildir for each recipient, over both transports, and Dovecot that reads them.

use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::harness::{Client, Serve, has, prixfixe, run};

fn start(transport: &str, target: &str) -> Serve {
    let directory = TempDir::new().unwrap();
    fs::write(
        directory.path().join("recipients"),
        "bob@example.com\ncyd@example.com\n@example.org\n",
    )
    .unwrap();
    let file = format!(
        "transport = '{transport}'\n\
         accept.domains = ['example.com', '*.example.com', 'example.org']\n\
         accept.recipients-file = 'recipients'\n\
         [[listener]]\naddress = '127.0.0.1:0'\n{target}"
    );
    fs::write(directory.path().join("mail.toml"), file).unwrap();
    let mut command = prixfixe(&["serve", "--config", "mail.toml"]);
    Serve::spawn(command.current_dir(directory.path()), directory)
}

/// What the client is told of each recipient, and of the message if anybody gets it.
fn send(serve: &Serve, to: &[&str]) -> Vec<String> {
    let mut client = Client::greeted(serve);
    client.ask("EHLO client.example", "250");
    client.ask("MAIL FROM:<ann@example.com> SMTPUTF8", "250");
    let mut told = Vec::new();
    for to in to {
        client.send(&format!("RCPT TO:<{to}>\r\n"));
        told.push(client.reply());
    }
    if told.iter().any(|reply| reply.starts_with("250")) {
        client.ask("DATA", "354");
        client.send("Message-ID: <1@example.com>\r\nSubject: hello\r\n\r\nA body.\r\n.\r\n");
        told.push(client.reply());
    }
    let codes = told.iter().map(|reply| reply[..9].to_owned());
    codes.collect()
}

fn files(maildir: &Path) -> usize {
    fs::read_dir(maildir.join("new")).map_or(0, Iterator::count)
}

const ROUTED: &str = "[[target]]\nname = 'boxes'\nurl = 'maildir:mail/{domain}/{local}'\nmode = '0640'\n\
     [[target]]\nname = 'drop'\nurl = 'discard:'\n\
     [[route]]\nrecipients = ['cyd@example.com']\nto = ['drop']\n\
     [[route]]\nto = ['boxes']\n";

fn each_known_recipient_has_a_maildir(transport: &str) {
    let serve = start(transport, ROUTED);
    let mail = serve.directory.path().join("mail");
    let told = send(&serve, &["Bob@example.com", "postmaster@example.com"]);
    assert_eq!(told, ["250 2.1.5", "250 2.1.5", "250 2.0.0"]);
    for stranger in [
        "dan@example.org",
        "postmaster@x.example.com",
        "../bob@example.org",
    ] {
        assert_eq!(send(&serve, &[stranger]), ["550 5.1.1"], "{stranger}");
    }
    assert_eq!(files(&mail.join("example.com/bob")), 1);
    assert_eq!(files(&mail.join("example.com/postmaster")), 1);
    assert!(!mail.join("example.org").exists());
    assert!(!mail.join("x.example.com").exists());
    // Whoever runs the server says who has one.
    fs::create_dir_all(mail.join("example.org/dan")).unwrap();
    assert_eq!(
        send(&serve, &["dan@example.org"]),
        ["250 2.1.5", "250 2.0.0"]
    );
    assert_eq!(files(&mail.join("example.org/dan")), 1);
}

#[test]
fn each_known_recipient_has_a_maildir_over_tokio() {
    each_known_recipient_has_a_maildir("tokio");
}

#[test]
fn each_known_recipient_has_a_maildir_over_raw() {
    each_known_recipient_has_a_maildir("raw");
}

/// Who has the message already does not get it again with the others'.
fn a_repeat_goes_to_those_who_have_it_not(transport: &str) {
    let serve = start(transport, ROUTED);
    let mail = serve.directory.path().join("mail/example.com");
    fs::create_dir_all(mail.join("bob")).unwrap();
    // No Maildir can be made of it.
    fs::write(mail.join("bob/new"), "").unwrap();
    let to = ["bob@example.com", "postmaster@example.com"];
    assert_eq!(send(&serve, &to), ["451 4.3.0", "250 2.1.5", "250 2.0.0"]);
    fs::remove_file(mail.join("bob/new")).unwrap();
    assert_eq!(send(&serve, &to), ["250 2.1.5", "250 2.1.5", "250 2.0.0"]);
    // At the end of the data alone it shows that nothing can be written.
    fs::remove_dir(mail.join("bob/tmp")).unwrap();
    fs::write(mail.join("bob/tmp"), "").unwrap();
    let told = send(&serve, &to);
    assert_eq!(told, ["250 2.1.5", "250 2.1.5", "451 4.3.0"]);
    let before = files(&mail.join("postmaster"));
    fs::remove_file(mail.join("bob/tmp")).unwrap();
    assert_eq!(send(&serve, &to), ["250 2.1.5", "250 2.1.5", "250 2.0.0"]);
    assert_eq!(files(&mail.join("postmaster")), before);
    assert_eq!(files(&mail.join("bob")), 2);
}

#[test]
fn a_repeat_goes_to_those_who_have_it_not_over_tokio() {
    a_repeat_goes_to_those_who_have_it_not("tokio");
}

#[test]
fn a_repeat_goes_to_those_who_have_it_not_over_raw() {
    a_repeat_goes_to_those_who_have_it_not("raw");
}

/// A name that a route spells out is known from a reload on, and a new mode holds from then on.
#[test]
fn a_reload_says_whose_maildirs_are_made() {
    use std::os::unix::fs::PermissionsExt;

    let mut serve = start("tokio", ROUTED);
    assert_eq!(send(&serve, &["eve@example.org"]), ["550 5.1.1"]);
    let path = serve.directory.path().join("mail.toml");
    let file = fs::read_to_string(&path).unwrap();
    let file = file.replace("'0640'", "'0660'");
    let route =
        "[[route]]\nrecipients = ['eve@example.org']\nto = ['boxes']\n[[route]]\nto = ['boxes']\n";
    let file = file.replace("[[route]]\nto = ['boxes']\n", route);
    fs::write(&path, file).unwrap();
    serve.signal(Signal::HUP);
    serve.line("changed");
    let told = send(&serve, &["eve@example.org"]);
    assert_eq!(told, ["250 2.1.5", "250 2.0.0"]);
    let new = serve.directory.path().join("mail/example.org/eve/new");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&new), 0o770);
    let file = fs::read_dir(&new).unwrap().next().unwrap().unwrap();
    assert_eq!(mode(&file.path()), 0o660);
}

#[test]
fn what_no_group_or_template_is_is_said() {
    for (target, problem) in [
        (
            "[[target]]\nname = 'a'\nurl = 'maildir:x/{user}'\n",
            "is none of {domain} and {local}",
        ),
        (
            "[[target]]\nname = 'a'\nurl = 'maildir:x'\ncreate = true\n",
            "target.create: is for a path with {domain} or {local} alone",
        ),
        (
            "[[target]]\nname = 'a'\nurl = 'maildir:x'\nmode = 'rw'\n",
            "`rw` is not a mode; give one like 0660",
        ),
        (
            "[[target]]\nname = 'a'\nurl = 'maildir:x'\ngroup = 'no-such-group-here'\n",
            "there is no such group",
        ),
        (
            "delivery.group = 'no-such-group-here'\n",
            "there is no such group",
        ),
    ] {
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join("mail.toml"), target).unwrap();
        let mut check = prixfixe(&["check", "--config", "mail.toml"]);
        let (status, _, stderr) = run(check.current_dir(directory.path()));
        assert_eq!(status, 2, "{target}");
        assert!(stderr.contains(problem), "{target}: {stderr}");
    }
}

/// As in docs/how-to/dovecot.md.
#[test]
fn dovecot_reads_the_maildirs() {
    if !has("doveadm") {
        return;
    }
    let serve = start("tokio", ROUTED);
    let told = send(&serve, &["bob@example.com"]);
    assert_eq!(told, ["250 2.1.5", "250 2.0.0"]);
    let folder = serve.directory.path();
    let configuration = folder.join("dovecot.conf");
    // Dovecot reads no mail of root's.
    let owner = match std::os::unix::fs::MetadataExt::uid(&fs::metadata(folder).unwrap()) {
        0 => 65534,
        user => user,
    };
    let mut give = Command::new("chown");
    give.arg("-R").arg(format!("{owner}")).arg(folder);
    assert!(give.status().unwrap().success());
    fs::write(
        &configuration,
        format!(
            "mail_location = maildir:{0}/mail/%d/%n\nfirst_valid_uid = 1\nmail_uid = {owner}\n\
             mail_gid = {owner}\nssl = no\nbase_dir = {0}/run\nlog_path = {0}/log\n",
            folder.display()
        ),
    )
    .unwrap();
    let fetched = Command::new("doveadm")
        .arg("-c")
        .arg(&configuration)
        .args(["fetch", "hdr.subject hdr.delivered-to", "all"])
        .env("USER", "bob@example.com")
        .env("HOME", folder)
        .output()
        .unwrap();
    let fetched = String::from_utf8_lossy(&fetched.stdout).into_owned()
        + &String::from_utf8_lossy(&fetched.stderr);
    assert!(fetched.contains("hdr.subject: hello"), "{fetched}");
    assert!(
        fetched.contains("hdr.delivered-to: bob@example.com"),
        "{fetched}"
    );
}
