//! Targets, routes, and the relay that is not open to everybody.

use super::*;
use crate::differences;

fn problem(file: &str) -> String {
    load(file, &[], &[]).unwrap_err().to_string()
}

#[test]
fn a_mistake_in_a_target_or_a_route_names_its_line_and_what_mends_it() {
    for (file, expected) in [
        (
            "[[target]]\nname = 'a'",
            ":1: target.url: has no url; add url = \"maildir:PATH\", say",
        ),
        (
            "[[target]]\nurl = 'discard:'",
            ":1: target.name: has no name; add name = \"NAME\"",
        ),
        (
            "[[target]]\nname = 'a b'\nurl = 'discard:'",
            ":2: target.name: `a b` is no name for a target; give up to 64 letters, digits, - and _",
        ),
        (
            "[[target]]\nname = 'default'\nurl = 'discard:'",
            ":2: target.name: `default` is the name of another target; give each its own",
        ),
        (
            "[[target]]\nname = 'a'\nurl = 'discard:'\nargs = ['x']",
            ":4: target.args: is nothing that a target of the kind discard: takes",
        ),
        (
            "[[target]]\nname = 'a'\nurl = 'discard:'\nkonkurrency = 3",
            ":4: target.konkurrency: unknown key; did you mean `target.concurrency`?",
        ),
        (
            "[[route]]\nrecipients = ['@example.com']",
            ":1: route.to: leads nowhere; add to = [\"NAME\"]",
        ),
        (
            "[[route]]\nto = ['nobody']",
            ":2: route.to: `nobody` is no target; give one of default",
        ),
        (
            "[[target]]\nname = 'a'\nurl = 'discard:'\n[[route]]\nto = ['a', 'default']",
            ":5: route.to: more than one target needs a spool; give one, or set spool.path or spool.url",
        ),
        (
            "[[route]]\nrecipients = ['example.com']\nto = ['default']",
            ":2: route.recipients: \"example.com\" names no recipients: write bob@example.com, abuse@, @example.com or @*.example.com",
        ),
    ] {
        let problem = problem(file);
        assert!(problem.ends_with(expected), "{file}\n{problem}");
    }
}

#[test]
fn only_what_a_route_leads_to_is_opened() {
    let names = |file: &str| {
        let configuration = load(file, &[], &[]).unwrap();
        let targets = configuration.routed_targets().into_iter();
        targets.map(|it| it.name).collect::<Vec<_>>()
    };
    let target = "[[target]]\nname = 'a'\nurl = 'discard:'\n";
    assert_eq!(names(""), ["default"]);
    assert_eq!(names(target), ["default"]);
    assert_eq!(names(&format!("{target}[[route]]\nto = ['a']")), ["a"]);
    assert_eq!(names(&format!("delivery.target = 'a'\n{target}")), ["a"]);
    let problem = problem(&format!("delivery.target = 'b'\n{target}"));
    assert!(
        problem
            .ends_with("`b` is no target of the file, and no kind of target; give maildir:b, say"),
        "{problem}"
    );
}

#[test]
fn a_target_waits_as_long_as_all_unless_it_says_else() {
    let file =
        "delivery.timeout = 7\n[[target]]\nname = 'a'\nurl = 'discard:'\n[[route]]\nto = ['a']";
    let configuration = load(file, &[], &[]).unwrap();
    let target = &configuration.routed_targets()[0];
    assert_eq!(target.timeout.map(|it| it.get().as_secs()), Some(7));
}

#[test]
fn with_a_spool_a_route_may_lead_to_several_targets() {
    let file = |to: &str| {
        format!(
            "[spool]\npath = '/var/spool/x'\n[[target]]\nname = 'a'\nurl = 'discard:'\n[[route]]\nto = {to}"
        )
    };
    let both = load(&file("['a', 'default']"), &[], &[]).unwrap();
    assert_eq!(both.routed_targets().len(), 2);
    assert!(!both.is_routed_apart());
    let ways = both.ways();
    assert!(
        ways.contains("everybody: a (discard:) and default (maildir:./mail)"),
        "{ways}"
    );
    for (to, expected) in [
        (
            "['a', 'b']",
            ":7: route.to: `b` is no target; give one of a, default",
        ),
        (
            "['a', 'a']",
            ":7: route.to: `a` stands there twice; give it once",
        ),
    ] {
        let problem = problem(&file(to));
        assert!(problem.ends_with(expected), "{problem}");
    }
}

/// What waits where the mail was would be left behind.
#[test]
fn a_running_spool_stays_where_it_is_and_takes_over_all_else() {
    let spool = |keys: &str| load(&format!("[spool]\n{keys}"), &[], &[]).unwrap();
    let keys = |old: &Configuration, new: &Configuration| {
        let differences = differences(old, new).into_iter();
        differences.map(|it| it.key).collect::<Vec<_>>()
    };
    let wanted = spool(
        "url = 'nats://a,b'\nstream = 'OTHER'\nreplicas = 1\npartitions = 2\n\
         max-size = '1GiB'\nretry = ['5m']\ncreds-file = '/creds'\ntls-ca = '/ca'",
    );
    let fleet = spool("url = 'nats://a'\nusername = 'one'\npassword-file = '/password'");
    let next = fleet.changed_while_running(&wanted, |_| false);
    let changed = [
        "spool.creds-file",
        "spool.max-size",
        "spool.password-file",
        "spool.retry",
        "spool.tls-ca",
        "spool.username",
    ];
    assert_eq!(keys(&fleet, &next), changed);
    let waits = [
        "spool.partitions",
        "spool.replicas",
        "spool.stream",
        "spool.url",
    ];
    assert_eq!(keys(&next, &wanted), waits);

    let disk = spool("path = '/spool'");
    let next = disk.changed_while_running(&wanted, |_| false);
    assert_eq!(keys(&disk, &next), ["spool.max-size", "spool.retry"]);
}

#[test]
fn the_spool_has_units_bounds_and_its_own_mistakes() {
    let file = "[spool]\npath = '/s'\nmax-size = '1GiB'\ngive-up-after = '2d'\nretry = ['30s', 60]";
    let spool = load(file, &[], &[]).unwrap().spool;
    assert_eq!(spool.max_size.get(), 1 << 30);
    assert_eq!(spool.give_up_after.get().as_secs(), 2 * 86_400);
    let pauses: Vec<u64> = spool
        .pauses()
        .iter()
        .map(std::time::Duration::as_secs)
        .collect();
    assert_eq!(pauses, [30, 60]);
    for (file, expected) in [
        (
            "[spool]\nretry = []",
            ":2: spool.retry: is empty; give a time at least, \"5m\" say",
        ),
        (
            "[spool]\nmax-size = 5",
            ":2: spool.max-size: 5 is out of range; give 1048576 to 1125899906842624, in octets or with a unit (10MB, 10MiB)",
        ),
        (
            "[spool]\npath = 'nats://10.0.0.1'",
            ":2: spool.path: `nats://10.0.0.1` is no directory; give its path, /var/spool/prixfixe say, or set spool.url",
        ),
    ] {
        let problem = problem(file);
        assert!(problem.ends_with(expected), "{problem}");
    }
    let spool = load(
        "",
        &[("SMTP_SPOOL", "/from/variable")],
        &["--spool", "/from/flag"],
    )
    .unwrap()
    .spool;
    assert_eq!(
        spool.path.as_deref(),
        Some(std::path::Path::new("/from/flag"))
    );
}

#[test]
fn a_fleets_spool_has_its_keys_and_their_values() {
    let text = |file: &str, variables: &[(&str, &str)], flags: &[&str]| {
        let configuration = load(file, variables, flags).unwrap();
        (configuration.to_toml().unwrap(), configuration)
    };
    let (printed, read) = text("spool.url = 'nats://a,b:1'\nspool.partitions = 4", &[], &[]);
    for line in [
        "url = \"nats://a:4222,b:1\"",
        "stream = \"PRIXFIXE\"",
        "replicas = 3",
        "partitions = 4",
    ] {
        assert!(printed.contains(line), "{line}: {printed}");
    }
    let way = "the spool of the fleet at nats://a:4222,b:1 (streams PRIXFIXE-0 to PRIXFIXE-3, 3 replicas)";
    assert!(read.ways().contains(way), "{}", read.ways());
    assert_eq!(load(&printed, &[], &[]).unwrap(), read);
    // A flag, or else a variable, takes the place of both keys.
    let directory = "spool.path = '/s'";
    let (_, read) = text(directory, &[("SMTP_SPOOL", "nats://a")], &[]);
    assert!(read.spool.path.is_none() && read.spool.url.is_some());
    let flags = ["--spool", "/t"];
    let (_, read) = text(
        "spool = { url = 'nats://a', stream = 'X' }",
        &[("SMTP_SPOOL", "nats://b")],
        &flags,
    );
    assert_eq!(read.spool.path.as_deref(), Some(std::path::Path::new("/t")));
    assert!(read.spool.url.is_none());
}

#[test]
fn what_a_fleets_spool_cannot_be_is_named() {
    let fleet = |rest: &str| format!("[spool]\nurl = 'nats://10.0.0.1'\n{rest}");
    for (file, expected) in [
        (
            fleet("path = '/s'"),
            ":2: spool.url: there is spool.path too, and a spool is in one place; leave out one of spool.path and spool.url",
        ),
        (
            "[spool]\npath = '/s'\nstream = 'X'".to_owned(),
            ":3: spool.stream: is for the spool of a fleet; set spool.url, or leave it out",
        ),
        (
            "[spool]\nreplicas = 1".to_owned(),
            ":2: spool.replicas: is for the spool of a fleet; set spool.url, or leave it out",
        ),
        (
            "[spool]\nurl = 'nats://a/mail'".to_owned(),
            ":2: spool.url: a spool's URL has servers alone: \"mail\" belongs into spool.stream",
        ),
        (
            fleet("stream = 'a.b'"),
            ":3: spool.stream: `a.b` is no name of a stream; use letters, digits, - and _",
        ),
        (
            fleet("username = 'u'"),
            ":3: spool.username: username and password-file go together; add the other one",
        ),
        (
            fleet("creds-file = '/c'\nusername = 'u'"),
            ":3: spool.creds-file: goes without username and password-file; leave out one of them",
        ),
        (
            fleet("tls-key = '/k'"),
            ":3: spool.tls-key: tls-cert and tls-key go together; add the other one",
        ),
        (
            fleet("creds-file = '/c'\ntls = 'require'"),
            ":4: spool.tls: credentials are sent to verified servers alone; set \"verify\", or leave it out",
        ),
    ] {
        let problem = problem(&file);
        assert!(problem.ends_with(expected), "{problem}");
    }
    let flag = load("", &[], &["--spool", "nats://me:secret@a"]).unwrap_err();
    assert!(
        flag.contains("--spool") && flag.contains("password-file"),
        "{flag}"
    );
    assert!(!flag.contains("secret"), "{flag}");
    // On this machine nobody reads what is sent.
    let file =
        "[spool]\nurl = 'nats://127.0.0.1'\nusername = 'u'\npassword-file = '/p'\ntls = 'off'";
    assert!(load(file, &[], &[]).is_ok());
}
