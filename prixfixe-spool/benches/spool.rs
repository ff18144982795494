//! Messages per second that the log makes durable, beside two floors: the bare shared log (one buffer, one writer, one write
//! and one sync for all that wait, and nothing else), and the plain loop that writes a file, syncs it, renames it and
//! syncs the directory.
//!
//! ```text
//! cargo bench -p prixfixe-spool --bench spool -- [DIRECTORY [ROUNDS [SECONDS]]]
//! cargo bench -p prixfixe-spool --bench spool -- start [DIRECTORY [MESSAGES]]
//! ```
//!
//! The three take turns, a few seconds each: what a disk can do changes from minute to minute, and only neighbours
//! compare. `start` fills a spool and measures how long taking it over takes, and how much memory.
#![allow(clippy::print_stdout)]

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use prixfixe_spool::{Draft, Log, LogOptions};

type Error = Box<dyn std::error::Error + Send + Sync>;

const MESSAGE: usize = 2048;
const HEAD: usize = 256;
const CLIENTS: [usize; 4] = [1, 20, 50, 200];

fn main() -> Result<(), Error> {
    // Cargo adds --bench of its own.
    let arguments = std::env::args().skip(1);
    let mut arguments = arguments
        .filter(|argument| argument != "--bench")
        .peekable();
    let is_start = arguments.next_if(|argument| argument == "start").is_some();
    let directory = arguments
        .next()
        .map_or_else(std::env::temp_dir, PathBuf::from);
    if is_start {
        let messages = arguments.next().map_or(Ok(1_000_000), |it| it.parse())?;
        return in_new_directory(&directory, |path| start(path, messages)).map(drop);
    }
    let rounds = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let length = Duration::from_secs_f64(arguments.next().map_or(Ok(2.0), |text| text.parse())?);
    println!("{MESSAGE} bytes a message, messages per second, medians of {rounds} rounds");
    println!(
        "{:>7} {:>9} {:>9} {:>9} {:>10} {:>12}",
        "clients", "files", "bare log", "spool", "of bare", "times files"
    );
    for clients in CLIENTS {
        let mut rates = [const { Vec::new() }; 3];
        for round in 0..rounds {
            // A disk may give more to the first than it can keep up: nobody is always first.
            for turn in 0..3 {
                let which: usize = (round + turn) % 3;
                let rate = in_new_directory(&directory, |path| match which {
                    0 => files(path, clients, length),
                    1 => bare_log(path, clients, length),
                    _ => spool(path, clients, length),
                })?;
                if let Some(rates) = rates.get_mut(which) {
                    rates.push(rate);
                }
            }
        }
        let [files, bare, spool] = rates.map(median);
        println!(
            "{clients:>7} {files:>9.0} {bare:>9.0} {spool:>9.0} {:>10.2} {:>12.1}",
            spool / bare,
            spool / files
        );
    }
    Ok(())
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or(0.0)
}

fn in_new_directory(
    parent: &Path,
    run: impl FnOnce(&Path) -> Result<f64, Error>,
) -> Result<f64, Error> {
    let directory = tempfile::tempdir_in(parent)?;
    run(directory.path())
}

/// Runs clients for so long, each with its number, and gives the rate of what they did.
fn drive(
    clients: usize,
    length: Duration,
    once: impl Fn(usize) -> Result<(), Error> + Sync,
) -> Result<f64, Error> {
    let (stop, count) = (AtomicBool::new(false), AtomicU64::new(0));
    let began = Instant::now();
    thread::scope(|scope| {
        let run = |client| {
            let (stop, count, once) = (&stop, &count, &once);
            move || {
                while !stop.load(Ordering::Relaxed) {
                    once(client)?;
                    count.fetch_add(1, Ordering::Relaxed);
                }
                Ok::<(), Error>(())
            }
        };
        let mut threads = Vec::new();
        for client in 0..clients {
            let small = thread::Builder::new().stack_size(128 << 10);
            threads.push(small.spawn_scoped(scope, run(client))?);
        }
        thread::sleep(length);
        stop.store(true, Ordering::Relaxed);
        let elapsed = began.elapsed().as_secs_f64();
        let rate = count.load(Ordering::Relaxed) as f64 / elapsed;
        for thread in threads {
            thread.join().map_err(|_| "a client panicked")??;
        }
        Ok(rate)
    })
}

fn files(path: &Path, clients: usize, length: Duration) -> Result<f64, Error> {
    for name in ["tmp", "new"] {
        fs::create_dir(path.join(name))?;
    }
    let number = AtomicU64::new(0);
    drive(clients, length, |_| {
        let name = number.fetch_add(1, Ordering::Relaxed).to_string();
        let temporary = path.join("tmp").join(&name);
        let mut file = File::create_new(&temporary)?;
        file.write_all(&[b'x'; MESSAGE])?;
        file.sync_data()?;
        fs::rename(&temporary, path.join("new").join(&name))?;
        File::open(path.join("new"))?.sync_all()?;
        Ok(())
    })
}

#[derive(Default)]
struct Bare {
    buffer: Vec<u8>,
    last: u64,
    synced: u64,
    is_closed: bool,
}

fn bare_log(path: &Path, clients: usize, length: Duration) -> Result<f64, Error> {
    let mut file = OpenOptions::new()
        .append(true)
        .create_new(true)
        .open(path.join("log"))?;
    let state = Mutex::new(Bare::default());
    let (full, done) = (Condvar::new(), Condvar::new());
    let lock = || state.lock().unwrap_or_else(PoisonError::into_inner);
    thread::scope(|scope| {
        let writer = scope.spawn(|| -> Result<(), Error> {
            let mut writing = Vec::new();
            loop {
                let mut state = lock();
                while state.buffer.is_empty() && !state.is_closed {
                    state = full.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                if state.buffer.is_empty() {
                    return Ok(());
                }
                std::mem::swap(&mut state.buffer, &mut writing);
                let last = state.last;
                drop(state);
                file.write_all(&writing)?;
                file.sync_data()?;
                writing.clear();
                lock().synced = last;
                done.notify_all();
            }
        });
        let rate = drive(clients, length, |_| {
            let mut state = lock();
            state.buffer.extend_from_slice(&[b'x'; MESSAGE]);
            state.last += 1;
            let mine = state.last;
            full.notify_one();
            while state.synced < mine {
                state = done.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            Ok(())
        });
        lock().is_closed = true;
        full.notify_all();
        writer.join().map_err(|_| "the writer panicked")??;
        rate
    })
}

/// What a server does: messages come in, are delivered to nowhere, and are done.
fn spool(path: &Path, clients: usize, length: Duration) -> Result<f64, Error> {
    let log = Log::start(path.join("spool"), LogOptions::default())?;
    log.take_over(|_| ())?;
    // Deliveries are over a little after the answers.
    let under_way = Mutex::new(VecDeque::new());
    let rate = drive(clients, length, |_| {
        let draft = Draft {
            summary: &[b's'; 32],
            envelope: &[b'e'; HEAD / 2],
            headers: &[b'h'; HEAD / 2],
            content: &[b'x'; MESSAGE - HEAD],
        };
        let id = log.append(draft).wait()?;
        let mut under_way = under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.push_back(id);
        let done = (under_way.len() > 100).then(|| under_way.pop_front());
        drop(under_way);
        if let Some(done) = done.flatten() {
            log.done(done);
        }
        drop(log.take_fresh());
        Ok(())
    })?;
    log.close();
    Ok(rate)
}

/// How long a start takes, in seconds.
fn start(path: &Path, messages: u64) -> Result<f64, Error> {
    let root = path.join("spool");
    let mut options = LogOptions::default();
    options.max_size = u64::MAX;
    let log = Log::start(&root, options.clone())?;
    let mut tickets = VecDeque::new();
    for _ in 0..messages {
        let draft = Draft {
            summary: &[b's'; 64],
            envelope: &[b'e'; HEAD / 2],
            headers: &[b'h'; HEAD / 2],
            content: &[b'x'; 1024 - HEAD],
        };
        tickets.push_back(log.append(draft));
        if tickets.len() > 1000
            && let Some(ticket) = tickets.pop_front()
        {
            ticket.wait()?;
        }
    }
    for ticket in tickets {
        ticket.wait()?;
    }
    log.close();
    let (before, worked_before) = (resident(), worked());
    let began = Instant::now();
    let log = Log::start(&root, options)?;
    let mut found = 0_u64;
    log.take_over(|_| found += 1)?;
    let took = began.elapsed();
    println!(
        "{found} messages: taken over in {:.2} s, {:.2} s of a core, {} MiB of memory more than before",
        took.as_secs_f64(),
        (worked() - worked_before).as_secs_f64(),
        (resident() - before) >> 20
    );
    Ok(took.as_secs_f64())
}

/// Bytes of memory that this process has.
fn resident() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = pages
        .split(' ')
        .nth(1)
        .and_then(|it| it.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}

/// Time that this thread was at work: what others do on the machine is not in it.
fn worked() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = stat.split(' ').next().and_then(|it| it.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}
