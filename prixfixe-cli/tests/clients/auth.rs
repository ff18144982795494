//! Real clients log in, by every mechanism that they have, with the right password and a wrong one.

use std::fs;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use prixfixe_auth::users_line;
use prixfixe_test_support::has;

use crate::support::Prixfixe;
use crate::tls::Authority;

const USER: &str = "ann@example.com";
const PASSWORD: &str = "sesame, open";
const WRONG: &str = "sesame, close";

/// Where nobody sends without a login.
struct Submission {
    server: Prixfixe,
    ca: String,
}

impl Submission {
    fn start(transport: &str, authority: &Authority, cert: &str, key: &str) -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        let line = users_line(USER, PASSWORD.as_bytes()).expect("a line");
        fs::write(folder.path().join("users"), line).expect("a file");
        let arguments = [
            "--transport",
            transport,
            "--tls-cert",
            cert,
            "--tls-key",
            key,
            "--auth",
            "require",
            "--auth-users",
            "users",
        ];
        Self {
            server: Prixfixe::start_in(folder, &[], &arguments),
            ca: authority.certificate(),
        }
    }
}

/// Mail is sent with this password; whether that went well is in the status.
type Client = fn(&Submission, mechanism: &str, password: &str) -> Command;

const CLIENTS: &[(&str, Client, &[&str])] = &[
    ("python3", smtplib, &["PLAIN", "LOGIN"]),
    ("swaks", swaks, &["PLAIN", "LOGIN"]),
    ("curl", curl, &["PLAIN", "LOGIN"]),
    ("prixfixe-node", nodemailer, &["PLAIN", "LOGIN"]),
    ("msmtp", msmtp, &["plain", "login", "scram-sha-256", "on"]),
];

fn smtplib(to: &Submission, mechanism: &str, password: &str) -> Command {
    const SCRIPT: &str = r#"
import smtplib, ssl, sys
port, ca, mechanism, user, password = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
with smtplib.SMTP("localhost", int(port), local_hostname="client.test") as client:
    client.starttls(context=context)
    client.ehlo()
    client.user, client.password = user, password
    client.auth(mechanism, getattr(client, "auth_" + mechanism.lower()))
    client.sendmail("ann@example.com", ["bob@example.com"], b"Subject: hello\r\n\r\nhello\r\n")
"#;
    let mut command = Command::new("python3");
    let port = to.server.port();
    command.args(["-c", SCRIPT, &port, &to.ca, mechanism, USER, password]);
    command
}

fn swaks(to: &Submission, mechanism: &str, password: &str) -> Command {
    let mut command = Command::new("swaks");
    command
        .args(["--server", "localhost", "--port", &to.server.port()])
        .args(["--from", USER, "--to", "bob@example.com", "--tls"])
        .args(["--auth", mechanism, "--auth-user", USER])
        .args(["--auth-password", password]);
    command
}

fn curl(to: &Submission, mechanism: &str, password: &str) -> Command {
    let mut command = curl_with(&to.server, &to.ca, mechanism);
    command.args(["--user", &format!("{USER}:{password}")]);
    command
}

/// Without whose login it is.
pub(crate) fn curl_with(server: &Prixfixe, ca: &str, mechanism: &str) -> Command {
    let message = server.folder().join("message");
    fs::write(&message, "Subject: hello\r\n\r\nhello\r\n").expect("a file");
    let mut command = Command::new("curl");
    command
        .args(["--silent", "--show-error", "--max-time", "60"])
        .args(["--ssl-reqd", "--cacert", ca])
        .arg(format!("smtp://localhost:{}/client.test", server.port()))
        .args(["--login-options", &format!("AUTH={mechanism}")])
        .args(["--mail-from", USER, "--mail-rcpt", "bob@example.com"])
        .arg("--upload-file")
        .arg(message);
    command
}

fn msmtp(to: &Submission, mechanism: &str, password: &str) -> Command {
    msmtp_with(&to.server, &to.ca, mechanism, USER, password)
}

pub(crate) fn msmtp_with(
    server: &Prixfixe,
    ca: &str,
    mechanism: &str,
    user: &str,
    password: &str,
) -> Command {
    let message = server.folder().join("message");
    fs::write(&message, "Subject: hello\n\nhello\n").expect("a file");
    let mut command = Command::new("msmtp");
    command
        .args(["--file=/dev/null", "--host=localhost"])
        .arg(format!("--port={}", server.port()))
        .args(["--tls=on", "--tls-starttls=on"])
        .arg(format!("--tls-trust-file={ca}"))
        .arg(format!("--auth={mechanism}"))
        .arg(format!("--user={user}"))
        .arg(format!("--passwordeval=printf %s '{password}'"))
        .args([&format!("--from={USER}"), "bob@example.com"])
        .stdin(fs::File::open(message).expect("the file"));
    command
}

fn nodemailer(to: &Submission, mechanism: &str, password: &str) -> Command {
    let auth = format!("{{ user: '{USER}', pass: '{password}', method: '{mechanism}' }}");
    nodemailer_with(&to.server, &to.ca, &auth)
}

/// `auth` is its option of that name.
pub(crate) fn nodemailer_with(server: &Prixfixe, ca: &str, auth: &str) -> Command {
    const SCRIPT: &str = r#"
const nodemailer = require(process.env.PRIXFIXE_NODE_MODULES + "/nodemailer");
const [port, ca, text] = process.argv.slice(1);
const auth = eval("(" + text + ")");
nodemailer.createTransport({
    host: "localhost", port: Number(port), requireTLS: true, name: "client.test",
    tls: { ca: require("fs").readFileSync(ca) }, auth, authMethod: auth.method,
}).sendMail({ from: "ann@example.com", to: "bob@example.com", subject: "hello", text: "hello" })
    .catch((error) => { console.error(error.message, error.response); process.exit(1); });
"#;
    let mut command = Command::new("prixfixe-node");
    command.args(["-e", SCRIPT, &server.port(), ca, auth]);
    command
}

pub(crate) fn output(command: &mut Command) -> (bool, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("the client runs");
    let said = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    (status.success(), said)
}

#[test]
fn clients_log_in_over_each_transport() {
    if !has("openssl") {
        return;
    }
    let authority = Authority::new();
    let (cert, key) = authority.issue("localhost");
    for transport in ["tokio", "raw"] {
        let submission = Submission::start(transport, &authority, &cert, &key);
        let mut sent = 0;
        for (program, client, mechanisms) in CLIENTS.iter().filter(|(program, ..)| has(program)) {
            for mechanism in *mechanisms {
                let case = format!("{program} {mechanism} {transport}");
                let (is_sent, said) = output(&mut client(&submission, mechanism, PASSWORD));
                assert!(is_sent, "{case}: {said}");
                sent += 1;
                let (is_sent, said) = output(&mut client(&submission, mechanism, WRONG));
                assert!(!is_sent, "{case}: {said}");
                // msmtp repeats what the server said in another form.
                assert!(said.contains("535") || *program == "curl", "{case}: {said}");
            }
        }
        let mail = submission.server.mail();
        assert_eq!(mail.len(), sent);
        for mail in mail {
            let trace = mail.trace.join("\n");
            assert!(trace.contains(" with ESMTPSA id "), "{trace}");
        }
        let log = submission.server.log.lock().expect("no panic under it");
        let log = log.join("\n");
        assert!(log.contains(&format!("\"user\":\"{USER}\"")), "{log}");
        assert!(!log.contains("sesame"), "{log}");
    }
}

/// GNU SASL's own client: SCRAM with the channel binding of RFC 9266, too.
#[test]
fn gsasl_logs_in_with_and_without_a_channel_binding() {
    if !["openssl", "gsasl"].into_iter().all(has) {
        return;
    }
    let authority = Authority::new();
    let (cert, key) = authority.issue("localhost");
    for transport in ["tokio", "raw"] {
        let to = Submission::start(transport, &authority, &cert, &key);
        let gsasl = |mechanism: &str, password: &str| {
            let mut command = Command::new("gsasl");
            command
                .args(["--smtp", "--client", "--starttls"])
                .arg(format!("--connect=localhost:{}", to.server.port()))
                .arg(format!("--x509-ca-file={}", to.ca))
                .arg(format!("--mechanism={mechanism}"))
                .arg(format!("--authentication-id={USER}"))
                .arg(format!("--password={password}"))
                .stdin(Stdio::null());
            // With a binding in hand it would say that we offer none.
            if mechanism == "SCRAM-SHA-256" {
                command.arg("--no-cb");
            }
            output(&mut command)
        };
        for mechanism in ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"] {
            let (is_in, said) = gsasl(mechanism, PASSWORD);
            assert!(is_in && said.contains("235"), "{mechanism}: {said}");
            let (is_in, said) = gsasl(mechanism, WRONG);
            assert!(!is_in && said.contains("535"), "{mechanism}: {said}");
        }
    }
}
