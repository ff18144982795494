//! The file: what is wrong in it is named with its line and key.

use super::*;

/// What is wrong with a file.
fn parse(text: &str) -> String {
    load(text, &[], &[]).unwrap_err()
}

#[test]
fn mistakes_name_file_line_and_key() {
    let cases = [
        (
            "\n\nquux = 1\n",
            "FILE:3: quux: unknown key; `prixfixe check` prints those that are known",
        ),
        (
            "domian = 'x'",
            "FILE:1: domian: unknown key; did you mean `domain`?",
        ),
        (
            "domain = 'x'\n[limits]\nmax-errors = 1\nmax-conections = 1\n",
            "FILE:4: limits.max-conections: unknown key; did you mean `limits.max-connections`?",
        ),
        (
            "max-errors = 1",
            "FILE:1: max-errors: unknown key; did you mean `limits.max-errors`?",
        ),
        (
            "deliver = 'discard:'",
            "FILE:1: deliver: unknown key; did you mean `delivery.target`?",
        ),
        (
            "[limit]\nmax-errors = 1",
            "FILE:1: limit: unknown key; did you mean `limits`?",
        ),
        (
            "[limits.max-errors]\nx = 1",
            "FILE:1: limits.max-errors: must be an integer, not a table",
        ),
        (
            "[[listener]]\naddress = 'a:1'\n[[listener]]\naddress = 'b:1'\nadress = 'c:1'\n",
            "FILE:5: listener.adress: unknown key; did you mean `listener.address`?",
        ),
        (
            "[[listener]]\naddress = 'a:1'\n\n[[listener]]\n",
            "FILE:4: listener: has no address; add address = \"ADDR:PORT\"",
        ),
        (
            "[listener]\naddress = 'a:1'",
            "FILE:1: listener: is an array of tables; write [[listener]] with two brackets",
        ),
        (
            "listener = []",
            "FILE:1: listener: is empty; add a table, or leave it out",
        ),
        (
            "[tls]\n[[tls.certificate]]\ncert = 'c'\nkey = 'k'\n[[tls.certificate]]\ncert = 'c'\nkye = 'k'\n",
            "FILE:7: tls.certificate.kye: unknown key; did you mean `tls.certificate.key`?",
        ),
        (
            "[[tls.certificate]]\ncert = 'c'\nkey = 'k'\npasswords = 'p'\n",
            "FILE:4: tls.certificate.passwords: unknown key; did you mean `tls.certificate.key-password-file`?",
        ),
        (
            "[[tls.certificate]]\ncert = 'c'\n\n[[tls.certificate]]\nkey = 'k'\n",
            "FILE:1: tls.certificate: has no key; add key = \"FILE\"; \
             FILE:4: tls.certificate: has no cert; add cert = \"FILE\"",
        ),
        (
            "\n[[tls.certificate]]\nkey = 'k'\n",
            "FILE:2: tls.certificate: has no cert; add cert = \"FILE\"",
        ),
        (
            "[[tls.certificate]]\ncert = 1\n",
            "FILE:2: tls.certificate.cert: must be a string, not an integer",
        ),
        (
            "[tls.certificate]\ncert = 'c'\nkey = 'k'\n",
            "FILE:1: tls.certificate: is an array of tables; write [[tls.certificate]] with two brackets",
        ),
        (
            "tls.certificate = []",
            "FILE:1: tls.certificate: is empty; add a table, or leave it out",
        ),
        (
            "[[tls.certificates]]\ncert = 'c'\n",
            "FILE:1: tls.certificates: unknown key; did you mean `tls.certificate`?",
        ),
        (
            "listener = [5]",
            "FILE:1: listener: must be a table, not an integer",
        ),
        (
            "domain = 1",
            "FILE:1: domain: must be a string, not an integer",
        ),
        (
            "limits = 1",
            "FILE:1: limits: must be a table, not an integer",
        ),
        (
            "limits.max-errors = '1'",
            "FILE:1: limits.max-errors: must be an integer, not a string",
        ),
        (
            "limits.command-timeout = 1.5",
            "FILE:1: limits.command-timeout: must be an integer, or a string with a unit, not a floating-point number",
        ),
        (
            "delivery.fsync = 'no'",
            "FILE:1: delivery.fsync: must be true or false, not a string",
        ),
        (
            "[accept]\ndomains = [\n  'a.example',\n  2,\n]",
            "FILE:4: accept.domains: must be an array of strings, not an integer",
        ),
        (
            "domain = 'a'\ndomain = 'b'\n",
            "FILE:2: duplicate key: `domain`",
        ),
        (
            "domain = 'a'\n[limits]\n[limits]\n",
            "FILE:3: duplicate key: `limits`",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(parse(text), expected, "{text}");
    }
    let error = parse("domain = 'a'\nlimits = [1,\n");
    assert!(
        error.starts_with("FILE:2: ") || error.starts_with("FILE:3: "),
        "{error}"
    );
    assert!(!error.contains('\n'), "{error}");
}

#[test]
fn all_mistakes_are_told_in_the_order_of_their_lines() {
    let text = "domian = 'a'\n[limits]\nmax-errors = 'x'\nmax-recipients = 0\n[[listener]]\n[[listener]]\n\
                address = '1'\nadress = 'a:1'\n[accept]\ndomains = ['-', 'a', 1]\n[tls]\ncert = ''\n";
    let lines: Vec<String> = parse(text)
        .split("; FILE:")
        .map(|mistake| mistake.trim_start_matches("FILE:").to_owned())
        .collect();
    let places = lines.iter().map(|line| {
        let mut parts = line.split(": ");
        format!("{}: {}", parts.next().unwrap(), parts.next().unwrap())
    });
    assert_eq!(
        places.collect::<Vec<_>>(),
        [
            "1: domian",
            "3: limits.max-errors",
            "4: limits.max-recipients",
            "5: listener",
            "7: listener.address",
            "8: listener.adress",
            "10: accept.domains",
            "10: accept.domains",
            "12: tls.cert",
        ],
        "{lines:#?}"
    );
    let many = "x = 1\n".to_owned() + &(0..50).map(|n| format!("y{n} = 1\n")).collect::<String>();
    assert_eq!(parse(&many).matches("unknown key").count(), 20);
}

/// Reading it again for each would take for ever.
#[test]
fn a_file_of_nothing_but_mistakes_is_soon_done_with() {
    let listeners = "[[listener]]\naddress = 'x'\n".repeat(4_000);
    let problem = parse(&listeners);
    assert_eq!(problem.matches("is not an address").count(), 20);
    let tables = format!(
        "[[listener]]\nadress = 'a:1'\n{}",
        "[[listener]]\n".repeat(4_000)
    );
    assert!(parse(&tables).contains("did you mean `listener.address`?"));
}

#[test]
fn the_key_that_other_programs_have_leads_to_ours() {
    for (text, meant) in [
        (
            "listen = ':25'",
            "[[listener]]` with `address = \"ADDR:PORT\"",
        ),
        ("port = 25", "[[listener]]` with `address = \"ADDR:PORT\""),
        ("[admin]\naddress = 'a:1'", "admin.listen"),
        ("[accept]\ndomain = 'a'", "accept.domains"),
        ("[accept]\nrecipients = ['a']", "accept.domains"),
        ("[limits]\nmax_connections = 1", "limits.max-connections"),
    ] {
        let problem = parse(text);
        let hint = format!("unknown key; did you mean `{meant}`?");
        assert!(problem.ends_with(&hint), "{text}: {problem}");
    }
    let problem = parse("[tls]\ncertificate = 'c.pem'");
    assert!(problem.ends_with("did you mean `tls.cert`?"), "{problem}");
}

#[test]
fn an_integer_may_be_written_in_other_bases() {
    let limits = load(
        "[limits]\nmax-errors = 0x10\nmax-recipients = 1_000",
        &[],
        &[],
    )
    .unwrap()
    .limits;
    assert_eq!(
        (limits.max_errors.get(), limits.max_recipients.get()),
        (16, 1000)
    );
}
