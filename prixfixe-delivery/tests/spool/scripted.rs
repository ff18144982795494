//! A target that does as it is told, and a spool on a disk of its own whose time is the test's.

use std::fs::File;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

use prixfixe_delivery::{
    Asked, BoxFuture, Delivered, Failure, FailureKind, Health, Outcomes, RetrySchedule, Routes,
    Spool, SpoolOptions, Target, Transaction,
};
use prixfixe_server::{Client, Envelope, Mail, Message, Recipient, reply};
use prixfixe_spool::{Disk, LockKind, OsDisk};
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// What a target got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Got {
    pub after: Duration,
    pub digest: String,
    pub to: Vec<String>,
    pub content: Vec<u8>,
}

type Answer = dyn Fn(&str, usize) -> Result<Delivered, Failure> + Send + Sync;

/// A target that answers for each recipient as a function says: of its address, and of how many
/// attempts there were.
#[derive(Clone)]
pub struct Scripted(Arc<Inner>);

struct Inner {
    since: Instant,
    answer: Box<Answer>,
    /// Every attempt, with those for whom it was.
    attempts: Mutex<Vec<Got>>,
    /// Those who have it.
    got: Mutex<Vec<Got>>,
    /// An attempt needs one of these.
    permits: Option<Semaphore>,
}

impl Scripted {
    pub fn new(
        answer: impl Fn(&str, usize) -> Result<Delivered, Failure> + Send + Sync + 'static,
    ) -> Self {
        Self::with(answer, None)
    }

    fn with(
        answer: impl Fn(&str, usize) -> Result<Delivered, Failure> + Send + Sync + 'static,
        permits: Option<Semaphore>,
    ) -> Self {
        Self(Arc::new(Inner {
            since: Instant::now(),
            answer: Box::new(answer),
            attempts: Mutex::default(),
            got: Mutex::default(),
            permits,
        }))
    }

    pub fn good() -> Self {
        Self::new(|_, _| Ok(Delivered::default()))
    }

    pub fn dead() -> Self {
        Self::new(|_, _| Err(Failure::unreachable("connection refused")))
    }

    /// It keeps everybody waiting.
    pub fn stuck() -> Self {
        Self::with(|_, _| Ok(Delivered::default()), Some(Semaphore::new(0)))
    }

    pub fn let_through(&self, count: usize) {
        self.0.permits.as_ref().unwrap().add_permits(count);
    }

    pub fn attempts(&self) -> Vec<Got> {
        self.0.attempts.lock().unwrap().clone()
    }

    pub fn got(&self) -> Vec<Got> {
        self.0.got.lock().unwrap().clone()
    }

    /// Waits until it has got so many messages.
    pub async fn wait_for(&self, count: usize) -> Vec<Got> {
        until(|| self.got().len() >= count).await;
        self.got()
    }

    pub async fn wait_for_attempts(&self, count: usize) -> Vec<Got> {
        until(|| self.attempts().len() >= count).await;
        self.attempts()
    }
}

/// Waits until something is so: at most three weeks of the test's time.
pub async fn until(is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(21 * 86_400);
    while !is_so() {
        assert!(Instant::now() < deadline, "it has not come so");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

impl Target for Scripted {
    fn begin<'a>(&'a self, _: Mail<'a>) -> Asked<'a, Result<Box<dyn Transaction>, Failure>> {
        Asked::Now(Ok(Box::new(self.clone())))
    }

    fn health(&self) -> Health {
        Health::always_good()
    }
}

impl Transaction for Scripted {
    fn rcpt<'a>(&'a mut self, _: &'a Recipient) -> Asked<'a, Result<(), Failure>> {
        Asked::Now(Ok(()))
    }

    fn deliver(self: Box<Self>, mut message: Message) -> BoxFuture<'static, Outcomes> {
        Box::pin(async move {
            if let Some(permits) = &self.0.permits {
                permits.acquire().await.unwrap().forget();
            }
            let digest = message.digest().await.unwrap().to_string();
            let recipients: Vec<String> = (message.envelope().recipients().iter())
                .map(ToString::to_string)
                .collect();
            let before = self.0.attempts.lock().unwrap().len();
            let answers = recipients.iter().map(|it| (self.0.answer)(it, before));
            let answers: Vec<_> = answers.collect();
            // One that will take it from nobody does not read it.
            let is_never =
                |it: &Result<_, Failure>| matches!(it, Err(it) if it.kind() == FailureKind::Never);
            let content = match answers.iter().all(is_never) {
                true => Vec::new(),
                false => match message.collect().await {
                    Ok(message) => message.into_content().to_vec(),
                    Err(error) => return Outcomes::All(Err(Failure::said(error.into()))),
                },
            };
            let got = |to: Vec<String>| Got {
                after: self.0.since.elapsed(),
                digest: digest.clone(),
                to,
                content: content.clone(),
            };
            self.0
                .attempts
                .lock()
                .unwrap()
                .push(got(recipients.clone()));
            let taken = recipients.iter().zip(&answers).filter(|(_, it)| it.is_ok());
            let taken: Vec<String> = taken.map(|(to, _)| to.clone()).collect();
            if !taken.is_empty() {
                self.0.got.lock().unwrap().push(got(taken));
            }
            Outcomes::Each(answers)
        })
    }
}

pub fn not_now() -> Failure {
    Failure::said(reply!(452 4.2.2 "Over quota"))
}

pub fn never() -> Failure {
    Failure::said(reply!(550 5.1.1 "No such user"))
}

pub fn to(targets: &[(&str, &Scripted)]) -> Routes {
    let names: Vec<&str> = targets.iter().map(|(name, _)| *name).collect();
    let routes = targets
        .iter()
        .fold(Routes::new("mx.example.org"), |routes, (name, target)| {
            routes.target(*name, (*target).clone())
        });
    routes.rest_to_all(&names).unwrap()
}

pub fn options() -> SpoolOptions {
    let mut options = SpoolOptions::default();
    options.retry = RetrySchedule::new([60, 300, 900].map(Duration::from_secs));
    options
}

/// Everything is written where it is asked for: nothing but timers takes time.
pub fn start(path: &Path, routes: Routes, options: SpoolOptions) -> Spool<Quick> {
    let spool = Spool::open_on(Quick, path, routes, options, false).unwrap();
    spool.deliver();
    spool
}

pub fn message(to: &[&str], text: &str) -> Message {
    let mut envelope = Envelope::builder().from("ann@example.com").unwrap();
    for recipient in to {
        envelope = envelope.to(recipient).unwrap();
    }
    let client = Client::builder().ehlo("mail.example.com").build();
    let content = format!("Message-ID: <{text}@example.com>\r\n\r\n{text}\r\n");
    Message::new(client, envelope.build(), [content])
}

pub async fn send(
    spool: &Spool<impl Disk + Clone>,
    to: &[&str],
    text: &str,
) -> prixfixe_delivery::EntryId {
    spool.submit(message(to, text)).await.unwrap()
}

/// The names in `failed/`.
pub fn failed(path: &Path) -> Vec<String> {
    let Ok(found) = std::fs::read_dir(path.join("failed")) else {
        return Vec::new();
    };
    let mut names: Vec<String> = found
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The operating system's disk without the waiting: nothing here is about a loss of power.
#[derive(Clone, Copy)]
pub struct Quick;

/// Which thread has made or removed what, of all tests.
pub static MADE_OR_REMOVED: Mutex<Vec<(PathBuf, ThreadId)>> = Mutex::new(Vec::new());

fn note(path: &Path) {
    let by = std::thread::current().id();
    MADE_OR_REMOVED.lock().unwrap().push((path.to_owned(), by));
}

impl Disk for Quick {
    type File = File;

    fn make_directory(&self, path: &Path) -> io::Result<bool> {
        OsDisk.make_directory(path)
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        note(path);
        OsDisk.create(path)
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        OsDisk.open(path)
    }

    fn length(&self, file: &File) -> io::Result<u64> {
        OsDisk.length(file)
    }

    fn read_at(&self, file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        OsDisk.read_at(file, buffer, offset)
    }

    fn append(&self, file: &File, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        OsDisk.append(file, bytes)
    }

    fn truncate(&self, file: &File, length: u64) -> io::Result<()> {
        OsDisk.truncate(file, length)
    }

    fn sync(&self, _: &File) -> io::Result<()> {
        Ok(())
    }

    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        note(path);
        OsDisk.remove(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<(String, u64)>> {
        OsDisk.list(path)
    }

    fn try_lock(&self, file: &File, kind: LockKind) -> io::Result<bool> {
        OsDisk.try_lock(file, kind)
    }

    fn unlock(&self, file: &File) -> io::Result<()> {
        OsDisk.unlock(file)
    }
}
