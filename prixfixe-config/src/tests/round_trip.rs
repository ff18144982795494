//! What is printed reads back as it was.

use proptest::prelude::*;

use super::*;

/// Any text that the option takes.
fn text(id: &'static str, value: &'static str) -> BoxedStrategy<String> {
    match (id, value) {
        ("listen-lmtp", _) => "lmtp[a-z]{1,9}:[1-9],unix:/[a-z]{1,9}".boxed(),
        ("listen-tls", _) => "tls[a-z]{1,9}:[1-9]".boxed(),
        ("listen", _) => (any::<std::net::SocketAddr>(), "[a-z]{1,9}", 1..=u16::MAX)
            .prop_map(|(address, name, port)| format!("{address},{name}:{port},*:{port}"))
            .boxed(),
        ("accept.domains", _) => "[a-z]{1,9},[a-zé]{1,9}\\.example".boxed(),
        ("domain", _) => "[a-z]{1,9}\\.example".boxed(),
        ("user", _) => "[a-z]{1,9}".boxed(),
        ("admin.listen", _) => "[a-z]{1,9}:[1-9]".boxed(),
        (_, "N" | "BYTES" | "SECONDS") => {
            (1..=1024_u32).prop_map(|number| number.to_string()).boxed()
        }
        (_, "BOOLEAN") => any::<bool>().prop_map(|on| on.to_string()).boxed(),
        (_, "CIDR") => "10\\.[1-9]?[0-9]\\.0\\.0/16,[1-9]::/16,::1,unix".boxed(),
        (_, "ZONE") => "[a-z]{1,9}\\.example,[a-z]{1,9}\\.test".boxed(),
        // Braces are a template's.
        (_, "TARGET") => "maildir:[^\0{}]{0,20}[^\0{}\\s]".boxed(),
        (_, "URL") => "https://[a-z]{1,9}\\.example/[a-z]{0,9}".boxed(),
        // Of blanks alone a variable counts as not set.
        // The other two need somebody who checks logins.
        ("auth.mode", _) => prop::sample::select(vec!["off", "any"])
            .prop_map(String::from)
            .boxed(),
        ("policy.milter", _) => "inet:[a-z]{1,9}:[1-9][0-9]{0,3},unix:/[a-z]{1,9}".boxed(),
        (_, "FILE" | "PATH" | "SOCKET") => "[^\0]{0,20}[^\0\\s]".boxed(),
        (_, "LEVEL") => {
            prop::sample::select(vec!["off", "error", "warn", "info", "debug", "trace"])
                .prop_map(String::from)
                .boxed()
        }
        (_, words) => {
            let words: Vec<&str> = words.split('|').collect();
            prop::sample::select(words).prop_map(String::from).boxed()
        }
    }
}

/// The variables of all options. TLS asks for several at once; the others are there or not.
fn variables() -> Vec<BoxedStrategy<Option<(String, String)>>> {
    let args = COMMAND.get_arguments().map(|arg| {
        let (id, flag) = (arg.get_id().as_str(), arg.get_long().unwrap());
        let name = variable_of(flag);
        let set = text(id, value_name(arg)).prop_map(move |text| (name.clone(), text));
        match flag {
            "tls-self-signed" => Just(Some((variable_of(flag), "true".to_owned()))).boxed(),
            _ if flag.contains("tls") => set.prop_map(Some).boxed(),
            _ => prop::option::of(set).boxed(),
        }
    });
    args.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn what_check_prints_reads_back_the_same(
        values in variables(),
        files in any::<bool>(),
        handshake_timeout in 1..=86_400_u64,
        reload_interval in 0..=86_400_u64,
        idle in (1..=86_400_u64, 0..=1_000_000_u64),
        min_free in 0..=1_u64 << 50,
        certificates in prop::collection::vec(("[^\0]{1,20}", "[^\0]{1,20}", prop::option::of("[^\0]{1,20}")), 0..3),
    ) {
        // A certificate of one kind or the other, with what goes with it.
        let sensible = match files {
            true => ["SMTP_TLS_CERT", "SMTP_TLS_KEY", "SMTP_TLS_KEY_PASSWORD_FILE", "SMTP_TLS_MIN_VERSION"],
            false => ["SMTP_TLS_SELF_SIGNED", "SMTP_TLS_CLIENT_CA", "SMTP_TLS_CLIENT_AUTH", "SMTP_TLS_REQUIRED"],
        };
        let variables: Vec<(&str, &str)> = values
            .iter()
            .flatten()
            .map(|(variable, value)| (variable.as_str(), value.as_str()))
            .filter(|(variable, _)| *variable != if files { "SMTP_AUTH_DOVECOT" } else { "SMTP_AUTH_USERS" })
            .filter(|(variable, _)| sensible.contains(variable) || !variable.starts_with("SMTP_TLS_"))
            .collect();
        let (idle_timeout, idle_commands) = idle;
        let mut file = format!("[limits]\nidle-timeout = {idle_timeout}\nmax-idle-commands = {idle_commands}\n[delivery]\nmin-free = {min_free}\n[tls]\nhandshake-timeout = {handshake_timeout}\nreload-interval = {reload_interval}\n");
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
