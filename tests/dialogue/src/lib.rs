//! Dialogue files: what a client says, and what it is to be told.
//!
//! One case is one file in `tests/dialogues`, named after the case and written so that a postmaster
//! can read it. Whoever runs one, over whatever moves the bytes, takes the [`Settings`], does the
//! [`Step`]s in their order, and compares what was delivered with [`Dialogue::messages`].
//!
//! | line | means |
//! |---|---|
//! | `# text` | a comment |
//! | `= max-recipients 2` | a setting, before all else; see [`Settings`] |
//! | `= protocol lmtp` | the server speaks LMTP |
//! | `= refuse rcpt bad@example.com 550 5.1.1 No such user` | the handler refuses: `connect`, `mail`, `rcpt` or `message`; `*` for any address. In LMTP a message is refused for one recipient where an address is given |
//! | `C: line` | the client sends a line; CR LF is added. Lines without a `S:` between them are sent together |
//! | `c: text` | the same without CR LF |
//! | `C: <end>` | the client will send no more (it still reads) |
//! | `S: 250 2.1.0` | the server sends a line that begins with these words |
//! | `S: <closed>` | the server closes |
//! | `T: handshake` | the TLS handshake takes place |
//! | `W: 301s` | nothing is sent for a while |
//! | `X: shutdown` | the server is told to go away |
//! | `M: from <a@b> to <c@d> <e@f> size 42` | a message was delivered, in this order, and no other |
//! | `B: line` | the content of that message, line by line; CR LF is added |
//! | `b: text` | the same without CR LF |
//!
//! In `C:`, `c:`, `B:` and `b:` lines, `\r`, `\n`, `\t`, `\0`, `\\`, `\xHH` and `\{text*number}`
//! (repeated so often) are escapes. A setting `= at-once` says that the case depends on lines that
//! arrive together.
#![deny(missing_docs)]

mod escape;
mod parse;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use parse::Malformed;

/// One case.
#[derive(Debug, Clone)]
pub struct Dialogue {
    /// The name of the file, without its extension.
    pub name: String,
    /// How the server is set up.
    pub settings: Settings,
    /// What happens, in order.
    pub steps: Vec<Step>,
    /// What is delivered by all of it, in order.
    pub messages: Vec<Delivered>,
}

/// How the server is set up. `None`: as usual.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// `max-message-size`, in octets.
    pub max_message_size: Option<u64>,
    /// `max-recipients`.
    pub max_recipients: Option<usize>,
    /// `max-errors`.
    pub max_errors: Option<u32>,
    /// `max-idle-commands`.
    pub max_idle_commands: Option<u32>,
    /// `idle-timeout`, as `600s`.
    pub idle_timeout: Option<Duration>,
    /// `min-data-rate`, in octets a second.
    pub min_data_rate: Option<u32>,
    /// `bare-line-ends repair`: they become CR LF in a content.
    pub repairs_line_ends: bool,
    /// `protocol lmtp`: the listener speaks LMTP.
    pub lmtp: bool,
    /// `xclient on`: the client is a proxy that may use XCLIENT.
    pub xclient: bool,
    /// `dsn on`: DSN is offered.
    pub dsn: bool,
    /// `dsn users`: DSN is offered to clients that have logged in.
    pub dsn_for_users: bool,
    /// `starttls on`: STARTTLS is offered.
    pub starttls: bool,
    /// `tls-required on`.
    pub tls_required: bool,
    /// `auth offer`, `auth require` or `auth any`: clients may or must log in, by PLAIN and LOGIN.
    pub auth: Option<Auth>,
    /// `at-once`: each send is to arrive in one piece.
    pub at_once: bool,
    /// `refuse`: what the handler does not want.
    pub refusals: Vec<Refusal>,
}

/// How clients log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// They may, under TLS: as [`USER`].
    Offer,
    /// They have to.
    Require,
    /// As anybody, with any password, in plaintext too.
    Any,
}

/// Who may log in, and the password.
pub const USER: (&str, &[u8]) = ("ann", b"secret");

/// The server's name in every dialogue.
pub const DOMAIN: &str = "mx.example.com";

/// Something that the handler does not want.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What it is asked about.
    pub stage: Stage,
    /// The sender or recipient concerned. `None`: all.
    pub address: Option<String>,
    /// The reply's code.
    pub code: u16,
    /// Its enhanced status code.
    pub enhanced: (u8, u16, u16),
    /// Its text.
    pub text: String,
}

/// What a handler is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The client.
    Connect,
    /// The sender.
    Mail,
    /// A recipient.
    Rcpt,
    /// The message.
    Message,
}

/// Something that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The client sends these octets.
    Send(Vec<u8>),
    /// The client will send no more.
    HalfClose,
    /// The server sends a line that begins with these words.
    Expect(String),
    /// The server closes, and has sent nothing else.
    ExpectClosed,
    /// The TLS handshake takes place.
    Handshake,
    /// Time goes by.
    Wait(Duration),
    /// The server is told to go away.
    Shutdown,
}

/// A message that was delivered.
#[derive(Clone, PartialEq, Eq)]
pub struct Delivered {
    /// The reverse-path, without brackets.
    pub from: String,
    /// The forward-paths, without brackets.
    pub to: Vec<String>,
    /// The octets of the content.
    pub size: usize,
    /// The content, where the file states it.
    pub content: Option<Vec<u8>>,
}

/// A dialogue cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// Which file or folder.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is no dialogue.
    #[error("{path}: {source}")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: Malformed,
    },
}

impl Dialogue {
    /// Reads a dialogue from its text.
    ///
    /// # Errors
    ///
    /// When a line is none of those in the [crate's docs](crate).
    pub fn parse(name: &str, text: &str) -> Result<Self, Malformed> {
        parse::dialogue(name, text)
    }

    /// Time has to go by in it, which only a simulated clock makes bearable.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Wait(_)))
    }
}

impl Refusal {
    /// Whether it is about this question.
    #[must_use]
    pub fn concerns(&self, stage: Stage, address: &str) -> bool {
        self.stage == stage
            && self
                .address
                .as_deref()
                .is_none_or(|refused| refused == address)
    }
}

impl Delivered {
    /// Whether another message is this one; contents are compared where both are known.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        let same_content = match (&self.content, &other.content) {
            (Some(content), Some(other)) => content == other,
            _ => true,
        };
        same_content && self.from == other.from && self.to == other.to && self.size == other.size
    }
}

impl fmt::Debug for Delivered {
    /// As it would stand in a file, more or less.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            from,
            to,
            size,
            content,
        } = self;
        write!(f, "from <{from}> to {to:?} size {size}")?;
        match content {
            Some(content) => write!(f, " {:.200}", content.escape_ascii().to_string()),
            None => Ok(()),
        }
    }
}

/// Whether a line that the server sent, without its CR LF, begins with the words expected.
#[must_use]
pub fn line_begins_with(line: &str, expected: &str) -> bool {
    line.strip_prefix(expected)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

/// All dialogues in a folder, by name.
///
/// # Errors
///
/// When the folder or a `.txt` file in it cannot be read, or is no dialogue.
pub fn read_all(folder: &Path) -> Result<Vec<Dialogue>, Error> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Unreadable { path, source }
    };
    let mut dialogues = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable(folder))? {
        let path = entry.map_err(unreadable(folder))?.path();
        if path.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        let text = std::fs::read_to_string(&path).map_err(unreadable(&path))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let dialogue = Dialogue::parse(&name, &text).map_err(|source| Error::Malformed {
            path: path.clone(),
            source,
        })?;
        dialogues.push(dialogue);
    }
    dialogues.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(dialogues)
}

/// The folder with the dialogues of this workspace.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../dialogues")
}
