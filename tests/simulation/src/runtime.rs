//! The clock, and whoever waits: wakers, timers, and tasks beside the sessions.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};

/// Simulated nanoseconds since the start.
pub type Nanos = u64;

pub const MICROSECOND: Nanos = 1_000;
pub const MILLISECOND: Nanos = 1_000 * MICROSECOND;
pub const SECOND: Nanos = 1_000 * MILLISECOND;

/// Who is woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    Connection(usize),
    Task(usize),
}

/// A future that runs beside the sessions.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What the world and the futures in it share.
#[derive(Clone, Default)]
pub struct Runtime(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    now: Nanos,
    woken: Vec<Key>,
    timers: Vec<(Nanos, Waker)>,
    spawned: Vec<Task>,
}

impl Runtime {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub fn now(&self) -> Nanos {
        self.state().now
    }

    pub fn set_now(&self, now: Nanos) {
        self.state().now = now;
    }

    pub fn waker(&self, key: Key) -> Arc<KeyWaker> {
        Arc::new(KeyWaker {
            runtime: self.clone(),
            key,
            queued: AtomicBool::new(false),
        })
    }

    /// Moves what has happened meanwhile to lists of the caller's.
    pub fn take(
        &self,
        woken: &mut Vec<Key>,
        timers: &mut Vec<(Nanos, Waker)>,
        spawned: &mut Vec<Task>,
    ) {
        let mut state = self.state();
        woken.append(&mut state.woken);
        timers.append(&mut state.timers);
        spawned.append(&mut state.spawned);
    }

    /// Waits.
    pub fn sleep(&self, duration: Nanos) -> Sleep {
        Sleep {
            runtime: self.clone(),
            until: self.now() + duration,
            waits: false,
        }
    }

    /// Runs a future beside the sessions, and gives what comes of it.
    pub fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Joined<T> {
        let result = Arc::new(Mutex::new(Outcome {
            value: None,
            waker: None,
        }));
        let there = Arc::clone(&result);
        self.state().spawned.push(Box::pin(async move {
            let value = future.await;
            let mut outcome = there.lock().unwrap();
            outcome.value = Some(value);
            if let Some(waker) = outcome.waker.take() {
                waker.wake();
            }
        }));
        Joined(result)
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Runtime")
    }
}

/// Puts a key on the list, once until it is reset.
pub struct KeyWaker {
    runtime: Runtime,
    key: Key,
    queued: AtomicBool,
}

impl KeyWaker {
    /// A turn follows: it does not see what wakes from now on.
    pub fn reset(&self) {
        self.queued.store(false, Ordering::Relaxed);
    }
}

impl Wake for KeyWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.runtime.state().woken.push(self.key);
        }
    }
}

/// See [`Runtime::sleep`].
pub struct Sleep {
    runtime: Runtime,
    until: Nanos,
    waits: bool,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.runtime.state();
        if state.now >= self.until {
            return Poll::Ready(());
        }
        if !self.waits {
            state.timers.push((self.until, cx.waker().clone()));
            drop(state);
            self.waits = true;
        }
        Poll::Pending
    }
}

/// See [`Runtime::spawn`].
pub struct Joined<T>(Arc<Mutex<Outcome<T>>>);

struct Outcome<T> {
    value: Option<T>,
    waker: Option<Waker>,
}

impl<T> Future for Joined<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut outcome = self.0.lock().unwrap();
        match outcome.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                outcome.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// The tasks beside the sessions.
#[derive(Default)]
pub struct Tasks {
    tasks: Vec<Option<(Task, Arc<KeyWaker>, Waker)>>,
    alive: usize,
}

impl Tasks {
    /// Takes in what was spawned; gives its key.
    pub fn add(&mut self, task: Task, runtime: &Runtime) -> usize {
        let number = self.tasks.len();
        let key_waker = runtime.waker(Key::Task(number));
        let waker = Waker::from(Arc::clone(&key_waker));
        self.tasks.push(Some((task, key_waker, waker)));
        self.alive += 1;
        number
    }

    pub fn poll(&mut self, number: usize) {
        let Some(entry) = self.tasks.get_mut(number) else {
            return;
        };
        let Some((task, key_waker, waker)) = entry else {
            return;
        };
        key_waker.reset();
        if task
            .as_mut()
            .poll(&mut Context::from_waker(waker))
            .is_ready()
        {
            *entry = None;
            self.alive -= 1;
        }
    }

    pub fn alive(&self) -> usize {
        self.alive
    }

    /// The process is gone.
    pub fn kill(&mut self) {
        for entry in &mut self.tasks {
            drop(mem::take(entry));
        }
        self.alive = 0;
    }
}
