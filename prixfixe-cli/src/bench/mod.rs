//! `prixfixe bench`: drives any SMTP server, and reports throughput and latency.
//!
//! The [`dialogue`] is that of `prixfixe-client`, seen as messages that are measured. The [`engine`]
//! drives many of them over non-blocking sockets, one event loop per thread. What it [`measure`]s
//! becomes a [`report`].

mod arguments;
mod content;
mod dialogue;
mod engine;
mod failure;
mod measure;
mod plan;
mod progress;
mod report;
mod scenario;
mod target;
#[cfg(test)]
mod tests;
mod tls;
mod workload;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Instant, SystemTime};

pub(crate) use self::arguments::Arguments;

use self::engine::Live;
use self::measure::Measurements;
use self::plan::Planned;
use self::progress::{Progress, TICK};
use self::report::{Report, Run};
use crate::error::{Error, print};

/// Runs what the arguments ask for. The exit status is 1 when a message failed.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let old = arguments.compare.as_deref().map(read_report).transpose()?;
    let plans = plan::plan(arguments).map_err(Error::Usage)?;
    // A report that cannot be written is better known before the run than after it.
    let json = arguments.json.as_deref().map(create).transpose()?;
    let html = arguments.html.as_deref().map(create).transpose()?;
    allow_descriptors();
    let stop = stop_on_signals()
        .map_err(|error| Error::Failed(format!("cannot catch signals: {error}")))?;

    let mut report = Report::new(SystemTime::now());
    for (number, plan) in plans.iter().enumerate() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let measured = drive(plan, &stop)
            .map_err(|error| Error::Failed(format!("cannot run the load: {error}")))?;
        let interrupted = stop.load(Ordering::Relaxed);
        report.runs.push(Run::new(
            plan.name,
            plan.settings.clone(),
            &arguments.targets,
            &measured,
            interrupted,
        ));
        if number > 0 {
            print("\n")?;
        }
        let last = Report {
            runs: report.runs.last().cloned().into_iter().collect(),
            ..report.clone()
        };
        print(&report::table(&last))?;
    }
    if let Some(old) = &old {
        print(&report::compare(old, &report))?;
    }
    if let (Some(file), Some(path)) = (json, &arguments.json) {
        let text = serde_json::to_string_pretty(&report).map_err(io::Error::from);
        text.and_then(|text| write(file, &(text + "\n")))
            .map_err(|error| cannot_write(path, &error))?;
    }
    if let (Some(file), Some(path)) = (html, &arguments.html) {
        write(file, &report::html(&report)).map_err(|error| cannot_write(path, &error))?;
    }
    Ok(if report.is_success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// One run, on its threads, with its progress shown from here.
fn drive(plan: &Planned, stop: &Arc<AtomicBool>) -> io::Result<Measurements> {
    let workload = &plan.workload;
    let live = Live::new(workload.threads.get() as usize, Arc::clone(stop));
    let mut progress = Progress::new(plan.name, workload.pace);
    let result = thread::scope(|scope| {
        let live = &live;
        let (done, results) = mpsc::channel();
        for number in 0..workload.threads.get() {
            let done = done.clone();
            // Nobody listens any more only when another thread has failed.
            scope.spawn(move || drop(done.send(engine::run(workload, live, number))));
        }
        drop(done);
        let mut all = Measurements::new(workload.targets.len());
        loop {
            match results.recv_timeout(TICK) {
                Ok(measured) => all.add(measured?),
                Err(RecvTimeoutError::Timeout) => progress.tick(live, Instant::now()),
                Err(RecvTimeoutError::Disconnected) => return Ok(all),
            }
        }
    });
    progress.finish();
    result
}

/// The first SIGINT or SIGTERM ends the run and reports what there is; the second ends the process.
fn stop_on_signals() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

/// Raises the limit of open files to what the system allows: a connection is a file.
fn allow_descriptors() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        // Without it, connections over the limit are counted as failed with their reason.
        let _ = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: limit.maximum,
                maximum: limit.maximum,
            },
        );
    }
}

fn read_report(path: &Path) -> Result<Report, Error> {
    let fail = |why: String| Error::Usage(format!("--compare {}: {why}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
    let report: Report = serde_json::from_str(&text)
        .map_err(|error| fail(format!("no report of this program: {error}")))?;
    if report.format != report::FORMAT {
        return Err(fail(format!(
            "written in format {}, this program has {}",
            report.format,
            report::FORMAT
        )));
    }
    Ok(report)
}

fn create(path: &Path) -> Result<File, Error> {
    File::create(path)
        .map_err(|error| Error::Usage(format!("cannot write {}: {error}", path.display())))
}

fn write(mut file: File, text: &str) -> io::Result<()> {
    file.write_all(text.as_bytes())?;
    file.flush()
}

fn cannot_write(path: &Path, error: &io::Error) -> Error {
    Error::Failed(format!("cannot write {}: {error}", path.display()))
}
