//! Whatever fails and whenever the power goes: what was acknowledged ends in each of its targets at
//! least once, or lies in `failed/`, under the same digest.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use prixfixe_delivery::{Delivered, Failure, Spool, SpoolOptions};
use prixfixe_test_support::disk::{Loss, SimulatedDisk};
use proptest::prelude::*;

use crate::scripted::*;

const TARGETS: [&str; 2] = ["bus", "hook"];

/// A target, a digest, a recipient.
type Fate = (String, String, String);

#[derive(Default)]
struct World {
    disk: SimulatedDisk,
    /// The digest of each message that was acknowledged, and for whom it was.
    acknowledged: BTreeMap<String, Vec<String>>,
    arrived: BTreeSet<Fate>,
    sent: u32,
}

/// What happens in a life of the process.
#[derive(Debug, Clone)]
struct Life {
    seed: u64,
    messages: u8,
    cut_in: Option<u64>,
    loss: u8,
    minutes: u16,
    stops: bool,
}

fn life() -> impl Strategy<Value = Life> {
    let cut_in = proptest::option::of(0_u64..120);
    (
        any::<u64>(),
        0_u8..6,
        cut_in,
        0_u8..4,
        0_u16..20,
        any::<bool>(),
    )
        .prop_map(|(seed, messages, cut_in, loss, minutes, stops)| Life {
            seed,
            messages,
            cut_in,
            loss,
            minutes,
            stops,
        })
}

fn short_options() -> SpoolOptions {
    let mut options = options();
    options.log.segment_size = 12 << 10;
    options.give_up_after = Duration::from_secs(1800);
    options
}

fn outcome(rng: &Mutex<Rng>) -> Result<Delivered, Failure> {
    match rng.lock().unwrap().u8(0..10) {
        0..4 => Ok(Delivered::default()),
        4 => Err(never()),
        5..7 => Err(not_now()),
        7 => Err(Failure::unknown("lost")),
        _ => Err(Failure::unreachable("connection refused")),
    }
}

fn targets(rng: &Arc<Mutex<Rng>>) -> Vec<Scripted> {
    let make = |_| {
        let rng = Arc::clone(rng);
        Scripted::new(move |_, _| outcome(&rng))
    };
    TARGETS.iter().map(make).collect()
}

fn open(world: &World, targets: &[Scripted]) -> Option<Spool<SimulatedDisk>> {
    let pairs: Vec<(&str, &Scripted)> = TARGETS.iter().copied().zip(targets).collect();
    let disk = world.disk.clone();
    let spool = Spool::open_on(
        disk,
        Path::new("/spool"),
        to(&pairs),
        short_options(),
        false,
    );
    let spool = spool.ok()?;
    spool.deliver();
    Some(spool)
}

fn keep_what_arrived(world: &mut World, targets: &[Scripted]) {
    for (name, target) in TARGETS.iter().zip(targets) {
        for got in target.got() {
            let fates = got.to.iter();
            let fates = fates.map(|to| ((*name).to_owned(), got.digest.clone(), to.clone()));
            world.arrived.extend(fates);
        }
    }
}

async fn send_one(world: &mut World, spool: &Spool<SimulatedDisk>, rng: &Mutex<Rng>) {
    world.sent += 1;
    let recipients = ["a@example.org", "b@example.org", "c@example.net"];
    let count = rng.lock().unwrap().usize(1..=recipients.len());
    let recipients = &recipients[..count];
    let mut message = message(recipients, &world.sent.to_string());
    let digest = message.digest().await.unwrap().to_string();
    if spool.submit(message).await.is_ok() {
        let recipients = recipients.iter().map(ToString::to_string);
        world.acknowledged.insert(digest, recipients.collect());
    }
}

/// A runtime of its own: when it is gone nothing of this life goes on.
fn in_its_own_time<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(future)
}

fn live(world: &mut World, life: &Life) {
    if let Some(operations) = life.cut_in {
        world.disk.cut_power_in(operations);
    }
    let rng = Arc::new(Mutex::new(Rng::with_seed(life.seed)));
    in_its_own_time(async {
        let targets = targets(&rng);
        let Some(spool) = open(world, &targets) else {
            return;
        };
        for _ in 0..life.messages {
            send_one(world, &spool, &rng).await;
            let pause = rng.lock().unwrap().u64(0..100);
            tokio::time::sleep(Duration::from_secs(pause)).await;
        }
        tokio::time::sleep(Duration::from_secs(60 * u64::from(life.minutes))).await;
        if life.stops {
            spool.stop(Duration::from_secs(1)).await;
        }
        drop(spool);
        keep_what_arrived(world, &targets);
    });
    world.disk.lose_power(match life.loss {
        0 => Loss::All,
        1 => Loss::Nothing,
        2 => Loss::Some(life.seed),
        _ => Loss::Holes(life.seed),
    });
}

/// The last life, in which nothing fails but targets.
fn settle(world: &mut World, seed: u64) -> BTreeSet<Fate> {
    let rng = Arc::new(Mutex::new(Rng::with_seed(seed)));
    in_its_own_time(async {
        let targets = targets(&rng);
        let spool = open(world, &targets).unwrap();
        until(|| {
            let status = spool.status();
            status.is_delivering && status.ready + status.waiting == 0
        })
        .await;
        keep_what_arrived(world, &targets);
        let mut failed = BTreeSet::new();
        for entry in spool.list(None, usize::MAX).unwrap() {
            assert_eq!(entry.state.to_string(), "failed");
            let target = &entry.targets[0];
            for recipient in &target.recipients {
                failed.insert((target.name.clone(), entry.digest.clone(), recipient.clone()));
            }
        }
        failed
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn what_was_acknowledged_ends_somewhere(
        lives in proptest::collection::vec(life(), 1..6),
        seed in any::<u64>(),
    ) {
        let mut world = World {
            disk: SimulatedDisk::new(),
            ..World::default()
        };
        for life in &lives {
            live(&mut world, life);
        }
        let failed = settle(&mut world, seed);
        for (digest, recipients) in &world.acknowledged {
            for target in TARGETS {
                for recipient in recipients {
                    let fate = (target.to_owned(), digest.clone(), recipient.clone());
                    prop_assert!(
                        world.arrived.contains(&fate) || failed.contains(&fate),
                        "{fate:?} is lost"
                    );
                }
            }
        }
    }
}
