//! Three nodes with three replicas, three servers of mail: any of the six may die, and some
//! together. What was said `250` to is delivered.

use std::net::Ipv4Addr;
use std::sync::Mutex;

use prixfixe_test_support::{has, unused_port};
use tokio::runtime::{Builder, Runtime};

use super::link::Link;
use super::*;

/// Three nodes, each of which syncs what it writes, and the ways between them.
struct Nodes {
    all: Vec<NatsServer>,
    /// Their routes, by whom from and whom to.
    routes: Vec<Vec<Option<Link>>>,
}

impl Nodes {
    async fn start() -> Self {
        let port = || unused_port(Ipv4Addr::LOCALHOST).expect("a port");
        let ports: Vec<u16> = (0..3).map(|_| port()).collect();
        let mut routes: Vec<Vec<Option<Link>>> = Vec::new();
        for from in 0..3 {
            let mut row = Vec::new();
            for (to, port) in ports.iter().enumerate() {
                row.push(if from == to {
                    None
                } else {
                    Some(Link::to(*port).await)
                });
            }
            routes.push(row);
        }
        // What they tell each other leads nowhere: they know no other ways.
        let nowhere = port();
        let all = ports.iter().zip(&routes).enumerate();
        let all = all.map(|(number, (port, row))| {
            let urls: Vec<String> = row
                .iter()
                .flatten()
                .map(|link| format!("nats://127.0.0.1:{}", link.port))
                .collect();
            let more = format!(
                "server_name: n{number}\ncluster {{ name: fleet, listen: 127.0.0.1:{port}, \
                 advertise: 127.0.0.1:{nowhere}, routes: [{}] }}",
                urls.join(", ")
            );
            NatsServer::start_with(&more).expect("it is there")
        });
        Self {
            all: all.collect(),
            routes,
        }
    }

    /// All ways between this node and the others.
    fn ways(&self, node: usize) -> impl Iterator<Item = &Link> {
        let routes = self.routes.iter().enumerate();
        routes.flat_map(move |(from, row)| {
            let row = row.iter().enumerate();
            row.filter(move |(to, _)| from == node || *to == node)
                .filter_map(|(_, link)| link.as_ref())
        })
    }

    /// A node alone, and the two others.
    fn isolate(&self, node: usize) {
        self.ways(node).for_each(Link::cut);
    }

    fn join(&self, node: usize) {
        self.ways(node).for_each(Link::heal);
    }

    /// Whoever leads the stream.
    async fn leader(&self) -> usize {
        let context = context(&self.all[0].address()).await;
        let mut leader = None;
        until("a leader", async || {
            if let Ok(stream) = context.get_stream("PRIXFIXE").await
                && let Some(cluster) = &stream.cached_info().cluster
                && let Some(name) = &cluster.leader
            {
                leader = name.strip_prefix('n').and_then(|it| it.parse().ok());
            }
            leader.is_some()
        })
        .await;
        leader.expect("a leader")
    }
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
    /// To each node, by the server whose they are.
    ways: Vec<Vec<Link>>,
    mailers: Mutex<Vec<Option<Mailer>>>,
    target: Arc<Collector>,
    /// Digests that were said `250` to.
    accepted: Mutex<Vec<String>>,
    next: std::sync::atomic::AtomicUsize,
}

impl World {
    async fn new(nodes: &[NatsServer]) -> Arc<Self> {
        let mut ways = Vec::new();
        for _ in 0..3 {
            let mut own = Vec::new();
            for node in nodes {
                own.push(Link::to(node.port).await);
            }
            ways.push(own);
        }
        let world = Self {
            ways,
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
        let hosts = self.ways[number].iter();
        let hosts = hosts.map(|link| format!("127.0.0.1:{}", link.port));
        let address = format!("nats://{}", hosts.collect::<Vec<_>>().join(","));
        let mailer = Mailer::start(address, self.target.clone()).await;
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

    /// What a long run is told by, with `--nocapture`.
    fn tell(&self, round: usize) {
        let (taken, delivered) = (self.taken(), self.target.all().len());
        let twice = delivered - self.target.digests();
        println!(
            "round {}: {taken} acknowledged, none lost, {twice} delivered again",
            round + 1
        );
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

/// A spool whose server is at the first node, and the ways that it has there.
async fn at_the_first(nodes: &Nodes) -> (Fleet, Vec<Link>) {
    let mut ways = Vec::new();
    for node in &nodes.all {
        ways.push(Link::to(node.port).await);
    }
    ways[1..].iter().for_each(Link::cut);
    let hosts = ways.iter().map(|link| format!("127.0.0.1:{}", link.port));
    let address = format!("nats://{}", hosts.collect::<Vec<_>>().join(","));
    let mut options = options();
    options.replicas = 3;
    options.connection.timeout = Duration::from_secs(3);
    let fleet = open(&address, options).await;
    keep_until_taken(&fleet, "relay", "one").await;
    ways.iter().for_each(Link::heal);
    (fleet, ways)
}

/// The node answers, and has nobody to write with. The others have a majority.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_leaves_a_node_that_is_alone() {
    if !has("nats-server") {
        return;
    }
    let nodes = Nodes::start().await;
    let (fleet, _ways) = at_the_first(&nodes).await;
    nodes.isolate(0);
    keep_until_taken(&fleet, "relay", "other").await;
}

/// Nothing comes from the node any more, and nothing says that it is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_leaves_a_node_that_it_does_not_hear_from() {
    if !has("nats-server") {
        return;
    }
    let nodes = Nodes::start().await;
    let (fleet, ways) = at_the_first(&nodes).await;
    ways[0].cut();
    keep_until_taken(&fleet, "relay", "other").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_message_is_delivered_whatever_dies() {
    if !has("nats-server") {
        return;
    }
    let mut nodes = Nodes::start().await;
    let world = World::new(&nodes.all).await;
    world.send(STEP).await;
    for round in 0..rounds() {
        let (one, other) = (round % 3, (round + 1) % 3);

        world.send_through(async || nodes.all[one].kill()).await;
        nodes.all[one].run();

        world.send_through(async || world.kill(one)).await;
        world.start(one).await;

        world.send_through(async || nodes.all[other].freeze()).await;
        nodes.all[other].thaw();

        world
            .send_through(async || {
                nodes.all[one].kill();
                world.kill(other);
            })
            .await;
        nodes.all[one].run();
        world.start(other).await;

        world
            .send_through(async || {
                world.kill(one);
                world.kill(other);
            })
            .await;
        world.start(one).await;
        world.start(other).await;

        // It goes on by itself with what it had, and nobody hears of it.
        let leader = nodes.leader().await;
        world.send_through(async || nodes.isolate(leader)).await;
        nodes.join(leader);

        world
            .send_through(async || world.ways[one].iter().for_each(Link::cut))
            .await;
        world.ways[one].iter().for_each(Link::heal);

        // They have written and synced what they acknowledged.
        world
            .send_through(async || {
                nodes.all.iter_mut().for_each(NatsServer::kill);
                nodes.all.iter_mut().for_each(NatsServer::run);
            })
            .await;
        world.settle().await;
        world.tell(round);
    }
    assert!(world.taken() >= STEP * 8);
    for number in 0..3 {
        world.kill(number);
    }
}
