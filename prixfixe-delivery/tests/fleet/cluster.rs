//! Three nodes with three replicas, three servers of mail: any of the six may die, and some together. What was said `250` to is
//! delivered.

use std::net::Ipv4Addr;
use std::sync::Mutex;

use prixfixe_test_support::{has, unused_port};
use tokio::runtime::{Builder, Runtime};

use super::*;

/// Three nodes, each of which syncs what it writes.
fn nodes() -> Vec<Server> {
    let port = || unused_port(Ipv4Addr::LOCALHOST).expect("a port");
    let routes: Vec<u16> = (0..3).map(|_| port()).collect();
    let all: Vec<String> = routes
        .iter()
        .map(|port| format!("nats://127.0.0.1:{port}"))
        .collect();
    let start = |(number, port): (usize, &u16)| {
        let routes = all.join(", ");
        let more = format!(
            "server_name: n{number}\ncluster {{ name: fleet, listen: 127.0.0.1:{port}, routes: [{routes}] }}"
        );
        Server::start_with(&more).expect("it is there")
    };
    routes.iter().enumerate().map(start).collect()
}

/// A server of mail: its own runtime, so that it can die at once and say nothing.
struct Mailer {
    runtime: Runtime,
    fleet: Fleet,
}

impl Mailer {
    async fn start(address: String, target: Arc<Collector>) -> Self {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let opened = runtime.spawn(async move {
            let mut options = options();
            options.replicas = 3;
            options.connection.timeout = Duration::from_secs(3);
            options.connection.final_timeout = Duration::from_secs(10);
            let fleet = open(&address, options).await;
            fleet.deliver("relay", target, 8).await.expect("a target");
            fleet
        });
        let fleet = opened.await.expect("it opens");
        Self { runtime, fleet }
    }

    fn kill(self) {
        self.runtime.shutdown_background();
    }
}

/// All that a test is about.
struct World {
    /// Of all nodes: each server knows them.
    address: String,
    mailers: Mutex<Vec<Option<Mailer>>>,
    target: Arc<Collector>,
    /// Digests that were said `250` to.
    accepted: Mutex<Vec<String>>,
    next: std::sync::atomic::AtomicUsize,
}

impl World {
    async fn new(nodes: &[Server]) -> Arc<Self> {
        let hosts = nodes.iter().map(|it| format!("127.0.0.1:{}", it.port));
        let world = Self {
            address: format!("nats://{}", hosts.collect::<Vec<_>>().join(",")),
            mailers: Mutex::new(vec![None, None, None]),
            target: Arc::new(Collector::default()),
            accepted: Mutex::new(Vec::new()),
            next: 0.into(),
        };
        for number in 0..3 {
            world.start(number).await;
        }
        Arc::new(world)
    }

    async fn start(&self, number: usize) {
        let mailer = Mailer::start(self.address.clone(), self.target.clone()).await;
        self.mailers.lock().unwrap()[number] = Some(mailer);
    }

    fn kill(&self, number: usize) {
        let mailer = self.mailers.lock().unwrap()[number].take();
        mailer.expect("it is there").kill();
    }

    /// A client that sends one message, to whichever server takes it.
    async fn send_one(&self) {
        let number = self.next.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let digest = message(&["bob@example.org"], content(&number.to_string()))
            .digest()
            .await;
        let start = std::time::Instant::now();
        for server in number.. {
            let asked = {
                let mailers = self.mailers.lock().unwrap();
                mailers[server % 3].as_ref().map(|mailer| {
                    let fleet = mailer.fleet.clone();
                    mailer.runtime.spawn(async move {
                        keep(
                            &fleet,
                            "relay",
                            &["bob@example.org"],
                            content(&number.to_string()),
                        )
                        .await
                    })
                })
            };
            // One that dies says nothing.
            if let Some(asked) = asked
                && let Ok(Ok(())) = asked.await
            {
                self.accepted
                    .lock()
                    .unwrap()
                    .push(digest.unwrap().to_string());
                return;
            }
            assert!(start.elapsed() < PATIENCE, "nobody takes it");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// So many messages, by ten clients.
    async fn send(self: &Arc<Self>, messages: usize) {
        let clients: Vec<_> = (0..10)
            .map(|_| {
                let world = self.clone();
                tokio::spawn(async move {
                    for _ in 0..messages.div_ceil(10) {
                        world.send_one().await;
                    }
                })
            })
            .collect();
        for client in clients {
            client.await.unwrap();
        }
    }

    /// The same, with something wrong from the middle of it on.
    async fn send_through(self: &Arc<Self>, trouble: impl AsyncFnOnce()) {
        let before = self.taken();
        let world = self.clone();
        let load = tokio::spawn(async move { world.send(STEP).await });
        until("a part of the load", async || {
            self.taken() >= before + STEP / 3
        })
        .await;
        trouble().await;
        load.await.unwrap();
    }

    fn taken(&self) -> usize {
        self.accepted.lock().unwrap().len()
    }

    /// Every `250` is accounted for.
    async fn settle(&self) {
        let accepted = self.accepted.lock().unwrap().clone();
        until("every message", async || {
            accepted.iter().all(|digest| self.target.has(digest))
        })
        .await;
    }
}

/// `PRIXFIXE_FLEET_ROUNDS=20` for the long form.
fn rounds() -> usize {
    let set = std::env::var("PRIXFIXE_FLEET_ROUNDS").ok();
    set.and_then(|it| it.parse().ok()).unwrap_or(1)
}

/// Messages while something is wrong.
const STEP: usize = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_message_is_delivered_whatever_dies() {
    if !has("nats-server") {
        return;
    }
    let mut nodes = nodes();
    let world = World::new(&nodes).await;
    world.send(STEP).await;
    for round in 0..rounds() {
        let (one, other) = (round % 3, (round + 1) % 3);

        world.send_through(async || nodes[one].kill()).await;
        nodes[one].run();

        world.send_through(async || world.kill(one)).await;
        world.start(one).await;

        world.send_through(async || nodes[other].freeze()).await;
        nodes[other].thaw();

        world
            .send_through(async || {
                nodes[one].kill();
                world.kill(other);
            })
            .await;
        nodes[one].run();
        world.start(other).await;

        world
            .send_through(async || {
                world.kill(one);
                world.kill(other);
            })
            .await;
        world.start(one).await;
        world.start(other).await;

        // They have written and synced what they acknowledged.
        world
            .send_through(async || {
                nodes.iter_mut().for_each(Server::kill);
                nodes.iter_mut().for_each(Server::run);
            })
            .await;
        world.settle().await;
    }
    assert!(world.taken() >= STEP * 6);
    for number in 0..3 {
        world.kill(number);
    }
}
