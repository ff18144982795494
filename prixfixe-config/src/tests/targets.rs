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
            ":5: route.to: more than one target needs a spool; give one",
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
