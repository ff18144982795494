//! A small part of what `cargo run --profile simulation -p prixfixe-simulation` runs; and that
//! defects are found.
#![allow(clippy::unwrap_used, clippy::panic, reason = "so tests fail")]

use prixfixe_simulation::scenario::{Kind, Sabotage, Scenario, Size};
use prixfixe_simulation::shrink::Kept;
use prixfixe_simulation::violation::{Invariant, Violation};
use prixfixe_simulation::{Certificates, run};

const SMALL: Size = Size { percent: 10 };

const KINDS: [Kind; 6] = [
    Kind::Bulk,
    Kind::Crowd,
    Kind::Hostile,
    Kind::Restarts,
    Kind::Disk,
    Kind::Tls,
];

#[test]
fn what_must_hold_holds() {
    let certificates = Certificates::new().unwrap();
    let mut acknowledged = 0;
    for kind in KINDS {
        for seed in 1..=2 {
            let outcome = run(&Scenario::of_kind(seed, kind, SMALL), &certificates, false);
            if let Some(violation) = outcome.violation {
                panic!("{kind:?}, seed {seed}: {violation}");
            }
            acknowledged += outcome.acknowledged;
        }
    }
    assert!(
        acknowledged > 100,
        "{acknowledged} messages were acknowledged"
    );
}

#[test]
fn a_seed_gives_the_same_run_again() {
    let certificates = Certificates::new().unwrap();
    for kind in [Kind::Hostile, Kind::Restarts] {
        let scenario = Scenario::of_kind(7, kind, SMALL);
        let (first, second) = (
            run(&scenario, &certificates, false),
            run(&scenario, &certificates, false),
        );
        assert_eq!(first.digest, second.digest, "{kind:?}");
        let other = run(&Scenario::of_kind(8, kind, SMALL), &certificates, false);
        assert_ne!(first.digest, other.digest, "{kind:?}");
    }
}

/// The first seed of a kind with which a defect shows.
fn found(sabotage: Sabotage, kind: Kind, certificates: &Certificates) -> (Scenario, Violation) {
    (1..=20)
        .find_map(|seed| {
            let mut scenario = Scenario::of_kind(seed, kind, SMALL);
            scenario.sabotage = Some(sabotage);
            let violation = run(&scenario, certificates, false).violation?;
            Some((scenario, violation))
        })
        .unwrap_or_else(|| panic!("{sabotage:?} is not found"))
}

#[test]
fn defects_are_found() {
    let certificates = Certificates::new().unwrap();
    for (sabotage, kind, invariants) in [
        (
            Sabotage::AnswersEarly,
            Kind::Disk,
            &[Invariant::Acknowledged][..],
        ),
        (Sabotage::KeepsParts, Kind::Hostile, &[Invariant::Whole][..]),
        (
            Sabotage::LosesWakes,
            Kind::Bulk,
            &[Invariant::Ends, Invariant::Replies][..],
        ),
        (
            Sabotage::SyncDoesNothing,
            Kind::Restarts,
            &[Invariant::Acknowledged, Invariant::Whole][..],
        ),
        (
            Sabotage::TargetLies,
            Kind::Bulk,
            &[Invariant::Acknowledged][..],
        ),
        (
            Sabotage::StoresTwice,
            Kind::Bulk,
            &[Invariant::Acknowledged][..],
        ),
    ] {
        let (scenario, violation) = found(sabotage, kind, &certificates);
        println!("{sabotage:?}, seed {}: {violation}", scenario.seed);
        assert!(
            invariants.contains(&violation.invariant),
            "{sabotage:?} is found as {violation}"
        );
    }
}

#[test]
fn a_failure_becomes_small() {
    let certificates = Certificates::new().unwrap();
    let (scenario, violation) = found(Sabotage::AnswersEarly, Kind::Disk, &certificates);
    let fails = |scenario: &Scenario| {
        run(scenario, &certificates, false)
            .violation
            .is_some_and(|other| other.invariant == violation.invariant)
    };
    let kept = Kept::shrink(&scenario, 300, fails);
    let least = kept.of(&scenario);
    assert!(fails(&least), "the small one fails, too");
    assert!(
        least.clients.len() <= 2 && least.clients.len() < scenario.clients.len(),
        "{} of {} clients are left",
        least.clients.len(),
        scenario.clients.len()
    );
    // What a failure prints is enough to have it again.
    let again: Kept = kept.to_string().parse().unwrap();
    assert!(fails(&again.of(&scenario)));
}
