//! Messages a second that a Maildir commits, beside the floor: the plain loop that writes a file,
//! syncs it, renames it and syncs the directory, in sixteen threads.
//!
//! ```text
//! cargo bench -p prixfixe-delivery --bench maildir -- [DIRECTORY [ROUNDS [SECONDS]]]
//! ```
//!
//! The two take turns, a few seconds each: what a disk can do changes from minute to minute, and
//! only neighbours compare.
#![allow(clippy::print_stdout)]

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use prixfixe_delivery::{Maildir, MaildirOptions};

type Error = Box<dyn std::error::Error + Send + Sync>;

const FLOOR_THREADS: usize = 16;
const SUBMITTERS: usize = 50;
const CONTENT: [u8; 1024] = [b'x'; 1024];
const HEAD: [u8; 256] = [b'h'; 256];

fn main() -> Result<(), Error> {
    // Cargo adds --bench of its own.
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench");
    let directory = arguments
        .next()
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let rounds = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let length = Duration::from_secs_f64(arguments.next().map_or(Ok(2.0), |text| text.parse())?);
    let workers: NonZeroUsize = match std::env::var("WORKERS") {
        Ok(text) => text.parse()?,
        Err(_) => MaildirOptions::default().workers,
    };

    println!(
        "{FLOOR_THREADS} threads in the floor, {SUBMITTERS} submitters to {workers} workers, messages a second"
    );
    println!("{:>8} {:>8} {:>6}", "floor", "maildir", "ratio");
    let (mut floors, mut maildirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let run_floor = || in_new_directory(&directory, |path| run_floor(path, length));
        let run_maildir =
            || in_new_directory(&directory, |path| run_maildir(path, length, workers));
        // A disk may give more to the first than it can keep up: nobody is always first.
        let (floor, maildir) = if round % 2 == 0 {
            (run_floor()?, run_maildir()?)
        } else {
            let maildir = run_maildir()?;
            (run_floor()?, maildir)
        };
        println!("{floor:8.0} {maildir:8.0} {:6.2}", maildir / floor);
        floors.push(floor);
        maildirs.push(maildir);
        ratios.push(maildir / floor);
    }
    println!(
        "{:8.0} {:8.0} {:6.2}  medians",
        median(floors),
        median(maildirs),
        median(ratios)
    );
    Ok(())
}

fn run_floor(path: &Path, length: Duration) -> Result<f64, Error> {
    let (tmp, new) = (path.join("tmp"), path.join("new"));
    fs::create_dir(&tmp)?;
    fs::create_dir(&new)?;
    let started = Instant::now();
    let count = AtomicU64::new(0);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..FLOOR_THREADS)
            .map(|thread| {
                let (tmp, new, count) = (&tmp, &new, &count);
                scope.spawn(move || -> Result<(), Error> {
                    for number in 0.. {
                        if started.elapsed() >= length {
                            break;
                        }
                        let name = format!("{thread}.{number}");
                        let mut file = OpenOptions::new()
                            .write(true)
                            .create_new(true)
                            .open(tmp.join(&name))?;
                        file.write_all(&HEAD)?;
                        file.write_all(&CONTENT)?;
                        file.sync_all()?;
                        drop(file);
                        fs::rename(tmp.join(&name), new.join(&name))?;
                        File::open(new)?.sync_all()?;
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| "a thread panicked")?)
    })?;
    Ok(count.into_inner() as f64 / started.elapsed().as_secs_f64())
}

fn run_maildir(path: &Path, length: Duration, workers: NonZeroUsize) -> Result<f64, Error> {
    let mut options = MaildirOptions::default();
    options.workers = workers;
    let maildir = Maildir::open(path, options)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let started = Instant::now();
    let count = runtime.block_on(async {
        let submitters: Vec<_> = (0..SUBMITTERS)
            .map(|_| {
                let maildir = maildir.clone();
                tokio::spawn(async move {
                    let mut count = 0_u64;
                    while started.elapsed() < length {
                        let mut message = maildir.begin(HEAD.to_vec());
                        message.write(Bytes::from_static(&CONTENT)).await?;
                        message.commit().await?;
                        count += 1;
                    }
                    Ok::<_, Error>(count)
                })
            })
            .collect();
        let mut count = 0;
        for submitter in submitters {
            count += submitter.await??;
        }
        Ok::<_, Error>(count)
    })?;
    Ok(count as f64 / started.elapsed().as_secs_f64())
}

fn in_new_directory(
    parent: &Path,
    run: impl FnOnce(&Path) -> Result<f64, Error>,
) -> Result<f64, Error> {
    let directory = tempfile::Builder::new()
        .prefix("maildir-bench")
        .tempdir_in(parent)?;
    run(directory.path())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
