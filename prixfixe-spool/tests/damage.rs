//! Segments with bytes that are flipped, missing, repeated or torn off: what is whole counts, and the rest is told.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic
)]

use std::collections::BTreeMap;
use std::path::Path;

use prixfixe_spool::{Content, Draft, Log, LogOptions, ReadError, Recovery};
use prixfixe_test_support::disk::{Loss, SimulatedDisk};
use proptest::prelude::*;

const SEGMENT: &str = "/spool/log/1.seg";
/// Where the first record is.
const FIRST: usize = 4128;

/// A spool of one segment, with these contents.
fn spool(contents: &[Vec<u8>], is_sealed: bool) -> SimulatedDisk {
    let disk = SimulatedDisk::new();
    let log = Log::open(disk.clone(), Path::new("/spool"), LogOptions::default()).unwrap();
    for (number, content) in contents.iter().enumerate() {
        let summary = [number as u8];
        let draft = Draft {
            summary: &summary,
            envelope: b"envelope",
            headers: b"headers",
            content,
        };
        let ticket = log.append(draft);
        while log.turn() {}
        ticket.wait().unwrap();
    }
    if is_sealed {
        log.finish();
    }
    drop(log);
    disk.lose_power(Loss::Nothing);
    disk
}

/// What is found: contents by their numbers, or `None` for what is damaged.
fn recover(disk: &SimulatedDisk) -> (BTreeMap<u8, Option<Vec<u8>>>, Recovery) {
    let log = Log::open(disk.clone(), Path::new("/spool"), LogOptions::default()).unwrap();
    let mut found = Vec::new();
    let recovery = log
        .take_over(|it| found.push((it.summary[0], it.id)))
        .unwrap()
        .expect("nobody else is about");
    let mut contents = BTreeMap::new();
    for (number, id) in found {
        let content = match log.read(id) {
            Ok(stored) => match stored.content {
                Content::Here(content) => Some(content),
                Content::Large(_) => unreachable!(),
            },
            Err(ReadError::Damaged { .. }) => None,
            Err(error) => panic!("{error}"),
        };
        assert!(contents.insert(number, content).is_none(), "twice");
    }
    while log.keep().unwrap() {}
    (contents, recovery)
}

fn contents() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..12)
}

#[derive(Debug, Clone)]
enum Damage {
    Flip(u8),
    Zero(usize),
    Missing(usize),
    Repeat(usize),
    Torn,
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (1u8..).prop_map(Damage::Flip),
        (1usize..700).prop_map(Damage::Zero),
        (1usize..700).prop_map(Damage::Missing),
        (1usize..700).prop_map(Damage::Repeat),
        Just(Damage::Torn),
    ]
}

fn harm(bytes: &mut Vec<u8>, at: usize, damage: &Damage) {
    let until = |length: &usize| (at + length).min(bytes.len());
    match damage {
        Damage::Flip(mask) => bytes[at] ^= mask,
        Damage::Zero(length) => {
            let until = until(length);
            bytes[at..until].fill(0);
        }
        Damage::Missing(length) => drop(bytes.drain(at..until(length))),
        Damage::Repeat(length) => {
            let repeated = bytes[at..until(length)].to_vec();
            bytes.splice(at..at, repeated);
        }
        Damage::Torn => bytes.truncate(at),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nothing_is_made_up_and_what_is_before_the_damage_is_there(
        contents in contents(),
        is_sealed: bool,
        at in any::<prop::sample::Index>(),
        damage in damage(),
    ) {
        let disk = spool(&contents, is_sealed);
        let whole = disk.content(SEGMENT);
        let mut bytes = whole.clone();
        let at = FIRST + at.index(bytes.len() - FIRST);
        harm(&mut bytes, at, &damage);
        disk.set_content(SEGMENT, bytes.clone());
        let (found, recovery) = recover(&disk);
        for (number, content) in &found {
            let content = content.as_ref();
            let is_right = content.is_none_or(|it| *it == contents[usize::from(*number)]);
            prop_assert!(is_right, "{number} has changed");
        }
        // Each record: its header, 26 bytes of payload's own, a summary of 1, 8 and 7 of envelope and headers.
        let mut end = FIRST;
        // What ends with a record is a log that was shorter: nobody can tell that there was more.
        let mut is_shorter = whole.starts_with(&bytes) && bytes.len() == end;
        for (number, content) in contents.iter().enumerate() {
            end += 16 + 26 + 1 + 8 + 7 + content.len();
            is_shorter |= whole.starts_with(&bytes) && bytes.len() == end;
            if end <= at {
                let found = found.get(&(number as u8)).and_then(Option::as_ref);
                prop_assert_eq!(found, Some(content));
            }
        }
        let is_all_there = found.len() == contents.len() && found.values().all(Option::is_some);
        let is_told = !recovery.damaged.is_empty() || !recovery.torn.is_empty();
        let is_found_by_reading = found.values().any(Option::is_none);
        prop_assert!(is_shorter || is_all_there || is_told || is_found_by_reading);
        // Nothing more is lost by starting once more.
        let (again, _) = recover(&disk);
        prop_assert_eq!(found.keys().collect::<Vec<_>>(), again.keys().collect::<Vec<_>>());
    }

    #[test]
    fn a_flipped_byte_costs_one_message_and_no_more(
        contents in contents(),
        is_sealed: bool,
        at in any::<prop::sample::Index>(),
        mask in 1u8..,
    ) {
        let disk = spool(&contents, is_sealed);
        let mut bytes = disk.content(SEGMENT);
        let at = at.index(bytes.len());
        bytes[at] ^= mask;
        disk.set_content(SEGMENT, bytes);
        let (found, recovery) = recover(&disk);
        let whole = found.values().flatten().count();
        prop_assert!(whole + 1 >= contents.len());
        if whole < contents.len() {
            let is_found_by_reading = found.values().any(Option::is_none);
            let is_told = !recovery.damaged.is_empty();
            prop_assert!(is_told || is_found_by_reading);
        }
    }
}

#[test]
fn a_damaged_segment_is_kept_for_whoever_wants_to_look() {
    let disk = spool(
        &[b"one".to_vec(), b"two".to_vec(), b"three".to_vec()],
        false,
    );
    let mut bytes = disk.content(SEGMENT);
    let at = bytes.windows(3).position(|it| it == b"two").unwrap();
    bytes[at] ^= 1;
    disk.set_content(SEGMENT, bytes.clone());
    let log = Log::open(disk.clone(), Path::new("/spool"), LogOptions::default()).unwrap();
    let mut found = Vec::new();
    let recovery = log.take_over(|it| found.push(it.id)).unwrap().unwrap();
    let [(path, range)] = &*recovery.damaged else {
        panic!("{:?}", recovery.damaged);
    };
    assert_eq!(path, Path::new(SEGMENT));
    assert!(range.contains(&(at as u64)));
    assert_eq!(found.len(), 2);
    for id in found {
        log.done(id);
    }
    // A segment of our own comes behind it, as numbers never fall.
    let ticket = log.append(Draft::default());
    while log.turn() {}
    ticket.wait().unwrap();
    while log.keep().unwrap() {}
    assert_eq!(disk.names("/spool/log"), ["2.seg"]);
    assert_eq!(disk.content("/spool/damaged/1.seg"), bytes);
}

#[test]
fn a_damaged_large_content_goes_without_its_segment() {
    let disk = SimulatedDisk::new();
    let log = Log::open(disk.clone(), Path::new("/spool"), LogOptions::default()).unwrap();
    log.take_over(|_| ()).unwrap();
    let mut large = log.large().unwrap();
    large.write(&[b'x'; 5000]).unwrap();
    let draft = Draft {
        envelope: b"from, to",
        ..Draft::default()
    };
    let ticket = log.append_large(draft, large.finish().unwrap());
    while log.turn() {}
    let id = ticket.wait().unwrap();
    let name = disk.names("/spool/large").remove(0);
    let path = format!("/spool/large/{name}");
    let mut content = disk.content(&path);
    content[4000] = b'y';
    disk.set_content(&path, content.clone());
    let Content::Large(mut reader) = log.read(id).unwrap().content else {
        panic!("it is large");
    };
    let mut buffer = [0; 5000];
    assert_eq!(reader.read(&mut buffer).unwrap(), 5000);
    assert!(matches!(
        reader.read(&mut buffer),
        Err(ReadError::Damaged { .. })
    ));
    // Two that deliver it find out.
    log.set_aside(id).unwrap();
    log.set_aside(id).unwrap();
    log.done(id);
    log.finish();
    let ticket = log.append(Draft::default());
    while log.turn() {}
    ticket.wait().unwrap();
    while log.keep().unwrap() {}
    assert_eq!(disk.names("/spool/log"), ["2.seg"]);
    let beside = format!("{name}.envelope");
    assert_eq!(disk.names("/spool/damaged"), [&*name, &*beside]);
    assert_eq!(disk.content(&format!("/spool/damaged/{name}")), content);
    assert_eq!(
        disk.content(&format!("/spool/damaged/{beside}")),
        b"from, to"
    );
}

#[test]
fn a_segment_without_its_headers_is_set_aside() {
    let disk = spool(&[b"one".to_vec()], false);
    let mut bytes = disk.content(SEGMENT);
    bytes[..FIRST].fill(0xFF);
    disk.set_content(SEGMENT, bytes);
    let (found, recovery) = recover(&disk);
    assert!(found.is_empty());
    assert_eq!(recovery.damaged.len(), 1);
    assert_eq!(disk.names("/spool/damaged"), ["1.seg"]);
}

#[test]
fn another_format_is_not_touched() {
    let disk = spool(&[b"one".to_vec()], true);
    disk.set_content("/spool/format", b"prixfixe-spool 2\n".to_vec());
    let opened = Log::open(disk, Path::new("/spool"), LogOptions::default());
    let error = opened.unwrap_err().to_string();
    assert_eq!(error, "/spool/format is not a spool of this version");
}

#[test]
fn a_content_that_looks_like_a_record_is_none() {
    // Another spool's segment as a content, and its header damaged: the search for the next record goes through it.
    let inner = spool(&vec![b"inner".to_vec(); 3], true).content(SEGMENT);
    let disk = spool(&[inner[FIRST..].to_vec(), b"outer".to_vec()], false);
    let mut bytes = disk.content(SEGMENT);
    bytes[FIRST] ^= 1;
    disk.set_content(SEGMENT, bytes);
    let (found, recovery) = recover(&disk);
    assert_eq!(
        found.into_iter().collect::<Vec<_>>(),
        [(1, Some(b"outer".to_vec()))]
    );
    assert_eq!(recovery.damaged.len(), 1);
}
