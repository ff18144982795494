//! nginx and HAProxy with the configurations of `deploy/`.

use std::fs;
use std::net::{Ipv6Addr, SocketAddr};
use std::process::Command;

use prixfixe_test_support::{run, unused_port};
use tempfile::TempDir;

use crate::deploy::{self, SMTP, SMTPS, Site, put};
use crate::process::Process;

/// A balancer that runs.
pub(crate) struct Balancer {
    _process: Process,
    _folder: TempDir,
    pub(crate) smtp: SocketAddr,
    pub(crate) smtps: SocketAddr,
    /// Mail in clear by IPv6, where the host has it.
    pub(crate) smtp_v6: Option<SocketAddr>,
}

/// Free ports of `[::1]`, for mail in clear and with TLS first. There is one such address, so that
/// `deploy/`'s own ports may be another test's.
fn v6_ports() -> Option<[u16; 2]> {
    let port = || unused_port(Ipv6Addr::LOCALHOST);
    Some([port()?, port()?])
}

/// Puts `with_port` in place of what must be there; on a host without IPv6 a comment.
fn put_v6(text: &str, there: &str, port: Option<u16>, with_port: impl Fn(u16) -> String) -> String {
    put(
        text,
        there,
        &port.map_or_else(|| "# ".to_owned(), with_port),
    )
}

/// `deploy/nginx/nginx.conf`: it checks out, and runs.
pub(crate) fn nginx(site: Site) -> Balancer {
    let folder = tempfile::tempdir().expect("a folder");
    let logs = folder.path().to_str().expect("text");
    let text = site.place(&deploy::read("nginx/nginx.conf"));
    let text = put(&text, "/var/log/nginx", logs);
    let at = site.balancer();
    let text = put(&text, "listen 25 ", &format!("listen {at}:{SMTP} "));
    let text = put(&text, "listen 465 ", &format!("listen {at}:{SMTPS} "));
    let v6 = v6_ports();
    let listen = |port| format!("listen [::1]:{port} ");
    let text = put_v6(&text, "listen [::]:25 ", v6.map(|[port, _]| port), listen);
    let text = put_v6(&text, "listen [::]:465 ", v6.map(|[_, port]| port), listen);
    let file = folder.path().join("nginx.conf");
    fs::write(&file, text).expect("a file");

    let globals = format!("daemon off; pid {logs}/pid;");
    let command = || {
        let mut command = Command::new("nginx");
        command
            .arg("-c")
            .arg(&file)
            .arg("-e")
            .arg(folder.path().join("error.log"))
            .args(["-g", &globals]);
        command
    };
    run(command().arg("-t"));
    let process = Process::start(&mut command(), folder.path().join("output"));
    running(process, folder, site, v6)
}

/// `deploy/haproxy/haproxy.cfg`: it checks out, and runs.
pub(crate) fn haproxy(site: Site) -> Balancer {
    let folder = tempfile::tempdir().expect("a folder");
    let text = site.place(&deploy::read("haproxy/haproxy.cfg"));
    let at = site.balancer();
    let text = put(&text, "bind :25\n", &format!("bind {at}:{SMTP}\n"));
    let text = put(&text, "bind :465\n", &format!("bind {at}:{SMTPS}\n"));
    let v6 = v6_ports();
    let bind = |port| format!("bind ::1:{port} ");
    let text = put_v6(&text, "bind :::25 ", v6.map(|[port, _]| port), bind);
    let text = put_v6(&text, "bind :::465 ", v6.map(|[_, port]| port), bind);
    let text = put(&text, "bind :8404\n", &format!("bind {at}:8404\n"));
    let file = folder.path().join("haproxy.cfg");
    fs::write(&file, text).expect("a file");
    let checked = run(Command::new("haproxy").arg("-c").arg("-f").arg(&file));
    assert!(!checked.contains("[WARNING]"), "{checked}");
    let process = Process::start(
        Command::new("haproxy").arg("-f").arg(&file),
        folder.path().join("output"),
    );
    running(process, folder, site, v6)
}

fn running(mut process: Process, folder: TempDir, site: Site, v6: Option<[u16; 2]>) -> Balancer {
    let smtp = SocketAddr::from((site.balancer(), SMTP));
    let smtps = SocketAddr::from((site.balancer(), SMTPS));
    process.wait_until_it_listens(smtp);
    process.wait_until_it_listens(smtps);
    Balancer {
        _process: process,
        _folder: folder,
        smtp,
        smtps,
        smtp_v6: v6.map(|[port, _]| (Ipv6Addr::LOCALHOST, port).into()),
    }
}
