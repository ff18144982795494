//! What ends the command: one line on stderr, and an exit status.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;

use prixfixe_config::{self as config, Invalid, Mistakes};
use prixfixe_delivery::OpenError;
use prixfixe_server::printable::Printable;
use prixfixe_server::{Address, BindError, SettingsError, StartError};
use prixfixe_spooling::CommandError;
use prixfixe_tls::TlsError;

/// Why the command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The command line is wrong, or asks for help or the version.
    #[error("{}", one_line(.0))]
    Arguments(clap::Error),
    /// A flag, a variable or the file is wrong.
    #[error(transparent)]
    Configuration(#[from] Mistakes),
    /// A certificate, a key or what is asked of TLS is wrong.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Those who may log in cannot be read.
    #[error("--auth-users: {0}")]
    Users(#[from] prixfixe_auth::OpenError),
    /// The issuer is none. The configuration was checked before.
    #[error("auth.issuer: {0}")]
    Issuer(#[from] prixfixe_auth::InvalidIssuer),
    /// No line for a users file can be made.
    #[error(transparent)]
    Line(#[from] prixfixe_auth::LineError),
    /// The password was not typed alike twice.
    #[error("the two passwords differ; nothing was printed")]
    Differ,
    /// Standard input gives no password.
    #[error("cannot read the password: {0}")]
    Input(io::Error),
    /// An address cannot be listened on.
    #[error("{error}{remedy}", error = .0, remedy = bind_remedy(.0))]
    Bind(#[from] BindError),
    /// The admin endpoints cannot be served at their address.
    #[error("--admin: cannot listen on {address}: {source}; {}", admin_remedy(.source))]
    Admin {
        /// What was tried to be bound.
        address: Address,
        /// What the system says.
        source: io::Error,
    },
    /// A socket for the admin endpoints that was passed on cannot be used.
    #[error("inherited admin socket: {0}")]
    InheritedAdmin(io::Error),
    /// The DNS cannot be asked.
    #[error("policy.dns: {0}; set it to the address of a name server")]
    Dns(#[from] prixfixe_policy::ResolverError),
    /// The place where mail should go cannot be used.
    #[error("{}: {source}", target_place(.name))]
    Delivery {
        /// The target's.
        name: String,
        /// What is wrong with it.
        source: OpenError,
    },
    /// The file of recipients cannot be used.
    #[error("--accept-recipients: {0}")]
    Recipients(#[from] prixfixe_delivery::RecipientsFileError),
    /// Recipients cannot be asked about there.
    #[error("--check-recipients: {0}")]
    Check(String),
    /// A route leads to a target that is not there.
    #[error("[[route]]: {0}")]
    Route(#[from] prixfixe_delivery::UnknownTarget),
    /// A reload would open a relay to everybody until the next start.
    #[error("until the next start {0}")]
    Relay(String),
    /// A reload cannot change whether the disk is waited for.
    #[error("delivery.fsync: {0}")]
    Fsync(prixfixe_delivery::Fault),
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
    /// The event loop of the admin endpoints, or of the question to them, cannot be set up.
    #[error("cannot start an event loop: {0}")]
    EventLoop(io::Error),
    /// A socket does not tell its address.
    #[error("cannot tell the address of a socket: {0}")]
    LocalAddress(io::Error),
    /// The process cannot become another user.
    #[error("user {name}: {what}: {cause}")]
    User {
        /// Whom.
        name: String,
        /// The step that failed.
        what: &'static str,
        /// Why.
        cause: String,
    },
    /// `man` is asked for a page that there is not.
    #[error("there is no subcommand `{0}`; `prixfixe --help` lists them")]
    NoSuchPage(String),
    /// The server ended without being told to.
    #[error("the server stopped by itself; the log says why")]
    Stopped,
    /// `health` does not know whom to ask.
    #[error(
        "no admin address is known; give that of the server with --admin, SMTP_ADMIN or --config"
    )]
    NoAdmin,
    /// `health` is given the address that asks for any port.
    #[error(
        "--admin: {0} has no port to ask; give the one in the server's log line `admin endpoints`"
    )]
    NoAdminPort(SocketAddr),
    /// The name in the admin address has no address.
    #[error("the admin address stands for no address")]
    NoAdminAddress,
    /// `health` got no answer.
    #[error("no answer from {address}: {reason}")]
    NoAnswer {
        /// Who was asked.
        address: SocketAddr,
        /// What went wrong.
        reason: String,
    },
    /// `health` asked something else.
    #[error("{address} answered {status}: it is not the admin address of prixfixe")]
    NotAdmin {
        /// Who was asked.
        address: SocketAddr,
        /// What came back.
        status: String,
    },
    /// `spool` did not do what it was asked to.
    #[error(transparent)]
    SpoolCommand(#[from] prixfixe_spooling::CommandError),
    /// The spool cannot be opened.
    #[error(transparent)]
    Spool(#[from] prixfixe_spooling::SpoolError),
    /// The server does not take mail now, for this reason.
    #[error("not ready: {0}")]
    NotReady(String),
    /// The configuration cannot be written as TOML.
    #[error("cannot print the configuration: {0}")]
    Unprintable(#[from] toml::ser::Error),
    /// `bench` did not do what it was asked to.
    #[error(transparent)]
    Bench(#[from] prixfixe_bench::command::CommandError),
    /// Standard output is gone or full.
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
}

impl From<(&str, OpenError)> for Error {
    fn from((name, source): (&str, OpenError)) -> Self {
        Self::Delivery {
            name: name.to_owned(),
            source,
        }
    }
}

/// Where a target was asked for.
fn target_place(name: &str) -> String {
    match name {
        config::targets::DEFAULT => "--deliver".to_owned(),
        name => format!("[[target]] {name}"),
    }
}

impl Error {
    /// 2 for what its caller wrote, 1 for what happened while running.
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Bench(error) => error.exit_code(),
            Self::Arguments(error) if !error.use_stderr() => ExitCode::SUCCESS,
            Self::Arguments(_)
            | Self::Configuration(_)
            | Self::Tls(_)
            | Self::Users(_)
            | Self::Dns(_)
            | Self::Issuer(_)
            | Self::Line(_)
            | Self::Differ
            | Self::NoAdmin
            | Self::SpoolCommand(CommandError::Configuration(_) | CommandError::NoSpool)
            | Self::NoSuchPage(_)
            | Self::NoAdminPort(_) => ExitCode::from(2),
            Self::Bind(_)
            | Self::Admin { .. }
            | Self::InheritedAdmin(_)
            | Self::Delivery { .. }
            | Self::Route(_)
            | Self::Recipients(_)
            | Self::Check(_)
            | Self::Relay(_)
            | Self::Fsync(_)
            | Self::Start(_)
            | Self::Settings(_)
            | Self::Signals(_)
            | Self::Logging(_)
            | Self::Threads(_)
            | Self::EventLoop(_)
            | Self::LocalAddress(_)
            | Self::User { .. }
            | Self::Stopped
            | Self::NoAdminAddress
            | Self::NoAnswer { .. }
            | Self::NotAdmin { .. }
            | Self::NotReady(_)
            | Self::Spool(_)
            | Self::SpoolCommand(_)
            | Self::Unprintable(_)
            | Self::Input(_)
            | Self::Output(_) => ExitCode::FAILURE,
        }
    }

    /// Tells the user, and gives the exit status of the process.
    pub(crate) fn report(&self) -> ExitCode {
        match self {
            // Help and version go to stdout, in full and in colour where there is a terminal.
            Self::Arguments(error) if !error.use_stderr() => drop(error.print()),
            Self::Configuration(Mistakes(mistakes)) => {
                for mistake in mistakes {
                    say("", &mistake.to_string());
                }
            }
            Self::Bench(error) => {
                for line in error.lines() {
                    say("", &line);
                }
            }
            _ => say("", &self.to_string()),
        }
        self.exit_code()
    }
}

impl From<Invalid> for Error {
    fn from(mistake: Invalid) -> Self {
        Self::Configuration(mistake.into())
    }
}

/// Says on stderr what is no error, in one line.
pub(crate) fn warn(text: &str) {
    say("warning: ", text);
}

fn say(kind: &str, text: &str) {
    // A stderr that is closed is no reason to fail, or to fail differently.
    let _ = writeln!(io::stderr().lock(), "prixfixe: {kind}{}", Printable(text));
}

/// Writes to standard output. A reader that has seen enough (`prixfixe check | head`) is no error.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    print_bytes(text.as_bytes())
}

/// The same for what others have made.
pub(crate) fn print_bytes(bytes: &[u8]) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Output(error)),
        _ => Ok(()),
    }
}

/// What the two usual reasons call for.
fn bind_remedy(error: &BindError) -> &'static str {
    match error.source.kind() {
        io::ErrorKind::AddrInUse if error.address.ip().is_none() => {
            "; stop the other server, or choose another path"
        }
        io::ErrorKind::AlreadyExists => "; choose another path, or remove the file",
        io::ErrorKind::NotFound => "; make its directory",
        io::ErrorKind::PermissionDenied if error.address.ip().is_none() => {
            "; choose a path whose directory this user may write to"
        }
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

/// Clap explains itself in paragraphs: the explanation and its tips, without the usage that
/// follows.
fn one_line(error: &clap::Error) -> String {
    if let Some(mistake) = config::invalid_argument(error) {
        return mistake.to_string();
    }
    let hint = config::hint_for_argument(error);
    let text = error.render().to_string();
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .filter(|line| !line.is_empty())
        // Clap goes by the letters alone: `--prot` is like `--proxy-protocol-from` to it.
        .filter(|line| hint.is_none() || !line.starts_with("tip:"))
        .collect();
    let line = lines.join("; ").replace(":; ", ": ");
    let line = line.strip_prefix("error: ").unwrap_or(&line);
    let hint = hint.unwrap_or_else(|| "try `--help`".to_owned());
    format!("{line}; {hint}")
}
