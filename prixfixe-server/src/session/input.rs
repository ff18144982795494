//! Input that has to wait.

use std::time::Instant;

/// Bytes from the client that cannot be looked at yet: the beginning of a line, or what was pipelined behind an open
/// question.
///
/// It holds at most what `wants_read` allows and one read of the transport on top, and gives its memory back
/// when it is empty.
#[derive(Debug, Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    taken: usize,
    arrival: Option<Arrival>,
}

/// When bytes came: to be told from two reads, of which the second stands for all after the first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    first: Instant,
    /// The bytes of the first read end here.
    boundary: usize,
    second: Instant,
}

impl Arrival {
    /// All at once.
    pub(super) fn at(time: Instant) -> Self {
        Self {
            first: time,
            boundary: 0,
            second: time,
        }
    }

    /// When the byte at `position` came.
    pub(super) fn of(&self, position: usize) -> Instant {
        if position < self.boundary {
            self.first
        } else {
            self.second
        }
    }
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

    /// When the [pending](Self::pending) bytes came. `None`: there are none.
    pub(super) fn arrival(&self) -> Option<Arrival> {
        self.arrival.map(|arrival| Arrival {
            boundary: arrival.boundary - self.taken,
            ..arrival
        })
    }

    pub(super) fn append(&mut self, now: Instant, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.taken > 0 {
            self.bytes.drain(..self.taken);
            self.arrival = self.arrival.map(|arrival| Arrival {
                boundary: arrival.boundary - self.taken,
                ..arrival
            });
            self.taken = 0;
        }
        match &mut self.arrival {
            None => {
                self.arrival = Some(Arrival {
                    first: now,
                    boundary: bytes.len(),
                    second: now,
                });
            }
            Some(arrival) if arrival.boundary == self.bytes.len() => arrival.second = now,
            Some(_) => {}
        }
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.taken = self.taken.saturating_add(count).min(self.bytes.len());
        if let Some(arrival) = &mut self.arrival
            && self.taken >= arrival.boundary
        {
            arrival.first = arrival.second;
            arrival.boundary = self.bytes.len();
        }
        if self.is_empty() {
            self.arrival = None;
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
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_waits_is_as_old_as_its_first_byte() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let arrived = |input: &Input, position| Some(input.arrival()?.of(position));
        let mut input = Input::default();
        assert_eq!(arrived(&input, 0), None);
        input.append(at(0), b"");
        assert_eq!(arrived(&input, 0), None);

        input.append(at(1), b"MAI");
        input.append(at(2), b"L\r\nRC");
        input.append(at(3), b"PT\r\n");
        assert_eq!(arrived(&input, 2), Some(at(1)));
        assert_eq!(arrived(&input, 3), Some(at(2)), "of the second read");
        input.consume(2);
        assert_eq!(arrived(&input, 0), Some(at(1)));
        assert_eq!(arrived(&input, 1), Some(at(2)));
        input.append(at(4), b"DATA\r\n");
        assert_eq!(input.pending(), b"IL\r\nRCPT\r\nDATA\r\n");
        input.consume(1);
        assert_eq!(
            arrived(&input, 0),
            Some(at(2)),
            "of the second read and all after it"
        );
        input.append(at(5), b"x");
        input.consume(2);
        assert_eq!(arrived(&input, 0), Some(at(2)));
        input.consume(input.len());
        assert_eq!(arrived(&input, 0), None);
        input.append(at(6), b"y");
        assert_eq!(arrived(&input, 0), Some(at(6)));
    }
}
