//! Whole dialogues in memory: what the core costs, with nothing around it.

use std::sync::Arc;
use std::time::Instant;

use prixfixe_core::{Answer, Config, Connection, Event};

/// What one client sends over and over on one connection.
#[derive(Debug, Clone)]
pub struct Workload {
    /// Says what it is.
    pub name: &'static str,
    /// The octets of one repetition, in the pieces in which they are read.
    pub pieces: Vec<Vec<u8>>,
    /// Messages in one repetition.
    pub messages: u64,
}

/// A connection that is asked nothing but what can be answered at once.
#[derive(Debug)]
pub struct Dialogue {
    connection: Connection,
    now: Instant,
    output: Vec<u8>,
    /// Where short pieces of a body are put together, as a server has it for each thread.
    room: Vec<u8>,
    input: Vec<u8>,
}

/// As much as a server reads at once.
const READ: usize = 64 << 10;

impl Workload {
    /// All of them.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let envelope = |recipients: usize| {
            let rcpt = |n| format!("RCPT TO:<user{n}@example.com>\r\n");
            let rcpts: String = (0..recipients).map(rcpt).collect();
            format!("MAIL FROM:<bench@example.com> SIZE=1024\r\n{rcpts}")
        };
        let data =
            |recipients, size| format!("{}DATA\r\n{}.\r\n", envelope(recipients), text(size));
        let dots = format!("{}DATA\r\n{}.\r\n", envelope(1), "..\r\n".repeat(25_600));
        let bdat = format!("{}BDAT 102400 LAST\r\n{}", envelope(1), text(102_400));
        let commands = format!("{}RSET\r\n", envelope(10));
        let one = |name, text: String| Self::new(name, text, 1);
        vec![
            Self::new("commands: MAIL, 10 RCPT, RSET", commands, 0),
            one("1 KiB, 1 recipient", data(1, 1024)),
            one("1 KiB, 10 recipients", data(10, 1024)),
            one("100 KiB", data(1, 102_400)),
            one("100 KiB of stuffed dots", dots),
            one("100 KiB by BDAT", bdat),
        ]
    }

    fn new(name: &'static str, text: String, messages: u64) -> Self {
        Self {
            name,
            pieces: text.into_bytes().chunks(READ).map(<[u8]>::to_vec).collect(),
            messages,
        }
    }

    /// Octets of one repetition.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.len() as u64).sum()
    }
}

impl Default for Dialogue {
    fn default() -> Self {
        Self::new()
    }
}

impl Dialogue {
    /// A connection that has been through EHLO.
    #[must_use]
    pub fn new() -> Self {
        let now = Instant::now();
        let mut config = Config::new("mx.example.com");
        // One workload has no message.
        config.max_idle_commands = 0;
        let mut connection = Connection::new(Arc::new(config), now);
        let mut output = Vec::new();
        connection.answer(now, Answer::Accept, &mut output);
        let mut dialogue = Self {
            connection,
            now,
            output,
            room: vec![0; 8192],
            input: Vec::new(),
        };
        dialogue.receive(b"EHLO bench.example.com\r\n");
        dialogue
    }

    /// One repetition. Gives how many messages came to their end: a benchmark of refusals would be
    /// a mistake.
    pub fn run(&mut self, workload: &Workload) -> u64 {
        workload
            .pieces
            .iter()
            .map(|piece| self.receive(piece))
            .sum()
    }

    /// As a transport does it: what is left of the last read stands in front of the next.
    fn receive(&mut self, piece: &[u8]) -> u64 {
        self.output.clear();
        if self.input.is_empty() {
            let mut input = piece;
            let messages = drive(
                &mut self.connection,
                self.now,
                &mut input,
                &mut self.output,
                &mut self.room,
            );
            self.input.extend_from_slice(input);
            return messages;
        }
        self.input.extend_from_slice(piece);
        let whole = std::mem::take(&mut self.input);
        let mut input = whole.as_slice();
        let messages = drive(
            &mut self.connection,
            self.now,
            &mut input,
            &mut self.output,
            &mut self.room,
        );
        self.input.extend_from_slice(input);
        messages
    }
}

/// Accepts everything, as a handler that answers at once.
fn drive(
    connection: &mut Connection,
    now: Instant,
    input: &mut &[u8],
    output: &mut Vec<u8>,
    room: &mut [u8],
) -> u64 {
    let mut messages = 0;
    while let Some(event) = connection.poll_event_with_room(now, input, output, room) {
        match event {
            Event::MessageEnd { .. } => messages += 1,
            Event::Body(piece) => {
                std::hint::black_box(piece);
                continue;
            }
            _ => {}
        }
        // Without an open question, nothing happens.
        connection.answer(now, Answer::Accept, output);
    }
    messages
}

/// Lines of 76 characters, as most mail has.
fn text(size: usize) -> String {
    let line = format!(
        "{}\r\n",
        "abcdefghij klmnopqrs. tuvwxyz0123456789"
            .repeat(2)
            .get(..76)
            .unwrap_or_default()
    );
    let mut text = line.repeat(size / line.len() + 1);
    text.truncate(size - 2);
    text.push_str("\r\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_is_accepted() {
        for workload in Workload::all() {
            let mut dialogue = Dialogue::new();
            for _ in 0..3 {
                assert_eq!(
                    dialogue.run(&workload),
                    workload.messages,
                    "{}",
                    workload.name
                );
                let output = String::from_utf8(dialogue.output.clone()).unwrap();
                assert!(
                    output
                        .lines()
                        .all(|line| line.starts_with("250") || line.starts_with("354")),
                    "{output}"
                );
            }
        }
    }
}
