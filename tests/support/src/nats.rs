//! NATS servers of our own on loopback ports.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::{has, unused_port, wait_until};

/// A `nats-server` that ends with the test.
#[derive(Debug)]
pub struct NatsServer {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    folder: PathBuf,
    child: Option<Child>,
    /// Where it runs a file of `deploy/nats`: that file, and what differs for this one.
    deployed: Option<(&'static str, Vec<String>)>,
    _own: Option<tempfile::TempDir>,
}

impl NatsServer {
    /// One server with JetStream; `None` where there is no program.
    pub fn start() -> Option<Self> {
        Self::start_with("")
    }

    /// The same, with more in its configuration.
    pub fn start_with(more: &str) -> Option<Self> {
        if !has("nats-server") {
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let port = unused_port(Ipv4Addr::LOCALHOST).expect("a port");
        let mut server = Self::in_folder(folder.path(), port);
        server._own = Some(folder);
        server.configure(more);
        server.run();
        Some(server)
    }

    /// One that is not running yet.
    fn in_folder(folder: &Path, port: u16) -> Self {
        Self {
            port,
            folder: folder.to_owned(),
            child: None,
            deployed: None,
            _own: None,
        }
    }

    /// One that runs a file of `deploy/nats`, with these arguments. Certificates are in the folder
    /// above its own.
    pub fn deployed(file: &'static str, folder: &Path, port: u16, arguments: Vec<String>) -> Self {
        let mut server = Self::in_folder(folder, port);
        server.deployed = Some((file, arguments));
        server
    }

    /// Its URL.
    pub fn address(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Writes its configuration.
    pub fn configure(&self, more: &str) {
        let Self { port, folder, .. } = self;
        let store = folder.join("store");
        let text = format!(
            "listen: 127.0.0.1:{port}\njetstream {{ store_dir: {store:?}, sync_interval: always }}\n{more}\n"
        );
        fs::write(folder.join("nats.conf"), text).expect("a file");
    }

    /// Starts it, and waits until it listens.
    pub fn run(&mut self) {
        let log = fs::File::create(self.folder.join("log")).expect("a file");
        let mut command = Command::new("nats-server");
        match &self.deployed {
            None => command.arg("-c").arg(self.folder.join("nats.conf")),
            Some((file, arguments)) => {
                let deploy = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/nats"));
                let above = self.folder.parent().expect("a folder above");
                command
                    .env("NATS_STORE", self.folder.join("store"))
                    .env("NATS_CERT", above.join("cert.pem"))
                    .env("NATS_KEY", above.join("key.pem"))
                    .env("NATS_ADMIN_PASSWORD", "admin-secret")
                    .env("NATS_MX_PASSWORD", "mx-secret")
                    .env("NATS_APP_PASSWORD", "app-secret")
                    .env("NATS_PRIXFIXE_PASSWORD", "prixfixe-secret")
                    .env("NATS_CA", above.join("cert.pem"))
                    .arg("-c")
                    .arg(deploy.join(file))
                    .args(["-a", "127.0.0.1", "-p", &self.port.to_string()])
                    .args(arguments)
            }
        };
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        self.child = Some(command.spawn().expect("the server runs"));
        let port = self.port;
        wait_until("the server listens", || {
            std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
        });
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs");
        kill_process(Pid::from_child(child), signal).expect("it is there");
    }

    /// It stands still, and says nothing.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// It goes on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Has it read its configuration again.
    pub fn reload(&self) {
        self.signal(Signal::HUP);
    }

    /// Ends it at once, as SIGKILL does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}
