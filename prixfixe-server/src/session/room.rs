//! Room in which small pieces of a content are put together: one for each thread, since no session
//! needs it longer than for one piece.

use std::cell::Cell;

/// What the room holds is copied to the body at once, so that it may be small.
const SIZE: usize = 8 * 1024;

thread_local! {
    static ROOM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Lends the thread's room.
pub(super) fn with<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    let mut room = ROOM.take();
    if room.is_empty() {
        room = vec![0; SIZE];
    }
    let result = work(&mut room);
    ROOM.set(room);
    result
}
