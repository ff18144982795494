//! Finds quickly how much of a text needs no closer look.
//!
//! Between two neighbours, all that can be wrong with a line end shows: a CR has to be followed by LF, and
//! only a CR may be followed by LF. And a dot that follows LF is either transparency or the end of a body.
//! Each pair can be judged without any state, so the compiler can judge a register full of them at once:
//! what a byte-wise automaton does at one byte a nanosecond, this does at more than ten.

/// Pairs that are looked at together.
const BLOCK: usize = 64;
/// The same where less is left, or a block was not clean.
const SMALL_BLOCK: usize = 16;

/// What a pair may not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Bare CR and LF.
    LineEnds,
    /// Bare CR and LF, and dots at the start of a line.
    LineEndsAndDots,
}

/// How many bytes behind the first are clean, each looked at together with the one before it: all of them, or there
/// is something wrong with the next.
pub(crate) fn clean(bytes: &[u8], look: Look) -> usize {
    match look {
        Look::LineEnds => clean_blocks::<false>(bytes),
        Look::LineEndsAndDots => clean_blocks::<true>(bytes),
    }
}

fn clean_blocks<const DOTS: bool>(bytes: &[u8]) -> usize {
    let mut clean = clean_prefix::<BLOCK, DOTS>(bytes);
    clean += clean_prefix::<SMALL_BLOCK, DOTS>(bytes.get(clean..).unwrap_or_default());
    // Less than a small block is left, or there is a fault in the next.
    let rest = bytes.get(clean..).unwrap_or_default();
    clean + clean_prefix::<1, DOTS>(rest)
}

fn clean_prefix<const N: usize, const DOTS: bool>(bytes: &[u8]) -> usize {
    let Some((_, current)) = bytes.split_first() else {
        return 0;
    };
    let (previous, _) = bytes.as_chunks::<N>();
    let (current, _) = current.as_chunks::<N>();
    let clean = previous
        .iter()
        .zip(current)
        .take_while(|(previous, current)| is_clean::<N, DOTS>(previous, current));
    clean.count() * N
}

/// No branch and no early end: that is what lets it become vector instructions.
#[inline(always)]
fn is_clean<const N: usize, const DOTS: bool>(previous: &[u8; N], current: &[u8; N]) -> bool {
    let mut faults = 0;
    for (&before, &byte) in previous.iter().zip(current) {
        faults |= u8::from((before == b'\r') != (byte == b'\n'));
        if DOTS {
            faults |= u8::from(before == b'\n') & u8::from(byte == b'.');
        }
    }
    faults == 0
}
