//! A program that is started for each message, with the message on its standard input.

mod program;

use std::fmt;
use std::num::NonZeroUsize;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use bytes::Bytes;
use prixfixe_server::{EnhancedCode, Mail, Message, Recipient, Reply, header_separator, reply};

use self::program::{Ended, Input, Program};
use crate::revival::{Revival, Revived};
use crate::upstream::Upstream;
use crate::{Asked, BoxFuture, Delivered, Failure, Health, Outcomes, Target, Transaction};

/// A program that is started for each message. Cheap to clone; clones share limits.
///
/// A client's `250` means that the program has ended with status 0. It gets the message with its
/// trace headers on the standard input, and an environment of its own:
///
/// | variable | value |
/// |---|---|
/// | `SMTP_SENDER` | the sender; empty for a bounce |
/// | `SMTP_RECIPIENTS` | the recipients of this copy, one on each line |
/// | `SMTP_ID` | the message's id, as in the log |
/// | `SMTP_DIGEST` | the digest: the same for each attempt to send the message |
/// | `PATH` | `/usr/local/bin:/usr/bin:/bin` |
///
/// No shell is involved. The working directory is `/`, what the program writes to its standard
/// output is dropped, and of its standard error 1 KiB is logged. The program leads a process group,
/// which is killed when its time is over, or when nobody waits for the message any more.
///
/// | exit status | reply |
/// |---|---|
/// | 0 | `250` |
/// | 65 (`EX_DATAERR`) | `550 5.6.0` |
/// | 67 (`EX_NOUSER`) | `550 5.1.1` |
/// | 77 (`EX_NOPERM`) | `550 5.7.1` |
/// | others, a signal, too long a time | `451 4.3.0` |
///
/// A program whose children keep running is done when it ends itself. Its futures need a tokio
/// runtime with I/O and time.
#[derive(Debug, Clone)]
pub struct Pipe(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    program: Program,
    upstream: Upstream,
    revival: Revival,
}

/// The program of a [`Pipe`]: `pipe:/PATH`.
///
/// ```
/// use prixfixe_delivery::PipeUrl;
///
/// let url: PipeUrl = "pipe:/usr/local/bin/ticket".parse()?;
/// assert_eq!(url.to_string(), "pipe:/usr/local/bin/ticket");
/// assert!("pipe:ticket".parse::<PipeUrl>().is_err());
/// # Ok::<(), prixfixe_delivery::InvalidPipeUrl>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PipeUrl(PathBuf);

/// A text that names no program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "pipe: needs the whole path of a program, such as pipe:/usr/local/bin/ticket; its arguments are args"
)]
pub struct InvalidPipeUrl;

/// How a [`Pipe`] works.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PipeOptions {
    /// What log, metrics and health call it. By default: `pipe`.
    pub name: String,
    /// The program's arguments, as they are.
    pub args: Vec<String>,
    /// How long the program may take. By default: 300 s.
    pub final_timeout: Duration,
    /// Programs that run at once. By default: 16.
    pub concurrency: NonZeroUsize,
}

impl Default for PipeOptions {
    fn default() -> Self {
        Self {
            name: String::from("pipe"),
            args: Vec::new(),
            final_timeout: Duration::from_secs(300),
            concurrency: NonZeroUsize::MIN.saturating_add(15),
        }
    }
}

/// Why a program cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipeError {
    /// It is not there, or cannot be looked at.
    #[error("cannot use {}: {error}", path.display())]
    Missing {
        /// Its path.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// It is no file that can be executed.
    #[error("cannot use {}: it is no executable file", path.display())]
    NotExecutable {
        /// Its path.
        path: PathBuf,
    },
}

/// Linux bounds a variable of the environment to 128 KiB.
const MAX_RECIPIENTS: usize = 64 << 10;

const TOO_MANY: Reply = reply!(452 4.5.3 "Too many recipients, send to this one separately");
const BAD_CONTENT: Reply = Reply::from_static(
    550,
    EnhancedCode(5, 6, 0),
    "The content is not accepted here",
);
const REFUSED: Reply = Reply::from_static(
    550,
    EnhancedCode(5, 7, 1),
    "The recipient's system does not take this message",
);

impl Pipe {
    /// Looks whether the program can be executed by somebody. Starts nothing yet.
    ///
    /// # Errors
    ///
    /// [`PipeError`].
    pub fn open(url: &PipeUrl, options: PipeOptions) -> Result<Self, PipeError> {
        check(&url.0)?;
        Ok(Self(Arc::new(Shared {
            upstream: Upstream::new(&options.name, options.concurrency.get()),
            revival: Revival::default(),
            program: Program {
                path: url.0.clone(),
                args: options.args,
                timeout: options.final_timeout,
            },
        })))
    }

    /// Whether mail can be handed over now.
    #[must_use]
    pub fn health(&self) -> Health {
        self.0.upstream.health()
    }
}

fn check(path: &Path) -> Result<(), PipeError> {
    let found = fs::metadata(path).map_err(|error| PipeError::Missing {
        path: path.to_owned(),
        error,
    })?;
    match found.is_file() && found.permissions().mode() & 0o111 != 0 {
        true => Ok(()),
        false => Err(PipeError::NotExecutable {
            path: path.to_owned(),
        }),
    }
}

impl Target for Pipe {
    fn begin<'a>(&'a self, _: Mail<'a>) -> Asked<'a, Result<Box<dyn Transaction>, Failure>> {
        Asked::Now(Ok(Box::new(Piping {
            pipe: Arc::clone(&self.0),
            recipients: Vec::new(),
            length: 0,
        })))
    }

    fn health(&self) -> Health {
        self.health()
    }
}

/// A message on its way.
struct Piping {
    pipe: Arc<Shared>,
    recipients: Vec<Recipient>,
    /// What they take in the environment.
    length: usize,
}

impl Transaction for Piping {
    fn rcpt<'a>(&'a mut self, recipient: &'a Recipient) -> Asked<'a, Result<(), Failure>> {
        let length = self.length + recipient.to_string().len() + 1;
        if length > MAX_RECIPIENTS {
            return Asked::Now(Err(Failure::said(TOO_MANY)));
        }
        self.length = length;
        self.recipients.push(recipient.clone());
        Asked::Now(Ok(()))
    }

    fn deliver(self: Box<Self>, message: Message) -> BoxFuture<'static, Outcomes> {
        Box::pin(async move {
            let Self {
                pipe, recipients, ..
            } = *self;
            Outcomes::All(pipe.run(message, &recipients).await)
        })
    }
}

impl Shared {
    async fn run(
        self: &Arc<Self>,
        mut message: Message,
        recipients: &[Recipient],
    ) -> Result<Delivered, Failure> {
        let digest = message.digest().await?;
        let content = message.gather().await?;
        let mut body = content.body();
        let first = body
            .chunk()
            .await
            .map_err(|error| Failure::said(error.into()))?;
        let first = first.unwrap_or_default();
        let mut front = message.trace_headers(recipients);
        front.extend_from_slice(header_separator(&first));
        let names: Vec<String> = recipients.iter().map(ToString::to_string).collect();
        let variables = [
            ("SMTP_SENDER", message.envelope().reverse_path().to_string()),
            ("SMTP_RECIPIENTS", names.join("\n")),
            ("SMTP_ID", message.id().to_string()),
            ("SMTP_DIGEST", digest.to_string()),
        ];
        drop(message);
        let pass = self.upstream.enter().await?;
        let input = Input {
            front: vec![Bytes::from(front), first],
            rest: body,
        };
        let ended = self.program.run(&variables, input).await;
        let detail = ended.to_string();
        match ended {
            Ended::Exited { code: 0, .. } => {
                pass.succeeded();
                Ok(Delivered::saying(detail))
            }
            Ended::Exited { code, .. } if let Some(reply) = judgement(code) => {
                pass.succeeded();
                Err(Failure::said(reply).because(detail))
            }
            Ended::Content(error) => Err(Failure::said(error.into()).because(detail)),
            _ => {
                pass.failed(&detail);
                Revival::begin(self, true);
                Err(Failure::said(Reply::TRY_LATER).because(detail))
            }
        }
    }
}

impl Revived for Shared {
    fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    fn revival(&self) -> &Revival {
        &self.revival
    }

    async fn look(&self) -> Result<(), String> {
        check(&self.program.path).map_err(|error| error.to_string())
    }
}

/// What an exit status of `sysexits.h` says about a message.
fn judgement(code: i32) -> Option<Reply> {
    match code {
        65 => Some(BAD_CONTENT),
        67 => Some(Reply::NO_SUCH_USER),
        77 => Some(REFUSED),
        _ => None,
    }
}

impl FromStr for PipeUrl {
    type Err = InvalidPipeUrl;

    fn from_str(text: &str) -> Result<Self, InvalidPipeUrl> {
        let path = text.strip_prefix("pipe:").map(Path::new);
        let path = path.filter(|path| path.is_absolute() && path.file_name().is_some());
        path.map(|path| Self(path.to_owned())).ok_or(InvalidPipeUrl)
    }
}

impl fmt::Display for PipeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pipe:{}", self.0.display())
    }
}
