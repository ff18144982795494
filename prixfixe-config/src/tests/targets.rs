//! Targets, routes, and the relay that is not open to everybody.

use super::*;

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
            ":5: route.to: more than one target needs a spool; give one, or set spool.path",
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
            ":2: spool.path: `nats://10.0.0.1` is no directory; give its path, /var/spool/prixfixe say",
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
