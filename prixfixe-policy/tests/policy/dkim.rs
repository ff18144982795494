//! Signatures that others made: dkimpy (Python) and Mail::DKIM (Perl).

use std::io::Write as _;
use std::process::{Command, Stdio};

use prixfixe_policy::{Authentication, Mode};
use prixfixe_server::Transport;
use prixfixe_test_support::{has, run};

use crate::dns::Dns;
use crate::on_both_transports;
use crate::served::{ID, Served, resolver};

on_both_transports![
    what_dkimpy_signs_verifies,
    what_perl_signs_verifies,
    a_signature_that_does_not_fit_fails,
    a_flood_of_signatures_is_cut_short,
];

const MESSAGE: &str = "From: Ann <ann@signer.test>\r\nTo: bob@receiver.test\r\n\
    Subject: a  folded\r\n\tsubject\r\n\r\nFirst  line \r\n\r\nlast\r\n\r\n\r\n";

const SIGN: &str = r#"
import sys, dkim
kind, head, body, selector, key, extra = sys.argv[1:7]
options = dict(length=True) if extra == "length" else {}
message = sys.stdin.buffer.read()
signature = dkim.sign(message, selector.encode(), b"signer.test", open(key, "rb").read(),
    canonicalize=(head.encode(), body.encode()), signature_algorithm=kind.encode(), **options)
sys.stdout.buffer.write(signature + message)
"#;

const SIGN_IN_PERL: &str = r#"
use strict; use Mail::DKIM::Signer;
my ($method, $selector, $key) = @ARGV;
my $signer = Mail::DKIM::Signer->new(Algorithm => "rsa-sha256", Method => $method,
    Domain => "signer.test", Selector => $selector, KeyFile => $key);
local $/; my $message = <STDIN>;
$signer->PRINT($message); $signer->CLOSE;
print $signer->signature->as_string, "\r\n", $message;
"#;

/// Makes keys, and publishes what verifies them.
const KEYS: &str = r#"
import base64, subprocess, sys
from nacl.signing import SigningKey
folder = sys.argv[1]
subprocess.run(["openssl", "genrsa", "-traditional", "-out", folder + "/rsa", "2048"], check=True, stderr=subprocess.DEVNULL)
der = subprocess.run(["openssl", "rsa", "-in", folder + "/rsa", "-pubout", "-outform", "DER"], check=True, capture_output=True).stdout
key = SigningKey.generate()
open(folder + "/ed25519", "wb").write(base64.b64encode(key.encode()))
print("v=DKIM1; k=rsa; p=" + base64.b64encode(der).decode())
print("v=DKIM1; k=ed25519; p=" + base64.b64encode(key.verify_key.encode()).decode())
"#;

struct Signer {
    keys: tempfile::TempDir,
    dns: Dns,
}

impl Signer {
    /// Nothing where the programs are missing.
    fn new() -> Option<Self> {
        if !has("prixfixe-policy-python") || !has("openssl") {
            return None;
        }
        let keys = tempfile::tempdir().expect("a folder");
        let folder = keys.path().to_str().expect("it is UTF-8");
        let texts = run(Command::new("prixfixe-policy-python").args(["-c", KEYS, folder]));
        let (rsa, ed25519) = texts.split_once('\n').expect("two lines");
        let dns = Dns::start();
        dns.txt("rsa._domainkey.signer.test", rsa.trim())
            .txt("ed25519._domainkey.signer.test", ed25519.trim())
            .txt("_dmarc.signer.test", "v=DMARC1; p=reject");
        Some(Self { keys, dns })
    }

    fn key(&self, name: &str) -> String {
        let path = self.keys.path().join(name);
        path.to_str().expect("it is UTF-8").into()
    }

    fn dkimpy(&self, kind: &str, head: &str, body: &str, extra: &str, message: &str) -> String {
        let selector = kind.split('-').next().expect("a kind");
        let key = self.key(selector);
        let mut command = Command::new("prixfixe-policy-python");
        command.args(["-c", SIGN, kind, head, body, selector, &key, extra]);
        through(&mut command, message)
    }

    fn perl(&self, method: &str, message: &str) -> String {
        let mut command = Command::new("perl");
        command.args(["-e", SIGN_IN_PERL, method, "rsa", &self.key("rsa")]);
        through(&mut command, message)
    }

    fn served(&self, transport: Transport) -> Served {
        let check = Authentication::new(resolver(&self.dns), ID).dmarc(Mode::Mark);
        Served::with(transport, check)
    }
}

/// What a program makes of a text.
fn through(command: &mut Command, text: &str) -> String {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut program = command.spawn().expect("it runs");
    let mut stdin = program.stdin.take().expect("it is piped");
    stdin.write_all(text.as_bytes()).expect("it reads");
    drop(stdin);
    let output = program.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{command:?}");
    String::from_utf8(output.stdout).expect("it is UTF-8")
}

/// As DATA takes it: without the line end that its final dot stands for.
fn sent(message: &str) -> &str {
    message.strip_suffix("\r\n").expect("it ends with a line")
}

const PASS: &str = "dmarc=pass header.from=signer.test";

async fn what_dkimpy_signs_verifies(transport: Transport) {
    let Some(signer) = Signer::new() else { return };
    let mut served = signer.served(transport);
    for kind in ["rsa-sha256", "ed25519-sha256"] {
        for (head, body) in [
            ("simple", "simple"),
            ("simple", "relaxed"),
            ("relaxed", "simple"),
            ("relaxed", "relaxed"),
        ] {
            let signed = signer.dkimpy(kind, head, body, "", MESSAGE);
            let kept = served.keeps("ann@elsewhere.test", sent(&signed)).await;
            let selector = kind.split('-').next().expect("a kind");
            let dkim = format!("dkim=pass header.d=signer.test header.s={selector}");
            assert!(kept.contains(&dkim), "{kind} {head} {body}: {kept}");
            assert!(kept.contains(PASS), "{kept}");
        }
    }
    // One after the other.
    let once = signer.dkimpy("rsa-sha256", "relaxed", "relaxed", "", MESSAGE);
    let twice = signer.dkimpy("ed25519-sha256", "relaxed", "simple", "", &once);
    let kept = served.keeps("ann@elsewhere.test", sent(&twice)).await;
    assert_eq!(kept.matches("dkim=pass").count(), 2, "{kept}");
}

async fn what_perl_signs_verifies(transport: Transport) {
    let Some(signer) = Signer::new() else { return };
    let mut served = signer.served(transport);
    for method in ["simple", "relaxed", "relaxed/simple", "simple/relaxed"] {
        let signed = signer.perl(method, MESSAGE);
        let kept = served.keeps("ann@elsewhere.test", sent(&signed)).await;
        assert!(
            kept.contains("dkim=pass header.d=signer.test header.s=rsa"),
            "{kept}"
        );
    }
}

async fn a_signature_that_does_not_fit_fails(transport: Transport) {
    let Some(signer) = Signer::new() else { return };
    let mut served = signer.served(transport);
    let sign = |extra| signer.dkimpy("rsa-sha256", "relaxed", "relaxed", extra, MESSAGE);
    let signed = sign("");
    for (told, changed, expected) in [
        ("the body", signed.replace("last", "LAST"), "dkim=fail"),
        (
            "a header",
            signed.replace("a  folded", "another"),
            "dkim=fail",
        ),
        (
            "the key",
            signed.replace("s=rsa;", "s=ed25519;"),
            "dkim=fail",
        ),
        (
            "no key",
            signed.replace("s=rsa;", "s=none;"),
            "dkim=permerror",
        ),
        (
            "the domain",
            signed.replace("d=signer.test", "d=other.test"),
            "dkim=permerror",
        ),
        ("nonsense", signed.replace("v=1;", "v=2;"), "dkim=neutral"),
        // What stands behind a length would be anybody's (RFC 6376 section 8.2).
        ("a length", sign("length"), "dkim=neutral"),
        (
            "expired",
            signed.replace("v=1;", "v=1; t=1; x=2;"),
            "dkim=neutral",
        ),
    ] {
        assert_ne!(changed, MESSAGE, "{told}");
        let kept = served.keeps("ann@elsewhere.test", sent(&changed)).await;
        assert!(kept.contains(expected), "{told}: {kept}");
        assert!(!kept.contains("dmarc=pass"), "{told}: {kept}");
    }
}

async fn a_flood_of_signatures_is_cut_short(transport: Transport) {
    let Some(signer) = Signer::new() else { return };
    let mut served = signer.served(transport);
    let signed = signer.dkimpy("rsa-sha256", "relaxed", "relaxed", "", MESSAGE);
    let signature = signed.strip_suffix(MESSAGE).expect("it is put before");
    let flood: String = (0..100)
        .map(|at| signature.replace("s=rsa;", &format!("s=s{at};")))
        .collect();
    let before = signer.dns.questions();
    let kept = served
        .keeps("ann@elsewhere.test", sent(&format!("{flood}{MESSAGE}")))
        .await;
    assert_eq!(kept.matches("dkim=").count(), 8, "{kept}");
    let asked = signer.dns.questions() - before;
    assert!(asked <= 16, "{asked}");
}
