//! Input that has to wait.

use zeroize::Zeroize;

/// Bytes from the client that cannot be looked at yet: the beginning of a line, or what was
/// pipelined behind an open question.
///
/// It holds at most what `wants_read` allows and one read of the transport on top, and gives its
/// memory back when it is empty. Where clients may log in, a password may have been in it: what is
/// no longer used is wiped.
#[derive(Debug, Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    /// Less than a read of the transport and the longest line.
    taken: u32,
    /// Nobody can log in.
    is_harmless: bool,
}

/// An empty buffer of no more than this many octets is kept for the next line.
const KEPT_CAPACITY: usize = 256;

impl Input {
    /// Of a session in which nobody can log in.
    pub(super) const fn harmless() -> Self {
        Self {
            bytes: Vec::new(),
            taken: 0,
            is_harmless: true,
        }
    }

    fn taken(&self) -> usize {
        usize::try_from(self.taken).unwrap_or(usize::MAX)
    }

    pub(super) fn pending(&self) -> &[u8] {
        self.bytes.get(self.taken()..).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.pending().len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending().is_empty()
    }

    pub(super) fn append(&mut self, bytes: &[u8]) {
        let taken = self.taken();
        if taken > 0 {
            let left = self.len();
            self.bytes.copy_within(taken.., 0);
            self.wipe(left);
            self.bytes.truncate(left);
            self.taken = 0;
        }
        self.make_room(bytes.len());
        self.bytes.extend_from_slice(bytes);
    }

    /// Growing in the ordinary way would leave a copy behind.
    fn make_room(&mut self, octets: usize) {
        let length = self.bytes.len() + octets;
        if self.bytes.capacity() < length {
            let capacity = length.max(2 * self.bytes.capacity());
            let mut larger = Vec::with_capacity(capacity);
            larger.extend_from_slice(&self.bytes);
            self.wipe(0);
            self.bytes = larger;
        }
    }

    pub(super) fn consume(&mut self, count: usize) {
        let taken = self.taken().saturating_add(count).min(self.bytes.len());
        self.taken = u32::try_from(taken).unwrap_or(u32::MAX);
        if self.is_empty() {
            self.taken = 0;
            self.wipe(0);
            self.bytes.clear();
            if self.bytes.capacity() > KEPT_CAPACITY {
                self.bytes = Vec::new();
            }
        }
    }

    /// Wipes what stands behind so many octets.
    fn wipe(&mut self, from: usize) {
        if let Some(used) = self.bytes.get_mut(from..)
            && !self.is_harmless
        {
            used.zeroize();
        }
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        self.wipe(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_stays_in_order_and_leaves_no_large_buffer_behind() {
        let mut input = Input::default();
        input.append(b"");
        assert!(input.is_empty());
        input.append(b"MAI");
        input.append(b"L\r\nRC");
        input.consume(2);
        input.append(b"PT\r\n");
        assert_eq!(input.pending(), b"IL\r\nRCPT\r\n");
        input.append(&[b'x'; 2 * KEPT_CAPACITY]);
        input.consume(usize::MAX);
        assert!(input.is_empty() && input.bytes.capacity() == 0);
    }
}
