//! Invariant: whatever a segment of the spool holds, taking it over does not panic, what is found
//! once is found again with the same content until it is done, tidying up ends and loses nothing,
//! and what is done does not come back.
//!
//! The input is a list of pieces of the segment. A piece is an operation, a length of two bytes,
//! and that many bytes: a payload under a good header, or bytes as they are. The format is written
//! down here once more, from its description.
#![no_main]

use std::collections::BTreeMap;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use prixfixe_spool::{Content, Disk, Draft, Log, LogOptions, MessageId, ReadError};
use prixfixe_test_support::disk::{Loss, SimulatedDisk};

const FIRST: usize = 4128;
const NONCE: u64 = 7;

/// The pieces of the input, as a segment.
fn segment(mut input: &[u8]) -> Vec<u8> {
    let mut header = b"PFSPOOL1".to_vec();
    header.extend(1_u64.to_le_bytes());
    header.extend(NONCE.to_le_bytes());
    header.extend([0; 4]);
    header.extend(crc32c::crc32c(&header).to_le_bytes());
    let mut segment = header.clone();
    segment.resize(FIRST - header.len(), 0);
    segment.extend(header);
    while let Some((&[operation, low, high], rest)) = input.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes([low, high])).min(rest.len());
        let (piece, rest) = rest.split_at(length);
        input = rest;
        match operation & 0x0F {
            kind @ 1..=7 => record(&mut segment, kind, piece),
            // What an index of everything before it would end with.
            8 => {
                let at = segment.len() as u32;
                record(&mut segment, 6, piece);
                record(&mut segment, 7, &at.to_le_bytes());
            }
            _ => segment.extend(piece),
        }
        // A header that is good, with a payload that is not.
        if operation & 0x10 != 0
            && let Some(last) = segment.last_mut()
        {
            *last ^= 1;
        }
    }
    segment
}

fn record(segment: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    let offset = segment.len() as u32;
    let mut header = (payload.len() as u32).to_le_bytes().to_vec();
    header.extend([kind, 0, 0, 0]);
    header.extend(crc32c::crc32c(payload).to_le_bytes());
    let mut check = 1_u64.to_le_bytes().to_vec();
    check.extend(NONCE.to_le_bytes());
    check.extend(offset.to_le_bytes());
    check.extend(&header);
    header.extend(crc32c::crc32c(&check).to_le_bytes());
    segment.extend(header);
    segment.extend(payload);
}

fn open(disk: &SimulatedDisk) -> Log<SimulatedDisk> {
    // Large contents that are none may claim any length.
    let mut options = LogOptions::default();
    options.max_size = u64::MAX;
    Log::open(disk.clone(), Path::new("/spool"), options).expect("the disk is good")
}

/// What is there: `None` for what cannot be read.
type Found = BTreeMap<MessageId, Option<(Vec<u8>, Vec<u8>)>>;

fn find(log: &Log<SimulatedDisk>) -> Found {
    let mut ids = Vec::new();
    log.take_over(|it| ids.push(it.id))
        .expect("the disk is good");
    read(log, ids)
}

fn read(log: &Log<SimulatedDisk>, ids: Vec<MessageId>) -> Found {
    let mut found = Found::new();
    for id in ids {
        let message = match log.read(id) {
            Ok(stored) => match stored.content {
                Content::Here(content) => Some((stored.envelope, content)),
                // None of those is there.
                Content::Large(_) => None,
            },
            Err(ReadError::Damaged { .. }) => None,
            Err(error) => panic!("{error}"),
        };
        assert!(found.insert(id, message).is_none(), "{id} is there twice");
    }
    found
}

fn tidy(log: &Log<SimulatedDisk>) {
    for _ in 0..100 {
        if !log.keep().expect("the disk is good") {
            return;
        }
    }
    panic!("there is always a chore");
}

fuzz_target!(|input: &[u8]| {
    let disk = SimulatedDisk::new();
    drop(open(&disk));
    let path = Path::new("/spool/log/1.seg");
    drop(disk.create(path).expect("the disk is good"));
    disk.set_content("/spool/log/1.seg", segment(input));

    let log = open(&disk);
    let first = find(&log);
    drop(log);
    disk.lose_power(Loss::Nothing);

    let log = open(&disk);
    let again = find(&log);
    assert_eq!(first, again, "a start changes nothing");
    // With a segment behind it, it may be emptied.
    let ticket = log.append(Draft::default());
    while log.turn() {}
    let own = ticket.wait().expect("the disk is good");
    tidy(&log);
    let ids = first.keys().copied().collect();
    assert_eq!(first, read(&log, ids), "tidying loses nothing");
    for id in first.keys() {
        log.done(*id);
    }
    log.done(own);
    while log.turn() {}
    tidy(&log);
    drop(log);
    disk.lose_power(Loss::All);

    let log = open(&disk);
    let left = find(&log);
    assert!(left.is_empty(), "{left:?} came back");
});
