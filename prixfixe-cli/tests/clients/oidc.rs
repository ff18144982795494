//! Tokens of an OpenID Connect provider that was not written here, which changes its keys and goes
//! away.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use prixfixe_test_support::{has, run};

use crate::auth::{curl_with, msmtp_with, nodemailer_with, output};
use crate::support::Prixfixe;
use crate::tls::Authority;

const USER: &str = "ann@example.com";

struct Provider {
    child: Child,
    url: String,
}

impl Provider {
    fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/provider.mjs");
        let mut child = Command::new("prixfixe-node")
            .arg(script)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it runs");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut lines = lines.by_ref().map_while(Result::ok);
        let url = lines.find(|line| line.starts_with("http://127.0.0.1:"));
        Self {
            child,
            url: url.expect("it says where it is"),
        }
    }

    fn token(&self, audience: &str) -> String {
        let said = run(Command::new("curl")
            .args(["--silent", "--user", "ann:secret"])
            .args(["--data", "grant_type=client_credentials"])
            .args(["--data", &format!("resource=urn:{audience}")])
            .arg(format!("{}/token", self.url)));
        let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
        said["access_token"].as_str().expect("a token").to_owned()
    }

    fn is_told(&self, what: &str) {
        run(Command::new("curl")
            .args(["--silent", "--fail"])
            .arg(format!("{}/test/{what}", self.url)));
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Submission {
    server: Prixfixe,
    ca: String,
}

impl Submission {
    fn start(transport: &str, authority: &Authority, provider: &Provider) -> Self {
        let (cert, key) = authority.issue("localhost");
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        let file = format!(
            "[auth]\nmode = 'require'\nissuer = '{}'\naudience = 'mail'\n",
            provider.url
        );
        fs::write(folder.path().join("prixfixe.toml"), file).expect("a file");
        let arguments = [
            "--config=prixfixe.toml",
            "--transport",
            transport,
            "--tls-cert",
            &cert,
            "--tls-key",
            &key,
        ];
        Self {
            server: Prixfixe::start_in(folder, &[], &arguments),
            ca: authority.certificate(),
        }
    }

    fn curl(&self, mechanism: &str, user: &str, token: &str) -> (bool, String) {
        let mut command = curl_with(&self.server, &self.ca, mechanism);
        command.args(["--verbose", "--user", user, "--oauth2-bearer", token]);
        output(&mut command)
    }

    /// Keys are fetched once in ten seconds, whoever asks: until then the answer is another one.
    fn curl_until(&self, token: &str, expected: &str) {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let (_, said) = self.curl("OAUTHBEARER", USER, token);
            if said.contains(expected) {
                return;
            }
            assert!(Instant::now() < deadline, "no {expected}: {said}");
        }
    }
}

#[test]
fn clients_log_in_with_a_token_and_keys_change() {
    if !["openssl", "curl", "prixfixe-node"].into_iter().all(has) {
        return;
    }
    let (authority, provider) = (Authority::new(), Provider::start());
    for transport in ["tokio", "raw"] {
        let to = Submission::start(transport, &authority, &provider);
        let (token, foreign) = (provider.token("mail"), provider.token("shop"));
        let mut sent = 0;
        for mechanism in ["OAUTHBEARER", "XOAUTH2"] {
            let (is_sent, said) = to.curl(mechanism, USER, &token);
            assert!(is_sent && said.contains("< 235 2.7.0"), "{said}");
            sent += 1;
            for (user, token) in [(USER, &foreign), ("bob@example.com", &token)] {
                let (is_sent, said) = to.curl(mechanism, user, token);
                assert!(!is_sent && said.contains("< 535 5.7.8"), "{said}");
            }
            if has("msmtp") {
                for (token, is_right) in [(&token, true), (&foreign, false)] {
                    let auth = mechanism.to_lowercase();
                    let mut command = msmtp_with(&to.server, &to.ca, &auth, USER, token);
                    let (is_sent, said) = output(&mut command);
                    assert_eq!(is_sent, is_right, "{mechanism}: {said}");
                    sent += usize::from(is_sent);
                }
            }
        }
        for (token, is_right) in [(&token, true), (&foreign, false)] {
            let auth = format!("{{ type: 'OAuth2', user: '{USER}', accessToken: '{token}' }}");
            let (is_sent, said) = output(&mut nodemailer_with(&to.server, &to.ca, &auth));
            assert_eq!(is_sent, is_right, "{said}");
            assert!(is_right || said.contains("535 5.7.8"), "{said}");
            sent += usize::from(is_sent);
        }
        assert_eq!(to.server.mail().len(), sent);

        provider.is_told("rotate");
        let newer = provider.token("mail");
        to.curl_until(&newer, "< 235 2.7.0");
        let (_, said) = to.curl("XOAUTH2", USER, &token);
        assert!(said.contains("< 535 5.7.8"), "the old key is gone: {said}");

        // The rest has its ten seconds twice, and knows nothing of transports.
        if transport == "raw" {
            continue;
        }
        // What is known stays known while the provider is away; of a new key nobody can tell.
        provider.is_told("rotate");
        let newest = provider.token("mail");
        provider.is_told("away?503");
        to.curl_until(&newest, "< 454 4.7.0");
        let (is_sent, said) = to.curl("XOAUTH2", USER, &newer);
        assert!(is_sent, "{said}");
        provider.is_told("away?0");
        to.curl_until(&newest, "< 235 2.7.0");
        let log = to.server.log.lock().expect("no panic under it").join("\n");
        assert!(log.contains("no keys of the issuer"), "{log}");
        assert!(log.contains(&format!("\"user\":\"{USER}\"")), "{log}");
        assert!(!log.contains(newest.split('.').next_back().expect("a signature")));
    }
}
