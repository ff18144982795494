//! Lines on their way to stderr.
//!
//! Not `tracing-appender`: its queue is bounded in lines, not in bytes, and the log does not say
//! how many it lost.

use std::cell::Cell;
use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// The most octets that wait to be written; as many again may be on their way.
const CAPACITY: usize = 1 << 20;

/// Room beyond that for the writer's own line, which says how many were dropped: it must not be
/// dropped itself.
const RESERVED: usize = 4096;

/// What each of both buffers keeps of its memory after a burst.
const KEPT: usize = 64 * 1024;

thread_local! {
    static IS_WRITER: Cell<bool> = const { Cell::new(false) };
}

/// How long lines gather behind a write. A line that comes alone is written at once.
const GATHERED_FOR: Duration = Duration::from_millis(5);

/// Lines that wait for the writing thread. The lock is held for a copy in memory, never for a
/// write.
#[derive(Debug, Clone)]
pub(crate) struct Queue {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    filled: Condvar,
    written: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<u8>,
    /// Lines that found the queue full, not reported yet.
    dropped: u64,
    writer: Writer,
}

/// What the writing thread does. To wake it takes a system call, so that a line does it only where
/// nobody else has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Writer {
    /// Sleeps until it is called.
    #[default]
    Sleeps,
    /// Was called, or has lines that aren't written yet.
    Busy,
    /// Lets lines gather.
    Gathers,
}

impl Queue {
    /// Starts the thread that writes to `output`.
    pub(crate) fn start(output: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let writer = Arc::clone(&shared);
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || writer.write_all(output))?;
        Ok(Self { shared })
    }

    /// Waits until the queue is empty, at most for `limit`.
    pub(crate) fn flush(&self, limit: Duration) {
        let state = self.shared.lock();
        let is_busy = |state: &mut State| state.writer == Writer::Busy || !state.lines.is_empty();
        // Timed out or not, there is no more to be done.
        drop(
            self.shared
                .written
                .wait_timeout_while(state, limit, is_busy),
        );
    }

    /// Takes one finished line.
    pub(crate) fn push(&self, line: &[u8]) {
        let capacity = match IS_WRITER.get() {
            true => CAPACITY + RESERVED,
            false => CAPACITY,
        };
        let must_wake = self.shared.lock().push(line, capacity);
        if must_wake {
            self.shared.filled.notify_one();
        }
    }
}

impl State {
    /// Whether the writing thread is to be woken for it.
    fn push(&mut self, line: &[u8], capacity: usize) -> bool {
        if self.lines.len() + line.len() > capacity {
            self.dropped += 1;
            return false;
        }
        self.lines.extend_from_slice(line);
        let sleeps = self.writer == Writer::Sleeps;
        if sleeps {
            self.writer = Writer::Busy;
        }
        sleeps
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes all lines that there are and writes them in one piece, again and again.
    fn write_all(&self, mut output: impl Write) {
        IS_WRITER.set(true);
        let mut lines = Vec::new();
        loop {
            let dropped = self.take(&mut lines);
            // There is nowhere left to report a log that can't be written, and the next line may
            // fare better.
            let _ = output.write_all(&lines).and_then(|()| output.flush());
            lines.clear();
            lines.shrink_to(KEPT);
            // Before whoever waits in `flush` is told: this line must not be lost at the end of the
            // process.
            if dropped > 0 {
                tracing::warn!(target: "prixfixe", lines = dropped, "log lines were dropped: stderr takes them too slowly");
            }
            self.gather();
        }
    }

    /// Waits for a line.
    fn take(&self, lines: &mut Vec<u8>) -> u64 {
        let mut state = self.lock();
        if state.lines.is_empty() {
            state.writer = Writer::Sleeps;
        }
        let mut state = self
            .filled
            .wait_while(state, |state| state.lines.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        state.writer = Writer::Busy;
        mem::swap(&mut state.lines, lines);
        mem::take(&mut state.dropped)
    }

    /// Something was just written: what comes now is likely to be followed by more.
    fn gather(&self) {
        let mut state = self.lock();
        state.writer = Writer::Gathers;
        if state.lines.is_empty() {
            self.written.notify_all();
        }
        drop(state);
        thread::sleep(GATHERED_FOR);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Takes a piece when it is told to, and gives it to the test.
    struct Gate {
        open: mpsc::Receiver<()>,
        pieces: mpsc::Sender<Vec<u8>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.open.recv().map_err(io::Error::other)?;
            self.pieces.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn gate() -> (Gate, mpsc::Sender<()>, mpsc::Receiver<Vec<u8>>) {
        let (opener, open) = mpsc::channel();
        let (pieces, taken) = mpsc::channel();
        (Gate { open, pieces }, opener, taken)
    }

    #[test]
    fn lines_that_wait_leave_in_one_piece_and_in_order() {
        let (gate, opener, taken) = gate();
        let queue = Queue::start(gate).unwrap();
        queue.push(b"1\n");
        // The thread has taken the first line once nothing waits; it is stuck in its write.
        while !queue.shared.lock().lines.is_empty() {
            thread::yield_now();
        }
        queue.push(b"2\n");
        queue.push(b"3\n");
        opener.send(()).unwrap();
        opener.send(()).unwrap();
        assert_eq!(taken.recv().unwrap(), b"1\n");
        assert_eq!(taken.recv().unwrap(), b"2\n3\n");
    }

    #[test]
    fn the_writer_is_woken_for_a_line_only_while_it_sleeps() {
        let mut state = State::default();
        assert!(state.push(b"1\n", CAPACITY), "it sleeps");
        assert!(!state.push(b"2\n", CAPACITY), "it was called");
        state.writer = Writer::Gathers;
        assert!(!state.push(b"3\n", CAPACITY), "it comes by itself");
        assert_eq!(state.lines, b"1\n2\n3\n");
    }

    #[test]
    fn a_full_queue_drops_lines_and_holds_nobody_up() {
        let (gate, _opener, _taken) = gate();
        let queue = Queue::start(gate).unwrap();
        let line = vec![b'x'; CAPACITY / 8];
        for _ in 0..100 {
            queue.push(&line);
        }
        let state = queue.shared.lock();
        assert!(state.lines.len() <= CAPACITY);
        // Eight wait, and the thread may have taken up to eight before.
        assert!((84..=92).contains(&state.dropped), "{}", state.dropped);
    }

    #[test]
    fn the_line_that_says_how_many_were_dropped_finds_room_in_a_full_queue() {
        let (gate, _opener, _taken) = gate();
        let queue = Queue::start(gate).unwrap();
        let line = vec![b'x'; CAPACITY / 8];
        queue.push(b"1\n");
        // The thread is stuck in its write, and takes no more.
        while !queue.shared.lock().lines.is_empty() {
            thread::yield_now();
        }
        while queue.shared.lock().dropped == 0 {
            queue.push(&line);
        }
        let (dropped, waiting) = {
            let state = queue.shared.lock();
            (state.dropped, state.lines.len())
        };
        let writer = queue.clone();
        let told = thread::spawn(move || {
            IS_WRITER.set(true);
            writer.push(&[b'n'; RESERVED]);
        });
        told.join().unwrap();
        let state = queue.shared.lock();
        assert_eq!(state.dropped, dropped);
        assert_eq!(state.lines.len(), waiting + RESERVED);
    }

    #[test]
    fn flush_waits_for_the_write() {
        let (gate, opener, taken) = gate();
        let queue = Queue::start(gate).unwrap();
        queue.push(b"1\n");
        queue.flush(Duration::ZERO);
        assert!(taken.try_recv().is_err());
        opener.send(()).unwrap();
        queue.flush(Duration::from_secs(60));
        assert_eq!(taken.try_recv().unwrap(), b"1\n");
    }

    #[test]
    fn an_output_that_fails_is_tried_again() {
        let (pieces, taken) = mpsc::channel();
        struct FailsOnce(mpsc::Sender<Vec<u8>>, bool);
        impl Write for FailsOnce {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                if !mem::replace(&mut self.1, true) {
                    return Err(io::ErrorKind::BrokenPipe.into());
                }
                self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let queue = Queue::start(FailsOnce(pieces, false)).unwrap();
        queue.push(b"1\n");
        queue.flush(Duration::from_secs(60));
        queue.push(b"2\n");
        assert_eq!(taken.recv().unwrap(), b"2\n");
    }
}
