//! Input that has to wait.

/// Bytes from the client that cannot be looked at yet: the beginning of a line, or what was pipelined behind an open
/// question.
///
/// It holds at most what `wants_read` allows and one read of the transport on top, and gives its memory back
/// when it is empty.
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
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.taken = self.taken.saturating_add(count).min(self.bytes.len());
        if self.is_empty() {
            self.taken = 0;
            self.bytes.clear();
            if self.bytes.capacity() > KEPT_CAPACITY {
                self.bytes = Vec::new();
            }
        }
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
