//! What is said over the spool's control socket, and what `--json` prints.

use std::io::{self, BufRead, Read, Write};

use serde::{Deserialize, Serialize};

/// One wish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub(crate) enum Request {
    /// Every message, the oldest first.
    List,
    /// One message.
    Show {
        /// As `list` names it.
        id: String,
    },
    /// Its content.
    Export {
        /// As `list` names it.
        id: String,
    },
    /// The names of targets that there is mail for.
    Targets,
    /// Try these now, those that were given up too.
    Retry {
        /// As `list` names them.
        ids: Vec<String>,
    },
    /// Try all that wait, for one target or for all.
    RetryAll {
        /// Only those for it.
        target: Option<String>,
    },
    /// Leave these alone.
    Hold {
        /// As `list` names them.
        ids: Vec<String>,
    },
    /// Go on with them.
    Release {
        /// As `list` names them.
        ids: Vec<String>,
    },
    /// Drop them.
    Remove {
        /// As `list` names them.
        ids: Vec<String>,
    },
}

/// A message in the spool, as `--json` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) id: String,
    /// The id in its `250`, its `Received` header and the log.
    pub(crate) message: String,
    /// `ready`, `waiting`, `held` or `failed`.
    pub(crate) state: String,
    /// When it came, in RFC 3339, UTC.
    pub(crate) received: String,
    /// Seconds since then.
    pub(crate) age: u64,
    /// Bytes of its content.
    pub(crate) size: u64,
    /// Empty for the null reverse-path.
    pub(crate) from: String,
    pub(crate) digest: String,
    pub(crate) deliveries: Vec<Delivery>,
}

/// What is left to do for one target, or could not be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Delivery {
    pub(crate) target: String,
    /// As of the message; `delivered` and `unknown target` too.
    pub(crate) state: String,
    pub(crate) recipients: Vec<String>,
    pub(crate) attempts: u32,
    /// Seconds until the next one, where it waits.
    pub(crate) next: Option<u64>,
    /// What the target said last.
    pub(crate) error: Option<String>,
}

/// A line of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Line {
    Entry(Entry),
    /// So many bytes follow as they are.
    Bytes(u64),
    /// Names of targets.
    Targets(Vec<String>),
    /// That was all: so many messages.
    End(u64),
    /// It was not done, or not to its end.
    Error(String),
}

impl Line {
    pub(crate) fn write(&self, output: &mut dyn Write) -> io::Result<()> {
        let mut line = serde_json::to_vec(self).map_err(io::Error::other)?;
        line.push(b'\n');
        output.write_all(&line)
    }

    /// The next one. `None`: the answer breaks off.
    pub(crate) fn read(input: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut line = Vec::new();
        input.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)?;
        match line.is_empty() {
            true => Ok(None),
            false => serde_json::from_slice(&line)
                .map(Some)
                .map_err(io::Error::other),
        }
    }
}

/// A message with very many recipients.
const MAX_LINE: u64 = 16 << 20;
