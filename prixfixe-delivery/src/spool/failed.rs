//! What is told when a delivery is over, and what lies in `failed/`.
//!
//! A message there is two files: `NAME.eml`, which mail programs read, and `NAME.json`, which says what it is and why it is
//! there. The second one is written last: without it there is no message. Nobody but an operator removes them.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};

use jiff::Timestamp;
use prixfixe_server::Message;
use prixfixe_spool::{Disk, MessageId, ReadError, Stored};
use serde::{Deserialize, Serialize};

use super::attempt::Trial;
use super::content;
use super::core::Core;
use super::ending::Endings;
use super::envelope::StoredEnvelope;
use super::undelivered::{Ended, Ending, Notice, Report};

/// What stands beside a message in `failed/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FailedMessage {
    /// When it came there, in RFC 3339.
    pub failed: String,
    /// `refused` or `given up`.
    pub ending: String,
    /// The target.
    pub target: String,
    /// Who did not get it.
    pub recipients: Vec<FailedRecipient>,
    /// Bytes of the trace headers before the content, in the file beside it.
    pub trace: u64,
    /// The message.
    pub envelope: StoredEnvelope,
}

/// A recipient who did not get it, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FailedRecipient {
    /// The address.
    pub to: String,
    /// What the target said at last.
    pub reply: Option<String>,
    /// What stood in the way.
    pub detail: Option<String>,
    /// Attempts that were made.
    pub attempts: u32,
    /// When the last one was, in RFC 3339.
    pub last_attempt: String,
}

/// Recipients who have ended in the same way.
#[derive(Debug, Default)]
struct Group {
    /// Among the envelope's recipients.
    places: Vec<u32>,
    ended: Vec<Ended>,
}

impl From<Vec<(u32, Ended)>> for Group {
    fn from(ended: Vec<(u32, Ended)>) -> Self {
        let (places, ended) = ended.into_iter().unzip();
        Self { places, ended }
    }
}

impl Group {
    /// Those at places of which something is so, and the others.
    fn split(self, is_so: impl Fn(usize) -> bool) -> (Self, Self) {
        let all = self.places.into_iter().zip(self.ended).enumerate();
        let (these, others): (Vec<_>, Vec<_>) = all.partition(|(place, _)| is_so(*place));
        let group = |of: Vec<(usize, (u32, Ended))>| -> Self {
            let of: Vec<_> = of.into_iter().map(|(_, it)| it).collect();
            of.into()
        };
        (group(these), group(others))
    }

    fn and(mut self, other: Self) -> Self {
        self.places.extend(other.places);
        self.ended.extend(other.ended);
        self
    }
}

/// Why a message is not in `failed/`.
#[derive(Debug, thiserror::Error)]
pub(super) enum FailedError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("{path}: {source}", path = .path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{0}")]
    Envelope(String),
}

impl<D: Disk> Core<D> {
    /// Tells the sender of recipients who have ended so, or puts the message to `failed/`.
    pub(super) async fn report(
        self: &Arc<Self>,
        trial: &Trial,
        id: MessageId,
        ending: Ending,
        endings: &Endings,
    ) -> Result<(), FailedError> {
        // The usual case: nobody is to hear of it.
        if ending == Ending::Delivered && !trial.is_any_asked_for() {
            return Ok(());
        }
        let ended = endings.ended(trial, ending, self.now());
        let (asked, silent): (Vec<_>, Vec<_>) = ended
            .into_iter()
            .partition(|(_, it)| it.is_asked_for(ending));
        let (asked, silent) = (Group::from(asked), Group::from(silent));
        if ending == Ending::Delivered {
            self.confirm(trial, id, &asked.ended).await;
            return Ok(());
        }
        let Some(notice) = self.report_about(trial, id, ending, &asked.ended).await? else {
            let all = asked.and(silent);
            return self.keep_failed(trial, id, ending, all).await;
        };
        let (asked, left_out) = asked.split(|place| notice.tells_of(place));
        let silent = left_out.and(silent);
        let message = notice.into_message();
        // Those of whom the report says nothing come first: else a failure here would have it sent twice.
        self.keep_failed(trial, id, ending, silent).await?;
        match self.is_stored(trial, message).await {
            true => Ok(()),
            false => self.keep_failed(trial, id, ending, asked).await,
        }
    }

    /// Tells the sender who has it. The message is over, whatever comes of that: to try it again would deliver it twice.
    async fn confirm(self: &Arc<Self>, trial: &Trial, id: MessageId, asked: &[Ended]) {
        match self.report_about(trial, id, Ending::Delivered, asked).await {
            Ok(Some(notice)) => {
                self.is_stored(trial, notice.into_message()).await;
            }
            Ok(None) => {}
            Err(error) => tracing::error!(
                target: "prixfixe", id = &*trial.envelope().id, %error,
                "the sender cannot be told of a delivery"
            ),
        }
    }

    /// What the sender is to be told of these. `None`: nothing.
    async fn report_about(
        self: &Arc<Self>,
        trial: &Trial,
        id: MessageId,
        ending: Ending,
        ended: &[Ended],
    ) -> Result<Option<Notice>, FailedError> {
        if ended.is_empty() {
            return Ok(None);
        }
        let core = Arc::clone(self);
        let read = move || content::beginning(core.log.read(id)?.content);
        let (beginning, is_whole) = match tokio::task::spawn_blocking(read).await {
            Ok(read) => read?,
            Err(error) => return Err(FailedError::Envelope(error.to_string())),
        };
        let report = Report::new(trial.envelope(), &trial.target.name, ending, ended)
            .with_content(&beginning, is_whole);
        Ok(self.options().bouncer.report(&report))
    }

    /// True: the sender's message is in the spool.
    async fn is_stored(self: &Arc<Self>, trial: &Trial, message: Message) -> bool {
        match self.store(&self.routes(), message).await {
            Ok(_) => true,
            Err(failure) => {
                tracing::warn!(
                    target: "prixfixe", id = &*trial.envelope().id, %failure,
                    "a report to the sender cannot be stored"
                );
                false
            }
        }
    }

    /// Puts the message to `failed/` for these.
    async fn keep_failed(
        self: &Arc<Self>,
        trial: &Trial,
        id: MessageId,
        ending: Ending,
        group: Group,
    ) -> Result<(), FailedError> {
        if group.ended.is_empty() {
            return Ok(());
        }
        let core = Arc::clone(self);
        let (envelope, target) = (Arc::clone(trial.envelope()), trial.target.name.clone());
        let written = tokio::task::spawn_blocking(move || {
            core.put_to_failed(id, ending, &envelope, &target, &group)
        });
        match written.await {
            Ok(written) => written,
            Err(error) => Err(FailedError::Envelope(error.to_string())),
        }
    }

    /// Both files are on the disk when this returns. It waits for the disk.
    fn put_to_failed(
        &self,
        id: MessageId,
        ending: Ending,
        envelope: &StoredEnvelope,
        target: &str,
        group: &Group,
    ) -> Result<(), FailedError> {
        let stored = self.log.read(id)?;
        let message = envelope.message(&group.places, |it| it);
        let message = message.map_err(|error| FailedError::Envelope(error.to_string()))?;
        let trace = message.trace_headers(message.envelope().recipients());
        let failed = FailedMessage {
            failed: text(self.now()),
            ending: ending.to_string(),
            target: target.to_owned(),
            recipients: group.ended.iter().map(FailedRecipient::from).collect(),
            trace: trace.len() as u64,
            envelope: envelope.clone(),
        };
        let directory = self.failed_directory()?;
        let (eml, json, file) = self.create_failed(&directory, id, target)?;
        let part = json.with_extension("json.part");
        let written = self
            .write_content(&file, &eml, &trace, stored)
            .and_then(|()| self.describe(&failed, &directory, &part, &json));
        if let Err(error) = written {
            // Nobody else removes them. What names the message is the first to go.
            for path in [&json, &part, &eml] {
                let _ = self.disk.remove(path);
            }
            return Err(error);
        }
        self.failed.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn write_content(
        &self,
        file: &D::File,
        path: &Path,
        trace: &[u8],
        stored: Stored<D>,
    ) -> Result<(), FailedError> {
        self.write(file, trace).map_err(at(path))?;
        content::each_piece(stored.content, |piece| {
            self.write(file, piece).map_err(at(path))
        })?;
        self.disk.sync(file).map_err(at(path))
    }

    /// Says what lies there: from then on it is a message.
    fn describe(
        &self,
        failed: &FailedMessage,
        directory: &Path,
        part: &Path,
        json: &Path,
    ) -> Result<(), FailedError> {
        let mut described = serde_json::to_vec_pretty(failed).unwrap_or_default();
        described.push(b'\n');
        let _ = self.disk.remove(part);
        let file = self.disk.create(part).map_err(at(part))?;
        self.write(&file, &described).map_err(at(part))?;
        self.disk.sync(&file).map_err(at(part))?;
        self.disk.rename(part, json).map_err(at(json))?;
        self.disk.sync_directory(directory).map_err(at(directory))
    }

    /// The first name that is free.
    fn create_failed(
        &self,
        directory: &Path,
        id: MessageId,
        target: &str,
    ) -> Result<(PathBuf, PathBuf, D::File), FailedError> {
        let mut last = None;
        for number in 1..=MOST_OF_ONE {
            let name = match number {
                1 => format!("{id}.{target}"),
                number => format!("{id}.{target}.{number}"),
            };
            let (eml, json) = files(directory, &name);
            match self.disk.create(&eml) {
                Ok(file) => return Ok((eml, json, file)),
                Err(error) => last = Some((eml, error)),
            }
            if last
                .as_ref()
                .is_some_and(|(_, it)| it.kind() != io::ErrorKind::AlreadyExists)
            {
                break;
            }
        }
        let (path, source) =
            last.unwrap_or_else(|| (directory.to_owned(), io::ErrorKind::Other.into()));
        Err(FailedError::Io { path, source })
    }

    fn failed_directory(&self) -> Result<PathBuf, FailedError> {
        let path = self.root.join("failed");
        match self.disk.make_directory(&path) {
            Ok(is_new) => {
                if is_new {
                    let synced = self.disk.sync_directory(&self.root);
                    synced.map_err(|source| FailedError::Io {
                        path: self.root.clone(),
                        source,
                    })?;
                }
                Ok(path)
            }
            Err(source) => Err(FailedError::Io { path, source }),
        }
    }

    fn write(&self, file: &D::File, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.disk.append(file, &[IoSlice::new(bytes)]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The names of what is in `failed/`, in order.
    pub(super) fn failed_names(&self) -> io::Result<Vec<String>> {
        let names = match self.disk.list(&self.root.join("failed")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            names => names?,
        };
        let names = names.into_iter();
        let names = names.filter_map(|(name, _)| Some(name.strip_suffix(".json")?.to_owned()));
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        Ok(names)
    }

    pub(super) fn count_failed(&self) {
        if let Ok(names) = self.failed_names() {
            self.failed.store(names.len() as u64, Ordering::Relaxed);
        }
    }

    /// What is said of a message in `failed/`.
    pub(super) fn read_failed(&self, name: &str) -> io::Result<FailedMessage> {
        let (_, json) = files(&self.root.join("failed"), name);
        let mut bytes = Vec::new();
        self.read_file(&json, 0, |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// Reads a message in `failed/` piece by piece, from an offset on.
    pub(super) fn read_failed_content(
        &self,
        name: &str,
        from: u64,
        take: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let (eml, _) = files(&self.root.join("failed"), name);
        self.read_file(&eml, from, take)
    }

    fn read_file(
        &self,
        path: &Path,
        mut at: u64,
        mut take: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let file = self.disk.open(path)?;
        let mut buffer = vec![0; 64 << 10];
        loop {
            match self.disk.read_at(&file, &mut buffer, at) {
                Ok(0) => return Ok(()),
                Ok(count) => {
                    take(buffer.get(..count).unwrap_or_default())?;
                    at += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Removes a message from `failed/`: what names it first.
    pub(super) fn remove_failed(&self, name: &str) -> io::Result<()> {
        let directory = self.root.join("failed");
        let (eml, json) = files(&directory, name);
        self.disk.remove(&json)?;
        self.disk.sync_directory(&directory)?;
        self.count_failed();
        self.disk.remove(&eml)
    }
}

impl FailedMessage {
    /// The message for those who did not get it, as if it had just been received: the time that it is tried begins anew.
    pub(super) fn again(&self, now: u64) -> StoredEnvelope {
        let mut envelope = self.envelope.clone();
        let is_meant = |place: &u32| {
            let place = usize::try_from(*place).ok();
            let recipient = place.and_then(|it| self.envelope.recipients.get(it));
            recipient.is_some_and(|it| self.recipients.iter().any(|failed| failed.to == it.to))
        };
        envelope.targets.retain(|it| it.name == self.target);
        for target in &mut envelope.targets {
            target.recipients.retain(is_meant);
        }
        envelope.retried = Some(now);
        envelope
    }
}

/// Messages in `failed/` of one message and target: once for each attempt that has ended for somebody.
const MOST_OF_ONE: u32 = 10_000;

fn at(path: &Path) -> impl Fn(io::Error) -> FailedError + use<> {
    let path = path.to_owned();
    move |source| FailedError::Io {
        path: path.clone(),
        source,
    }
}

fn files(directory: &Path, name: &str) -> (PathBuf, PathBuf) {
    (
        directory.join(format!("{name}.eml")),
        directory.join(format!("{name}.json")),
    )
}

impl From<&Ended> for FailedRecipient {
    fn from(ended: &Ended) -> Self {
        Self {
            to: ended.recipient.to.clone(),
            reply: ended.reply.as_ref().map(ToString::to_string),
            detail: ended.detail.clone(),
            attempts: ended.attempts,
            last_attempt: text(super::envelope::milliseconds(ended.last_attempt)),
        }
    }
}

fn text(milliseconds: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_millis(milliseconds);
    format!("{:.3}", Timestamp::try_from(time).unwrap_or_default())
}
