//! Three servers, a stream of three replicas.

use std::net::Ipv4Addr;

use prixfixe_test_support::{has, unused_port};

use super::server::Server;
use super::*;

/// Servers that know each other.
fn cluster(folder: &std::path::Path) -> Vec<Server> {
    let port = || unused_port(Ipv4Addr::LOCALHOST).expect("a port");
    let routes: Vec<u16> = (0..3).map(|_| port()).collect();
    let all: Vec<String> = routes
        .iter()
        .map(|it| format!("nats://127.0.0.1:{it}"))
        .collect();
    let start = |(index, route): (usize, &u16)| {
        let folder = folder.join(index.to_string());
        std::fs::create_dir(&folder).expect("a folder");
        let mut server = Server::in_folder(&folder, port());
        server.configure(&format!(
            "server_name: n{index}\ncluster {{ name: test, listen: 127.0.0.1:{route}, routes: [{}] }}",
            all.join(", ")
        ));
        server.run();
        server
    };
    routes.iter().enumerate().map(start).collect()
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

fn url(servers: &[Server]) -> prixfixe_delivery::NatsUrl {
    let hosts: Vec<String> = servers
        .iter()
        .map(|it| format!("127.0.0.1:{}", it.port))
        .collect();
    format!("nats://{}/mail", hosts.join(","))
        .parse()
        .expect("a URL")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_server_of_three_may_die_and_two_may_not() {
    if !has("nats-server") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut servers = cluster(folder.path());
    prepare(&context(&servers[2].address()).await).await;
    let options = NatsOptions {
        timeout: Duration::from_secs(3),
        ..NatsOptions::default()
    };
    let target = Nats::open(&url(&servers), options).await.unwrap();
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
    assert_eq!(messages(&context(&servers[2].address()).await).await, 3);
}
