//! What ends the command: one line on stderr, and an exit status.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::error::ErrorKind;

use prixfixe_delivery::OpenError;
use prixfixe_server::printable::Printable;
use prixfixe_server::{BindError, SettingsError, StartError};
use prixfixe_tls::TlsError;

use crate::config::Invalid;

/// Why the command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The command line is wrong, or asks for help or the version.
    #[error("{}", one_line(.0))]
    Arguments(clap::Error),
    /// A flag, a variable or the file is wrong.
    #[error(transparent)]
    Configuration(#[from] Invalid),
    /// A certificate, a key or what is asked of TLS is wrong.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An address cannot be listened on.
    #[error("{error}{remedy}", error = .0, remedy = bind_remedy(.0))]
    Bind(#[from] BindError),
    /// The admin endpoints cannot be served at their address.
    #[error("--admin: cannot listen on {address}: {source}; {}", admin_remedy(.source))]
    Admin {
        /// What was tried to be bound.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The place where mail should go cannot be used.
    #[error("--deliver: {0}")]
    Delivery(#[from] OpenError),
    /// The server cannot be set up.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The server cannot run with what a reload asks for.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Signals cannot be caught.
    #[error("cannot handle signals: {0}")]
    Signals(io::Error),
    /// The log cannot be set up.
    #[error("cannot start the log: {0}")]
    Logging(io::Error),
    /// The system gives no more threads.
    #[error("cannot start a thread: {0}")]
    Threads(io::Error),
    /// A wrong argument that only its subcommand could find out: names the argument, and what mends it.
    #[error("{0}")]
    Usage(String),
    /// A failure while running: names what failed, and what mends it.
    #[error("{0}")]
    Failed(String),
    /// Standard output is gone or full.
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
}

impl Error {
    /// 2 for what its caller wrote, 1 for what happened while running.
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Arguments(error) if !error.use_stderr() => ExitCode::SUCCESS,
            Self::Arguments(_) | Self::Configuration(_) | Self::Usage(_) => ExitCode::from(2),
            Self::Tls(_) => ExitCode::from(2),
            Self::Bind(_)
            | Self::Admin { .. }
            | Self::Delivery(_)
            | Self::Start(_)
            | Self::Settings(_)
            | Self::Signals(_)
            | Self::Logging(_)
            | Self::Threads(_)
            | Self::Failed(_)
            | Self::Output(_) => ExitCode::FAILURE,
        }
    }

    /// Tells the user, and gives the exit status of the process.
    pub(crate) fn report(&self) -> ExitCode {
        match self {
            // Help and version go to stdout, in full and in colour where there is a terminal.
            Self::Arguments(error) if !error.use_stderr() => drop(error.print()),
            // A stderr that is closed is no reason to fail differently.
            _ => drop(writeln!(
                io::stderr().lock(),
                "prixfixe: {}",
                Printable(&self.to_string())
            )),
        }
        self.exit_code()
    }
}

/// Says on stderr what is no error, in one line.
pub(crate) fn warn(text: &str) {
    // A stderr that is closed is no reason to fail.
    let _ = writeln!(
        io::stderr().lock(),
        "prixfixe: warning: {}",
        Printable(text)
    );
}

/// Writes to standard output. A reader that has seen enough (`prixfixe check | head`) is no error.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Output(error)),
        _ => Ok(()),
    }
}

/// What the two usual reasons call for.
fn bind_remedy(error: &BindError) -> &'static str {
    match error.source.kind() {
        io::ErrorKind::AddrInUse => "; stop the other server, or choose another port with --listen",
        io::ErrorKind::PermissionDenied => {
            "; choose a port over 1023, or give the capability CAP_NET_BIND_SERVICE"
        }
        io::ErrorKind::AddrNotAvailable => "; choose an address of this host with --listen",
        _ => "",
    }
}

fn admin_remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "choose another port",
        io::ErrorKind::PermissionDenied => "choose a port over 1023",
        _ => "choose an address of this host",
    }
}

/// Clap explains itself in paragraphs: the explanation and its tips, without the usage that follows.
fn one_line(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "no command given; `prixfixe --help` lists them".to_owned();
    }
    let text = error.render().to_string();
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .filter(|line| !line.is_empty())
        .collect();
    let line = lines.join("; ").replace(":; ", ": ");
    format!(
        "{}; try `--help`",
        line.strip_prefix("error: ").unwrap_or(&line)
    )
}
