//! Input that has to wait.

use zeroize::Zeroize;

/// Bytes from the client that cannot be looked at yet: the beginning of a line, or what was
/// pipelined behind an open question.
///
/// It holds at most what `wants_read` allows and one read of the transport on top, and gives its
/// memory back when it is empty. A password may have been in it: what is no longer used is wiped.
#[derive(Debug, Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    taken: usize,
}

/// An empty buffer of no more than this many octets is kept for the next line.
const KEPT_CAPACITY: usize = 256;

impl Input {
    pub(super) fn pending(&self) -> &[u8] {
        self.bytes.get(self.taken..).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.taken
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn append(&mut self, bytes: &[u8]) {
        if self.taken > 0 {
            let (taken, length) = (self.taken, self.bytes.len());
            self.bytes.copy_within(taken.., 0);
            if let Some(left) = self.bytes.get_mut(length - taken..) {
                left.zeroize();
            }
            self.bytes.truncate(length - taken);
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
            self.bytes.zeroize();
            self.bytes = larger;
        }
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.taken = self.taken.saturating_add(count).min(self.bytes.len());
        if self.is_empty() {
            self.taken = 0;
            self.bytes.as_mut_slice().zeroize();
            self.bytes.clear();
            if self.bytes.capacity() > KEPT_CAPACITY {
                self.bytes = Vec::new();
            }
        }
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        self.bytes.as_mut_slice().zeroize();
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
