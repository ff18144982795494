//! The connections of one event loop, and whose turn it is.

use std::io;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Instant;

use mio::event::Event;
use mio::{Registry, Token};
use slab::Slab;

use super::deadlines::{Armed, Deadlines};
use super::socket::Socket;
use super::stream::Stream;
use super::woken::{KeyWaker, Woken};
use crate::Session;
use crate::connection::Served;
use crate::pump::{Next, READ_BUFFER_SIZE};

#[derive(Debug)]
pub(super) struct Connections<S> {
    slab: Slab<Entry<S>>,
    /// Those that have a turn when the poller was asked again, each once.
    runnable: Vec<usize>,
    deadlines: Deadlines,
    woken: Arc<Woken>,
    /// What connections read into: an idle one holds no buffer.
    buffer: Box<[u8]>,
    /// An empty list, kept for its memory.
    spare: Vec<usize>,
}

#[derive(Debug)]
struct Entry<S> {
    socket: Socket,
    served: Served<S>,
    /// Stands among the runnable.
    scheduled: bool,
    armed: Armed,
    key_waker: Arc<KeyWaker>,
    waker: Waker,
}

impl<S: Session> Connections<S> {
    pub(super) fn new(woken: Arc<Woken>) -> Self {
        Self {
            slab: Slab::new(),
            runnable: Vec::new(),
            deadlines: Deadlines::default(),
            woken,
            buffer: vec![0; READ_BUFFER_SIZE].into_boxed_slice(),
            spare: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    pub(super) fn has_runnable(&self) -> bool {
        !self.runnable.is_empty()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// A connection is new: its first turn sends the greeting.
    pub(super) fn add(&mut self, stream: Stream, served: Served<S>) {
        let vacant = self.slab.vacant_entry();
        let key = vacant.key();
        let key_waker = KeyWaker::new(&self.woken, key);
        vacant.insert(Entry {
            socket: Socket::new(stream),
            served,
            scheduled: true,
            armed: Armed::default(),
            waker: Waker::from(Arc::clone(&key_waker)),
            key_waker,
        });
        self.runnable.push(key);
    }

    /// The poller has reported something. A report for a connection that is gone goes to the one
    /// that has its key now, which then asks the socket in vain, once.
    pub(super) fn ready(&mut self, key: usize, event: &Event) {
        if let Some(entry) = self.slab.get_mut(key) {
            entry.socket.ready(event);
            schedule(&mut self.runnable, key, entry);
        }
    }

    pub(super) fn schedule_woken(&mut self) {
        let mut keys = mem::take(&mut self.spare);
        self.woken.take(&mut keys);
        for key in keys.drain(..) {
            if let Some(entry) = self.slab.get_mut(key) {
                schedule(&mut self.runnable, key, entry);
            }
        }
        self.spare = keys;
    }

    pub(super) fn schedule_due(&mut self, now: Instant) {
        while let Some(key) = self.deadlines.pop(now) {
            if let Some(entry) = self.slab.get_mut(key)
                && self.deadlines.is_due(key, &mut entry.armed, now)
            {
                schedule(&mut self.runnable, key, entry);
            }
        }
    }

    pub(super) fn schedule_all(&mut self) {
        for (key, entry) in &mut self.slab {
            schedule(&mut self.runnable, key, entry);
        }
    }

    /// Gives each of the runnable a turn. Those that want another one have it when the poller was
    /// asked again.
    pub(super) fn take_turns(&mut self, registry: &Registry, token: impl Fn(usize) -> Token) {
        let spare = mem::take(&mut self.spare);
        let mut runnable = mem::replace(&mut self.runnable, spare);
        for key in runnable.drain(..) {
            if !self.take_turn(key, registry, token(key))
                && let Some(mut entry) = self.slab.try_remove(key)
            {
                self.deadlines.remove(key, &mut entry.armed);
                entry.served.close();
            }
        }
        self.spare = runnable;
    }

    /// Drops them all where they stand.
    pub(super) fn abort(&mut self) {
        for entry in self.slab.drain() {
            entry.served.close();
        }
    }

    /// False when the connection is over.
    fn take_turn(&mut self, key: usize, registry: &Registry, token: Token) -> bool {
        let Some(entry) = self.slab.get_mut(key) else {
            return false;
        };
        entry.scheduled = false;
        entry.key_waker.reset();
        let mut cx = Context::from_waker(&entry.waker);
        match entry
            .served
            .turn(&mut entry.socket, &mut self.buffer, Instant::now(), &mut cx)
        {
            Next::Wait(deadline) => {
                self.deadlines.set(key, &mut entry.armed, deadline);
                watch(&mut entry.socket, registry, token)
            }
            Next::Again => {
                schedule(&mut self.runnable, key, entry);
                true
            }
            Next::Ended | Next::Close => false,
        }
    }
}

fn schedule<S>(runnable: &mut Vec<usize>, key: usize, entry: &mut Entry<S>) {
    if !mem::replace(&mut entry.scheduled, true) {
        runnable.push(key);
    }
}

fn watch(socket: &mut Socket, registry: &Registry, token: Token) -> bool {
    let result: io::Result<()> = socket.watch(registry, token);
    if let Err(error) = &result {
        tracing::warn!(%error, "a connection cannot be watched; it is dropped");
    }
    result.is_ok()
}
