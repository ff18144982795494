//! A real Dovecot: it checks logins for the binary, and its submission service passes clients on by
//! XCLIENT.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use prixfixe_test_support::{has, run, unused_port, wait_until};
use tempfile::TempDir;

use crate::auth::{msmtp_with, output};
use crate::support::Prixfixe;
use crate::tls::Authority;

const USER: &str = "ann@example.com";
const SUBMISSION: &str = "/usr/lib/dovecot/submission";

struct Dovecot {
    child: Child,
    folder: TempDir,
}

impl Dovecot {
    /// Only root can start one, whose processes are other users'.
    fn can_run() -> bool {
        has("dovecot")
            && fs::metadata("/proc/self")
                .is_ok_and(|it| std::os::unix::fs::MetadataExt::uid(&it) == 0)
    }

    fn start(extra: impl FnOnce(&str) -> String) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(folder.path(), open).expect("it is ours");
        let at = folder.path().display().to_string();
        fs::write(
            folder.path().join("passwd"),
            format!("{USER}:{{SCRAM-SHA-256}}{VERIFIER}::::::\n"),
        )
        .expect("a file");
        let configuration = format!(
            "base_dir = {at}/run\nstate_dir = {at}/state\nlog_path = {at}/log\nssl = no\n\
             disable_plaintext_auth = no\nauth_mechanisms = plain login scram-sha-256\n\
             auth_failure_delay = 0\nfirst_valid_uid = 1\nmail_location = maildir:{at}/mail\n\
             passdb {{\n  driver = passwd-file\n  args = {at}/passwd\n}}\n\
             userdb {{\n  driver = static\n  args = uid=65534 gid=65534 home={at}/mail\n}}\n{}",
            extra(&at)
        );
        let mail = folder.path().join("mail");
        fs::create_dir(&mail).expect("a folder");
        std::os::unix::fs::chown(&mail, Some(65534), Some(65534)).expect("this is root");
        let file = folder.path().join("dovecot.conf");
        fs::write(&file, configuration).expect("a file");
        let child = Command::new("dovecot")
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .args(["-F", "-c"])
            .arg(file)
            .stdin(Stdio::null())
            .spawn()
            .expect("it runs");
        Self { child, folder }
    }

    fn wait_until(&self, what: &str, is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !is_so() {
            let log = fs::read_to_string(self.folder.path().join("log"));
            assert!(Instant::now() < deadline, "{what}: {log:?}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        let process = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &process]).status();
        let _ = self.child.wait();
    }
}

/// Of `sesame`, as `doveadm pw -s SCRAM-SHA-256` prints it.
const VERIFIER: &str = "4096,iNxkglojFMCFsG+LxVyi6w==,bgTdIK9Ac3JDAO2kzlV0O9hOlDXMg9WJI8UVs12Aths=,ht4gAfKpEopgsKCLtnJwm3KVPpwxmbfAdPhd6t0ACWQ=";

#[test]
fn dovecot_s_accounts_log_in_to_the_binary() {
    if !Dovecot::can_run() || !["openssl", "swaks", "msmtp"].into_iter().all(has) {
        return;
    }
    let dovecot = Dovecot::start(|at| {
        format!(
            "protocols =\nservice auth {{\n  unix_listener {at}/auth-client {{\n    mode = 0666\n  }}\n}}\n"
        )
    });
    let socket: PathBuf = dovecot.folder.path().join("auth-client");
    dovecot.wait_until("its socket", || socket.exists());
    let authority = Authority::new();
    let (cert, key) = authority.issue("localhost");
    let ca = authority.certificate();
    for transport in ["tokio", "raw"] {
        let arguments = [
            "--transport",
            transport,
            "--tls-cert",
            &cert,
            "--tls-key",
            &key,
            "--auth=require",
            "--auth-dovecot",
            socket.to_str().expect("a path"),
        ];
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        let server = Prixfixe::start_in(folder, &[], &arguments);
        dovecot.wait_until("a connection to it", || {
            let log = server.log.lock().expect("no panic under it").join("\n");
            log.contains("Dovecot checks logins")
        });
        let mut sent = 0;
        for mechanism in ["plain", "login", "scram-sha-256"] {
            for (password, is_right) in [("sesame", true), ("open", false)] {
                let mut command = msmtp_with(&server, &ca, mechanism, USER, password);
                let (is_sent, said) = output(&mut command);
                assert_eq!(is_sent, is_right, "{mechanism} {transport}: {said}");
                assert!(is_sent || said.contains("535"), "{said}");
                sent += usize::from(is_sent);
            }
        }
        assert_eq!(server.mail().len(), sent);
        let trace = server.mail()[0].trace.concat();
        assert!(trace.contains(" with ESMTPSA id "), "{trace}");
    }
}

#[test]
fn dovecot_s_submission_passes_the_client_on() {
    let has_submission = Path::new(SUBMISSION).is_file();
    assert!(
        has_submission || std::env::var_os("PRIXFIXE_TEST_REQUIRE_TOOLS").is_none(),
        "Dovecot's submission is not installed"
    );
    if !has_submission || !Dovecot::can_run() || !has("swaks") {
        return;
    }
    for transport in ["tokio", "raw"] {
        let server = Prixfixe::start(&["--transport", transport, "--xclient-from=127.0.0.1"]);
        let (relay, port) = (
            server.port(),
            unused_port(Ipv4Addr::LOCALHOST).expect("a port"),
        );
        let dovecot = Dovecot::start(|_| {
            format!(
                "protocols = submission\nsubmission_relay_host = 127.0.0.1\nsubmission_relay_port = {relay}\n\
                 submission_relay_trusted = yes\nservice submission-login {{\n\
                 inet_listener submission {{\n    address = 127.0.0.1\n    port = {port}\n  }}\n}}\n"
            )
        });
        dovecot.wait_until("its port", || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        run(Command::new("swaks")
            .args([
                "--server",
                &format!("127.0.0.1:{port}"),
                "--helo",
                "first.test",
            ])
            .args(["--local-interface", "127.0.0.9", "--auth", "PLAIN"])
            .args(["--auth-user", USER, "--auth-password", "sesame"])
            .args(["--from", USER, "--to", "bob@example.com"]));
        let mail = server.mail();
        let trace = mail[0].trace.concat();
        assert!(trace.contains(" ([127.0.0.9])"), "{trace}");
        assert!(trace.contains(" with ESMTPA id "), "{trace}");
        // A line waits for up to 5 ms for others.
        let line = || {
            let log = server.log.lock().expect("no panic under it");
            let mut lines = log.iter();
            let line = lines.find(|line| line.contains("\"message\":\"message\""));
            line.cloned()
        };
        wait_until("a line for it", || line().is_some());
        let line = line().expect("it was there");
        assert!(line.contains("\"peer\":\"127.0.0.9:"), "{line}");
        assert!(line.contains(&format!("\"user\":\"{USER}\"")), "{line}");
    }
}
