//! Listeners, from the file, the flags and the variables, and the balancers in front of them.

use super::*;
use crate::Dsn;

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
fn the_port_variable_is_for_the_default_listener_alone() {
    let port = [("SMTP_PORT", "2600")];
    let shown = |file, flags: &[_]| shown(&load(file, &port, flags).unwrap(), "listen");
    assert_eq!(shown("", &[]), r#"["localhost:2600"]"#);
    assert_eq!(shown("", &["--listen", "a:1"]), r#"["a:1"]"#);
    assert_eq!(shown("[[listener]]\naddress = 'a:1'", &[]), r#"["a:1"]"#);
}

#[test]
fn all_addresses_without_a_port_have_the_default_one() {
    let listen =
        |variables: &[_], flags: &[_]| shown(&load("", variables, flags).unwrap(), "listen");
    let (all, port) = (("SMTP_LISTEN", "*"), ("SMTP_PORT", "25"));
    assert_eq!(listen(&[all], &[]), r#"["*:2525"]"#);
    assert_eq!(listen(&[all, port], &[]), r#"["*:25"]"#);
    assert_eq!(listen(&[port], &["--listen=*"]), r#"["*:25"]"#);
    assert_eq!(
        listen(&[all, port], &["--listen=*:26,a:1"]),
        r#"["*:26", "a:1"]"#
    );
    let configuration = load("", &[all, port], &[]).unwrap();
    let printed = configuration.to_toml().unwrap();
    assert_eq!(load(&printed, &[], &[]), Ok(configuration), "{printed}");
    assert!(load("[[listener]]\naddress = '*'", &[], &[]).is_err());
    assert!(load("", &[], &["--listen-tls=*", "--tls-self-signed"]).is_err());
}

#[test]
fn repeated_flags_add_up_for_lists() {
    let configuration = load("", &[], &["--listen", "a:1", "--listen=b:2,c:3"]).unwrap();
    assert_eq!(shown(&configuration, "listen"), r#"["a:1", "b:2", "c:3"]"#);
}

#[test]
fn lmtp_and_unix_sockets() {
    let file = "[[listener]]\naddress = 'a:24'\nprotocol = 'lmtp'\n\
                [[listener]]\naddress = 'unix:/run/l.sock'\nprotocol = 'lmtp'\nmode = '0600'\ngroup = 'mail'\n\
                [[listener]]\naddress = 'unix:/run/s.sock'\nproxy-protocol-from = ['unix']\n";
    let listeners = |file, variables: &[_], flags: &[_]| {
        let configuration = load(file, variables, flags).unwrap();
        let printed = configuration.to_toml().unwrap();
        assert_eq!(
            load(&printed, &[], &[]).as_ref(),
            Ok(&configuration),
            "{printed}"
        );
        let shown = configuration.listeners.iter().map(|listener| {
            let mode = listener.mode.map_or(String::new(), |it| format!(" {it}"));
            let group = listener.group.as_deref().unwrap_or_default();
            format!("{} {}{mode} {group}", listener.protocol, listener.address)
        });
        let shown: Vec<String> = shown.map(|it| it.trim_end().to_owned()).collect();
        shown.join(", ")
    };
    assert_eq!(
        listeners(file, &[], &[]),
        "SMTP unix:/run/s.sock, LMTP a:24, LMTP unix:/run/l.sock 0600 mail"
    );
    // The flag and the variable replace those of their kind, and go beside the default.
    let variables = [("SMTP_LISTEN_LMTP", "c:24,unix:/v.sock")];
    assert_eq!(
        listeners(file, &variables, &[]),
        "SMTP unix:/run/s.sock, LMTP c:24, LMTP unix:/v.sock"
    );
    assert_eq!(
        listeners("", &variables, &["--listen-lmtp", "unix:/f.sock"]),
        "SMTP localhost:2525, LMTP unix:/f.sock"
    );
    assert_eq!(
        listeners("", &[], &["--listen", "unix:/s.sock"]),
        "SMTP unix:/s.sock"
    );
}

#[test]
fn listeners_that_cannot_be_meant_are_told_what_mends_them() {
    for (flags, problem) in [
        (
            ["--listen-lmtp", "a:25"],
            "--listen-lmtp: `a:25` has port 25, which is for SMTP alone; choose another for LMTP, like 24",
        ),
        (
            ["--listen-lmtp", "unix:"],
            "--listen-lmtp: `unix:` has no path; give one like unix:/run/prixfixe/lmtp.sock",
        ),
        (
            ["--listen", "unix:/a,unix:/a"],
            "--listen: `unix:/a` is there twice; remove one",
        ),
        (
            ["--admin", "unix:/a"],
            "--admin: `unix:/a` is no place for HTTP; give an address with a port",
        ),
    ] {
        assert_eq!(load("", &[], &flags).unwrap_err(), problem);
    }
    for (line, problem) in [
        (
            "protocol = 'lmtp'",
            "FILE:2: listener.address: `*:25` has port 25, which is for SMTP alone; choose another for LMTP, like 24",
        ),
        (
            "protocol = 'pop3'",
            "FILE:3: listener.protocol: `pop3` is not known; give one of smtp, lmtp",
        ),
        (
            "mode = '0660'",
            "FILE:2: listener.address: `*:25` is no Unix socket, so mode and group have no meaning; remove them",
        ),
        (
            "mode = '0999'",
            "FILE:3: listener.mode: `0999` is not a mode; give one like 0660",
        ),
        (
            "group = ''",
            "FILE:3: listener.group: names no group; give one of this host",
        ),
    ] {
        let file = format!("[[listener]]\naddress = '*:25'\n{line}\n");
        assert_eq!(load(&file, &[], &[]).unwrap_err(), problem);
    }
}

#[test]
fn mail_proxies_are_those_of_a_listener_or_of_all() {
    let file = "[[listener]]\naddress = 'a:1'\nxclient-from = ['192.0.2.7', 'unix']\n\
                [[listener]]\naddress = 'b:1'\n";
    let proxies = |file, variables: &[_], flags: &[_]| {
        let configuration = load(file, variables, flags).unwrap();
        let printed = configuration.to_toml().unwrap();
        assert_eq!(
            load(&printed, &[], &[]).as_ref(),
            Ok(&configuration),
            "{printed}"
        );
        let shown = configuration.listeners.iter().map(|listener| {
            let proxies = listener.xclient_from.iter().map(ToString::to_string);
            proxies.collect::<Vec<_>>().join(" ")
        });
        shown.collect::<Vec<_>>()
    };
    let variables = [("SMTP_XCLIENT_FROM", "::1,unix")];
    assert_eq!(proxies(file, &[], &[]), ["192.0.2.7/32 unix", ""]);
    assert_eq!(
        proxies(file, &variables, &[]),
        ["::1/128 unix", "::1/128 unix"]
    );
    assert_eq!(
        proxies("", &variables, &["--xclient-from=10.0.0.0/8"]),
        ["10.0.0.0/8"]
    );
    let problem = "--xclient-from: `lb` is not a network; give one like 10.0.0.0/8, 2001:db8::/32 or 192.0.2.7";
    assert_eq!(load("", &[], &["--xclient-from=lb"]).unwrap_err(), problem);
}

#[test]
fn dsn_is_passed_on_where_a_listener_says_so() {
    let file =
        "[[listener]]\naddress = ':25'\ndsn = 'pass'\n[[listener]]\naddress = ':26'\ndsn = 'auto'";
    let configuration = load(file, &[], &[]).unwrap();
    let dsn: Vec<Dsn> = configuration.listeners.iter().map(|it| it.dsn).collect();
    assert_eq!(dsn, [Dsn::Pass, Dsn::Auto]);
    assert!(configuration.to_toml().unwrap().contains("dsn = \"pass\""));
    let wrong = load("[[listener]]\naddress = ':25'\ndsn = 'on'", &[], &[]).unwrap_err();
    assert!(
        wrong.to_string().contains("give one of auto, pass"),
        "{wrong}"
    );
}
