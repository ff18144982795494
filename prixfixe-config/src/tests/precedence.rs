//! Each option in each of its places, and which place goes before which.

use super::*;
use crate::units::Count;

/// An option; what is shown by default; what the file, the variable and the flag say and what is
/// shown for each.
type Case = (
    &'static str,
    &'static str,
    (&'static str, &'static str),
    [(&'static str, &'static str); 2],
);

const CASES: &[Case] = &[
    (
        "domain",
        r#""localhost""#,
        ("domain = 'a'", r#""a""#),
        [("b", r#""b""#), ("c.d", r#""c.d""#)],
    ),
    (
        "listen",
        r#"["localhost:2525"]"#,
        (
            "[[listener]]\naddress = 'a:1'\n[[listener]]\naddress = '[::]:0'",
            r#"["a:1", "[::]:0"]"#,
        ),
        [
            ("b:1, b:2,", r#"["b:1", "b:2"]"#),
            ("127.0.0.1:0", r#"["127.0.0.1:0"]"#),
        ],
    ),
    (
        "limits.max-connections",
        "100",
        ("limits.max-connections = 1", "1"),
        [("2", "2"), ("3", "3")],
    ),
    (
        "limits.max-connections-per-client",
        "",
        ("limits.max-connections-per-client = 1", "1"),
        [("2", "2"), ("0", "0")],
    ),
    (
        "limits.connections-per-minute",
        "0",
        ("limits.connections-per-minute = 1", "1"),
        [("2", "2"), ("0", "0")],
    ),
    (
        "limits.messages-per-minute",
        "0",
        ("limits.messages-per-minute = 1", "1"),
        [("2", "2"), ("0", "0")],
    ),
    (
        "limits.max-message-size",
        "10485760",
        ("limits.max-message-size = '1kB'", "1000"),
        [("2KiB", "2048"), ("3", "3")],
    ),
    (
        "limits.max-recipients",
        "1000",
        ("limits.max-recipients = 1", "1"),
        [("2", "2"), ("3", "3")],
    ),
    (
        "limits.max-errors",
        "10",
        ("limits.max-errors = 1", "1"),
        [("2", "2"), ("3", "3")],
    ),
    (
        "limits.command-timeout",
        "300",
        ("limits.command-timeout = '1m'", "60"),
        [("2m", "120"), ("3", "3")],
    ),
    (
        "limits.min-data-rate",
        "500",
        ("limits.min-data-rate = 0", "0"),
        [("1kB", "1000"), ("3", "3")],
    ),
    (
        "limits.drain-timeout",
        "30",
        ("limits.drain-timeout = 0", "0"),
        [("1m30s", "90"), ("3", "3")],
    ),
    (
        "auth.mode",
        r#""off""#,
        ("auth.mode = 'offer'", r#""offer""#),
        [("any", r#""any""#), ("require", r#""require""#)],
    ),
    (
        "auth.users",
        "",
        ("auth.users = 'a'", r#""a""#),
        [("b", r#""b""#), ("c", r#""c""#)],
    ),
    (
        "auth.dovecot",
        "",
        ("auth.dovecot = '/a'", r#""/a""#),
        [("/b", r#""/b""#), ("/c", r#""/c""#)],
    ),
    (
        "policy.spf",
        r#""off""#,
        ("policy.spf = 'mark'", r#""mark""#),
        [("enforce", r#""enforce""#), ("OFF", r#""off""#)],
    ),
    (
        "policy.dkim",
        r#""off""#,
        ("policy.dkim = 'mark'", r#""mark""#),
        [("off", r#""off""#), ("mark", r#""mark""#)],
    ),
    (
        "policy.dmarc",
        r#""off""#,
        ("policy.dmarc = 'mark'", r#""mark""#),
        [("enforce", r#""enforce""#), ("off", r#""off""#)],
    ),
    (
        "accept.domains",
        "[]",
        ("accept.domains = ['a', 'b']", r#"["a", "b"]"#),
        [
            ("C.,*.d", r#"["C.", "*.d"]"#),
            ("[192.0.2.1]", r#"["[192.0.2.1]"]"#),
        ],
    ),
    (
        "accept.recipients-file",
        "",
        ("accept.recipients-file = '/a'", r#""/a""#),
        [("/b", r#""/b""#), ("/c", r#""/c""#)],
    ),
    (
        "accept.check",
        "",
        (
            "accept.check = 'http://127.0.0.1/'",
            r#""http://127.0.0.1/""#,
        ),
        [
            ("https://a.example/", r#""https://a.example/""#),
            ("https://b.example/", r#""https://b.example/""#),
        ],
    ),
    (
        "accept.bare-line-ends",
        r#""refuse""#,
        ("accept.bare-line-ends = 'repair'", r#""repair""#),
        [("refuse", r#""refuse""#), ("repair", r#""repair""#)],
    ),
    (
        "delivery.target",
        r#""maildir:./mail""#,
        ("delivery.target = 'discard:'", r#""discard:""#),
        [
            ("stdout:", r#""stdout:""#),
            ("maildir:/m", r#""maildir:/m""#),
        ],
    ),
    (
        "delivery.timeout",
        "30",
        ("delivery.timeout = 1", "1"),
        [("2m", "120"), ("3", "3")],
    ),
    (
        "delivery.secret-file",
        "",
        (
            "delivery.target = 'https://a.example/'\ndelivery.secret-file = '/a'",
            r#""/a""#,
        ),
        [("/b", r#""/b""#), ("/c", r#""/c""#)],
    ),
    (
        "spool.path",
        "",
        ("spool.path = '/a'", r#""/a""#),
        [("/b", r#""/b""#), ("/c", r#""/c""#)],
    ),
    (
        "delivery.fsync",
        "true",
        ("delivery.fsync = false", "false"),
        [("no", "true"), ("true", "false")],
    ),
    (
        "tls.key-password-file",
        "",
        ("tls.key-password-file = 'a'", r#""a""#),
        [("b", r#""b""#), ("c", r#""c""#)],
    ),
    (
        "tls.self-signed",
        "false",
        ("tls.self-signed = true", "true"),
        [("no", "false"), ("on", "true")],
    ),
    (
        "tls.min-version",
        r#""1.2""#,
        ("tls.min-version = '1.3'", r#""1.3""#),
        [("1.2", r#""1.2""#), ("1.3", r#""1.3""#)],
    ),
    (
        "tls.required",
        "false",
        ("tls.required = true", "true"),
        [("no", "false"), ("on", "true")],
    ),
    (
        "tls.client-ca",
        "",
        ("tls.client-ca = 'a'", r#""a""#),
        [("b", r#""b""#), ("c", r#""c""#)],
    ),
    (
        "tls.client-auth",
        r#""off""#,
        ("tls.client-auth = 'require'", r#""require""#),
        [("off", r#""off""#), ("request", r#""request""#)],
    ),
    (
        "reuse-port",
        "",
        ("reuse-port = true", "true"),
        [("no", ""), ("on", "true")],
    ),
    (
        "user",
        "",
        ("user = 'mail'", r#""mail""#),
        [("nobody", r#""nobody""#), ("8", r#""8""#)],
    ),
    (
        "transport",
        r#""auto""#,
        ("transport = 'raw'", r#""raw""#),
        [("tokio", r#""tokio""#), ("auto", r#""auto""#)],
    ),
    (
        "threads",
        "",
        ("threads = 11", "11"),
        [("12", "12"), ("13", "13")],
    ),
    (
        "admin.listen",
        "",
        ("admin.listen = '[::1]:1'", r#""[::1]:1""#),
        [
            ("127.0.0.1:0", r#""127.0.0.1:0""#),
            ("localhost:9125", r#""localhost:9125""#),
        ],
    ),
    (
        "log.format",
        r#""text""#,
        ("log.format = 'json'", r#""json""#),
        [("text", r#""text""#), ("json", r#""json""#)],
    ),
    (
        "log.level",
        r#""info""#,
        ("log.level = 'off'", r#""off""#),
        [("warning", r#""warn""#), ("debug", r#""debug""#)],
    ),
];

#[test]
fn a_flag_goes_before_a_variable_before_the_file_before_the_default() {
    for (option, default, (file, by_file), [(variable, by_variable), (flag, by_flag)]) in
        CASES.iter().copied()
    {
        let flag = format!("--{}={flag}", flag_of(option));
        let name = variable_of(&flag_of(option));
        let name = name.as_str();
        let shown = |file, variables: &[_], flags: &[_]| {
            let flags = [needed(option), flags].concat();
            shown(&load(file, variables, &flags).unwrap(), option)
        };
        let default = if option == "threads" {
            std::thread::available_parallelism().unwrap().to_string()
        } else {
            default.to_owned()
        };
        assert_eq!(shown("", &[], &[]), default);
        assert_eq!(
            shown("", &[(name, "")], &[]),
            default,
            "an empty variable is not set"
        );
        assert_eq!(shown(file, &[], &[]), by_file);
        assert_eq!(shown("", &[(name, variable)], &[]), by_variable);
        for blanks in [" ", "\r", "\n", "\r\n", " \t\r\n"] {
            assert_eq!(
                shown(file, &[(name, blanks)], &[]),
                by_file,
                "blanks alone are nothing"
            );
            let around = format!("{blanks}{variable}{blanks}");
            let flags = needed(option);
            let configuration = load("", &[(name, around.as_str())], flags).unwrap();
            assert_eq!(super::shown(&configuration, option), by_variable);
        }
        assert_eq!(shown("", &[], &[&flag]), by_flag);
        assert_eq!(shown(file, &[(name, variable)], &[]), by_variable);
        assert_eq!(shown(file, &[(name, "")], &[]), by_file);
        assert_eq!(shown(file, &[(name, variable)], &[&flag]), by_flag);
        assert_eq!(shown(file, &[], &[&flag]), by_flag);
    }
}

/// What must be there beside an option for it to make sense.
fn needed(option: &str) -> &'static [&'static str] {
    match option {
        "tls.key-password-file" => &["--tls-cert=cert", "--tls-key=key"],
        "auth.mode" => &["--tls-self-signed", "--auth-users=users"],
        "tls.required" => &["--tls-self-signed"],
        "tls.client-auth" => &["--tls-self-signed", "--tls-client-ca=ca"],
        _ => &[],
    }
}

#[test]
fn no_option_is_left_out_of_the_precedence_table() {
    let with_a_test_of_their_own = [
        "xclient-from",
        "listen-lmtp",
        "listen-tls",
        "policy.dnsbl",
        "policy.milter",
        "policy.rspamd",
        "proxy-protocol-from",
        "tls.cert",
        "tls.key",
    ];
    for arg in COMMAND.get_arguments() {
        let id = arg.get_id().as_str();
        let is_a_case = CASES.iter().any(|case| case.0 == id);
        assert!(is_a_case || with_a_test_of_their_own.contains(&id), "{id}");
    }
}

#[test]
fn blocklists_are_those_of_the_flag_the_variable_or_the_file() {
    let file = "[[policy.dnsbl]]\nzone = 'a.test'\naction = 'reject'";
    let zones = |variables: &[_], flags: &[_]| -> Vec<String> {
        let configuration = load(file, variables, flags).unwrap();
        let lists = configuration.policy.lists.into_iter();
        let told = lists.map(|list| format!("{} {:?}", list.zone, list.action));
        told.collect()
    };
    assert_eq!(zones(&[], &[]), ["a.test Reject"]);
    let variable = [("SMTP_DNSBL", "b.test, c.test")];
    assert_eq!(zones(&variable, &[]), ["b.test Mark", "c.test Mark"]);
    assert_eq!(zones(&variable, &["--dnsbl=d.test"]), ["d.test Mark"]);
}

#[test]
fn filters_are_those_of_the_flag_the_variable_or_the_file() {
    let file = "[[policy.rspamd]]\nurl = 'http://127.0.0.1:1'\non-failure = 'accept'";
    let urls = |variables: &[_], flags: &[_]| -> Vec<String> {
        let configuration = load(file, variables, flags).unwrap();
        let filters = configuration.policy.rspamd.into_iter();
        let told = filters.map(|it| format!("{} {:?}", it.url, it.on_failure));
        told.collect()
    };
    assert_eq!(urls(&[], &[]), ["http://127.0.0.1:1 Accept"]);
    let variable = [("SMTP_RSPAMD", "http://127.0.0.1:2, https://a.test")];
    let both = ["http://127.0.0.1:2 Defer", "https://a.test Defer"];
    assert_eq!(urls(&variable, &[]), both);
    let flag = ["--rspamd=http://[::1]:3"];
    assert_eq!(urls(&variable, &flag), ["http://[::1]:3 Defer"]);
}

#[test]
fn milters_are_those_of_the_flag_the_variable_or_the_file() {
    let file = "[[policy.milter]]\nsocket = 'unix:/run/a'\non-failure = 'accept'";
    let sockets = |variables: &[_], flags: &[_]| -> Vec<String> {
        let configuration = load(file, variables, flags).unwrap();
        let milters = configuration.policy.milters.into_iter();
        let told = milters.map(|it| format!("{} {:?}", it.socket, it.on_failure));
        told.collect()
    };
    assert_eq!(sockets(&[], &[]), ["unix:/run/a Accept"]);
    let variable = [("SMTP_MILTER", "inet:127.0.0.1:1, unix:/run/b")];
    let both = ["inet:127.0.0.1:1 Defer", "unix:/run/b Defer"];
    assert_eq!(sockets(&variable, &[]), both);
    let flag = ["--milter=inet:[::1]:3"];
    assert_eq!(sockets(&variable, &flag), ["inet:[::1]:3 Defer"]);
}

#[test]
fn a_certificate_and_its_key_have_the_same_precedence_each() {
    let file = "tls.cert = 'a'\ntls.key = 'b'";
    let variables = [("SMTP_TLS_CERT", "c"), ("SMTP_TLS_KEY", "d")];
    let shown = |variables: &[_], flags: &[_]| {
        let configuration = load(file, variables, flags).unwrap();
        (
            shown(&configuration, "tls.cert"),
            shown(&configuration, "tls.key"),
        )
    };
    let pair = |cert: &str, key: &str| (format!("\"{cert}\""), format!("\"{key}\""));
    assert_eq!(shown(&[], &[]), pair("a", "b"));
    assert_eq!(shown(&variables, &[]), pair("c", "d"));
    assert_eq!(shown(&variables, &["--tls-key=e"]), pair("c", "e"));
    assert_eq!(shown(&[], &["--tls-cert=e"]), pair("e", "b"));
}

#[test]
fn the_least_free_space_goes_with_the_largest_message_unless_it_is_set() {
    for (file, flags, bytes) in [
        ("", vec![], 15_728_640),
        ("", vec!["--max-message-size=1kB"], 1500),
        ("limits.max-message-size = '20MiB'", vec![], 30 << 20),
        ("delivery.min-free = '2GiB'", vec![], 2 << 30),
        ("delivery.min-free = 0", vec![], 0),
    ] {
        let configuration = load(file, &[], &flags).unwrap();
        assert_eq!(
            configuration.delivery.min_free().bytes,
            bytes,
            "{file} {flags:?}"
        );
    }
    let problem = load("delivery.min-free = '10M'", &[], &[]).unwrap_err();
    assert!(
        problem.to_string().contains("delivery.min-free"),
        "{problem}"
    );
}

#[test]
fn a_switch_may_stand_alone() {
    assert!(!load("", &[], &["--no-fsync"]).unwrap().delivery.fsync);
    assert!(
        load("delivery.fsync = false", &[], &["--no-fsync=off"])
            .unwrap()
            .delivery
            .fsync
    );
}

#[test]
fn messages_that_are_gathered_have_memory_and_a_directory() {
    let folder = tempfile::tempdir().unwrap();
    let maildir = folder.path().join("mail");
    let target = format!("delivery.target = 'maildir:{}'\n", maildir.display());
    let configuration = load(&target, &[], &[]).unwrap();
    assert_eq!(configuration.limits.message_memory.get(), 256 << 20);
    assert_eq!(configuration.temporary(), None);
    std::fs::create_dir_all(maildir.join("tmp")).unwrap();
    assert_eq!(configuration.temporary(), Some(maildir.join("tmp")));
    let folder = folder.path();
    let file = format!(
        "{target}limits.message-memory = '4MiB'\nlimits.temporary = '{}'\n",
        folder.display()
    );
    let configuration = load(&file, &[], &[]).unwrap();
    assert_eq!(configuration.limits.message_memory.get(), 4 << 20);
    assert_eq!(configuration.temporary().as_deref(), Some(folder));
    // A spool has all mail, wherever its targets are.
    let spool = folder.join("spool");
    let file = format!("{target}spool.path = '{}'\n", spool.display());
    let configuration = load(&file, &[], &[]).unwrap();
    assert_eq!(configuration.temporary(), Some(maildir.join("tmp")));
    std::fs::create_dir(&spool).unwrap();
    assert_eq!(configuration.temporary(), Some(spool));
    let wrong = load("limits.temporary = '/nowhere'", &[], &[]).unwrap_err();
    let wrong = wrong.to_string();
    assert!(
        wrong.contains("limits.temporary: `/nowhere` is no directory"),
        "{wrong}"
    );
}

#[test]
fn what_only_a_file_says_of_idle_clients_is_read_and_checked() {
    let limits = |file| load(file, &[], &[]).map(|it| it.limits);
    let defaults = limits("").unwrap();
    assert_eq!(defaults.max_idle_commands.get(), 100);
    assert_eq!(defaults.idle_timeout.get().as_secs(), 600);
    let set = limits("limits.max-idle-commands = 0\nlimits.idle-timeout = '5m'").unwrap();
    assert_eq!(
        (
            set.max_idle_commands.get(),
            set.idle_timeout.get().as_secs()
        ),
        (0, 300)
    );
    for wrong in [
        "limits.idle-timeout = 0",
        "limits.max-idle-commands = '5'",
        "limits.max-idle-commands = -1",
    ] {
        assert!(limits(wrong).is_err(), "{wrong}");
    }
}

/// Not set and 0 are two things.
#[test]
fn no_limit_of_one_client_is_another_thing_than_none_set() {
    let limit = |file| {
        load(file, &[], &[])
            .unwrap()
            .limits
            .max_connections_per_client
            .map(Count::get)
    };
    assert_eq!(limit(""), None);
    assert_eq!(limit("limits.max-connections-per-client = 0"), Some(0));
    assert_eq!(limit("limits.max-connections-per-client = 7"), Some(7));
}

#[test]
fn blanks_and_line_ends_around_a_variable_are_none_of_its_value() {
    for value in [
        "maildir:/mail/in\r",
        "maildir:/mail/in\n",
        " maildir:/mail/in ",
    ] {
        let configuration = load("", &[("SMTP_DELIVER", value)], &[]).unwrap();
        assert_eq!(
            shown(&configuration, "delivery.target"),
            r#""maildir:/mail/in""#
        );
    }
    // Blanks inside are part of it.
    let configuration = load("", &[("SMTP_DELIVER", "maildir:/my mail\r\n")], &[]).unwrap();
    assert_eq!(
        shown(&configuration, "delivery.target"),
        r#""maildir:/my mail""#
    );
    let variables = [
        ("SMTP_PORT", "2600\r"),
        ("SMTP_TLS_CERT", "cert.pem\r"),
        ("SMTP_TLS_KEY", "key.pem\n"),
    ];
    let configuration = load("", &variables, &[]).unwrap();
    assert_eq!(shown(&configuration, "listen"), r#"["localhost:2600"]"#);
    assert_eq!(shown(&configuration, "tls.cert"), r#""cert.pem""#);
    assert_eq!(shown(&configuration, "tls.key"), r#""key.pem""#);
}
