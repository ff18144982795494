//! Real clients over TLS: STARTTLS and TLS from the first byte.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::Arc;

use prixfixe_test_support::{has, run, wait_until};
use tempfile::TempDir;

use crate::support::{Prixfixe, awkward_message};

/// A certificate authority of the test's own, by openssl.
pub(crate) struct Authority {
    folder: TempDir,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        // Postfix reads the CA's certificate as another user.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        let authority = Self { folder };
        authority.openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "60",
            "-subj",
            "/CN=Test CA",
            "-keyout",
            "ca.key",
            "-out",
            "ca.crt",
        ]);
        authority
    }

    pub(crate) fn certificate(&self) -> String {
        self.path("ca.crt")
    }

    /// A certificate for a name: the files of chain and key.
    pub(crate) fn issue(&self, name: &str) -> (String, String) {
        let (request, cert, key) = (
            format!("{name}.csr"),
            format!("{name}.crt"),
            format!("{name}.key"),
        );
        let extensions = format!("{name}.ext");
        fs::write(
            self.folder.path().join(&extensions),
            format!("subjectAltName = DNS:{name}\n"),
        )
        .expect("a file");
        self.openssl(&[
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            &format!("/CN={name}"),
            "-keyout",
            &key,
            "-out",
            &request,
        ]);
        self.openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            "ca.crt",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "60",
            "-extfile",
            &extensions,
            "-out",
            &cert,
        ]);
        (self.path(&cert), self.path(&key))
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn openssl(&self, arguments: &[&str]) {
        run(Command::new("openssl")
            .args(arguments)
            .current_dir(self.folder.path()));
    }
}

fn smtplib(transport: &str, authority: &Authority, cert: &str, key: &str) {
    const SCRIPT: &str = r#"
import smtplib, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[2])
with smtplib.SMTP("localhost", int(sys.argv[1]), local_hostname="client.test") as client:
    client.starttls(context=context)
    client.ehlo()
    assert not client.has_extn("starttls"), client.esmtp_features
    client.sendmail("ann@example.com", ["bob@example.com"], open(sys.argv[3], "rb").read())
"#;
    let server = Prixfixe::start(&[
        "--transport",
        transport,
        "--tls-cert",
        cert,
        "--tls-key",
        key,
    ]);
    let file = message_file(&server);
    run(Command::new("python3").args([
        "-c",
        SCRIPT,
        &server.port(),
        &authority.certificate(),
        &file,
    ]));
    assert_received(&server, 1);

    const IMPLICIT: &str = r#"
import smtplib, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[2])
with smtplib.SMTP_SSL("localhost", int(sys.argv[1]), local_hostname="client.test", context=context) as client:
    client.sendmail("ann@example.com", ["bob@example.com"], open(sys.argv[3], "rb").read())
"#;
    let arguments = [
        "--transport",
        transport,
        "--listen-tls",
        "127.0.0.1:0",
        "--tls-cert",
        cert,
        "--tls-key",
        key,
    ];
    let server = Prixfixe::start(&arguments);
    let file = message_file(&server);
    run(Command::new("python3").args([
        "-c",
        IMPLICIT,
        &server.tls_port(),
        &authority.certificate(),
        &file,
    ]));
    assert_received(&server, 1);
}

fn curl_and_swaks(transport: &str, authority: &Authority, cert: &str, key: &str) {
    let server = Prixfixe::start(&[
        "--transport",
        transport,
        "--tls-cert",
        cert,
        "--tls-key",
        key,
    ]);
    let file = message_file(&server);
    run(Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--max-time",
            "60",
            "--ssl-reqd",
            "--cacert",
            &authority.certificate(),
        ])
        .arg(format!("smtp://localhost:{}/client.test", server.port()))
        .args([
            "--mail-from",
            "ann@example.com",
            "--mail-rcpt",
            "bob@example.com",
            "--upload-file",
            &file,
        ]));
    run(Command::new("swaks").args([
        "--server",
        "localhost",
        "--port",
        &server.port(),
        "--from",
        "ann@example.com",
        "--to",
        "bob@example.com",
        "--tls",
        "--tls-verify",
        "--tls-ca-path",
        &authority.certificate(),
        "--helo",
        "client.test",
        "--silent",
        "2",
        "--data",
        &format!("@{file}"),
    ]));
    assert_received(&server, 2);
}

fn message_file(server: &Prixfixe) -> String {
    let file = server.folder().join("message");
    fs::write(&file, awkward_message()).expect("a file");
    file.display().to_string()
}

fn assert_received(server: &Prixfixe, count: usize) {
    let mail = server.mail();
    assert_eq!(mail.len(), count);
    for mail in mail {
        assert!(mail.content.starts_with(&awkward_message()), "{mail:?}");
        assert!(
            mail.trace[2].contains(" with ESMTPS id "),
            "{:?}",
            mail.trace
        );
    }
}

#[test]
fn clients_verify_the_certificate_and_send_over_each_transport() {
    if !["openssl", "python3", "curl", "swaks"].into_iter().all(has) {
        return;
    }
    let authority = Authority::new();
    let (cert, key) = authority.issue("localhost");
    for transport in ["tokio", "raw"] {
        smtplib(transport, &authority, &cert, &key);
        curl_and_swaks(transport, &authority, &cert, &key);
    }
}

/// What openssl prints of a handshake; nothing is said after it.
fn s_client(server: &Prixfixe, arguments: &[&str]) -> String {
    let output = Command::new("openssl")
        .args([
            "s_client",
            "-connect",
            &server.address().to_string(),
            "-starttls",
            "smtp",
        ])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("openssl runs");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_self_signed_certificate_names_the_domain_and_old_versions_are_refused() {
    if !has("openssl") {
        return;
    }
    let server = Prixfixe::start(&["--tls-self-signed", "--domain", "mx.example.com"]);
    let modern = s_client(&server, &["-tls1_3"]);
    assert!(
        modern.contains("TLSv1.3") && modern.contains("CN = mx.example.com"),
        "{modern}"
    );
    assert!(s_client(&server, &["-tls1_2"]).contains("Protocol  : TLSv1.2"));
    for old in ["-tls1", "-tls1_1"] {
        // Level 0, so that it is the server that refuses.
        let refused = s_client(&server, &[old, "-cipher", "ALL:@SECLEVEL=0"]);
        assert!(
            refused.contains("SSL alert number") && refused.contains("Cipher is (NONE)"),
            "{refused}"
        );
    }

    let strict = Prixfixe::start(&["--tls-self-signed", "--tls-min-version", "1.3"]);
    assert!(s_client(&strict, &["-tls1_2"]).contains("alert protocol version"));
}

#[test]
fn a_new_certificate_is_taken_on_sighup_and_a_bad_one_is_not() {
    if !has("openssl") {
        return;
    }
    let authority = Authority::new();
    let (cert, key) = authority.issue("old.test");
    let server = Prixfixe::start(&["--tls-cert", &cert, "--tls-key", &key]);
    let presents = |name: &str| s_client(&server, &[]).contains(&format!("CN = {name}"));
    assert!(presents("old.test"));

    let (new_cert, new_key) = authority.issue("new.test");
    fs::write(&cert, "no certificate at all").expect("a file");
    server.signal("HUP");
    wait_for_log(&server, "old.test.crt");
    assert!(
        presents("old.test"),
        "a bad pair must not replace a good one"
    );

    fs::copy(new_key, &key).expect("a copy");
    fs::copy(new_cert, &cert).expect("a copy");
    server.signal("HUP");
    while !presents("new.test") {
        std::thread::yield_now();
    }
}

/// A server whose file says this, beside what flags say.
fn configured(file: &str, arguments: &[&str]) -> Prixfixe {
    let folder = Arc::new(tempfile::tempdir().expect("a folder"));
    fs::write(folder.path().join("mail.toml"), file).expect("a file");
    let arguments = [&["--config", "mail.toml"], arguments].concat();
    Prixfixe::start_in(folder, &[], &arguments)
}

#[test]
fn a_client_gets_the_certificate_of_the_name_that_it_asks_for() {
    if !has("openssl") {
        return;
    }
    let authority = Authority::new();
    let names = ["default.test", "one.test", "two.test"];
    let [default, one, two] = names.map(|name| authority.issue(name));
    let file = format!(
        "[tls]\ncert = '{}'\nkey = '{}'\n\
         [[tls.certificate]]\ncert = '{}'\nkey = '{}'\n\
         [[tls.certificate]]\ncert = '{}'\nkey = '{}'\n",
        default.0, default.1, one.0, one.1, two.0, two.1
    );
    let server = configured(&file, &[]);
    for (asked, presented) in [
        (&["-servername", "one.test"][..], "one.test"),
        (&["-servername", "two.test"], "two.test"),
        (&["-servername", "default.test"], "default.test"),
        (&["-servername", "other.test"], "default.test"),
        (&["-noservername"], "default.test"),
    ] {
        let seen = s_client(&server, asked);
        for name in names {
            let is_there = seen.contains(&format!("subject=CN = {name}"));
            assert_eq!(is_there, name == presented, "{asked:?}: {seen}");
        }
    }
}

#[test]
fn a_new_certificate_is_taken_without_a_signal() {
    if !has("openssl") {
        return;
    }
    let authority = Authority::new();
    let (cert, key) = authority.issue("old.test");
    let (new_cert, new_key) = authority.issue("new.test");
    let server = configured(
        "tls.reload-interval = '1s'",
        &["--tls-cert", &cert, "--tls-key", &key],
    );
    let presents = |name: &str| s_client(&server, &[]).contains(&format!("subject=CN = {name}"));
    assert!(presents("old.test"));
    fs::copy(new_key, &key).expect("a copy");
    fs::copy(new_cert, &cert).expect("a copy");
    wait_until("certificate reloaded", || {
        let log = server.log.lock().expect("no panic under it");
        log.iter().any(|line| line.contains("certificate reloaded"))
    });
    assert!(presents("new.test"));
}

/// Waits for a warning or an error that names something.
fn wait_for_log(server: &Prixfixe, text: &str) {
    let complains =
        |line: &String| line.contains(text) && (line.contains("WARN") || line.contains("ERROR"));
    wait_until(text, || {
        let log = server.log.lock().expect("no panic under it");
        log.iter().any(complains)
    });
}
