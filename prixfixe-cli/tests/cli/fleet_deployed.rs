//! What `deploy/nats/compose.yaml` starts: three servers and three nodes, as that file has them.

use std::path::Path;
use std::process::Command;

use prixfixe_test_support::has;
use rustix::process::getuid;
use tempfile::TempDir;

/// `unshare` takes all of it with it at the end.
#[test]
fn compose_starts_a_fleet_that_loses_a_server_and_a_node() {
    let programs = [
        "chroot",
        "docker-compose",
        "ip",
        "nats-server",
        "openssl",
        "setpriv",
        "unshare",
    ];
    if !getuid().is_root() || !programs.iter().all(|program| has(program)) {
        return;
    }
    let folder = TempDir::new().unwrap();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
    // docker-compose is written in the system's Python, and has brought YAML along.
    let output = Command::new("unshare")
        .args(["--mount", "--net", "--pid", "--fork", "--kill-child"])
        .args(["--mount-proc", "/usr/bin/python3"])
        .arg(sources.join("tests/cli/compose.py"))
        .arg(env!("CARGO_BIN_EXE_prixfixe"))
        .arg(sources.join("../deploy/nats/compose.yaml"))
        .arg(folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    assert_eq!(text, "13 messages arrived\n");
}
