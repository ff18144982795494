//! Commands as values.

use crate::parser::Parameters;
use crate::{ForwardPath, Reply, ReversePath, replies};

/// A command that makes sense by itself; whether it does so here is for the [state](crate::state)
/// to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command<'i> {
    Helo {
        name: &'i str,
    },
    Ehlo {
        name: &'i str,
    },
    Mail {
        reverse_path: ReversePath<&'i str>,
        parameters: Parameters<'i>,
    },
    Rcpt {
        forward_path: ForwardPath<&'i str>,
        parameters: Parameters<'i>,
    },
    Data,
    Bdat {
        size: u64,
        last: bool,
    },
    Rset,
    Noop,
    Vrfy,
    Help,
    Quit,
    StartTls,
    Auth {
        mechanism: &'i str,
        /// In base64; `=` is an empty one.
        initial_response: Option<&'i str>,
    },
    /// What is said of the client is not looked at yet: it may not be this one's to say.
    Xclient {
        argument: &'i str,
    },
    /// None of SMTP's.
    Other {
        verb: &'i str,
        argument: &'i str,
    },
}

/// What is wrong with a command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommandError {
    /// No command at all.
    Unknown,
    /// A command of SMTP that this server does not have.
    NotImplemented,
    /// An argument is missing, superfluous or malformed.
    Argument,
    /// What MAIL names is no reverse-path.
    Sender,
    /// What RCPT names is no forward-path.
    Recipient,
    /// A BDAT that does not say how many octets follow it: nobody knows where the next command
    /// begins.
    ChunkSize,
    /// An HTTP request: a browser was made to speak to a mail server.
    Http,
}

impl CommandError {
    /// What follows such a line is not to be run as commands: the session ends.
    pub(crate) const fn ends_session(self) -> bool {
        matches!(self, Self::ChunkSize | Self::Http)
    }
}

/// What is wrong with the parameters of MAIL or RCPT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ParameterError {
    /// One that no extension offered here defines.
    Unknown,
    /// One that is given twice, or whose value is no value for it, or no parameter at all.
    Bad,
}

impl From<CommandError> for Reply {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Unknown => replies::UNKNOWN_COMMAND,
            CommandError::NotImplemented => replies::NOT_IMPLEMENTED,
            CommandError::Argument | CommandError::ChunkSize => replies::BAD_ARGUMENT,
            CommandError::Sender => replies::BAD_SENDER,
            CommandError::Recipient => replies::BAD_RECIPIENT,
            CommandError::Http => replies::NOT_HTTP,
        }
    }
}

impl From<ParameterError> for Reply {
    fn from(error: ParameterError) -> Self {
        match error {
            ParameterError::Unknown => replies::UNKNOWN_PARAMETER,
            ParameterError::Bad => replies::BAD_PARAMETER,
        }
    }
}
