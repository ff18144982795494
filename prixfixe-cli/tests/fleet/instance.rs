//! One server of the fleet.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};

use prixfixe_test_support::{Mail, mail_in, wait_until};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::deploy::{ADMIN, SMTP, SMTPS, Site};
use crate::http;
use crate::process::Process;

/// `prixfixe serve`, set by variables as a container's is, with a Maildir of its own.
pub(crate) struct Instance {
    process: Process,
    folder: TempDir,
    site: Site,
    number: u8,
    transport: &'static str,
}

impl Instance {
    pub(crate) fn start(site: Site, number: u8, transport: &'static str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self {
            process: Self::run(&folder, site, number, transport),
            folder,
            site,
            number,
            transport,
        }
        .ready()
    }

    fn run(folder: &TempDir, site: Site, number: u8, transport: &str) -> Process {
        let address = site.server(number);
        let mut command = Command::new(env!("CARGO_BIN_EXE_prixfixe"));
        command
            .arg("serve")
            .current_dir(folder.path())
            .env_clear()
            .envs([
                ("SMTP_DOMAIN", name(number)),
                ("SMTP_LISTEN", format!("{address}:{SMTP}")),
                ("SMTP_LISTEN_TLS", format!("{address}:{SMTPS}")),
                ("SMTP_ADMIN", format!("{address}:{ADMIN}")),
                // Whoever connects to a loopback address comes from this one, if he does not choose
                // another.
                ("SMTP_PROXY_PROTOCOL_FROM", "127.0.0.1/32".to_owned()),
                ("SMTP_TLS_SELF_SIGNED", "true".to_owned()),
                ("SMTP_DELIVER", "maildir:mail".to_owned()),
                ("SMTP_LOG_FORMAT", "json".to_owned()),
                ("SMTP_TRANSPORT", transport.to_owned()),
            ]);
        Process::start(&mut command, folder.path().join("log"))
    }

    /// Starts it again, after it ended, over the same mail.
    pub(crate) fn restart(&mut self) {
        self.process = Self::run(&self.folder, self.site, self.number, self.transport);
        self.wait_until_ready();
    }

    fn ready(mut self) -> Self {
        self.wait_until_ready();
        self
    }

    fn wait_until_ready(&mut self) {
        let admin = SocketAddr::from((self.site.server(self.number), ADMIN));
        wait_until("a server that is ready", || {
            assert!(
                self.process.is_running(),
                "it ended: {}",
                self.process.log()
            );
            http::get(admin, "/readyz").is_some_and(|(status, _)| status == 200)
        });
    }

    /// The name that its greeting has.
    pub(crate) fn name(&self) -> String {
        name(self.number)
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGTERM, and its end.
    pub(crate) fn drain(&mut self) -> ExitStatus {
        self.process.signal(Signal::TERM);
        self.process.wait()
    }

    pub(crate) fn mail(&self) -> Vec<Mail> {
        mail_in(&self.maildir())
    }

    pub(crate) fn maildir(&self) -> PathBuf {
        self.folder.path().join("mail")
    }

    /// The events of its log with this name.
    pub(crate) fn events(&self, name: &str) -> Vec<Value> {
        let log = self.process.log();
        // `kill -9` may leave half a line.
        log.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .filter(|event: &Value| event["message"] == name)
            .collect()
    }
}

fn name(number: u8) -> String {
    format!("smtp{}.example", number + 1)
}
