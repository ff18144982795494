//! Scripted servers in memory: messages that follow one another, and what a server says to them.

use std::sync::Arc;

use super::super::{Dialogue, Event, Manner, Pipelining, Prepared};
use crate::bench::content::{Addressing, Transfer};

/// Messages that follow one another on one connection, and how it went.
pub(super) struct Script {
    pub(super) manner: Manner,
    pub(super) recipients: u32,
    pub(super) chunk: usize,
    pub(super) messages: usize,
}

impl Default for Script {
    fn default() -> Self {
        let helo = "client.example".to_owned();
        let manner = Manner {
            helo,
            pipelining: Pipelining::Envelope,
            starttls: false,
            bdat: false,
            eight_bit: false,
        };
        Self {
            manner,
            recipients: 1,
            chunk: 0,
            messages: 1,
        }
    }
}

impl Script {
    pub(super) fn pipelining(mut self, pipelining: Pipelining) -> Self {
        self.manner.pipelining = pipelining;
        self
    }

    pub(super) fn bdat(mut self, chunk: usize) -> Self {
        self.manner.bdat = true;
        self.chunk = chunk;
        self
    }

    fn message(&self) -> Arc<Prepared> {
        let transfer = if self.manner.bdat {
            Transfer::Bdat { chunk: self.chunk }
        } else {
            Transfer::Data
        };
        let addressing = Addressing {
            from: "a@x".into(),
            to: "b{n}@x".into(),
            recipients: self.recipients,
            transfer,
        };
        Arc::new(Prepared::new(b".hi\r\n", &addressing))
    }

    /// Runs against a server that says `replies` in turn, each followed by everything that the client then sends.
    /// Every reply is given whole, then once more byte by byte, which must make no difference.
    pub(super) fn run(&self, replies: &[&str]) -> (Vec<String>, Vec<Event>) {
        let whole = self.run_in_steps(replies, usize::MAX);
        assert_eq!(self.run_in_steps(replies, 1), whole);
        whole
    }

    fn run_in_steps(&self, replies: &[&str], step: usize) -> (Vec<String>, Vec<Event>) {
        let mut dialogue = Dialogue::new(Arc::new(self.manner.clone()));
        let mut left = self.messages;
        let (mut said, mut events) = (Vec::new(), Vec::new());
        for reply in replies {
            for mut input in reply.as_bytes().chunks(step.min(reply.len()).max(1)) {
                while let Some(event) = dialogue.next_event(&mut input) {
                    match &event {
                        Event::Ready | Event::MayFollow if left > 0 => {
                            left -= usize::from(dialogue.send(self.message()));
                        }
                        Event::Ready | Event::MayFollow => dialogue.quit(),
                        Event::StartTls => dialogue.tls_established(),
                        _ => {}
                    }
                    events.push(event);
                }
            }
            said.push(String::from_utf8(dialogue.output().take()).unwrap());
        }
        (said, events)
    }
}
