//! `kill -9` of the server with a spool, and of its target, again and again under load: what got
//! its `250` is at the target, whole, whichever process died when.
//!
//! `PRIXFIXE_SPOOL_KILLS=300` for the long form.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use prixfixe_test_support::wait_until;

use crate::TRANSPORTS;
use crate::kill::{number, seed, send_until_it_breaks};
use crate::mail;
use crate::server::Launch;
use crate::targets::programs;

const CLIENTS: usize = 8;

/// How often in the short form, over both transports.
const KILLS: u64 = 30;

/// The longest time from the start of the server to its end.
const LONGEST_LIFE: u64 = 600;

#[test]
fn what_was_acknowledged_is_at_the_target_whoever_is_killed() {
    let kills = number("PRIXFIXE_SPOOL_KILLS").unwrap_or(KILLS);
    let seed = seed();
    eprintln!("{kills} kills, PRIXFIXE_FAULTS_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let folder = Arc::new(tempfile::tempdir().expect("a folder"));
    let mut place = programs::next_hop("smtp");
    let configuration = format!(
        "{}\n[spool]\npath = 'spool'\nretry = ['1s']\n",
        place.configuration
    );
    let launch = |kill: u64| {
        let transport = TRANSPORTS[kill as usize % TRANSPORTS.len()];
        let launch = Launch::new(transport).folder(&folder);
        launch.file(&configuration).start()
    };
    let mut acknowledged = BTreeSet::new();
    for kill in 0..kills {
        let mut server = launch(kill);
        let address = server.address();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let seed = random.u64(..);
                thread::spawn(move || send_until_it_breaks(address, kill, client, seed))
            })
            .collect();
        thread::sleep(Duration::from_millis(random.u64(..LONGEST_LIFE)));
        if kill % 3 == 2 {
            place.kill();
        }
        server.kill();
        let names = clients
            .into_iter()
            .map(|client| client.join().expect("a client"));
        acknowledged.extend(names.flatten());
    }
    // All that is left goes out, and nothing is left.
    let server = launch(0);
    wait_until("the target has them all", || {
        place.names().len() >= acknowledged.len()
            && acknowledged.is_subset(&place.names().into_keys().collect())
    });
    let failed = crate::server::files(&folder.path().join("spool/failed"));
    assert!(failed.is_empty(), "{failed:?}");
    let names = place.names();
    let copies: usize = names.values().sum();
    eprintln!(
        "{} messages acknowledged, {} at the target, {} of them again",
        acknowledged.len(),
        names.len(),
        copies - names.len()
    );
    assert!(!acknowledged.is_empty());
    mail::assert_kept(place.folder.path(), &acknowledged);
    server.assert_serves();
}
