//! A spool's answers to requests.

use std::io::{self, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use prixfixe_delivery::{
    Discard, EntryId, EntryState, OperationError, Routes, Spool, SpoolEntry, SpoolOptions,
};

use crate::protocol::{Delivery, Entry, Line, Request};

/// Answers a request, to its end or with an error.
pub(crate) fn answer(spool: &Spool, request: Request, output: &mut dyn Write) -> io::Result<()> {
    answer_by(spool, &Live, request, output)
}

/// The same for a spool that no server has: what is asked for has to be on the disk.
pub(crate) fn answer_stopped(
    spool: &Spool,
    request: Request,
    output: &mut dyn Write,
) -> io::Result<()> {
    answer_by(spool, &Stopped, request, output)
}

/// How messages are tried now.
trait Retry {
    fn one(&self, spool: &Spool, id: &EntryId) -> Result<(), OperationError>;
    fn all(&self, spool: &Spool, target: Option<&str>) -> Result<u64, OperationError>;
}

/// By the server, at once.
struct Live;

/// By the next start. Releasing a message writes down that it is due.
struct Stopped;

impl Retry for Live {
    fn one(&self, spool: &Spool, id: &EntryId) -> Result<(), OperationError> {
        spool.retry(id)
    }

    fn all(&self, spool: &Spool, target: Option<&str>) -> Result<u64, OperationError> {
        Ok(spool.retry_all(target))
    }
}

impl Retry for Stopped {
    fn one(&self, spool: &Spool, id: &EntryId) -> Result<(), OperationError> {
        match id {
            EntryId::Queued(_) => {
                spool.retry(id)?;
                spool.hold(id)?;
                spool.release(id)
            }
            _ => spool.retry(id),
        }
    }

    fn all(&self, spool: &Spool, target: Option<&str>) -> Result<u64, OperationError> {
        let mut count = 0;
        each(spool, |found| -> Result<(), OperationError> {
            let mut targets = found.targets.iter();
            let is_meant = targets.any(|it| {
                !it.recipients.is_empty() && target.is_none_or(|target| target == it.name)
            });
            if found.state == EntryState::Waiting && is_meant {
                self.one(spool, &found.id)?;
                count += 1;
            }
            Ok(())
        })?;
        Ok(count)
    }
}

fn answer_by(
    spool: &Spool,
    retry: &dyn Retry,
    request: Request,
    output: &mut dyn Write,
) -> io::Result<()> {
    match carry_out(spool, retry, request, output) {
        Ok(count) => Line::End(count).write(output),
        Err(error) => Line::Error(error.to_string()).write(output),
    }
}

/// Why a request was not carried out to its end.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Operation(#[from] OperationError),
    #[error("{id:?} is {source}")]
    Id {
        id: String,
        source: prixfixe_delivery::InvalidEntryId,
    },
    #[error("{error}; done before it: {done}")]
    Midway { done: usize, error: OperationError },
    /// Whoever asked has gone.
    #[error(transparent)]
    Output(#[from] io::Error),
}

fn carry_out(
    spool: &Spool,
    retry: &dyn Retry,
    request: Request,
    output: &mut dyn Write,
) -> Result<u64, Refusal> {
    match request {
        Request::List => {
            let mut count = 0;
            each(spool, |found| -> Result<(), Refusal> {
                count += 1;
                Ok(Line::Entry(entry(found)).write(output)?)
            })?;
            Ok(count)
        }
        Request::Show { id } => {
            let found = spool.show(&parse(&id)?)?;
            Line::Entry(entry(&found)).write(output)?;
            Ok(1)
        }
        Request::Export { id } => {
            spool.export(&parse(&id)?, |piece| {
                Line::Bytes(piece.len() as u64).write(output)?;
                output.write_all(piece)
            })?;
            Ok(1)
        }
        Request::Targets => {
            let status = spool.status();
            let targets = status.targets.into_iter();
            let used = targets.filter(|(_, it)| it.ready + it.waiting + it.held > 0);
            Line::Targets(used.map(|(name, _)| name).collect()).write(output)?;
            Ok(0)
        }
        Request::RetryAll { target } => Ok(retry.all(spool, target.as_deref())?),
        Request::Retry { ids } => for_each(&ids, |id| retry.one(spool, id)),
        Request::Hold { ids } => for_each(&ids, |id| spool.hold(id)),
        Request::Release { ids } => for_each(&ids, |id| spool.release(id)),
        Request::Remove { ids } => for_each(&ids, |id| spool.remove(id)),
    }
}

/// So many are in memory at once.
const PAGE: usize = 256;

/// Every message, the oldest first, then those that have failed.
fn each<E: From<OperationError>>(
    spool: &Spool,
    mut take: impl FnMut(&SpoolEntry) -> Result<(), E>,
) -> Result<(), E> {
    let mut after = None;
    loop {
        let page = spool.list(after.as_ref(), PAGE)?;
        page.iter().try_for_each(&mut take)?;
        match page.last() {
            Some(last) => after = Some(last.id.clone()),
            None => return Ok(()),
        }
    }
}

/// All of them are ids, or nothing is done.
fn for_each(
    ids: &[String],
    act: impl Fn(&EntryId) -> Result<(), OperationError>,
) -> Result<u64, Refusal> {
    let parsed: Vec<EntryId> = ids.iter().map(|id| parse(id)).collect::<Result<_, _>>()?;
    for (done, id) in parsed.iter().enumerate() {
        act(id).map_err(|error| match done {
            0 => Refusal::Operation(error),
            done => Refusal::Midway { done, error },
        })?;
    }
    Ok(parsed.len() as u64)
}

fn parse(id: &str) -> Result<EntryId, Refusal> {
    id.parse().map_err(|source| Refusal::Id {
        id: id.to_owned(),
        source,
    })
}

/// How long a server may take from its start, or to its end, before it can be asked.
const PATIENCE: Duration = Duration::from_secs(10);

/// Opens the spool of a server that does not run. `None`: one does, and may soon be asked.
/// `targets` are those that are known.
pub(crate) fn open(path: &Path, targets: &[String]) -> Result<Option<Spool>, String> {
    let routes = targets
        .iter()
        .fold(Routes::new("localhost"), |routes, name| {
            routes.target(name.as_str(), Discard::new())
        });
    Spool::inspect(path, routes, SpoolOptions::default()).map_err(|error| error.to_string())
}

/// Tries something until there is an answer, for as long as a server may take to start or to end.
pub(crate) fn patiently<T>(
    mut attempt: impl FnMut() -> Result<Option<T>, String>,
) -> Result<T, String> {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(done) = attempt()? {
            return Ok(done);
        }
        if Instant::now() > until {
            return Err("a server has it, and does not answer; its log says why".to_owned());
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn entry(found: &SpoolEntry) -> Entry {
    let state = found.state.to_string();
    let deliveries = found.targets.iter().map(|target| {
        let is_over = target.recipients.is_empty();
        Delivery {
            target: target.name.clone(),
            state: match (is_over, target.is_known) {
                (true, _) => "delivered".to_owned(),
                (false, false) => "unknown target".to_owned(),
                (false, true) => state.clone(),
            },
            recipients: match is_over {
                true => target.ended.clone(),
                false => target.recipients.clone(),
            },
            attempts: target.attempts,
            next: target.next_attempt.filter(|_| !is_over).map(until),
            error: target.last_error.clone(),
        }
    });
    Entry {
        id: found.id.to_string(),
        message: found.message.clone(),
        deliveries: deliveries.collect(),
        state,
        received: time(found.received),
        age: now().saturating_sub(found.received) / 1000,
        size: found.size,
        from: found.from.clone(),
        digest: found.digest.clone(),
    }
}

/// Milliseconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn until(milliseconds: u64) -> u64 {
    milliseconds.saturating_sub(now()).div_ceil(1000)
}

pub(crate) fn time(milliseconds: u64) -> String {
    let milliseconds = i64::try_from(milliseconds).unwrap_or(i64::MAX);
    let time = Timestamp::from_millisecond(milliseconds);
    time.map_or_else(|_| String::new(), |time| time.to_string())
}
