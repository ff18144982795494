//! `prixfixe bench`: the load tool of `prixfixe-bench`, on the command line.

mod arguments;
mod plans;
mod progress;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime};

use prixfixe_bench::{Report, Workload};

pub(crate) use self::arguments::Arguments;

use self::progress::Line;
use crate::error::{Error, print};

/// Runs what the arguments ask for. The exit status is 1 when a message failed.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let old = arguments.compare.as_deref().map(read_report).transpose()?;
    let workloads = plans::prepare(arguments)?;
    // A report that cannot be written is better known before the run than after it.
    let json = arguments.json.as_deref().map(create).transpose()?;
    let html = arguments.html.as_deref().map(create).transpose()?;
    allow_descriptors();
    let stop = stop_on_signals().map_err(Error::Signals)?;

    let report = run_all(&workloads, &stop)?;
    if let Some(old) = &old {
        print(&report.compared_with(old))?;
    }
    if let (Some(file), Some(path)) = (json, &arguments.json) {
        let text = report.to_json().map_err(io::Error::from);
        text.and_then(|text| write(file, &text))
            .map_err(|error| cannot_write(path, error))?;
    }
    if let (Some(file), Some(path)) = (html, &arguments.html) {
        write(file, &report.to_html()).map_err(|error| cannot_write(path, error))?;
    }
    Ok(if report.is_success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// One after the other, with what each has found out printed at its end.
fn run_all(workloads: &[Workload], stop: &AtomicBool) -> Result<Report, Error> {
    let mut report = Report::new(SystemTime::now());
    for (number, workload) in workloads.iter().enumerate() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let mut line = Line::new(workload.name(), workload.pace());
        let run = workload.run(stop, |progress| line.tick(progress, Instant::now()));
        line.finish();
        let run = run?;
        if number > 0 {
            print("\n")?;
        }
        print(&run.to_table())?;
        report.runs.push(run);
    }
    Ok(report)
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
    let fail = |reason: String| Error::Compare {
        path: path.to_owned(),
        reason,
    };
    let text = fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
    Report::from_json(&text).map_err(|error| fail(error.to_string()))
}

fn create(path: &Path) -> Result<File, Error> {
    File::create(path).map_err(|source| Error::Create {
        path: path.to_owned(),
        source,
    })
}

fn write(mut file: File, text: &str) -> io::Result<()> {
    file.write_all(text.as_bytes())?;
    file.flush()
}

fn cannot_write(path: &Path, source: io::Error) -> Error {
    Error::Write {
        path: path.to_owned(),
        source,
    }
}
