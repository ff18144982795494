//! The kinds of targets that a text can name, and how each is opened.
//!
//! A new kind is a file of its own, one beside this, and a line in [`KINDS`].

#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "smtp")]
mod next_hop;
#[cfg(all(unix, feature = "pipe"))]
mod pipe;
#[cfg(feature = "s3")]
mod s3;
#[cfg(feature = "webhook")]
mod webhook;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use crate::options::TargetOptions;
use crate::stdout::PreparedStdout;
use crate::target::BoxFuture;
use crate::{
    AcceptRecipients, Discard, InvalidTemplate, Maildir, MaildirOptions, MaildirTemplate, Maildirs,
    MaildirsOptions, OpenError, PreparedMaildir, PreparedMaildirs, Target,
};

/// Where mail goes, as an operator writes it: `maildir:PATH`, `discard:`, `stdout:`.
///
/// ```
/// use prixfixe_delivery::TargetUrl;
///
/// let target: TargetUrl = "maildir:/var/mail/incoming".parse()?;
/// assert_eq!(target.to_string(), "maildir:/var/mail/incoming");
/// assert!("maildir:".parse::<TargetUrl>().is_err());
/// # Ok::<(), prixfixe_delivery::ParseTargetError>(())
/// ```
#[derive(Clone)]
pub struct TargetUrl {
    kind: &'static Kind,
    text: Box<str>,
}

/// All that is to be known of a kind.
pub(crate) struct Kind {
    /// What stands before the colon.
    pub(crate) scheme: &'static str,
    /// How it is written.
    pub(crate) form: &'static str,
    /// Looks at a text of this kind. An error is what is wrong, and what would be right.
    pub(crate) check: fn(&str) -> Result<(), String>,
    /// The [options](TargetOptions) that it takes, beside its name, by their keys.
    pub(crate) keys: &'static [&'static str],
    /// Looks at the values of those. An error is a key, and what is wrong with its value.
    pub(crate) check_options: fn(&str, &TargetOptions) -> Result<(), WrongOption>,
    /// True for what passes mail on by SMTP to whomever the recipient names.
    pub(crate) is_relay: bool,
    /// True for what needs a runtime of tokio's, as it is at the other end of a connection.
    pub(crate) is_remote: bool,
    /// Opens what can be opened as the user who starts the program.
    pub(crate) prepare: fn(&Wanted<'_>) -> Result<PreparedTarget, OpenError>,
}

/// A key, and what is wrong with its value.
pub(crate) type WrongOption = (&'static str, String);

/// A target that is to be opened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// Its configured name.
    pub(crate) name: &'a str,
    pub(crate) url: &'a TargetUrl,
    pub(crate) options: &'a TargetOptions,
    pub(crate) around: &'a Around,
}

/// Every kind.
static KINDS: &[Kind] = &[
    MAILDIR,
    #[cfg(feature = "smtp")]
    next_hop::LMTP,
    #[cfg(feature = "smtp")]
    next_hop::SMTP,
    #[cfg(feature = "smtp")]
    next_hop::SMTPS,
    #[cfg(feature = "webhook")]
    webhook::HTTPS,
    #[cfg(feature = "webhook")]
    webhook::HTTP,
    #[cfg(feature = "nats")]
    nats::NATS,
    #[cfg(feature = "s3")]
    s3::S3_KIND,
    #[cfg(all(unix, feature = "pipe"))]
    pipe::PIPE,
    STDOUT,
    DISCARD,
];

const MAILDIR: Kind = Kind {
    scheme: "maildir",
    form: "maildir:PATH",
    check: |text| match behind_colon(text) {
        "" => Err("maildir: needs the path of a directory, such as maildir:./mail".to_owned()),
        path if MaildirTemplate::is_one(path) => {
            let template = path.parse::<MaildirTemplate>();
            template
                .map(drop)
                .map_err(|error| format!("maildir: {error}"))
        }
        _ => Ok(()),
    },
    keys: &["mode", "group", "create"],
    check_options: |url, options| match options.create {
        Some(_) if !MaildirTemplate::is_one(behind_colon(url)) => {
            let problem =
                "is for a path with {domain} or {local} alone; a Maildir for all is made anyway";
            Err(("create", problem.to_owned()))
        }
        _ => Ok(()),
    },
    is_relay: false,
    is_remote: false,
    prepare: prepare_maildir,
};

fn prepare_maildir(wanted: &Wanted<'_>) -> Result<PreparedTarget, OpenError> {
    let Wanted {
        url,
        options,
        around,
        ..
    } = wanted;
    let path = behind_colon(url.as_str());
    let maildir = MaildirOptions {
        mode: options.mode.or(around.maildir.mode),
        group: options.group.or(around.maildir.group),
        ..around.maildir.clone()
    };
    if !MaildirTemplate::is_one(path) {
        let prepared = Maildir::prepare(path, maildir)?;
        return Ok(PreparedTarget(Prepared::Maildir(prepared)));
    }
    let template = path
        .parse()
        .map_err(|error: InvalidTemplate| OpenError::remote(error))?;
    let options = MaildirsOptions {
        maildir,
        create: options.create.unwrap_or_default(),
        domain: around.domain.clone(),
        recipients: around.recipients.clone(),
    };
    let prepared = Maildirs::prepare(template, options)?;
    Ok(PreparedTarget(Prepared::Maildirs(prepared)))
}

const DISCARD: Kind = Kind {
    scheme: "discard",
    form: "discard:",
    check: alone,
    keys: &[],
    check_options: |_, _| Ok(()),
    is_relay: false,
    is_remote: false,
    prepare: |_| Ok(PreparedTarget(Prepared::Discard)),
};

const STDOUT: Kind = Kind {
    scheme: "stdout",
    form: "stdout:",
    check: alone,
    keys: &[],
    check_options: |_, _| Ok(()),
    is_relay: false,
    is_remote: false,
    prepare: |_| Ok(PreparedTarget(Prepared::Stdout(PreparedStdout::open()?))),
};

fn behind_colon(text: &str) -> &str {
    text.split_once(':').map_or("", |(_, rest)| rest)
}

fn alone(text: &str) -> Result<(), String> {
    match text.split_once(':') {
        Some((_, "")) | None => Ok(()),
        Some((kind, rest)) => Err(format!(
            "{kind}: takes nothing behind the colon, {rest:?} was found there"
        )),
    }
}

/// What targets need of the server around them.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Around {
    /// The server's own name, by which it greets the next hop.
    pub domain: String,
    /// How Maildirs are kept.
    pub maildir: MaildirOptions,
    /// Who is known: where each recipient has a Maildir, theirs are made.
    pub recipients: AcceptRecipients,
}

/// A text that names no delivery target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseTargetError {
    /// It has no kind before a colon.
    #[error("{text:?} is no delivery target: write {forms}", forms = Forms)]
    NoKind {
        /// The text.
        text: String,
    },
    /// Its kind is none of ours, or was left out of this program.
    #[error("unknown kind of delivery target {kind:?}: write {forms}", forms = Forms)]
    UnknownKind {
        /// What stands before the colon.
        kind: String,
    },
    /// What stands behind the colon is not what its kind needs.
    #[error("{0}")]
    Form(String),
}

/// How each kind is written.
struct Forms;

impl fmt::Display for Forms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, kind) in KINDS.iter().enumerate() {
            match number {
                0 => {}
                last if last + 1 == KINDS.len() => f.write_str(" or ")?,
                _ => f.write_str(", ")?,
            }
            f.write_str(kind.form)?;
        }
        Ok(())
    }
}

impl TargetUrl {
    /// A Maildir at this path. A relative one is relative to the working directory at the time when
    /// it is opened.
    #[must_use]
    pub fn maildir(path: impl AsRef<Path>) -> Self {
        Self {
            kind: &MAILDIR,
            text: format!("maildir:{}", path.as_ref().display()).into(),
        }
    }

    /// The path of a Maildir, or of the directory that the recipients' Maildirs are in; `None` for
    /// another kind.
    #[must_use]
    pub fn maildir_path(&self) -> Option<PathBuf> {
        let path = behind_colon(&self.text);
        let is_maildir = self.kind.scheme == MAILDIR.scheme;
        is_maildir.then(|| match path.parse::<MaildirTemplate>() {
            Ok(template) => template.base().to_owned(),
            Err(_) => PathBuf::from(path),
        })
    }

    /// The kind, such as `maildir`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        self.kind.scheme
    }

    /// True for what passes mail on by SMTP to whomever the recipient names: never open to
    /// everybody.
    #[must_use]
    pub fn is_relay(&self) -> bool {
        self.kind.is_relay
    }

    /// True for what needs a runtime of tokio's around it.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        self.kind.is_remote
    }

    /// True where a message that its client sends again may be stored twice, since its name has the
    /// date or an id in it.
    #[must_use]
    pub fn may_repeat(&self, options: &TargetOptions) -> bool {
        #[cfg(feature = "s3")]
        if self.kind.scheme == s3::S3_KIND.scheme {
            let key = options.key.as_deref();
            return key.is_some_and(crate::s3::key_may_repeat);
        }
        let _ = options;
        false
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Looks whether these options are any of this kind's, and their values too.
    ///
    /// # Errors
    ///
    /// The key of the first that is not, and what is wrong with it.
    pub fn check_options(&self, options: &TargetOptions) -> Result<(), (&'static str, String)> {
        let foreign = |key: &&'static str| !self.kind.keys.contains(key);
        if let Some(key) = options.given().into_iter().find(foreign) {
            let problem = format!(
                "is nothing that a target of the kind {}: takes",
                self.scheme()
            );
            return Err((key, problem));
        }
        (self.kind.check_options)(&self.text, options)
    }

    /// Opens what can be opened as the user who starts the program, threads and connections aside.
    /// The name is what the log calls it.
    ///
    /// # Errors
    ///
    /// [`OpenError`] when the target cannot be used.
    pub fn prepare(
        &self,
        name: &str,
        options: &TargetOptions,
        around: &Around,
    ) -> Result<PreparedTarget, OpenError> {
        (self.kind.prepare)(&Wanted {
            name,
            url: self,
            options,
            around,
        })
    }

    /// [`prepare`](Self::prepare) and [`PreparedTarget::start`].
    ///
    /// # Errors
    ///
    /// As they.
    pub async fn open(
        &self,
        name: &str,
        options: &TargetOptions,
        around: &Around,
    ) -> Result<Arc<dyn Target>, OpenError> {
        self.prepare(name, options, around)?.start().await
    }
}

impl FromStr for TargetUrl {
    type Err = ParseTargetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, _) = text
            .split_once(':')
            .ok_or_else(|| ParseTargetError::NoKind {
                text: text.to_owned(),
            })?;
        let kind = KINDS.iter().find(|kind| kind.scheme == scheme);
        let kind = kind.ok_or_else(|| ParseTargetError::UnknownKind {
            kind: scheme.to_owned(),
        })?;
        (kind.check)(text).map_err(ParseTargetError::Form)?;
        Ok(Self {
            kind,
            text: text.into(),
        })
    }
}

impl fmt::Display for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TargetUrl").field(&self.text).finish()
    }
}

impl PartialEq for TargetUrl {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for TargetUrl {}

/// A target that can be used, with nobody at work yet.
pub struct PreparedTarget(Prepared);

enum Prepared {
    Maildir(PreparedMaildir),
    Maildirs(PreparedMaildirs),
    Discard,
    Stdout(PreparedStdout),
    Later(BoxFuture<'static, Result<Arc<dyn Target>, OpenError>>),
}

/// Looks at a text of a kind that has a type for it.
fn parsed<T: FromStr<Err: fmt::Display>>(text: &str) -> Result<(), String> {
    let parsed = text.parse::<T>();
    parsed.map(drop).map_err(|error| error.to_string())
}

/// The URL of a kind that has a type for it; it was looked at before.
fn url<T: FromStr<Err: fmt::Display>>(wanted: &Wanted<'_>) -> Result<T, OpenError> {
    let parsed = wanted.url.as_str().parse::<T>();
    parsed.map_err(|error| OpenError::Remote(error.to_string().into()))
}

fn wrong_option((key, problem): (&'static str, String)) -> OpenError {
    OpenError::Remote(format!("{key}: {problem}").into())
}

impl PreparedTarget {
    /// One that is opened when it is started, inside a runtime of tokio's.
    pub(crate) fn later(
        opening: impl Future<Output = Result<Arc<dyn Target>, OpenError>> + Send + 'static,
    ) -> Self {
        Self(Prepared::Later(Box::pin(opening)))
    }

    /// Starts its threads, and connects where that shows a mistake: to be awaited inside a runtime
    /// of tokio's, which is to last as long as the target.
    ///
    /// # Errors
    ///
    /// [`OpenError`]. What cannot be reached now is none: its mail is refused until it can be.
    pub async fn start(self) -> Result<Arc<dyn Target>, OpenError> {
        Ok(match self.0 {
            Prepared::Maildir(maildir) => Arc::new(maildir.start()?),
            Prepared::Maildirs(maildirs) => Arc::new(maildirs.start()?),
            Prepared::Discard => Arc::new(Discard::new()),
            Prepared::Stdout(stdout) => Arc::new(stdout.start()?),
            Prepared::Later(opening) => opening.await?,
        })
    }
}

impl fmt::Debug for PreparedTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PreparedTarget")
    }
}

#[cfg(test)]
mod tests;
