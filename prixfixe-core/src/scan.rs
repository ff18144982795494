//! Finds quickly how much of a text needs no closer look.
//!
//! Between two neighbours, all that can be wrong with a line end shows: a CR has to be followed by LF, and
//! only a CR may be followed by LF. And a dot that follows LF is either transparency or the end of a body.
//! Each pair can be judged without any state, so the compiler can judge a register full of them at once:
//! what a byte-wise automaton does at one byte a nanosecond, this does at more than ten.

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

/// How many bytes behind the first are clean, each looked at together with the one before it: all of them, or there
/// is something wrong with the next.
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
/// Room for a block that an index of one octet cannot leave.
pub(crate) const PLACE: usize = 256;

/// Copies a block without the dots at the start of its lines, and gives how many bytes that are. `None`: a line end
/// in it is bare, or one of the dots may be the end of the body.
///
/// Which bytes stay is found out for all of them at once. Then every byte is written, and the next one over it where
/// it does not stay, so that no branch depends on what a client sends.
pub(crate) fn copy_without_dots(window: &[u8; WINDOW], place: &mut [u8; PLACE]) -> Option<usize> {
    let block = |from| window.get(from..)?.first_chunk::<BLOCK>();
    let (before, block, behind) = (block(0)?, block(1)?, block(2)?);
    let mut stays = [0; BLOCK];
    let mut faults = 0;
    let neighbours = before.iter().zip(block).zip(behind);
    for (((&before, &byte), &behind), stays) in neighbours.zip(&mut stays) {
        let dot = is_dot(before, byte);
        *stays = dot ^ 1;
        faults |= is_bare(before, byte) | (dot & u8::from(behind == b'\r'));
    }
    if faults != 0 {
        return None;
    }
    let mut length = 0_u8;
    for (&byte, &stays) in block.iter().zip(&stays) {
        if let Some(place) = place.get_mut(usize::from(length)) {
            *place = byte;
        }
        length = length.wrapping_add(stays);
    }
    Some(length.into())
}
