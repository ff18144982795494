//! What `deploy/nats` has for a fleet: three nodes with TLS, an account, and a user who may do what
//! is needed and no more.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use prixfixe_test_support::{SelfSigned, has, run, unused_port};

use super::*;

fn deploy(file: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/nats")).join(file)
}

fn nodes(folder: &Path) -> Vec<NatsServer> {
    SelfSigned::new("localhost").install(folder);
    let port = || unused_port(Ipv4Addr::LOCALHOST).expect("a port");
    let ports: Vec<u16> = (0..3).map(|_| port()).collect();
    let routes: Vec<String> = ports
        .iter()
        .map(|port| format!("nats://localhost:{port}"))
        .collect();
    let start = |(number, own): (usize, &u16)| {
        let folder = folder.join(number.to_string());
        std::fs::create_dir(&folder).expect("a folder");
        let arguments = [
            ("--name", format!("nats-{number}")),
            ("--cluster", format!("nats://127.0.0.1:{own}")),
            ("--routes", routes.join(",")),
            ("--http_port", port().to_string()),
        ];
        let arguments = arguments.map(|(name, value)| [name.to_owned(), value]);
        let mut server = NatsServer::deployed("fleet.conf", &folder, port(), arguments.concat());
        server.run();
        server
    };
    ports.iter().enumerate().map(start).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_deploy_sets_up_is_a_spool_for_a_user_who_cannot_take_it_away() {
    if !has("nats-server") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let nodes = nodes(folder.path());
    let hosts: Vec<String> = nodes
        .iter()
        .map(|it| format!("localhost:{}", it.port))
        .collect();
    std::fs::write(folder.path().join("password"), "prixfixe-secret\n").unwrap();
    let mut options = options();
    options.replicas = 3;
    options.connection.username = Some("prixfixe".to_owned());
    options.connection.password_file = Some(folder.path().join("password"));
    options.connection.tls_ca = Some(folder.path().join("cert.pem"));
    let fleet = open(&format!("nats://{}", hosts.join(",")), options).await;
    let target = Arc::new(Collector::default());
    fleet.deliver("relay", target.clone(), 4).await.unwrap();
    keep_until_taken(&fleet, "relay", "small").await;
    let large = content("large") + &"0123456789\r\n".repeat(200_000);
    keep(&fleet, "relay", &["bob@example.org"], large)
        .await
        .unwrap();
    keep(&fleet, "relay", &["nobody@example.org"], content("failed"))
        .await
        .unwrap();
    until("deliveries", async || target.digests() == 2).await;

    let client = async_nats::ConnectOptions::new()
        .user_and_password("prixfixe".to_owned(), "prixfixe-secret".to_owned())
        .add_root_certificates(folder.path().join("cert.pem"))
        .require_tls(true)
        .connect(format!("nats://{}", hosts[0]))
        .await
        .expect("a client");
    let context = jetstream::new(client);
    until("one has failed", async || {
        count(&context, "PRIXFIXE_FAILED").await == 1
    })
    .await;
    assert!(context.delete_stream("PRIXFIXE_FAILED").await.is_err());
    assert_eq!(count(&context, "PRIXFIXE_FAILED").await, 1);
    let info = context.get_stream("PRIXFIXE").await.unwrap();
    let config = &info.cached_info().config;
    assert_eq!(config.num_replicas, 3);
    assert_eq!(config.duplicate_window, Duration::from_secs(86_400));
}

#[test]
fn compose_and_kubernetes_run_that_file() {
    for name in ["compose.yaml", "kubernetes.yaml"] {
        let text = std::fs::read_to_string(deploy(name)).expect(name);
        assert!(text.contains("/etc/nats/fleet.conf"), "{name}");
        for variable in ["NATS_STORE", "NATS_CERT", "NATS_KEY", "NATS_CA"] {
            assert!(text.contains(variable), "{name}: {variable}");
        }
    }
    let kustomization = std::fs::read_to_string(deploy("kustomization.yaml")).expect("it");
    for line in [
        "files: [fleet.conf]",
        "files: [prixfixe.toml]",
        "  - kubernetes.yaml",
        "  - ../kubernetes",
    ] {
        assert!(kustomization.contains(line), "{line}");
    }
    if has("kubernetes-validate") {
        run(Command::new("kubernetes-validate")
            .args(["--strict", "--kubernetes-version", "1.34"])
            .arg(deploy("kubernetes.yaml")));
    }
    if has("docker-compose") {
        run(Command::new("docker-compose")
            .env("NATS_PRIXFIXE_PASSWORD", "one")
            .env("NATS_ADMIN_PASSWORD", "other")
            .env("NATS_TLS", "/etc/nats")
            .env("PRIXFIXE_TLS", "/etc/prixfixe")
            .arg("-f")
            .arg(deploy("compose.yaml"))
            .args(["config", "--quiet"]));
    }
}

/// All of it together, as `kubectl apply -k` makes it.
#[test]
fn three_servers_of_mail_have_no_disk_and_the_nodes_password() {
    // kubectl is in no list of packages of the gate.
    if Command::new("kubectl").arg("help").output().is_err() || !has("kubernetes-validate") {
        return;
    }
    let made = Command::new("kubectl")
        .arg("kustomize")
        .arg(deploy(""))
        .output()
        .expect("it runs");
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("all.yaml");
    std::fs::write(&file, &made.stdout).expect("a file");
    run(Command::new("kubernetes-validate")
        .args(["--strict", "--kubernetes-version", "1.34"])
        .arg(&file));
    let text = String::from_utf8_lossy(&made.stdout);
    let sets: Vec<&str> = text
        .split("\n---\n")
        .filter(|it| it.contains("\nkind: StatefulSet\n"))
        .collect();
    assert_eq!(sets.len(), 2);
    for set in sets {
        assert!(set.contains("\n  replicas: 3\n"), "{set}");
        let is_mail = set.contains("\n  name: prixfixe\n");
        assert_ne!(is_mail, set.contains("volumeClaimTemplates"), "{set}");
        assert_eq!(is_mail, set.contains("mountPath: /nats\n"), "{set}");
    }
}

/// The servers' file names what the nodes' files have.
#[test]
fn the_servers_go_to_those_nodes_as_the_user_for_them() {
    let servers = std::fs::read_to_string(deploy("prixfixe.toml")).expect("it");
    let nodes = std::fs::read_to_string(deploy("fleet.conf")).expect("it");
    assert!(servers.contains(r#"url = "nats://nats-1,nats-2,nats-3""#));
    assert!(servers.contains(r#"username = "prixfixe""#));
    assert!(nodes.contains("user: prixfixe,") && nodes.contains("sync_interval: always"));
    let compose = std::fs::read_to_string(deploy("compose.yaml")).expect("it");
    for number in 1..=3 {
        assert!(nodes.contains(&format!("nats://nats-{number}:6222")));
        assert!(compose.contains(&format!("  nats-{number}:\n    <<: *nats\n")));
        assert!(compose.contains(&format!("  smtp-{number}:\n    <<: *prixfixe\n")));
    }
    for path in ["/nats/password", "/nats/ca.pem"] {
        assert!(
            servers.contains(&format!("\"{path}\"")) && compose.contains(&format!(":{path}:ro"))
        );
    }
}
