//! The load tool as a command: what `prixfixe bench` is, and what another program can offer as its
//! own.

mod arguments;
mod error;
mod planner;
mod plans;
mod progress;
mod values;

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime};

pub use self::arguments::Arguments;
pub use self::error::CommandError;

use self::arguments::Command;
use self::progress::Line;
use crate::report::{Host, Run};
use crate::{FailIf, Report, Step, Stepping, Workload};

/// Runs what the arguments ask for, and prints the report on standard output. The exit status is
/// 1 when a message failed or a condition was met.
///
/// The first SIGINT or SIGTERM ends the run; the second ends the process.
///
/// # Errors
///
/// What the arguments ask for cannot be done, or a condition was met.
pub fn run(arguments: &Arguments) -> Result<ExitCode, CommandError> {
    if let Some(Command::Plan(arguments)) = &arguments.command {
        return planner::run(arguments);
    }
    let old = arguments.compare.as_deref().map(read_report).transpose()?;
    let workloads = plans::prepare(arguments, &arguments.targets)?;
    let others = match &*arguments.against {
        [] => Vec::new(),
        targets => plans::prepare(arguments, targets)?,
    };
    // A report that cannot be written is better known before the run than after it.
    let json = arguments.json.as_deref().map(create).transpose()?;
    let html = arguments.html.as_deref().map(create).transpose()?;
    allow_descriptors();
    let stop = stop_on_signals().map_err(CommandError::Signals)?;

    let mut report = Report::new(SystemTime::now());
    // Where this program lies says nothing elsewhere.
    let words = [OsString::from("prixfixe")]
        .into_iter()
        .chain(env::args_os().skip(1));
    report.command = Some(shell_words(words));
    report.host = Host::current();
    if arguments.find_knee {
        step(&mut report, workloads, arguments, &stop)?;
    } else {
        let old_runs = run_all(&mut report, &workloads, &others, arguments, &stop)?;
        if let Some(old) = &old {
            report.compare(old);
        } else if !old_runs.is_empty() {
            report.compare_runs(&arguments.against.join(", "), &old_runs);
        }
        report.judge(&arguments.fail_if);
    }
    print(&report.to_text())?;
    if let (Some(file), Some(path)) = (json, &arguments.json) {
        let text = report.to_json().map_err(io::Error::from);
        text.and_then(|text| write(file, &text))
            .map_err(|error| cannot_write(path, error))?;
    }
    if let (Some(file), Some(path)) = (html, &arguments.html) {
        write(file, &report.to_html()).map_err(|error| cannot_write(path, error))?;
    }
    conclude(&report, arguments)
}

/// A condition about failures says how many are good enough; without one, none is.
fn conclude(report: &Report, arguments: &Arguments) -> Result<ExitCode, CommandError> {
    if !report.broken.is_empty() {
        return Err(CommandError::Broken(report.broken.clone()));
    }
    let knee_is_missing = report
        .knee
        .as_ref()
        .is_some_and(|knee| knee.found.is_none());
    let may_fail = arguments.fail_if.iter().any(FailIf::is_about_failures);
    let is_good = report.is_success(may_fail || arguments.find_knee) && !knee_is_missing;
    Ok(if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Every run, as often as was asked for. Gives the runs against the others, which alternate with
/// these: what changes on the machine meanwhile changes for both.
fn run_all(
    report: &mut Report,
    workloads: &[Workload],
    others: &[Workload],
    arguments: &Arguments,
    stop: &AtomicBool,
) -> Result<Vec<Run>, CommandError> {
    let mut old = Vec::new();
    for repetition in 1..=arguments.repeat.get() {
        for (number, workload) in workloads.iter().enumerate() {
            let other = others.get(number).map(|other| (other, true));
            let mut turns: Vec<(&Workload, bool)> =
                other.into_iter().chain([(workload, false)]).collect();
            // Whoever always comes second finds a warmer machine.
            if repetition % 2 == 0 {
                turns.reverse();
            }
            for (workload, is_other) in turns {
                if stop.load(Ordering::Relaxed) {
                    return Ok(old);
                }
                let runs = if is_other { &mut old } else { &mut report.runs };
                let mut run = run_one(workload, stop)?;
                run.repetition = repetition;
                runs.push(run);
            }
        }
    }
    Ok(old)
}

fn run_one(workload: &Workload, stop: &AtomicBool) -> Result<Run, CommandError> {
    let mut line = Line::new(workload.name(), workload.pace());
    let run = workload.run(stop, |progress| line.tick(progress, Instant::now()));
    line.finish();
    Ok(run?)
}

/// Stepped load. There is one workload, as no scenario can be asked for.
fn step(
    report: &mut Report,
    workloads: Vec<Workload>,
    arguments: &Arguments,
    stop: &AtomicBool,
) -> Result<(), CommandError> {
    let mut stepping = Stepping::default();
    stepping.from = arguments.rate.unwrap_or(stepping.from);
    stepping.step = arguments.duration.unwrap_or(stepping.step);
    if !arguments.fail_if.is_empty() {
        stepping.conditions.clone_from(&arguments.fail_if);
    }
    for workload in workloads {
        let mut line = Line::new("stepped load", workload.pace());
        let tell = line.teller();
        let each = |step: &Step| {
            let outcome = step.broken.as_deref().unwrap_or("held");
            tell(&format!("{:.0}/s: {outcome}", step.rate));
        };
        let progress = |progress| line.tick(progress, Instant::now());
        let found = stepping.find(workload, stop, each, progress);
        line.finish();
        let (knee, run) = found?;
        report.knee = Some(knee);
        report.runs.extend(run);
    }
    Ok(())
}

/// A command line that a shell reads as these words.
fn shell_words(words: impl Iterator<Item = OsString>) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,@%+".contains(&byte);
    let quote = |word: OsString| {
        let word = word.to_string_lossy().into_owned();
        if !word.is_empty() && word.bytes().all(is_plain) {
            return word;
        }
        format!("'{}'", word.replace('\'', "'\\''"))
    };
    words.map(quote).collect::<Vec<_>>().join(" ")
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

/// Writes to standard output. A reader that has seen enough (`prixfixe bench | head`) is no error.
fn print(text: &str) -> Result<(), CommandError> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(CommandError::Output(error)),
        _ => Ok(()),
    }
}

fn read_report(path: &Path) -> Result<Report, CommandError> {
    let fail = |reason: String| CommandError::Compare {
        path: path.to_owned(),
        reason,
    };
    let text = fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
    Report::from_json(&text).map_err(|error| fail(error.to_string()))
}

fn create(path: &Path) -> Result<File, CommandError> {
    File::create(path).map_err(|source| CommandError::Create {
        path: path.to_owned(),
        source,
    })
}

fn write(mut file: File, text: &str) -> io::Result<()> {
    file.write_all(text.as_bytes())?;
    file.flush()
}

fn cannot_write(path: &Path, source: io::Error) -> CommandError {
    CommandError::Write {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_can_be_pasted() {
        let line = |words: &[&str]| shell_words(words.iter().map(OsString::from));
        assert_eq!(
            line(&["prixfixe", "bench", "-n", "5", "mx.example.com:25"]),
            "prixfixe bench -n 5 mx.example.com:25"
        );
        assert_eq!(
            line(&["--fail-if", "p99>5ms", ""]),
            "--fail-if 'p99>5ms' ''"
        );
        assert_eq!(line(&["it's"]), r"'it'\''s'");
    }
}
