//! Three servers with the file of `deploy/`, a stream of three replicas.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use prixfixe_test_support::{SelfSigned, has, python_with, run, unused_port};

use super::*;

/// Servers that know each other, and their certificate in the folder.
fn cluster(folder: &Path) -> Vec<NatsServer> {
    SelfSigned::new("localhost").install(folder);
    let port = || unused_port(Ipv4Addr::LOCALHOST).expect("a port");
    let routes: Vec<String> = (0..3)
        .map(|_| format!("nats://127.0.0.1:{}", port()))
        .collect();
    let start = |(index, route): (usize, &String)| {
        let folder = folder.join(index.to_string());
        std::fs::create_dir(&folder).expect("a folder");
        let arguments = [
            ("--name", format!("n{index}")),
            ("--cluster", route.clone()),
            ("--routes", routes.join(",")),
            ("--http_port", port().to_string()),
        ];
        let arguments = arguments.map(|(name, value)| [name.to_owned(), value]);
        let mut server = NatsServer::deployed("nats.conf", &folder, port(), arguments.concat());
        server.run();
        server
    };
    routes.iter().enumerate().map(start).collect()
}

/// Somebody who may do everything.
async fn admin(server: &NatsServer, folder: &Path) -> Context {
    let client = async_nats::ConnectOptions::new()
        .user_and_password("admin".to_owned(), "admin-secret".to_owned())
        .add_root_certificates(folder.join("cert.pem"))
        .require_tls(true)
        .retry_on_initial_connect()
        .reconnect_delay_callback(|_| Duration::from_millis(50))
        .connect(format!("nats://localhost:{}", server.port))
        .await
        .expect("a client");
    jetstream::new(client)
}

/// The cluster needs a leader first.
async fn prepare(context: &Context) {
    let config = Config {
        num_replicas: 3,
        ..stream()
    };
    let start = std::time::Instant::now();
    while let Err(error) = context.create_stream(config.clone()).await {
        assert!(start.elapsed() < prixfixe_test_support::PATIENCE, "{error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bucket(context, 3).await;
}

async fn target(servers: &[NatsServer], folder: &Path) -> Nats {
    let hosts: Vec<String> = servers
        .iter()
        .map(|it| format!("localhost:{}", it.port))
        .collect();
    let url = format!("nats://{}/mail", hosts.join(","));
    std::fs::write(folder.join("password"), "mx-secret\n").expect("a file");
    let mut options = NatsOptions::default();
    options.timeout = Duration::from_secs(3);
    options.username = Some("mx".to_owned());
    options.password_file = Some(folder.join("password"));
    options.tls_ca = Some(folder.join("cert.pem"));

    Nats::open(&url.parse().expect("a URL"), options)
        .await
        .expect("a target")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_server_of_three_may_die_and_two_may_not() {
    if !has("nats-server") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut servers = cluster(folder.path());
    prepare(&admin(&servers[2], folder.path()).await).await;
    let target = target(&servers, folder.path()).await;
    send_until_taken(&target, "bob@example.org", "three").await;

    servers[0].kill();
    send_until_taken(&target, "bob@example.org", "two").await;

    servers[1].kill();
    let outcomes = send(&target, &["bob@example.org"], content("one")).await;
    let failure = outcomes[0].as_ref().unwrap_err();
    assert!(
        failure.reply().to_string().starts_with("451 4.4.1 "),
        "{failure:?}"
    );

    servers[0].run();
    servers[1].run();
    send_until_taken(&target, "bob@example.org", "one").await;
    assert!(target.health().fault().is_none());
    let context = admin(&servers[2], folder.path()).await;
    assert_eq!(messages(&context).await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_deploy_sets_up_takes_mail_of_any_size_from_a_user_with_few_rights() {
    let Some(python) = python_with("nats").filter(|_| has("nats-server")) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let servers = cluster(folder.path());
    // Until the cluster has a leader.
    let start = std::time::Instant::now();
    let context = admin(&servers[0], folder.path()).await;
    while context.query_account().await.is_err() {
        assert!(start.elapsed() < prixfixe_test_support::PATIENCE);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut setup = Command::new(python);
    setup
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../deploy/nats/setup.py"
        ))
        .env("MAX_BYTES", "100000000")
        .env("NATS_CA", folder.path().join("cert.pem"))
        .env(
            "NATS_URL",
            format!("tls://admin:admin-secret@localhost:{}", servers[0].port),
        );
    let printed = tokio::task::spawn_blocking(move || run(&mut setup)).await;
    assert!(printed.unwrap().contains("stream MAIL, bucket prixfixe"));
    let target = target(&servers, folder.path()).await;
    let large = content("large") + &"0123456789\r\n".repeat(200_000);
    for content in [content("small"), large] {
        let outcomes = send(&target, &["bob@example.org"], content).await;
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    }
    assert_eq!(messages(&context).await, 2);
}
