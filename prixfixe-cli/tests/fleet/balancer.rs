//! nginx and HAProxy with the configurations of `deploy/`.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use tempfile::TempDir;

use crate::deploy::{self, SMTP, SMTPS, Site, put};
use crate::process::Process;
use crate::support::run;

/// A balancer that runs.
pub(crate) struct Balancer {
    _process: Process,
    _folder: TempDir,
    pub(crate) smtp: SocketAddr,
    pub(crate) smtps: SocketAddr,
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
    running(process, folder, site)
}

/// `deploy/haproxy/haproxy.cfg`: it checks out, and runs.
pub(crate) fn haproxy(site: Site) -> Balancer {
    let folder = tempfile::tempdir().expect("a folder");
    let text = site.place(&deploy::read("haproxy/haproxy.cfg"));
    let at = site.balancer();
    let text = put(&text, "bind :25\n", &format!("bind {at}:{SMTP}\n"));
    let text = put(&text, "bind :465\n", &format!("bind {at}:{SMTPS}\n"));
    let text = put(&text, "bind :8404\n", &format!("bind {at}:8404\n"));
    let file = folder.path().join("haproxy.cfg");
    fs::write(&file, text).expect("a file");
    let checked = run(Command::new("haproxy").arg("-c").arg("-f").arg(&file));
    assert!(!checked.contains("[WARNING]"), "{checked}");
    let process = Process::start(
        Command::new("haproxy").arg("-f").arg(&file),
        folder.path().join("output"),
    );
    running(process, folder, site)
}

fn running(mut process: Process, folder: TempDir, site: Site) -> Balancer {
    let smtp = SocketAddr::from((site.balancer(), SMTP));
    let smtps = SocketAddr::from((site.balancer(), SMTPS));
    process.wait_until_it_listens(smtp);
    process.wait_until_it_listens(smtps);
    Balancer {
        _process: process,
        _folder: folder,
        smtp,
        smtps,
    }
}
