//! Precedence of every option, and what is printed reads back as it was.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::Write;

use clap::Args;
use clap::FromArgMatches;
use proptest::prelude::*;

use super::options::{self, Kind, Opt};
use super::resolve::resolve;
use super::tls::Certificate;
use super::*;

/// What `serve` would run with. A file is made where its text isn't empty.
fn load(file: &str, variables: &[(&str, &str)], flags: &[&str]) -> Result<Configuration, String> {
    let mut handle = tempfile::NamedTempFile::new().unwrap();
    handle.write_all(file.as_bytes()).unwrap();
    let path = handle.path().to_str().unwrap().to_owned();
    let mut line = vec!["serve"];
    if !file.is_empty() {
        line.extend(["--config", &path]);
    }
    line.extend(flags);
    let command = ConfigurationArguments::augment_args(clap::Command::new("serve"));
    let matches = command
        .try_get_matches_from(line)
        .map_err(|error| error.to_string())?;
    let arguments = ConfigurationArguments::from_arg_matches(&matches).unwrap();
    let variables: HashMap<&str, &str> = variables.iter().copied().collect();
    resolve(&arguments, &|name| variables.get(name).map(OsString::from))
        .map_err(|error| error.to_string().replace(&path, "FILE"))
}

/// What is seen of an option in the printed configuration.
fn shown(configuration: &Configuration, option: &Opt) -> String {
    let table: toml::Table = configuration.to_toml().unwrap().parse().unwrap();
    let mut value = toml::Value::Table(table);
    for part in option.key.unwrap_or("listener").split('.') {
        match value.get(part) {
            Some(part) => value = part.clone(),
            None => return String::new(),
        }
    }
    value
        .to_string()
        .replace("[{ address = ", "[")
        .replace(" }, { address = ", ", ")
        .replace(" }]", "]")
}

/// An option; what is shown by default; what the file, the variable and the flag say and what is shown for each.
type Case = (
    &'static Opt,
    &'static str,
    (&'static str, &'static str),
    [(&'static str, &'static str); 2],
);

const CASES: &[Case] = &[
    (
        &options::DOMAIN,
        r#""localhost""#,
        ("domain = 'a'", r#""a""#),
        [("b", r#""b""#), ("c.d", r#""c.d""#)],
    ),
    (
        &options::LISTEN,
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
        &options::MAX_CONNECTIONS,
        "100",
        ("limits.max-connections = 1", "1"),
        [("2", "2"), ("3", "3")],
    ),
    (
        &options::MAX_CONNECTIONS_PER_CLIENT,
        "0",
        ("limits.max-connections-per-client = 1", "1"),
        [("2", "2"), ("0", "0")],
    ),
    (
        &options::CONNECTIONS_PER_MINUTE,
        "0",
        ("limits.connections-per-minute = 1", "1"),
        [("2", "2"), ("0", "0")],
    ),
    (
        &options::MESSAGES_PER_MINUTE,
        "0",
        ("limits.messages-per-minute = 1", "1"),
        [("2", "2"), ("0", "0")],
    ),
    (
        &options::MAX_MESSAGE_SIZE,
        "10485760",
        ("limits.max-message-size = '1kB'", "1000"),
        [("2KiB", "2048"), ("3", "3")],
    ),
    (
        &options::MAX_RECIPIENTS,
        "1000",
        ("limits.max-recipients = 1", "1"),
        [("2", "2"), ("3", "3")],
    ),
    (
        &options::MAX_ERRORS,
        "10",
        ("limits.max-errors = 1", "1"),
        [("2", "2"), ("3", "3")],
    ),
    (
        &options::COMMAND_TIMEOUT,
        "300",
        ("limits.command-timeout = '1m'", "60"),
        [("2m", "120"), ("3", "3")],
    ),
    (
        &options::MIN_DATA_RATE,
        "500",
        ("limits.min-data-rate = 0", "0"),
        [("1kB", "1000"), ("3", "3")],
    ),
    (
        &options::DRAIN_TIMEOUT,
        "30",
        ("limits.drain-timeout = 0", "0"),
        [("1m30s", "90"), ("3", "3")],
    ),
    (
        &options::ACCEPT_DOMAINS,
        "[]",
        ("accept.domains = ['a', 'b']", r#"["a", "b"]"#),
        [
            ("c,d", r#"["c", "d"]"#),
            ("[192.0.2.1]", r#"["[192.0.2.1]"]"#),
        ],
    ),
    (
        &options::DELIVER,
        r#""maildir:./mail""#,
        ("delivery.target = 'discard:'", r#""discard:""#),
        [
            ("stdout:", r#""stdout:""#),
            ("maildir:/m", r#""maildir:/m""#),
        ],
    ),
    (
        &options::NO_FSYNC,
        "true",
        ("delivery.fsync = false", "false"),
        [("no", "true"), ("true", "false")],
    ),
    (
        &options::TLS_KEY_PASSWORD_FILE,
        "",
        ("tls.key-password-file = 'a'", r#""a""#),
        [("b", r#""b""#), ("c", r#""c""#)],
    ),
    (
        &options::TLS_SELF_SIGNED,
        "false",
        ("tls.self-signed = true", "true"),
        [("no", "false"), ("on", "true")],
    ),
    (
        &options::TLS_MIN_VERSION,
        r#""1.2""#,
        ("tls.min-version = '1.3'", r#""1.3""#),
        [("1.2", r#""1.2""#), ("1.3", r#""1.3""#)],
    ),
    (
        &options::TLS_REQUIRED,
        "false",
        ("tls.required = true", "true"),
        [("no", "false"), ("on", "true")],
    ),
    (
        &options::TLS_CLIENT_CA,
        "",
        ("tls.client-ca = 'a'", r#""a""#),
        [("b", r#""b""#), ("c", r#""c""#)],
    ),
    (
        &options::TLS_CLIENT_AUTH,
        r#""off""#,
        ("tls.client-auth = 'require'", r#""require""#),
        [("off", r#""off""#), ("request", r#""request""#)],
    ),
    (
        &options::REUSE_PORT,
        "",
        ("reuse-port = true", "true"),
        [("no", ""), ("on", "true")],
    ),
    (
        &options::USER,
        "",
        ("user = 'mail'", r#""mail""#),
        [("nobody", r#""nobody""#), ("8", r#""8""#)],
    ),
    (
        &options::TRANSPORT,
        r#""auto""#,
        ("transport = 'raw'", r#""raw""#),
        [("tokio", r#""tokio""#), ("auto", r#""auto""#)],
    ),
    (
        &options::THREADS,
        "",
        ("threads = 11", "11"),
        [("12", "12"), ("13", "13")],
    ),
    (
        &options::ADMIN,
        "",
        ("admin.listen = '[::1]:1'", r#""[::1]:1""#),
        [
            ("127.0.0.1:0", r#""127.0.0.1:0""#),
            ("localhost:9125", r#""localhost:9125""#),
        ],
    ),
    (
        &options::LOG_FORMAT,
        r#""text""#,
        ("log.format = 'json'", r#""json""#),
        [("text", r#""text""#), ("json", r#""json""#)],
    ),
    (
        &options::LOG_LEVEL,
        r#""info""#,
        ("log.level = 'off'", r#""off""#),
        [("warn", r#""warn""#), ("debug", r#""debug""#)],
    ),
];

#[test]
fn a_flag_goes_before_a_variable_before_the_file_before_the_default() {
    for (option, default, (file, by_file), [(variable, by_variable), (flag, by_flag)]) in
        CASES.iter().copied()
    {
        let flag = format!("--{}={flag}", option.flag.unwrap());
        let name = option.variable.unwrap();
        let shown = |file, variables: &[_], flags: &[_]| {
            let flags = [needed(option), flags].concat();
            shown(&load(file, variables, &flags).unwrap(), option)
        };
        let default = if option == &options::THREADS {
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
        assert_eq!(shown("", &[], &[&flag]), by_flag);
        assert_eq!(shown(file, &[(name, variable)], &[]), by_variable);
        assert_eq!(shown(file, &[(name, "")], &[]), by_file);
        assert_eq!(shown(file, &[(name, variable)], &[&flag]), by_flag);
        assert_eq!(shown(file, &[], &[&flag]), by_flag);
    }
}

/// What must be there beside an option for it to make sense.
fn needed(option: &Opt) -> &'static [&'static str] {
    match option.flag {
        Some("tls-key-password-file") => &["--tls-cert=cert", "--tls-key=key"],
        Some("tls-required") => &["--tls-self-signed"],
        Some("tls-client-auth") => &["--tls-self-signed", "--tls-client-ca=ca"],
        _ => &[],
    }
}

#[test]
fn no_option_is_left_out_of_the_precedence_table() {
    let with_a_test_of_their_own = [
        &options::PORT,
        &options::LISTEN_TLS,
        &options::PROXY_PROTOCOL_FROM,
        &options::TLS_CERT,
        &options::TLS_KEY,
        &options::TLS_HANDSHAKE_TIMEOUT,
        &options::TLS_RELOAD_INTERVAL,
    ];
    for option in options::ALL {
        let is_a_case = CASES.iter().any(|case| case.0 == *option);
        assert!(
            is_a_case || with_a_test_of_their_own.contains(option),
            "{option:?}"
        );
    }
}

#[test]
fn a_certificate_and_its_key_have_the_same_precedence_each() {
    let file = "tls.cert = 'a'\ntls.key = 'b'";
    let variables = [("SMTP_TLS_CERT", "c"), ("SMTP_TLS_KEY", "d")];
    let shown = |variables: &[_], flags: &[_]| {
        let configuration = load(file, variables, flags).unwrap();
        (
            shown(&configuration, &options::TLS_CERT),
            shown(&configuration, &options::TLS_KEY),
        )
    };
    let pair = |cert: &str, key: &str| (format!("\"{cert}\""), format!("\"{key}\""));
    assert_eq!(shown(&[], &[]), pair("a", "b"));
    assert_eq!(shown(&variables, &[]), pair("c", "d"));
    assert_eq!(shown(&variables, &["--tls-key=e"]), pair("c", "e"));
    assert_eq!(shown(&[], &["--tls-cert=e"]), pair("e", "b"));
}

#[test]
fn certificates_by_name_and_the_times_of_tls_are_set_in_the_file() {
    let tls = |file| load(file, &[], &[]).unwrap().tls;
    let default = tls("");
    assert_eq!(default.handshake_timeout, Duration::from_secs(30));
    assert_eq!(default.reload_interval, Duration::from_secs(60));
    assert!(default.certificates.is_empty());

    let set = tls(
        "[tls]\nself-signed = true\nhandshake-timeout = '1m'\nreload-interval = '0s'\n\
         [[tls.certificate]]\ncert = 'a'\nkey = 'b'\n\
         [[tls.certificate]]\ncert = 'c'\nkey = 'd'\nkey-password-file = 'e'\n",
    );
    assert_eq!(set.handshake_timeout, Duration::from_secs(60));
    assert_eq!(set.reload_interval, Duration::ZERO);
    let files: Vec<_> = set
        .certificates
        .iter()
        .map(|certificate| {
            let Certificate {
                cert,
                key,
                key_password_file,
            } = certificate;
            [Some(cert), Some(key), key_password_file.as_ref()]
                .map(|file| file.and_then(|file| file.to_str()))
        })
        .collect();
    assert_eq!(
        files,
        [
            [Some("a"), Some("b"), None],
            [Some("c"), Some("d"), Some("e")]
        ]
    );
}

#[test]
fn listeners_in_clear_and_with_tls_are_replaced_apart() {
    let file = "tls.self-signed = true\n[[listener]]\naddress = 'a:1'\n[[listener]]\naddress = 'b:1'\ntls = 'implicit'";
    let tls_only = "tls.self-signed = true\n[[listener]]\naddress = 'b:1'\ntls = 'implicit'";
    let variables = [("SMTP_LISTEN_TLS", "c:1,d:1")];
    let listeners = |file, variables: &[_], flags: &[_]| {
        let configuration = load(file, variables, flags).unwrap();
        let shown = configuration.listeners.iter().map(|listener| {
            format!(
                "{}{}",
                listener.address,
                if listener.implicit_tls { " tls" } else { "" }
            )
        });
        shown.collect::<Vec<_>>().join(", ")
    };
    assert_eq!(listeners(file, &[], &[]), "a:1, b:1 tls");
    assert_eq!(listeners(file, &variables, &[]), "a:1, c:1 tls, d:1 tls");
    assert_eq!(
        listeners(file, &variables, &["--listen-tls", "e:1"]),
        "a:1, e:1 tls"
    );
    assert_eq!(listeners(file, &[], &["--listen", "e:1"]), "e:1, b:1 tls");
    // A file's listeners are all there are; a flag goes beside the default.
    assert_eq!(listeners(tls_only, &[], &[]), "b:1 tls");
    assert_eq!(
        listeners("", &[], &["--tls-self-signed", "--listen-tls", "e:1"]),
        "localhost:2525, e:1 tls"
    );
}

#[test]
fn balancers_are_those_of_a_listener_or_of_all() {
    let file = "[[listener]]\naddress = 'a:1'\nproxy-protocol-from = ['10.0.0.0/8', '192.0.2.7']\n\
                [[listener]]\naddress = 'b:1'\n";
    let networks = |file, variables: &[_], flags: &[_]| {
        let configuration = load(file, variables, flags).unwrap();
        let shown = configuration.listeners.iter().map(|listener| {
            let networks = listener.proxy_protocol_from.iter();
            let networks: Vec<_> = networks.map(ToString::to_string).collect();
            format!("{} {}", listener.address, networks.join(" "))
        });
        shown.collect::<Vec<_>>()
    };
    let variables = [("SMTP_PROXY_PROTOCOL_FROM", "::1,127.0.0.0/8")];
    assert_eq!(networks("", &[], &[]), ["localhost:2525 "]);
    assert_eq!(
        networks(file, &[], &[]),
        ["a:1 10.0.0.0/8 192.0.2.7/32", "b:1 "]
    );
    assert_eq!(
        networks("", &variables, &[]),
        ["localhost:2525 ::1/128 127.0.0.0/8"]
    );
    assert_eq!(
        networks(file, &variables, &[]),
        ["a:1 ::1/128 127.0.0.0/8", "b:1 ::1/128 127.0.0.0/8"]
    );
    assert_eq!(
        networks(file, &variables, &["--proxy-protocol-from=2001:db8::/32"]),
        ["a:1 2001:db8::/32", "b:1 2001:db8::/32"]
    );
    // Peers of an IPv6 socket that come over IPv4 are known by their IPv4 addresses.
    let mapped = "--proxy-protocol-from=::ffff:10.0.0.0/104,::ffff:192.0.2.7,::ffff:0:0/96,::/0";
    assert_eq!(
        networks("", &[], &[mapped]),
        ["localhost:2525 10.0.0.0/8 192.0.2.7/32 0.0.0.0/0 ::/0"]
    );
    // Whose listener is replaced, its networks are too.
    assert_eq!(networks(file, &[], &["--listen=c:1"]), ["c:1 "]);

    let configuration = load(file, &[], &[]).unwrap();
    let printed = configuration.to_toml().unwrap();
    assert_eq!(load(&printed, &[], &[]), Ok(configuration), "{printed}");
    let mistakes = [
        (
            "10.0.0.0/33",
            "`10.0.0.0/33` is not a network; give one like 10.0.0.0/8, 2001:db8::/32 or 192.0.2.7",
        ),
        (
            "lb.example",
            "`lb.example` is not a network; give one like 10.0.0.0/8, 2001:db8::/32 or 192.0.2.7",
        ),
        (
            "10.0.0.5/8",
            "`10.0.0.5/8` has bits set behind its prefix; give 10.0.0.0/8 or 10.0.0.5",
        ),
    ];
    for (network, problem) in mistakes {
        let flag = format!("--proxy-protocol-from={network}");
        let expected = format!("--proxy-protocol-from: {problem}");
        assert_eq!(load("", &[], &[&flag]).unwrap_err(), expected);
        let file = format!(
            "[[listener]]\naddress = 'a:1'\nproxy-protocol-from = [\n'::1',\n'{network}']\n"
        );
        let expected = format!("FILE:5: listener.proxy-protocol-from: {problem}");
        assert_eq!(load(&file, &[], &[]).unwrap_err(), expected);
    }
}

#[test]
fn what_tls_needs_is_asked_for() {
    let certificate = "a certificate; add --tls-cert and --tls-key, or --tls-self-signed";
    let cases: [Mistake; 9] = [
        ("", &[], &["--tls-cert=c"], "--tls-cert: needs its private key; add --tls-key".to_owned()),
        ("", &[("SMTP_TLS_KEY", "k")], &[], "SMTP_TLS_KEY: needs its certificate; add --tls-cert".to_owned()),
        (
            "tls.key-password-file = 'p'",
            &[],
            &[],
            "FILE:1: tls.key-password-file: needs the key that it opens; add --tls-key".to_owned(),
        ),
        (
            "tls.self-signed = true",
            &[],
            &["--tls-cert=c", "--tls-key=k"],
            "FILE:1: tls.self-signed: there is a certificate already; remove --tls-self-signed or --tls-cert".to_owned(),
        ),
        (
            "",
            &[],
            &["--tls-self-signed", "--tls-client-auth=request"],
            "--tls-client-auth: needs the CA that vouches for clients; add --tls-client-ca".to_owned(),
        ),
        ("", &[], &["--tls-required"], format!("--tls-required: needs {certificate}")),
        ("", &[], &["--listen-tls=a:1"], format!("--listen-tls: needs {certificate}")),
        (
            "\n[[listener]]\naddress = 'a:1'\ntls = 'implicit'",
            &[],
            &[],
            format!("FILE:3: listener.address: needs {certificate}"),
        ),
        (
            "\n[[tls.certificate]]\ncert = 'c'\nkey = 'k'",
            &[],
            &[],
            format!("FILE:2: tls.certificate: needs a default beside it, {certificate}"),
        ),
    ];
    for (file, variables, flags, expected) in cases {
        assert_eq!(load(file, variables, flags).unwrap_err(), expected);
    }
}

#[test]
fn the_port_variable_is_for_the_default_listener_alone() {
    let port = [("SMTP_PORT", "2600")];
    let shown = |file, flags: &[_]| shown(&load(file, &port, flags).unwrap(), &options::LISTEN);
    assert_eq!(shown("", &[]), r#"["localhost:2600"]"#);
    assert_eq!(shown("", &["--listen", "a:1"]), r#"["a:1"]"#);
    assert_eq!(shown("[[listener]]\naddress = 'a:1'", &[]), r#"["a:1"]"#);
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
fn repeated_flags_add_up_for_lists() {
    let configuration = load("", &[], &["--listen", "a:1", "--listen=b:2,c:3"]).unwrap();
    assert_eq!(
        shown(&configuration, &options::LISTEN),
        r#"["a:1", "b:2", "c:3"]"#
    );
}

/// A file, variables and flags, and what is wrong with them.
type Mistake = (
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static [&'static str],
    String,
);

/// The text of every error that a value can have is with its parser; here is that each names its place.
#[test]
fn errors_name_the_flag_the_variable_or_the_key() {
    let number = "give a whole number from 1 to 1000000";
    let cases: [Mistake; 13] = [
        ("", &[], &["--max-connections", "0"], format!("--max-connections: 0 is out of range; {number}")),
        ("", &[], &["--max-connections", "-1"], format!("--max-connections: `-1` is not a whole number; {number}")),
        (
            "",
            &[("SMTP_MAX_CONNECTIONS", "many")],
            &[],
            format!("SMTP_MAX_CONNECTIONS: `many` is not a whole number; {number}"),
        ),
        (
            "\n[limits]\nmax-connections = -1",
            &[],
            &[],
            format!("FILE:3: limits.max-connections: `-1` is not a whole number; {number}"),
        ),
        (
            "[accept]\ndomains = ['a',\n'-']",
            &[],
            &[],
            "FILE:3: accept.domains: `-` is not a domain name; give one like mx.example.com".to_owned(),
        ),
        ("", &[], &["--listen=a:1,a:1"], "--listen: `a:1` is there twice; remove one".to_owned()),
        (
            "",
            &[],
            &["--listen="],
            "--listen: `` is not an address with a port; give for example 127.0.0.1:2525, [::1]:2525 or localhost:2525"
                .to_owned(),
        ),
        (
            "",
            &[("SMTP_PORT", "65536")],
            &[],
            "SMTP_PORT: 65536 is out of range; give a whole number from 0 to 65535".to_owned(),
        ),
        ("", &[], &["--domain=münchen.example"], "--domain: `münchen.example` is not ASCII; give its form with xn--".to_owned()),
        (
            "tls.handshake-timeout = 0",
            &[],
            &[],
            "FILE:1: tls.handshake-timeout: 0 is out of range; give 1 to 86400 whole seconds, or with units (90s, 5m, 1h30m)"
                .to_owned(),
        ),
        (
            "tls.reload-interval = 'often'",
            &[],
            &[],
            "FILE:1: tls.reload-interval: `often` is not a time; give 0 to 86400 whole seconds, or with units (90s, 5m, 1h30m)"
                .to_owned(),
        ),
        (
            "tls.self-signed = true\n[[tls.certificate]]\ncert = ''\nkey = 'k'",
            &[],
            &[],
            "FILE:3: tls.certificate.cert: names no file; give its path".to_owned(),
        ),
        ("", &[], &["--domain="], "--domain: `` is not a domain name; give one like mx.example.com".to_owned()),
    ];
    for (file, variables, flags, expected) in cases {
        assert_eq!(load(file, variables, flags).unwrap_err(), expected);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = load("", &[], &["--config", "/nonexistent/mail.toml"]).unwrap_err();
    assert_eq!(
        error,
        "--config /nonexistent/mail.toml: No such file or directory (os error 2)"
    );
}

#[test]
fn a_mistake_in_what_is_overridden_is_still_one_in_the_file() {
    assert!(load("domain = 1", &[], &["--domain", "a"]).is_err());
}

/// Any text that the option takes.
fn text(option: &'static Opt) -> BoxedStrategy<String> {
    match option.kind {
        Kind::Count | Kind::Quantity => {
            (1..=1024_u32).prop_map(|number| number.to_string()).boxed()
        }
        Kind::Switch | Kind::InvertedSwitch => any::<bool>().prop_map(|on| on.to_string()).boxed(),
        Kind::List if option == &options::LISTEN_TLS => "tls[a-z]{1,9}:[1-9]".boxed(),
        Kind::List if option == &options::LISTEN => {
            (any::<std::net::SocketAddr>(), "[a-z]{1,9}", 1..=u16::MAX)
                .prop_map(|(address, name, port)| format!("{address},{name}:{port}"))
                .boxed()
        }
        Kind::List if option.value == "CIDR" => {
            "10\\.[1-9]?[0-9]\\.0\\.0/16,[1-9]::/16,::1".boxed()
        }
        Kind::List => "[a-z]{1,9},[a-zé]{1,9}\\.example".boxed(),
        Kind::Text if option == &options::DELIVER => "maildir:[^\0]{1,20}".boxed(),
        Kind::Text if option == &options::DOMAIN => "[a-z]{1,9}\\.example".boxed(),
        Kind::Text if option == &options::ADMIN => "[a-z]{1,9}:[1-9]".boxed(),
        Kind::Text if option.value == "FILE" => "[^\0]{1,20}".boxed(),
        Kind::Text if option.value == "LEVEL" => {
            prop::sample::select(vec!["off", "error", "warn", "info", "debug", "trace"])
                .prop_map(String::from)
                .boxed()
        }
        Kind::Text => {
            let words: Vec<&str> = option.value.split('|').collect();
            prop::sample::select(words).prop_map(String::from).boxed()
        }
    }
}

/// TLS asks for several options at once; the others are there or not.
fn usually(option: &'static Opt) -> BoxedStrategy<Option<String>> {
    match option.flag {
        Some("tls-self-signed") => Just(Some("true".to_owned())).boxed(),
        Some(flag) if flag.contains("tls") => text(option).prop_map(Some).boxed(),
        _ => prop::option::of(text(option)).boxed(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn what_check_prints_reads_back_the_same(
        values in options::ALL.iter().map(|option| usually(option)).collect::<Vec<_>>(),
        files in any::<bool>(),
        handshake_timeout in 1..=86_400_u64,
        reload_interval in 0..=86_400_u64,
        certificates in prop::collection::vec(("[^\0]{1,20}", "[^\0]{1,20}", prop::option::of("[^\0]{1,20}")), 0..3),
    ) {
        // A certificate of one kind or the other, with what goes with it.
        let sensible = match files {
            true => ["SMTP_TLS_CERT", "SMTP_TLS_KEY", "SMTP_TLS_KEY_PASSWORD_FILE", "SMTP_TLS_MIN_VERSION"],
            false => ["SMTP_TLS_SELF_SIGNED", "SMTP_TLS_CLIENT_CA", "SMTP_TLS_CLIENT_AUTH", "SMTP_TLS_REQUIRED"],
        };
        let variables: Vec<(&str, &str)> = options::ALL
            .iter()
            .zip(&values)
            .filter_map(|(option, value)| Some((option.variable?, value.as_deref()?)))
            .filter(|(variable, _)| sensible.contains(variable) || !variable.starts_with("SMTP_TLS_"))
            .collect();
        let mut file = format!("[tls]\nhandshake-timeout = {handshake_timeout}\nreload-interval = {reload_interval}\n");
        for (cert, key, password_file) in &certificates {
            let pairs = [("cert", Some(cert)), ("key", Some(key)), ("key-password-file", password_file.as_ref())];
            file.push_str("[[tls.certificate]]\n");
            for (name, value) in pairs.into_iter().filter_map(|(name, value)| Some((name, value?))) {
                file.push_str(&format!("{name} = {}\n", toml::Value::from(value.as_str())));
            }
        }
        let configuration = load(&file, &variables, &[]).unwrap();
        prop_assert_eq!(configuration.tls.certificates.len(), certificates.len());
        let printed = configuration.to_toml().unwrap();
        prop_assert_eq!(load(&printed, &[], &[]), Ok(configuration), "{}", printed);
    }
}

const DOCUMENTATION: &str = include_str!("../../../docs/CONFIGURATION.md");

#[test]
fn every_option_has_its_row_in_the_documentation_and_no_other_has() {
    let code = |text: Option<String>| text.map_or(String::new(), |text| format!(" `{text}`"));
    let row = |option: &Opt| {
        let flag = option.flag.map(|flag| match option.kind {
            Kind::Switch | Kind::InvertedSwitch => format!("--{flag}"),
            _ => format!("--{flag} {}", option.value.replace('|', "\\|")),
        });
        let key = match option.flag {
            Some("listen") => " `[[listener]]` `address`".to_owned(),
            Some("listen-tls") => " `[[listener]]` `tls = \"implicit\"`".to_owned(),
            Some("proxy-protocol-from") => " `[[listener]]` `proxy-protocol-from`".to_owned(),
            _ => code(option.key.map(str::to_owned)),
        };
        let default = code(option.default.map(str::to_owned));
        let variable = code(option.variable.map(str::to_owned));
        format!("|{} |{variable} |{key} |{default} |", code(flag))
    };
    let certificate = options::CERTIFICATE_KEYS
        .iter()
        .map(|key| format!("| | | `[[tls.certificate]]` `{key}` | |"));
    let documented: Vec<&str> = DOCUMENTATION
        .split_once("## Options")
        .and_then(|(_, rest)| rest.split_once("### Values"))
        .unwrap()
        .0
        .lines()
        .filter(|line| line.starts_with('|'))
        // The head of the table.
        .skip(2)
        .collect();
    assert_eq!(
        documented,
        options::ALL
            .iter()
            .map(|option| row(option))
            .chain(certificate)
            .collect::<Vec<_>>()
    );
}

#[test]
fn the_file_in_the_documentation_is_one() {
    let (_, rest) = DOCUMENTATION.split_once("```toml\n").unwrap();
    let (file, _) = rest.split_once("```").unwrap();
    let configuration = load(file, &[], &[]).unwrap();
    assert_eq!(configuration.listeners.len(), 2);
    assert_eq!(configuration.limits.max_message_size, 25 << 20);
}
