//! Memory for pieces of contents.
//!
//! Most handlers are done with a piece before the thread that received it goes on to the next
//! connection. The next piece then finds that memory in the processor's cache, and the allocator,
//! which has no quick way for more than a kilobyte, is not asked.

use std::cell::RefCell;

use bytes::Bytes;

use super::HIGH_WATER;

/// Room for a small message: a line that begins with a dot is a piece of its own.
const SMALL: usize = 2048;

/// Room for one read of the transport.
const ONE_READ: usize = prixfixe_network::READ_BUFFER_SIZE;

/// Room for what may wait and one read: no body has more.
const LARGE: usize = HIGH_WATER + ONE_READ;

/// A piece that all but fills a read is one of many. Others have no more than they need: who keeps
/// messages in memory keeps that.
const MANY: usize = ONE_READ / 4 * 3;

/// Buffers of each size that a thread keeps: 388 KiB in all.
const KEPT: usize = 2;

/// What a thread keeps, from when it has taken memory for the first time: those that only drop
/// pieces need none.
#[derive(Default)]
struct Spare {
    is_used: bool,
    small: Vec<Vec<u8>>,
    read: Vec<Vec<u8>>,
    large: Vec<Vec<u8>>,
}

thread_local! {
    static SPARE: RefCell<Spare> = RefCell::default();
}

impl Spare {
    fn of_size(&mut self, capacity: usize) -> Option<&mut Vec<Vec<u8>>> {
        match capacity {
            _ if !self.is_used => None,
            SMALL => Some(&mut self.small),
            ONE_READ => Some(&mut self.read),
            LARGE => Some(&mut self.large),
            _ => None,
        }
    }

    fn keep(&mut self, mut memory: Vec<u8>) {
        if let Some(kept) = self.of_size(memory.capacity())
            && kept.len() < KEPT
        {
            memory.clear();
            kept.push(memory);
        }
    }
}

/// `None` in a thread that is ending.
fn with_spare<R>(use_it: impl FnOnce(&mut Spare) -> R) -> Option<R> {
    SPARE
        .try_with(|spare| Some(use_it(&mut *spare.try_borrow_mut().ok()?)))
        .ok()
        .flatten()
}

/// Empty memory with room for so many octets at least.
pub(super) fn take(octets: usize) -> Vec<u8> {
    let capacity = match octets {
        0..=SMALL => SMALL,
        MANY..=ONE_READ => ONE_READ,
        octets if octets > ONE_READ && octets <= LARGE => LARGE,
        _ => octets,
    };
    with_spare(|spare| {
        spare.is_used = true;
        spare.of_size(capacity)?.pop()
    })
    .flatten()
    .unwrap_or_else(|| Vec::with_capacity(capacity))
}

/// A piece whose memory is kept by the thread that drops it.
pub(super) fn freeze(piece: Vec<u8>) -> Bytes {
    Bytes::from_owner(Piece(piece))
}

struct Piece(Vec<u8>);

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.0);
        with_spare(|spare| spare.keep(memory));
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn piece(octets: usize) -> Bytes {
        let mut memory = take(octets);
        memory.resize(octets, 1);
        freeze(memory)
    }

    fn kept() -> [usize; 3] {
        SPARE.with_borrow(|it| [it.small.len(), it.read.len(), it.large.len()])
    }

    #[test]
    fn the_memory_of_a_dropped_piece_is_that_of_the_next_and_empty() {
        for octets in [1, SMALL, MANY, ONE_READ, ONE_READ + 1, LARGE] {
            let first = piece(octets);
            let at = first.as_ptr();
            drop(first);
            let next = take(octets);
            assert!(next.is_empty() && next.capacity() >= octets);
            assert_eq!(next.as_ptr(), at);
        }
    }

    #[test]
    fn no_more_is_kept_than_the_documentation_says() {
        let pieces = [1, SMALL, SMALL + 1, MANY, ONE_READ, LARGE, LARGE + 1]
            .map(|octets| [0; 5].map(|_| piece(octets)));
        drop(pieces);
        assert_eq!(kept(), [KEPT; 3]);
        assert_eq!(KEPT * (SMALL + ONE_READ + LARGE), 388 * 1024);
    }

    #[test]
    fn who_keeps_a_large_piece_keeps_no_more_than_twice_its_length() {
        for octets in [MANY, ONE_READ, ONE_READ + 1, LARGE] {
            assert!(take(octets).capacity() <= 2 * octets, "{octets}");
        }
    }

    #[test]
    fn a_thread_that_takes_none_keeps_none() {
        let piece = piece(10);
        let kept = thread::spawn(move || {
            drop(piece);
            kept()
        });
        assert_eq!(kept.join().unwrap(), [0; 3]);
    }
}
