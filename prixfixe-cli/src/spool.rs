//! `prixfixe spool`: looks into a spool and acts on it, whether its server runs or not.
//!
//! A server that runs is asked over its control socket. Else this process takes the spool's lock and looks itself.
//! The answer has one form in both cases, and is printed by the same code.

pub(crate) mod arguments;
mod print;
mod protocol;
mod queue;
pub(crate) mod socket;

use std::io::{self, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::thread;

use prixfixe_delivery::Spool;

use self::arguments::{Action, Form};
use self::print::PrintError;
use self::protocol::{Line, Request};
use self::queue::{answer_stopped, open, patiently};
use crate::error::Error;
use crate::privileges;
use prixfixe_config::{self as config, Configuration};

pub(crate) use self::queue::answer;

pub(crate) fn run(action: Action) -> Result<ExitCode, Error> {
    let (place, request, form) = action.into_request();
    let (spool, targets) = config::Spool::load(&place)?;
    let path = spool.path.ok_or(Error::NoSpool)?;
    let failed = |reason: String| Error::Spool {
        path: path.clone(),
        reason,
    };
    let side = patiently(|| reach(&path, &targets, &request)).map_err(failed)?;
    let printed = match side {
        Side::Server(mut answer) => to_stdout(&request, form, &mut answer),
        Side::Disk(spool) => stopped(&spool, &request, form),
    };
    match printed {
        Ok(()) => Ok(ExitCode::SUCCESS),
        // A reader that has seen enough (`prixfixe spool list | head`) is no error.
        Err(PrintError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => Err(failed(error.to_string())),
    }
}

/// Who answers.
enum Side {
    /// The server, which has been asked.
    Server(BufReader<UnixStream>),
    /// Nobody has the spool but us.
    Disk(Box<Spool>),
}

/// `None`: a server has the spool, and cannot be asked yet or any more.
fn reach(path: &Path, targets: &[String], request: &Request) -> Result<Option<Side>, String> {
    match socket::ask(path, request) {
        Ok(Some(answer)) => return Ok(Some(Side::Server(answer))),
        Ok(None) => {}
        Err(error) => return Err(format!("the server cannot be asked: {error}")),
    }
    // Whoever opens one makes it.
    if !path.join("format").exists() {
        return Err("there is no spool; give the directory that the server has".to_owned());
    }
    privileges::become_owner_of(path).map_err(|error| error.to_string())?;
    let spool = open(path, targets)?;
    Ok(spool.map(|spool| Side::Disk(Box::new(spool))))
}

fn to_stdout(
    request: &Request,
    form: Form,
    input: &mut impl io::BufRead,
) -> Result<(), PrintError> {
    let mut output = io::BufWriter::new(io::stdout().lock());
    print::print(request, form, input, &mut output)
}

/// The answer goes through a pipe: a list of a million messages is never in memory.
fn stopped(spool: &Spool, request: &Request, form: Form) -> Result<(), PrintError> {
    let (reader, writer) = io::pipe()?;
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut writer = io::BufWriter::new(writer);
            // Whoever reads has gone.
            let _ = answer_stopped(spool, request.clone(), &mut writer);
            let _ = writer.flush();
        });
        to_stdout(request, form, &mut BufReader::new(reader))
    })
}

/// What `check` says of mail for targets that are not in the configuration. A server that does not run says so when it starts.
pub(crate) fn warnings(configuration: &Configuration) -> Vec<String> {
    let Some(path) = &configuration.spool.path else {
        return Vec::new();
    };
    let Ok(Some(mut answer)) = socket::ask(path, &Request::Targets) else {
        return Vec::new();
    };
    let Ok(Some(Line::Targets(used))) = Line::read(&mut answer) else {
        return Vec::new();
    };
    let known: Vec<String> = configuration.target_names();
    let unknown = used.into_iter().filter(|name| !known.contains(name));
    unknown
        .map(|name| {
            format!(
                "the spool has mail for `{name}`, which is no target: it is held until there is a [[target]] of that name"
            )
        })
        .collect()
}
