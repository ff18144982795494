//! The spool of the `prixfixe` command: opened as the configuration says, on a disk or for a fleet;
//! and `prixfixe spool`, which looks into it and acts on it, whether a server runs or not.
//!
//! A server that has a directory is asked over its control socket. Else this process takes the
//! spool's lock and looks itself. A fleet's spool is looked into where it is: its servers need not
//! run. The answer has one form in all cases, and is printed by the same code.
//!
//! It exists for the `prixfixe` command, and promises nothing to others.
#![deny(missing_docs)]

mod arguments;
mod fleet;
mod options;
mod print;
mod protocol;
mod queue;
mod reported;
mod socket;
mod spooling;
mod user;

use std::collections::HashMap;
use std::fmt;
use std::io::{self, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use prixfixe_config::{Configuration, Mistakes};
use prixfixe_delivery::{Spool, Target};

use self::arguments::Form;
use self::print::PrintError;
use self::protocol::{Line, Request};
use self::queue::{answer_stopped, open, patiently};

pub use self::arguments::{EXAMPLES, SpoolCommand};
pub use self::spooling::{Prepared, Spooling};

/// The targets that are open, by their names, with what they were opened for.
pub type OpenedTargets = HashMap<String, (prixfixe_config::targets::Target, Arc<dyn Target>)>;

/// Why the command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// A flag, a variable or the file is wrong.
    #[error(transparent)]
    Configuration(#[from] Mistakes),
    /// Nothing says where the spool is.
    #[error("no spool is known; give that of the server with --spool, SMTP_SPOOL or --config")]
    NoSpool,
    /// The spool cannot be opened, or is no help.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

/// The spool cannot be opened, or is no help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("spool {place}: {reason}")]
pub struct SpoolError {
    place: String,
    reason: String,
}

impl SpoolError {
    fn new(place: &str, reason: &dyn fmt::Display) -> Self {
        Self {
            place: place.to_owned(),
            reason: reason.to_string(),
        }
    }
}

/// Does what the arguments ask for, and prints the answer on standard output.
///
/// # Errors
///
/// [`CommandError`], in one line.
pub fn run(command: SpoolCommand) -> Result<(), CommandError> {
    let (place, request, form) = command.action.into_request();
    let (spool, targets) = prixfixe_config::Spool::load(&place)?;
    let (place, printed) = match (&spool.path, &spool.url) {
        (Some(path), _) => {
            let place = path.display().to_string();
            let side = patiently(|| reach(path, &targets, &request));
            let side = side.map_err(|reason| SpoolError::new(&place, &reason))?;
            let printed = match side {
                Side::Server(mut answer) => to_stdout(&request, form, &mut answer),
                Side::Disk(spool) => through_pipe(&request, form, |output| {
                    answer_stopped(&spool, request.clone(), output)
                }),
            };
            (place, printed)
        }
        (None, Some(url)) => {
            let place = url.to_string();
            let opened = fleet::Opened::new(url, &spool, targets);
            let opened = opened.map_err(|reason| SpoolError::new(&place, &reason))?;
            let printed = through_pipe(&request, form, |output| {
                opened.answer(request.clone(), output)
            });
            (place, printed)
        }
        (None, None) => return Err(CommandError::NoSpool),
    };
    match printed {
        // A reader that has seen enough (`prixfixe spool list | head`) is no error.
        Err(PrintError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => Ok(printed.map_err(|error| SpoolError::new(&place, &error))?),
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
    user::become_owner_of(path).map_err(|error| error.to_string())?;
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
fn through_pipe(
    request: &Request,
    form: Form,
    answer: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send,
) -> Result<(), PrintError> {
    let (reader, writer) = io::pipe()?;
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut writer = io::BufWriter::new(writer);
            // Whoever reads has gone.
            let _ = answer(&mut writer);
            let _ = writer.flush();
        });
        to_stdout(request, form, &mut BufReader::new(reader))
    })
}

/// What `check` says of mail for targets that are not in the configuration. A server that does not
/// run says so when it starts.
#[must_use]
pub fn warnings(configuration: &Configuration) -> Vec<String> {
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
