//! A segment: a file of records, and how it is read.
//!
//! ```text
//! header (32 bytes) .. the same at 4096 .. records from 4128 on .. index .. seal
//! ```
//!
//! The header has the nonce, without which no record can be checked: so it is there twice, in two pages of the disk.
//! The index says what all records say, but for envelopes, headers and contents. The seal is the last record of all and says
//! where the index is, so that a start finds it from the end.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, append_all, read_exact};
use crate::record::{Found, Frame, HEADER, Header, Kind, Note, Reader, Seed, read_index, walk};

/// Where the first record is.
pub(crate) const FIRST: u32 = (SECOND_HEADER + FILE_HEADER) as u32;

const SECOND_HEADER: usize = 4096;
const FILE_HEADER: usize = 32;
const MAGIC: &[u8; 8] = b"PFSPOOL1";
/// A header and the offset of the index.
const SEAL: usize = HEADER + 4;

/// The directory of segments.
pub(crate) fn directory(root: &Path) -> PathBuf {
    root.join("log")
}

pub(crate) fn path(root: &Path, number: u64) -> PathBuf {
    directory(root).join(format!("{number}.seg"))
}

/// The number of the segment that has this name.
pub(crate) fn number(name: &str) -> Option<u64> {
    let number = name.strip_suffix(".seg")?.parse().ok()?;
    // No more fit into an id, and one is left for the next.
    (name == format!("{number}.seg") && number < 1 << 37).then_some(number)
}

/// What a new segment begins with.
pub(crate) fn beginning(number: u64, nonce: u64) -> Vec<u8> {
    let mut header = Vec::with_capacity(FILE_HEADER);
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(&number.to_le_bytes());
    header.extend_from_slice(&nonce.to_le_bytes());
    header.extend_from_slice(&[0; 4]);
    header.extend_from_slice(&crc32c::crc32c(&header).to_le_bytes());
    let mut bytes = header.clone();
    bytes.resize(SECOND_HEADER, 0);
    bytes.extend_from_slice(&header);
    bytes
}

fn nonce(header: &[u8], number: u64) -> Option<u64> {
    let mut reader = Reader(header);
    let is_ours = reader.bytes(8)? == MAGIC && reader.u64()? == number;
    let nonce = reader.u64()?;
    reader.u32()?;
    let is_good = crc32c::crc32c(header.get(..28)?) == reader.u32()?;
    (is_ours && is_good).then_some(nonce)
}

/// What a segment ends with.
pub(crate) fn ending(seed: Seed, at: u32, index: &[u8]) -> [Frame; 2] {
    let mut index = Frame::new(Kind::Index, &[index]);
    index.place(seed, at);
    let mut seal = Frame::new(Kind::Seal, &[&at.to_le_bytes()]);
    seal.place(seed, at + index.len() as u32);
    [index, seal]
}

/// Writes and syncs the ending.
pub(crate) fn seal<D: Disk>(
    disk: &D,
    file: &D::File,
    seed: Seed,
    at: u32,
    index: &[u8],
) -> io::Result<()> {
    let [index, seal] = ending(seed, at, index);
    let mut slices = [IoSlice::new(index.bytes()), IoSlice::new(seal.bytes())];
    append_all(disk, file, &mut slices)?;
    disk.sync(file)
}

/// What is known of a segment that was read.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    /// `None`: its headers are gone, and with them all of it.
    pub(crate) seed: Option<Seed>,
    /// Where the next record belongs: the end of the last good one.
    pub(crate) end: u64,
    pub(crate) is_sealed: bool,
    pub(crate) damaged: Vec<Range<u64>>,
    /// Bytes at the end that a crash has torn.
    pub(crate) torn: u64,
}

/// Finds the seed. `None`: the file is too short, or both headers are bad.
pub(crate) fn seed<D: Disk>(disk: &D, file: &D::File, number: u64) -> io::Result<Option<Seed>> {
    for at in [0, SECOND_HEADER as u64] {
        let mut header = [0; FILE_HEADER];
        match read_exact(disk, file, &mut header, at) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        if let Some(nonce) = nonce(&header, number) {
            return Ok(Some(Seed::new(number, nonce)));
        }
    }
    Ok(None)
}

/// Reads a whole segment: by its index where it is sealed, else record by record.
pub(crate) fn read<D: Disk>(
    disk: &D,
    file: &D::File,
    number: u64,
    mut visit: impl FnMut(Note<'_>),
) -> io::Result<Reading> {
    let length = disk.length(file)?;
    let mut reading = Reading {
        seed: seed(disk, file, number)?,
        end: length,
        is_sealed: false,
        damaged: Vec::new(),
        torn: 0,
    };
    let Some(seed) = reading.seed else {
        return Ok(reading);
    };
    if let Some((index, at)) = read_ending(disk, file, seed, length)? {
        // Looked through first: half of an index, and then all records, would say the same twice.
        if read_index(&index, |_| {}).is_some() {
            read_index(&index, &mut visit);
            reading.end = at;
            reading.is_sealed = true;
            return Ok(reading);
        }
    }
    let bytes = read_from(disk, file, u64::from(FIRST))?;
    let mut end = u64::from(FIRST);
    walk(&bytes, FIRST as usize, seed, |found| match found {
        Found::Record(kind, offset, payload) => {
            end = u64::from(offset) + (HEADER + payload.len()) as u64;
            match Note::of_record(kind, number, offset, payload) {
                Some(note) => visit(note),
                // The index of a segment whose seal is torn, say.
                None => end = end.min(u64::from(offset)),
            }
        }
        Found::Damaged(range) => {
            reading.damaged.push(range.start as u64..range.end as u64);
        }
        Found::Torn(range) => reading.torn = range.len() as u64,
    });
    reading.end = end;
    Ok(reading)
}

/// The index and where it is, of a sealed segment.
fn read_ending<D: Disk>(
    disk: &D,
    file: &D::File,
    seed: Seed,
    length: u64,
) -> io::Result<Option<(Vec<u8>, u64)>> {
    let Some(seal_at) = length.checked_sub(SEAL as u64) else {
        return Ok(None);
    };
    let mut seal = [0; SEAL];
    read_exact(disk, file, &mut seal, seal_at)?;
    let at = record_in(&seal, seed, seal_at).and_then(|(kind, payload)| match kind {
        Kind::Seal => Reader(payload).u32(),
        _ => None,
    });
    let Some(at) = at.map(u64::from).filter(|at| *at < seal_at) else {
        return Ok(None);
    };
    let mut record = vec![0; usize::try_from(seal_at - at).unwrap_or(0)];
    read_exact(disk, file, &mut record, at)?;
    let is_index = record_in(&record, seed, at).is_some_and(|(kind, _)| kind == Kind::Index);
    record.drain(..HEADER.min(record.len()));
    Ok(is_index.then_some((record, at)))
}

/// A record that is all of these bytes.
pub(crate) fn record_in(bytes: &[u8], seed: Seed, at: u64) -> Option<(Kind, &[u8])> {
    let header = Header::read(bytes, seed, u32::try_from(at).ok()?)?;
    let payload = bytes.get(HEADER..)?;
    header.matches(payload).then_some((header.kind, payload))
}

/// The records that have come since, of a segment that another process is writing. Gives where the next one belongs.
pub(crate) fn follow<D: Disk>(
    disk: &D,
    file: &D::File,
    number: u64,
    seed: Seed,
    from: u64,
    mut visit: impl FnMut(Note<'_>),
) -> io::Result<u64> {
    let bytes = read_from(disk, file, from)?;
    let mut end = from;
    let mut is_whole = true;
    walk(&bytes, from as usize, seed, |found| match found {
        Found::Record(kind, offset, payload) if is_whole => {
            match Note::of_record(kind, number, offset, payload) {
                Some(note) => {
                    end = u64::from(offset) + (HEADER + payload.len()) as u64;
                    visit(note);
                }
                None => is_whole = false,
            }
        }
        // What is not whole yet is read again.
        _ => is_whole = false,
    });
    Ok(end)
}

fn read_from<D: Disk>(disk: &D, file: &D::File, from: u64) -> io::Result<Vec<u8>> {
    let length = disk.length(file)?.saturating_sub(from);
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    read_exact(disk, file, &mut bytes, from)?;
    Ok(bytes)
}
