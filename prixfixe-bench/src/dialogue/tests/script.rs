//! Scripted servers in memory: messages that follow one another, and what a server says to them.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use prixfixe_client::{Config, StartTls};

use super::super::{Dialogue, Event, Manner, Pipelining, Prepared};
use crate::content::{Addressing, Transfer};

/// Messages that follow one another on one connection, and how it went.
pub(super) struct Script {
    pub(super) pipelining: Pipelining,
    pub(super) starttls: bool,
    pub(super) recipients: u32,
    /// Bytes of a chunk, where BDAT is used.
    pub(super) chunk: Option<usize>,
    pub(super) messages: usize,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            pipelining: Pipelining::Envelope,
            starttls: false,
            recipients: 1,
            chunk: None,
            messages: 1,
        }
    }
}

impl Script {
    pub(super) fn dialogue(&self) -> Dialogue {
        let mut config = Config::smtp("client.example").unwrap();
        config.pipelining = self.pipelining != Pipelining::Off;
        if self.starttls {
            config.start_tls = StartTls::Required;
        }
        let manner = Manner {
            config: Arc::new(config),
            pipelining: self.pipelining,
            over_tls: false,
            bdat: self.chunk.is_some(),
            eight_bit: false,
            smtp_utf8: false,
            greetings: Vec::new(),
        };
        Dialogue::new(Arc::new(manner), 0, Instant::now())
    }

    fn message(&self) -> Arc<Prepared> {
        let transfer = self.chunk.map_or(Transfer::Data, |chunk| Transfer::Bdat {
            chunk: NonZeroUsize::new(chunk),
        });
        let addressing = Addressing::new("a@x", "b{n}@x", self.recipients, transfer).unwrap();
        Arc::new(Prepared::new(b".hi\r\n", &addressing))
    }

    /// Runs against a server that says `replies` in turn, each followed by everything that the
    /// client then sends. Every reply is given whole, then once more byte by byte, which must make
    /// no difference.
    pub(super) fn run(&self, replies: &[&str]) -> (Vec<String>, Vec<Event>) {
        let whole = self.run_in_steps(replies, usize::MAX);
        assert_eq!(self.run_in_steps(replies, 1), whole);
        whole
    }

    fn run_in_steps(&self, replies: &[&str], step: usize) -> (Vec<String>, Vec<Event>) {
        let mut dialogue = self.dialogue();
        let now = Instant::now();
        let mut left = self.messages;
        let (mut said, mut events) = (Vec::new(), Vec::new());
        for reply in replies {
            for mut input in reply.as_bytes().chunks(step.min(reply.len()).max(1)) {
                while let Some(event) = dialogue.next_event(now, &mut input) {
                    match &event {
                        Event::Ready | Event::MayFollow if left > 0 => {
                            left -= usize::from(dialogue.send(now, self.message()));
                        }
                        Event::Ready | Event::MayFollow => dialogue.quit(now),
                        Event::StartTls => dialogue.tls_established(now),
                        _ => {}
                    }
                    events.push(event);
                }
            }
            said.push(sent(&mut dialogue, step));
        }
        (said, events)
    }
}

/// All that the client sends, in writes of at most so many bytes.
fn sent(dialogue: &mut Dialogue, step: usize) -> String {
    let mut all = Vec::new();
    while !dialogue.is_drained() {
        let (slices, count) = dialogue.slices();
        let mut piece: Vec<u8> = slices[..count]
            .iter()
            .flat_map(|slice| slice.to_vec())
            .collect();
        piece.truncate(step);
        all.extend_from_slice(&piece);
        dialogue.advance(piece.len());
    }
    String::from_utf8(all).unwrap()
}
