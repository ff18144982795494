//! Bytes on their way to the peer.

/// What a session wants its peer to receive, in order.
///
/// The session appends at the back, the transport takes from the front what the socket took. The
/// buffer gives its memory back once it is empty and has grown past what an ordinary reply needs,
/// so that an idle connection costs next to nothing.
#[derive(Debug, Default)]
pub struct OutputBuffer {
    bytes: Vec<u8>,
    sent: usize,
    is_held: bool,
}

/// An empty buffer that has grown past this many octets is released. A transaction with ten
/// recipients stays below it: the replies of one that is pipelined leave together.
const KEPT_CAPACITY: usize = 1024;

impl OutputBuffer {
    /// An empty buffer, without memory of its own yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            sent: 0,
            is_held: false,
        }
    }

    /// Keeps all of it back for now, what is there and what comes: to its transport the buffer is
    /// empty. So that what soon belongs together leaves in one piece.
    pub fn hold(&mut self, is_held: bool) {
        self.is_held = is_held;
    }

    /// How many octets the socket has not taken yet, where they are [held](Self::hold) too.
    #[must_use]
    pub fn held_len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// What the socket has not taken yet.
    #[must_use]
    pub fn pending(&self) -> &[u8] {
        if self.is_held {
            return &[];
        }
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    /// How many octets the socket has not taken yet.
    #[must_use]
    pub fn len(&self) -> usize {
        match self.is_held {
            true => 0,
            false => self.held_len(),
        }
    }

    /// True when the socket has taken everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts bytes behind those that wait already.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The back of the buffer, for encoders that write to a `Vec`. Append only: what is there
    /// already may have been sent in part.
    pub fn back(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Takes from the front the octets that were sent. More than there are empties the buffer.
    pub fn consume(&mut self, count: usize) {
        if self.is_held {
            return;
        }
        self.sent = self.sent.saturating_add(count).min(self.bytes.len());
        if self.sent == self.bytes.len() {
            self.sent = 0;
            self.bytes.clear();
            if self.bytes.capacity() > KEPT_CAPACITY {
                self.bytes = Vec::new();
            }
        } else if self.sent > KEPT_CAPACITY && self.sent >= self.len() {
            // A peer that never takes all must not make it grow. No byte is moved more than once
            // for each that was sent.
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_in_the_order_in_which_they_came() {
        let mut output = OutputBuffer::new();
        output.extend_from_slice(b"one");
        output.consume(2);
        output.back().extend_from_slice(b"two");
        assert_eq!((output.pending(), output.len()), (&b"etwo"[..], 4));
        output.consume(4);
        assert!(output.is_empty());
        assert_eq!(output.pending(), b"");
    }

    #[test]
    fn what_is_held_is_there_later_and_whole() {
        let mut output = OutputBuffer::new();
        output.extend_from_slice(b"one");
        output.hold(true);
        output.extend_from_slice(b"two");
        output.consume(1);
        assert!(output.is_empty() && output.pending().is_empty());
        assert_eq!(output.held_len(), 6);
        output.hold(false);
        assert_eq!(output.pending(), b"onetwo");
    }

    #[test]
    fn more_than_there_is_empties_it() {
        let mut output = OutputBuffer::new();
        output.extend_from_slice(b"one");
        output.consume(usize::MAX);
        assert!(output.is_empty());
    }

    #[test]
    fn memory_that_an_ordinary_reply_does_not_need_is_given_back() {
        let mut output = OutputBuffer::new();
        output.extend_from_slice(&[0; KEPT_CAPACITY]);
        output.consume(KEPT_CAPACITY);
        assert!(output.bytes.capacity() >= KEPT_CAPACITY);
        output.extend_from_slice(&[0; 100 * KEPT_CAPACITY]);
        output.consume(100 * KEPT_CAPACITY);
        assert_eq!(output.bytes.capacity(), 0);
    }

    #[test]
    fn a_peer_that_reads_slowly_but_never_all_does_not_make_it_grow() {
        let mut output = OutputBuffer::new();
        for _ in 0..100_000 {
            output.extend_from_slice(&[0; 100]);
            output.consume(if output.len() > 100 { 100 } else { 50 });
        }
        assert!(
            output.bytes.capacity() < 64 * 1024,
            "{} octets",
            output.bytes.capacity()
        );
    }
}
