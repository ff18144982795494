//! Milters that others wrote, on the binary.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use prixfixe_test_support::{talk, unused_port, wait_until};
use rustix::process::{Pid, Signal, getuid, kill_process};
use tempfile::TempDir;

use crate::harness::{Serve, has, prixfixe, run};

/// A daemon, until it is dropped, and the signal that ends it.
struct Daemon(Child, Signal);

impl Daemon {
    fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        // Some of them have children, which a killed one leaves behind.
        Self(command.stderr(Stdio::null()).spawn().unwrap(), Signal::TERM)
    }

    /// One made with libmilter, which has no children and sees a signal only after some seconds.
    fn start_milter(command: &mut Command) -> Self {
        let mut it = Self::start(command);
        it.1 = Signal::KILL;
        it
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.0), self.1);
        let _ = self.0.wait();
    }
}

/// A directory that a daemon may use that becomes another user.
fn directory() -> TempDir {
    let directory = TempDir::new().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    directory
}

fn write(directory: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, text).unwrap();
    path
}

fn wait_for(socket: &Path) {
    let what = format!("{} listens", socket.display());
    wait_until(&what, || UnixStream::connect(socket).is_ok());
}

/// A server on a transport that asks these milters in a row.
fn serve(transport: &str, milters: &[&str]) -> Serve {
    let mut file = format!(
        "domain = 'mx.test'\ntransport = '{transport}'\n[[listener]]\naddress = '127.0.0.1:0'\n"
    );
    for milter in milters {
        file += &format!("[[policy.milter]]\nsocket = '{milter}'\n");
    }
    let directory = TempDir::new().unwrap();
    write(&directory, "mail.toml", &file);
    let mut command = prixfixe(&["serve", "--config", "mail.toml"]);
    Serve::spawn(command.current_dir(directory.path()), directory)
}

/// The reply to a message, or to what was refused before it.
fn send(serve: &Serve, content: &str) -> String {
    let content = format!("{content}\r\n.");
    let begin = ["EHLO client.test", "MAIL FROM:<ann@strict.test>"];
    let end = ["RCPT TO:<bob@mx.test>", "DATA", &*content];
    let replies = talk(serve.address(), &[&begin[..], &end].concat());
    let refused = replies.iter().find(|reply| reply.starts_with(['4', '5']));
    refused.or(replies.last()).unwrap().clone()
}

fn refused(serve: &Serve, content: &str, expected: &str) {
    let reply = send(serve, content);
    assert!(reply.starts_with(expected), "{reply}");
}

/// The message as it was kept, without what stands above the content.
fn kept(serve: &Serve, content: &str) -> String {
    let before = serve.messages().len();
    refused(serve, content, "250 ");
    let messages = serve.messages();
    assert_eq!(messages.len(), before + 1);
    let message = messages.last().unwrap().replace('\n', "\r\n");
    let message = message.replace("\r\r\n", "\r\n");
    let (_, received) = message.split_once("Received: ").unwrap();
    let fields = received.split_inclusive("\r\n").skip(1);
    fields.skip_while(|line| line.starts_with('\t')).collect()
}

/// opendkim and opendmarc. opendmarc asks the system's name server, so all of them have a network
/// and a `/etc/resolv.conf` that nobody else sees. opendkim reads a file instead: libunbound never
/// asks about `test.`.
struct Mail {
    _daemons: Daemon,
    directory: TempDir,
}

const ZONE: &str = "$TTL 300
@ SOA ns.test. root.test. 1 1h 1h 1h 5m
@ NS ns.test.
ns A 127.0.0.1
_dmarc.strict TXT \"v=DMARC1; p=reject; adkim=s\"
";

impl Mail {
    fn start() -> Option<Self> {
        let programs = [
            "named",
            "opendkim",
            "opendkim-genkey",
            "opendmarc",
            "ip",
            "unshare",
        ];
        if !getuid().is_root() || !programs.iter().all(|program| has(program)) {
            return None;
        }
        let directory = directory();
        let folder = directory.path().display().to_string();
        let mut genkey = Command::new("opendkim-genkey");
        genkey.args(["-d", "strict.test", "-s", "s1", "-b", "1024", "-D", &folder]);
        assert_eq!(run(&mut genkey).0, 0);
        let record = fs::read_to_string(directory.path().join("s1.txt")).unwrap();
        let key = record.split('"').skip(1).step_by(2).collect::<String>();
        write(&directory, "zone", ZONE);
        let keys = format!("s1._domainkey.strict.test {key}\n");
        write(&directory, "keys", &keys);
        let named = format!(
            "options {{ directory \"{folder}\"; listen-on port 53 {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};\n\
             recursion no; pid-file none; session-keyfile none; managed-keys-directory \"{folder}\"; }};\n\
             controls {{ }};\nzone \"test\" {{ type primary; file \"{folder}/zone\"; }};\n"
        );
        write(&directory, "named.conf", &named);
        write(&directory, "resolv.conf", "nameserver 127.0.0.1\n");
        let signer = format!(
            "Socket local:{folder}/signer\nBackground no\nMode s\nDomain strict.test\nSelector s1\n\
             KeyFile {folder}/s1.private\nRequireSafeKeys no\n"
        );
        write(&directory, "signer.conf", &signer);
        let verifier = format!(
            "Socket local:{folder}/verifier\nBackground no\nMode v\nAuthservID mx.test\nAlwaysAddARHeader yes\n\
             InternalHosts csl:192.0.2.1\nTestDNSData {folder}/keys\n"
        );
        write(&directory, "verifier.conf", &verifier);
        // It does not look at mail from this machine otherwise.
        write(&directory, "ignored", "192.0.2.1\n");
        let dmarc = format!(
            "Socket local:{folder}/dmarc\nAuthservID mx.test\nTrustedAuthservIDs mx.test\nRejectFailures true\n\
             IgnoreHosts {folder}/ignored\nSyslog false\n"
        );
        write(&directory, "dmarc.conf", &dmarc);
        let script = "ip link set lo up && mount --bind resolv.conf /etc/resolv.conf || exit\n\
             named -g -c named.conf & opendkim -f -x signer.conf & opendkim -f -x verifier.conf &\n\
             opendmarc -f -c dmarc.conf & wait";
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--net",
            "--pid",
            "--fork",
            "--kill-child",
            "sh",
            "-c",
            script,
        ]);
        let mut daemons = Daemon::start(command.current_dir(&directory));
        // `unshare` hears nothing else, and takes all of them with it.
        daemons.1 = Signal::KILL;
        for name in ["signer", "verifier", "dmarc"] {
            wait_for(&directory.path().join(name));
        }
        Some(Self {
            _daemons: daemons,
            directory,
        })
    }

    fn socket(&self, name: &str) -> String {
        format!("unix:{}/{name}", self.directory.path().display())
    }
}

#[test]
fn opendmarc_goes_by_what_opendkim_has_written() {
    let Some(mail) = Mail::start() else { return };
    let [signer, verifier, dmarc] = ["signer", "verifier", "dmarc"].map(|it| mail.socket(it));
    for transport in ["tokio", "raw"] {
        let signing = serve(transport, &[&signer]);
        let verifying = serve(transport, &[&verifier, &dmarc]);
        let message = "From: ann@strict.test\r\nSubject: a\r\n\r\nHello";
        let signed = kept(&signing, message);
        assert!(
            signed.starts_with("DKIM-Signature: v=1; a=rsa-sha256;"),
            "{signed}"
        );
        let signed = signed.trim_end();
        // The name server may begin after the filters.
        wait_until("the signature is verified", || {
            send(&verifying, signed).starts_with("250 ")
        });
        let verified = kept(&verifying, signed);
        assert!(
            verified.contains("mx.test; dmarc=pass (p=reject"),
            "{verified}"
        );
        assert!(verified.contains("dkim=pass"), "{verified}");
        let rejected = "550 5.7.1 rejected by DMARC policy for strict.test";
        refused(&verifying, message, rejected);
        // A result that the client has written itself is not there any more when opendmarc looks.
        let forged = "Authentication-Results: mx.test; dkim=pass header.d=strict.test";
        refused(&verifying, &format!("{forged}\r\n{message}"), rejected);
        refused(&verifying, &signed.replace("Hello", "Hullo"), rejected);
    }
}

/// `SpamAssassin`'s daemon with rules of ours, and its milter.
struct SpamAssassin {
    _spamd: Daemon,
    milter: Option<Daemon>,
    port: u16,
    directory: TempDir,
}

const RULES: &str = "loadplugin Mail::SpamAssassin::Plugin::Check
util_rb_tld test
required_score 5
report_safe 0
rewrite_header Subject [spam]
add_header all Status \"_YESNO_, score=_SCORE_ required=_REQD_ tests=_TESTS_\"
add_header spam Flag _YESNOCAPS_
body CHEAP /cheap/
score CHEAP 7
body DEAR /dear/
score DEAR 20
";

impl SpamAssassin {
    fn start() -> Option<Self> {
        if !has("spamd") || !has("spamass-milter") {
            return None;
        }
        let directory = directory();
        write(&directory, "own.cf", RULES);
        let port = unused_port(std::net::Ipv4Addr::LOCALHOST).unwrap();
        let folder = directory.path();
        let mut command = Command::new("spamd");
        command.args([
            "--local",
            "--nouser-config",
            "--max-children=1",
            "--syslog=null",
        ]);
        command.args([
            "--username=nobody",
            "--listen=127.0.0.1",
            &format!("--port={port}"),
        ]);
        command
            .arg("--configpath")
            .arg(folder)
            .arg("--siteconfigpath")
            .arg(folder);
        let spamd = Daemon::start(&mut command);
        wait_until("spamd answers", || {
            let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
                return false;
            };
            let _ = stream.write_all(b"PING SPAMC/1.2\r\n\r\n");
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer);
            answer.contains("PONG")
        });
        let mut it = Self {
            _spamd: spamd,
            milter: None,
            port,
            directory,
        };
        it.begin();
        Some(it)
    }

    fn begin(&mut self) {
        let socket = self.directory.path().join("milter");
        // A killed one leaves it behind.
        let _ = fs::remove_file(&socket);
        let mut command = Command::new("spamass-milter");
        command
            .arg("-p")
            .arg(&socket)
            .args(["-r", "15", "--", "-p"]);
        self.milter = Some(Daemon::start_milter(command.arg(self.port.to_string())));
        wait_for(&socket);
    }

    fn socket(&self) -> String {
        format!("unix:{}/milter", self.directory.path().display())
    }
}

/// clamd with a signature of ours, and its milter on TCP.
struct Clam {
    _clamd: Daemon,
    _milter: Daemon,
    port: u16,
    _directory: TempDir,
}

impl Clam {
    fn start() -> Option<Self> {
        if !has("clamd") || !has("clamav-milter") {
            return None;
        }
        let directory = directory();
        let folder = directory.path().display();
        fs::create_dir(directory.path().join("database")).unwrap();
        let pattern = b"malicious".iter().map(|byte| format!("{byte:02x}"));
        let pattern = pattern.collect::<String>();
        write(
            &directory,
            "database/own.ndb",
            &format!("Test.Signature:0:*:{pattern}\n"),
        );
        let clamd = format!(
            "DatabaseDirectory {folder}/database\nLocalSocket {folder}/clamd\nForeground yes\nMaxThreads 2\n"
        );
        let clamd = write(&directory, "clamd.conf", &clamd);
        let clamd = Daemon::start(Command::new("clamd").arg("-c").arg(clamd));
        wait_for(&directory.path().join("clamd"));
        let port = unused_port(std::net::Ipv4Addr::LOCALHOST).unwrap();
        let milter = format!(
            "MilterSocket inet:{port}@127.0.0.1\nClamdSocket unix:{folder}/clamd\nOnInfected Reject\n\
             RejectMsg Infected: %v\nAddHeader Replace\nForeground yes\n"
        );
        let milter = write(&directory, "milter.conf", &milter);
        let milter = Daemon::start_milter(Command::new("clamav-milter").arg("-c").arg(milter));
        wait_until("clamav-milter listens", || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Some(Self {
            _clamd: clamd,
            _milter: milter,
            port,
            _directory: directory,
        })
    }
}

#[test]
fn spamassassin_and_clamav_are_asked_in_a_row() {
    let (Some(mut spam), Some(clam)) = (SpamAssassin::start(), Clam::start()) else {
        return;
    };
    let clam = format!("inet:127.0.0.1:{}", clam.port);
    let message = |body: &str| format!("From: ann@strict.test\r\nSubject: a\r\n\r\n{body}");
    for transport in ["tokio", "raw"] {
        let mut serve = serve(transport, &[&spam.socket(), &clam]);
        let clean = kept(&serve, &message("Hello"));
        assert!(
            clean.contains("\r\nX-Spam-Status: No, score=0.0"),
            "{clean}"
        );
        assert!(clean.contains("\r\nX-Virus-Scanned: "), "{clean}");
        let cheap = kept(&serve, &message("cheap"));
        assert!(cheap.contains("\r\nSubject: [spam] a\r\n"), "{cheap}");
        assert!(cheap.contains("\r\nX-Spam-Flag: YES\r\n"), "{cheap}");
        refused(
            &serve,
            &message("dear"),
            "550 5.7.1 Blocked by SpamAssassin",
        );
        refused(
            &serve,
            &message("malicious"),
            "550 5.7.1 Infected: Test.Signature",
        );
        // Without a milter mail waits at its client's; with the milter it comes.
        spam.milter = None;
        refused(&serve, &message("Hello"), "451 4.7.1");
        serve.line("a milter gives no answer");
        spam.begin();
        assert!(kept(&serve, &message("Hello")).contains("X-Spam-Status: No"));
        serve.line("a milter answers again");
    }
}

/// rspamd's proxy, which scans by itself and speaks as a milter.
struct Rspamd {
    _process: Daemon,
    directory: TempDir,
}

impl Rspamd {
    fn start() -> Option<Self> {
        if !has("rspamd") {
            return None;
        }
        let directory = directory();
        let folder = directory.path().display();
        let configuration = format!(
            r#"options {{
    pidfile = "{folder}/pid"; cache_file = "{folder}/cache"; dynamic_conf = "{folder}/dynamic";
    history_file = "{folder}/history"; control_socket = "{folder}/control mode=0600"; tempdir = "{folder}";
    hs_cache_dir = "{folder}"; url_tld = "{folder}/tld"; filters = "regexp"; allow_raw_input = true;
    dns {{ nameserver = ["127.0.0.1:9"]; timeout = 10ms; retransmits = 1; }}
}}
logging {{ type = "file"; filename = "{folder}/log"; }}
worker "rspamd_proxy" {{
    bind_socket = "{folder}/milter mode=0666"; count = 1; milter = yes; quarantine_on_reject = false;
    timeout = 30s; upstream "local" {{ default = yes; self_scan = yes; }}
}}
actions {{ reject = 15; rewrite_subject = 8; add_header = 6; subject = "[spam] %s"; }}
regexp {{
    CHEAP {{ re = "/cheap/{{body}}"; score = 7; }}
    DEAR {{ re = "/dear/{{body}}"; score = 9; }}
    VILE {{ re = "/vile/{{body}}"; score = 20; }}
}}
"#
        );
        let configuration = write(&directory, "rspamd.conf", &configuration);
        write(&directory, "tld", "test\n");
        // The tests may run as root, and it is nobody else's.
        let mut command = Command::new("rspamd");
        let process = Daemon::start(command.args(["-f", "-i", "-c"]).arg(configuration));
        wait_for(&directory.path().join("milter"));
        Some(Self {
            _process: process,
            directory,
        })
    }
}

#[test]
fn rspamd_is_a_milter_too() {
    let Some(rspamd) = Rspamd::start() else {
        return;
    };
    let socket = format!("unix:{}/milter", rspamd.directory.path().display());
    let message = |body: &str| format!("From: ann@strict.test\r\nSubject: a\r\n\r\n{body}");
    for transport in ["tokio", "raw"] {
        let serve = serve(transport, &[&socket]);
        let clean = kept(&serve, &message("Hello"));
        assert!(!clean.contains("X-Spam"), "{clean}");
        let cheap = kept(&serve, &message("cheap"));
        assert!(cheap.contains("X-Spam: Yes\r\n"), "{cheap}");
        let dear = kept(&serve, &message("dear"));
        assert!(dear.contains("\r\nSubject: [spam] a\r\n"), "{dear}");
        refused(&serve, &message("vile"), "554 5.7.1");
    }
}
