//! `prixfixe spool`: looks into a spool and acts on it, whether its server runs or not.
//!
//! A server that runs is asked over its control socket. Else this process takes the spool's lock and looks itself.
//! The answer has one form in both cases, and is printed by the same code.
//!
//! It exists for the `prixfixe` command, and promises nothing to others.
#![deny(missing_docs)]

mod arguments;
mod print;
mod protocol;
mod queue;
mod socket;
mod user;

use std::io::{self, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

use prixfixe_config::{Configuration, Mistakes};
use prixfixe_delivery::Spool;

use self::arguments::Form;
use self::print::PrintError;
use self::protocol::Line;
use self::queue::{answer_stopped, open, patiently};

pub use self::arguments::{EXAMPLES, SpoolCommand};
pub use self::protocol::Request;
pub use self::queue::answer;
pub use self::socket::{Answer, Socket};

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
    #[error("spool {place}: {reason}")]
    Spool {
        /// Its directory.
        place: String,
        /// What is wrong.
        reason: String,
    },
}

/// Does what the arguments ask for, and prints the answer on standard output.
///
/// # Errors
///
/// [`CommandError`], in one line.
pub fn run(command: SpoolCommand) -> Result<(), CommandError> {
    let (place, request, form) = command.action.into_request();
    let (spool, targets) = prixfixe_config::Spool::load(&place)?;
    let path = spool.path.ok_or(CommandError::NoSpool)?;
    let failed = |reason: String| CommandError::Spool {
        place: path.display().to_string(),
        reason,
    };
    let side = patiently(|| reach(&path, &targets, &request)).map_err(failed)?;
    let printed = match side {
        Side::Server(mut answer) => to_stdout(&request, form, &mut answer),
        Side::Disk(spool) => stopped(&spool, &request, form),
    };
    match printed {
        // A reader that has seen enough (`prixfixe spool list | head`) is no error.
        Err(PrintError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed.map_err(|error| failed(error.to_string())),
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
