//! Finds quickly how much of a text needs no closer look.
//!
//! Between two neighbours, all that can be wrong with a line end shows: a CR has to be followed by
//! LF, and only a CR may be followed by LF. And a dot that follows LF is either transparency or the
//! end of a body. Each pair can be judged without any state, so the compiler can judge a register
//! full of them at once: what a byte-wise automaton does at one byte a nanosecond, this does at
//! more than ten.

/// Pairs that are looked at together.
pub(crate) const BLOCK: usize = 64;
/// The same where less is left, or a block was not clean.
const SMALL_BLOCK: usize = 16;

/// What a pair may not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Bare CR and LF.
    LineEnds,
    /// Bare CR and LF, and dots at the start of a line.
    LineEndsAndDots,
    /// Starts of lines that are empty or may begin with `Received`.
    HeaderNames,
}

/// How many bytes behind the first are clean, each looked at together with the one before it: all
/// of them, or there is something wrong with the next.
pub(crate) fn clean(bytes: &[u8], look: Look) -> usize {
    match look {
        Look::LineEnds => clean_blocks(bytes, is_bare),
        Look::LineEndsAndDots => clean_blocks(bytes, |before, byte| {
            is_bare(before, byte) | is_dot(before, byte)
        }),
        Look::HeaderNames => clean_blocks(bytes, |before, byte| {
            let may_be_name = byte | 0x20 == b'r';
            u8::from(before == b'\n') & u8::from(may_be_name | (byte == b'\r') | (byte == b'\n'))
        }),
    }
}

/// The byte, or the one before it, is half of a line end.
fn is_bare(before: u8, byte: u8) -> u8 {
    u8::from((before == b'\r') != (byte == b'\n'))
}

/// The byte is a dot at the start of a line.
fn is_dot(before: u8, byte: u8) -> u8 {
    u8::from(before == b'\n') & u8::from(byte == b'.')
}

fn clean_blocks(bytes: &[u8], fault: impl Fn(u8, u8) -> u8 + Copy) -> usize {
    let mut clean = clean_prefix::<BLOCK>(bytes, fault);
    clean += clean_prefix::<SMALL_BLOCK>(bytes.get(clean..).unwrap_or_default(), fault);
    // Less than a small block is left, or there is a fault in the next.
    let rest = bytes.get(clean..).unwrap_or_default();
    clean + clean_prefix::<1>(rest, fault)
}

#[inline(always)]
fn clean_prefix<const N: usize>(bytes: &[u8], fault: impl Fn(u8, u8) -> u8) -> usize {
    let Some((_, current)) = bytes.split_first() else {
        return 0;
    };
    let (previous, _) = bytes.as_chunks::<N>();
    let (current, _) = current.as_chunks::<N>();
    let clean = previous
        .iter()
        .zip(current)
        .take_while(|(previous, current)| is_clean(previous, current, &fault));
    clean.count() * N
}

/// No branch and no early end: that is what lets it become vector instructions.
#[inline(always)]
fn is_clean<const N: usize>(
    previous: &[u8; N],
    current: &[u8; N],
    fault: impl Fn(u8, u8) -> u8,
) -> bool {
    let mut faults = 0;
    for (&before, &byte) in previous.iter().zip(current) {
        faults |= fault(before, byte);
    }
    faults == 0
}

/// A block with the byte before and the byte behind it.
pub(crate) const WINDOW: usize = BLOCK + 2;
/// Room for a block without its dots, of which whole words are written.
pub(crate) const PLACE: usize = BLOCK + WORD;
/// Bytes that are copied together.
const WORD: usize = 8;

/// Copies a block without the dots at the start of its lines, and gives how many bytes that are.
/// `None`: a line end in it is bare, or one of the dots may be the end of the body.
///
/// Which bytes go is found out for all of them at once. Then each word is written without its dots,
/// and the next one over what is left of it, so that no branch depends on what a client sends.
pub(crate) fn copy_without_dots(window: &[u8; WINDOW], place: &mut [u8; PLACE]) -> Option<usize> {
    let block = |from| window.get(from..)?.first_chunk::<BLOCK>();
    let (before, block, behind) = (block(0)?, block(1)?, block(2)?);
    let mut goes = [0; BLOCK];
    let mut faults = 0;
    let neighbours = before.iter().zip(block).zip(behind);
    for (((&before, &byte), &behind), goes) in neighbours.zip(&mut goes) {
        let dot = is_dot(before, byte);
        *goes = dot;
        faults |= is_bare(before, byte) | (dot & u8::from(behind == b'\r'));
    }
    if faults != 0 {
        return None;
    }
    let (words, _) = block.as_chunks::<WORD>();
    let (goes, _) = goes.as_chunks::<WORD>();
    let mut length = 0;
    for (word, goes) in words.iter().zip(goes) {
        let (word, stays) = without_dots(u64::from_le_bytes(*word), u64::from_le_bytes(*goes));
        if let Some(place) = place.get_mut(length..length + WORD) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        length += stays;
    }
    Some(length)
}

/// Leaves out the bytes of a word for which there is a 1 in `goes`, and gives how many stay.
///
/// They are two at most: a line that begins with a dot, is not the end and has its line end takes
/// four bytes.
#[inline(always)]
fn without_dots(word: u64, goes: u64) -> (u64, usize) {
    let (mut word, mut goes, mut stays) = (word, goes, WORD);
    for _ in 0..2 {
        // All ones where none is left.
        let first = goes & goes.wrapping_neg();
        let below = first.wrapping_sub(1);
        word = (word & below) | ((word >> 8) & !below);
        stays -= usize::from(first != 0);
        goes = (goes ^ first) >> 8;
    }
    (word, stays)
}
