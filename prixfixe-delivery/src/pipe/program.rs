//! A program from its start to its end.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use prixfixe_server::{Body, BodyError};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, Command};
use tokio::time::timeout;

/// So much of the standard error is kept.
const MAX_SAID: usize = 1 << 10;

/// How long the rest of it is waited for once the program has ended: its children may hold it open
/// for ever.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// What is started.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) path: PathBuf,
    pub(super) args: Vec<String>,
    pub(super) timeout: Duration,
}

/// What it reads.
pub(super) struct Input {
    pub(super) front: Vec<Bytes>,
    pub(super) rest: Body,
}

/// How it came out.
#[derive(Debug)]
pub(super) enum Ended {
    /// By itself.
    Exited { code: i32, said: String },
    /// By a signal.
    Killed { signal: i32, said: String },
    /// By us.
    TimedOut { after: Duration, said: String },
    /// It never ran, or it was lost sight of.
    Failed(io::Error),
    /// The content could not be read.
    Content(BodyError),
}

/// Kills the group that the program leads, unless the program has ended: its number may then be
/// somebody else's.
struct Group(Option<Pid>);

impl Program {
    pub(super) async fn run(&self, variables: &[(&str, String)], input: Input) -> Ended {
        let mut child = match self.start(variables) {
            Ok(child) => child,
            Err(error) => return Ended::Failed(error),
        };
        // Dropped after the group: see `feed`.
        let mut stdin = child.stdin.take();
        let pid = child.id().and_then(|id| i32::try_from(id).ok());
        let mut group = Group(pid.and_then(Pid::from_raw));
        let mut said = Said::default();
        let attended = attend(&mut child, &mut stdin, input, &mut said);
        match timeout(self.timeout, attended).await {
            Ok(Ok(status)) => {
                group.0 = None;
                said.ended(status)
            }
            Ok(Err(ended)) => ended,
            Err(_) => Ended::TimedOut {
                after: self.timeout,
                said: said.text(),
            },
        }
    }

    fn start(&self, variables: &[(&str, String)]) -> io::Result<Child> {
        let variables = variables.iter().map(|(name, value)| (name, value));
        Command::new(&self.path)
            .args(&self.args)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .envs(variables)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
    }
}

/// Feeds it, listens to it and waits for it. It may end whatever it has read, and whoever else
/// still reads.
async fn attend(
    child: &mut Child,
    stdin: &mut Option<ChildStdin>,
    input: Input,
    said: &mut Said,
) -> Result<ExitStatus, Ended> {
    let mut stderr = child.stderr.take();
    let status = {
        let mut feeding = pin!(feed(stdin, input));
        let mut is_fed = false;
        let mut listening = pin!(said.listen(&mut stderr));
        let mut is_silent = false;
        let mut waiting = pin!(child.wait());
        poll_fn(|cx| {
            if !is_fed && let Poll::Ready(fed) = feeding.as_mut().poll(cx) {
                is_fed = true;
                if let Err(error) = fed {
                    return Poll::Ready(Err(Ended::Content(error)));
                }
            }
            is_silent = is_silent || listening.as_mut().poll(cx).is_ready();
            waiting.as_mut().poll(cx).map_err(Ended::Failed)
        })
        .await?
    };
    let _ = timeout(LAST_WORDS, said.listen(&mut stderr)).await;
    Ok(status)
}

/// A program that reads no further has had enough. One whose content breaks off must not take what
/// it has for all: its input stays open, until it is dead.
async fn feed(stdin: &mut Option<ChildStdin>, mut input: Input) -> Result<(), BodyError> {
    let Some(open) = stdin else {
        return Ok(());
    };
    let mut front = input.front.into_iter();
    loop {
        let piece = match front.next() {
            Some(piece) => Some(piece),
            None => input.rest.chunk().await?,
        };
        let Some(piece) = piece else { break };
        if open.write_all(&piece).await.is_err() {
            break;
        }
    }
    *stdin = None;
    Ok(())
}

/// The beginning of what it says.
#[derive(Default)]
struct Said(Vec<u8>);

impl Said {
    /// Reads to the end, so that nobody waits for a reader.
    async fn listen(&mut self, stderr: &mut Option<ChildStderr>) {
        let Some(stderr) = stderr else {
            return;
        };
        let mut piece = [0; 512];
        while let Ok(count @ 1..) = stderr.read(&mut piece).await {
            let room = MAX_SAID - self.0.len();
            let kept = piece.get(..count.min(room)).unwrap_or_default();
            self.0.extend_from_slice(kept);
        }
    }

    fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.0);
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let joined = lines.collect::<Vec<_>>().join("; ");
        joined.replace(char::is_control, "?")
    }

    fn ended(&self, status: ExitStatus) -> Ended {
        let said = self.text();
        match (status.code(), status.signal()) {
            (Some(code), _) => Ended::Exited { code, said },
            (None, signal) => Ended::Killed {
                signal: signal.unwrap_or(0),
                said,
            },
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0.take() {
            // It is gone already, or is gone now.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = match self {
            Self::Exited { code, said } => {
                write!(f, "exit status {code}")?;
                said
            }
            Self::Killed { signal, said } => {
                write!(f, "killed by signal {signal}")?;
                said
            }
            Self::TimedOut { after, said } => {
                write!(f, "killed after {} s", after.as_secs_f32())?;
                said
            }
            Self::Failed(error) => return write!(f, "cannot run: {error}"),
            Self::Content(error) => return write!(f, "the content cannot be read: {error}"),
        };
        match &**said {
            "" => Ok(()),
            said => write!(f, ": {said}"),
        }
    }
}
