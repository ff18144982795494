//! Milters as Debian has them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use prixfixe_policy::{Authentication, Mode};
use prixfixe_server::Transport;
use prixfixe_test_support::{has, run, wait_until};
use tempfile::TempDir;

use super::Running;
use crate::dns::Dns;
use crate::on_both_transports;
use crate::served::{ID, Served, resolver};

on_both_transports!(
    opendkim_signs_what_opendkim_verifies,
    clamav_refuses_what_its_signatures_name,
);

fn opendkim(configuration: &str) -> Running {
    let start = |address: &str, directory: &Path| {
        let folder = directory.display();
        let text =
            format!("Socket {address}\nPidFile {folder}/pid\nBackground no\n{configuration}");
        let file = directory.join("opendkim.conf");
        fs::write(&file, text).unwrap();
        let mut command = Command::new("opendkim");
        command.args(["-f", "-x"]).arg(file).stderr(Stdio::null());
        command
    };
    Running::start(false, start)
}

/// A message that goes through a milter that signs, and the result through our own check and one
/// that verifies.
async fn opendkim_signs_what_opendkim_verifies(transport: Transport) {
    if !has("opendkim") || !has("opendkim-genkey") {
        return;
    }
    let directory = TempDir::new().unwrap();
    let folder = directory.path().display();
    let mut genkey = Command::new("opendkim-genkey");
    genkey.args(["-d", "sender.test", "-s", "s1", "-b", "1024", "-D"]);
    run(genkey.arg(directory.path()));
    let record = fs::read_to_string(directory.path().join("s1.txt")).unwrap();
    // Of `( "v=DKIM1; …" "p=…" )` what stands in quotes.
    let key: String = record.split('"').skip(1).step_by(2).collect();
    fs::write(
        directory.path().join("dns"),
        format!("s1._domainkey.sender.test {key}\n"),
    )
    .unwrap();
    let signer = opendkim(&format!(
        "Mode s\nDomain sender.test\nSelector s1\nKeyFile {folder}/s1.private\nRequireSafeKeys no\n\
         Canonicalization relaxed/simple\n"
    ));
    let verifier = opendkim(&format!(
        "Mode v\nTestDNSData {folder}/dns\nAuthservID filter.test\nOn-BadSignature reject\n\
         InternalHosts csl:192.0.2.1\n"
    ));
    let mut signing = Served::with(transport, signer.check());
    let message = "From: ann@sender.test\r\nSubject: a\r\n b\r\n\r\nHello";
    let signed = signing.keeps("ann@sender.test", message).await;
    assert!(
        signed.contains("DKIM-Signature: v=1; a=rsa-sha256;"),
        "{signed}"
    );
    let dns = Dns::start();
    dns.txt("s1._domainkey.sender.test", &key);
    let ours = Authentication::new(resolver(&dns), ID).dmarc(Mode::Mark);
    let mut ours = Served::with(transport, ours);
    let kept = ours.keeps("ann@sender.test", signed.trim_end()).await;
    assert!(
        kept.contains("dkim=pass header.d=sender.test header.s=s1"),
        "{kept}"
    );
    let mut verifying = Served::with(transport, verifier.check());
    // The dialogue ends the last line by itself.
    let signed = signed.trim_end();
    let kept = verifying.keeps("ann@sender.test", signed).await;
    assert!(
        kept.contains("filter.test;") && kept.contains("dkim=pass"),
        "{kept}"
    );
    let forged = signed.replace("Hello", "Hullo");
    let reply = verifying.gets("ann@sender.test", &forged).await;
    assert!(reply.starts_with('5'), "{reply}");
}

/// clamd with a signature of ours, until it is dropped.
struct Clamd {
    process: Child,
    directory: TempDir,
}

impl Clamd {
    fn start() -> Self {
        let directory = TempDir::new().unwrap();
        // It becomes another user where the tests run as root.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let folder = directory.path().display();
        let database = directory.path().join("database");
        fs::create_dir(&database).unwrap();
        let pattern: String = b"malicious"
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        fs::write(
            database.join("own.ndb"),
            format!("Test.Signature:0:*:{pattern}\n"),
        )
        .unwrap();
        let configuration = format!(
            "DatabaseDirectory {folder}/database\nLocalSocket {folder}/clamd\nForeground yes\nMaxThreads 2\n"
        );
        let file = directory.path().join("clamd.conf");
        fs::write(&file, configuration).unwrap();
        let mut command = Command::new("clamd");
        command
            .arg("-c")
            .arg(file)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = command.spawn().unwrap();
        let socket = directory.path().join("clamd");
        wait_until("clamd listens", || UnixStream::connect(&socket).is_ok());
        Self { process, directory }
    }
}

impl Drop for Clamd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn clamav_refuses_what_its_signatures_name(transport: Transport) {
    if !has("clamd") || !has("clamav-milter") {
        return;
    }
    let clamd = Clamd::start();
    let clamd_folder = clamd.directory.path().display();
    let start = |address: &str, directory: &Path| {
        let configuration = format!(
            "MilterSocket {address}\nClamdSocket unix:{clamd_folder}/clamd\nOnInfected Reject\n\
             RejectMsg Infected: %v\nAddHeader Replace\nForeground yes\n"
        );
        let file = directory.join("clamav-milter.conf");
        fs::write(&file, configuration).unwrap();
        let mut command = Command::new("clamav-milter");
        command.arg("-c").arg(file).stderr(Stdio::null());
        command
    };
    let milter = Running::start(false, start);
    let mut served = Served::with(transport, milter.check());
    let kept = served
        .keeps("ann@sender.test", "Subject: a\r\n\r\nharmless")
        .await;
    assert!(kept.contains("X-Virus-Status: Clean"), "{kept}");
    let reply = served
        .gets("ann@sender.test", "Subject: a\r\n\r\nmalicious")
        .await;
    assert!(
        reply.starts_with("550 5.7.1 Infected: Test.Signature"),
        "{reply}"
    );
}
