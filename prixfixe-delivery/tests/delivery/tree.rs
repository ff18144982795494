//! A Maildir for each recipient.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use prixfixe_delivery::{
    AcceptRecipients, Maildirs, MaildirsOptions, MinFree, Outcomes, RecipientsFile, Target,
    hand_over,
};
use prixfixe_server::{Client, Envelope, Message};
use tempfile::TempDir;

const CONTENT: &str = "Subject: hello\r\n\r\nA body.\r\n";

fn options() -> MaildirsOptions {
    let mut options = MaildirsOptions::default();
    options.domain = "mx.example.com".to_owned();
    options
}

fn open(directory: &Path, options: MaildirsOptions) -> Maildirs {
    let template = format!("{}/{{domain}}/{{local}}", directory.display());
    Maildirs::open(template.parse().unwrap(), options).unwrap()
}

fn message(to: &[&str]) -> Message {
    let client = Client::builder().ehlo("client.example").build();
    let mut envelope = Envelope::builder().from("ann@example.com").unwrap();
    for to in to {
        envelope = envelope.to(to).unwrap();
    }
    Message::new(client, envelope.build(), [CONTENT])
}

/// What the client is told of each recipient.
async fn send(target: &dyn Target, to: &[&str]) -> Vec<String> {
    let outcomes = hand_over(target, message(to)).await.each_of(to.len());
    let told = outcomes.into_iter().map(|outcome| match outcome {
        Ok(_) => "250".to_owned(),
        Err(failure) => failure.reply().to_string(),
    });
    told.map(|text| text[..text.len().min(9)].to_owned())
        .collect()
}

fn mail(maildir: PathBuf) -> Vec<String> {
    let Ok(files) = fs::read_dir(maildir.join("new")) else {
        return Vec::new();
    };
    let read = |file: std::io::Result<fs::DirEntry>| fs::read_to_string(file.unwrap().path());
    files.map(|file| read(file).unwrap()).collect()
}

fn make(maildir: &Path) {
    for part in ["tmp", "new", "cur"] {
        fs::create_dir_all(maildir.join(part)).unwrap();
    }
}

#[tokio::test]
async fn each_recipient_has_a_copy_that_names_no_other() {
    let directory = TempDir::new().unwrap();
    let root = directory.path();
    let mut options = options();
    options.create = true;
    let maildirs = open(root, options);
    let names: Vec<String> = (0..20).map(|it| format!("user{it}@example.com")).collect();
    let mut all: Vec<&str> = names.iter().map(String::as_str).collect();
    all.push("Ann@b\u{fc}cher.example");
    assert_eq!(send(&maildirs, &all).await, vec!["250"; all.len()]);
    for name in &all {
        let (local, domain) = name.split_once('@').unwrap();
        let domain = domain.replace("b\u{fc}cher", "xn--bcher-kva");
        let mail = mail(root.join(domain).join(local.to_lowercase()));
        let [copy] = &*mail else {
            panic!("{name}: {mail:?}")
        };
        assert!(copy.starts_with("Return-Path: <ann@example.com>\r\nDelivered-To: "));
        assert_eq!(copy.matches("Delivered-To: ").count(), 1, "{copy}");
        assert!(copy.ends_with(CONTENT));
    }
    // A single recipient's streams, and ends up alike.
    assert_eq!(send(&maildirs, &["user0@example.com"]).await, ["250"]);
    assert_eq!(mail(root.join("example.com/user0")).len(), 2);
}

#[tokio::test]
async fn who_writes_a_name_in_two_ways_gets_one_copy() {
    let directory = TempDir::new().unwrap();
    let mut options = options();
    options.create = true;
    let maildirs = open(directory.path(), options);
    let to = ["Bob@example.com", "bob@EXAMPLE.com", "ann@example.com"];
    assert_eq!(send(&maildirs, &to).await, ["250"; 3]);
    let mail = mail(directory.path().join("example.com/bob"));
    assert_eq!(mail.len(), 1);
    assert_eq!(mail[0].matches("Delivered-To: ").count(), 2);
}

#[tokio::test]
async fn strangers_make_no_directories() {
    let directory = TempDir::new().unwrap();
    let root = directory.path();
    let list = root.join("recipients");
    fs::write(&list, "known@example.com\n@example.org\n").unwrap();
    let mut options = options();
    options.recipients = AcceptRecipients::default();
    let file = RecipientsFile::open(&list).unwrap();
    options.recipients.set_file(Some(file));
    let routed = ["routed@example.com", "@example.net", "abuse@"];
    let routed = routed.map(|pattern| pattern.parse().unwrap());
    options.recipients.set_named(routed);
    let mail = root.join("mail");
    make(&mail.join("example.org/there"));
    let maildirs = open(&mail, options);
    for (to, told) in [
        ("known@example.com", "250"),
        ("Known@EXAMPLE.com", "250"),
        ("routed@example.com", "250"),
        ("there@example.org", "250"),
        ("postmaster", "250"),
        ("postmaster@mx.example.com", "250"),
        ("postmaster@example.com", "550 5.1.1"),
        ("stranger@example.org", "550 5.1.1"),
        ("stranger@example.net", "550 5.1.1"),
        ("abuse@example.com", "550 5.1.1"),
        ("../there@example.org", "550 5.1.1"),
        ("\"\"@example.org", "550 5.1.1"),
    ] {
        assert_eq!(send(&maildirs, &[to]).await, [told], "{to}");
    }
    let mut made = Vec::new();
    for domain in fs::read_dir(&mail).unwrap() {
        for local in fs::read_dir(domain.unwrap().path()).unwrap() {
            let local = local.unwrap().path();
            made.push(local.strip_prefix(&mail).unwrap().display().to_string());
        }
    }
    made.sort();
    let expected = [
        "example.com/known",
        "example.com/routed",
        "example.org/there",
        "mx.example.com/postmaster",
    ];
    assert_eq!(made, expected);
}

#[tokio::test]
async fn one_maildir_that_is_broken_is_no_fault_of_the_others() {
    let directory = TempDir::new().unwrap();
    let root = directory.path();
    let mut options = options();
    options.create = true;
    let maildirs = open(root, options);
    fs::create_dir(root.join("example.com")).unwrap();
    fs::write(root.join("example.com/broken"), "no directory").unwrap();
    let to = ["ann@example.com", "broken@example.com", "bob@example.com"];
    assert_eq!(send(&maildirs, &to).await, ["250", "451 4.3.0", "250"]);
    assert!(maildirs.health().fault().is_none());
    for local in ["ann", "bob"] {
        assert_eq!(mail(root.join("example.com").join(local)).len(), 1);
    }
}

#[tokio::test]
async fn what_is_missing_in_a_maildir_is_made_but_never_their_directory() {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("mail");
    let mut options = options();
    options.create = true;
    let maildirs = open(&root, options);
    assert_eq!(send(&maildirs, &["ann@example.com"]).await, ["250"]);
    let ann = root.join("example.com/ann");
    fs::remove_dir_all(ann.join("new")).unwrap();
    fs::remove_dir_all(ann.join("tmp")).unwrap();
    assert_eq!(send(&maildirs, &["ann@example.com"]).await, ["250"]);
    assert_eq!(mail(ann).len(), 1);
    // It may have been where a file system was mounted.
    fs::rename(&root, directory.path().join("away")).unwrap();
    assert_eq!(send(&maildirs, &["ann@example.com"]).await, ["451 4.3.0"]);
    assert!(!root.exists());
    fs::create_dir(&root).unwrap();
    fs::remove_dir(&root).unwrap();
    fs::rename(directory.path().join("away"), &root).unwrap();
    assert_eq!(send(&maildirs, &["ann@example.com"]).await, ["250"]);
}

#[tokio::test]
async fn files_have_the_mode_and_the_group_that_were_asked_for() {
    let directory = TempDir::new().unwrap();
    let root = directory.path();
    let modes = |path: &Path| {
        let found = fs::metadata(path).unwrap();
        (found.permissions().mode() & 0o777, found.gid())
    };
    let of_file = |box_path: &Path| {
        let file = fs::read_dir(box_path.join("new")).unwrap().next().unwrap();
        modes(&file.unwrap().path())
    };
    let own = nix_group(root);
    for (name, mode, file_mode, directory_mode) in [
        ("usual", None, 0o600, 0o700),
        ("read", Some(0o640), 0o640, 0o750),
        ("write", Some(0o660), 0o660, 0o770),
        ("odd", Some(0o004), 0o604, 0o705),
    ] {
        let mut options = options();
        options.create = true;
        options.maildir.mode = mode;
        options.maildir.group = mode.map(|_| own);
        let maildirs = open(&root.join(name), options);
        assert_eq!(send(&maildirs, &["ann@example.com"]).await, ["250"]);
        let ann = root.join(name).join("example.com/ann");
        assert_eq!(of_file(&ann), (file_mode, own), "{name}");
        for part in [&ann, &ann.join("new"), &root.join(name).join("example.com")] {
            assert_eq!(modes(part), (directory_mode, own), "{name} {part:?}");
        }
    }
}

/// The group of what is made here.
fn nix_group(directory: &Path) -> u32 {
    fs::metadata(directory).unwrap().gid()
}

#[tokio::test]
async fn a_file_system_of_a_domains_own_has_its_own_free_space() {
    // Another one than that of temporary files, where there is one.
    let Ok(elsewhere) = TempDir::new_in("/dev/shm") else {
        return;
    };
    let directory = TempDir::new().unwrap();
    let device = |path: &Path| fs::metadata(path).unwrap().dev();
    if device(elsewhere.path()) == device(directory.path()) {
        return;
    }
    symlink(elsewhere.path(), directory.path().join("example.org")).unwrap();
    let mut options = options();
    options.create = true;
    let maildirs = open(directory.path(), options);
    assert_eq!(send(&maildirs, &["ann@example.org"]).await, ["250"]);
    assert_eq!(maildirs.storage().len(), 2);
    maildirs.set_min_free(MinFree::bytes(u64::MAX));
    let to = ["ann@example.org", "ann@example.com"];
    assert_eq!(send(&maildirs, &to).await, ["452 4.3.1", "250"]);
}

#[tokio::test]
async fn the_outcomes_are_the_recipients_own() {
    let directory = TempDir::new().unwrap();
    let mut options = options();
    options.create = true;
    let maildirs = open(directory.path(), options);
    let outcomes = hand_over(&maildirs, message(&["ann@example.com", "bob@example.com"])).await;
    assert!(matches!(outcomes, Outcomes::Each(each) if each.len() == 2));
    assert!(!maildirs.is_local());
}
