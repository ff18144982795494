//! A fleet's spool, as `prixfixe spool` looks into it: with the configuration's credentials, and
//! without a server of ours.

use std::collections::BTreeSet;
use std::io::{self, Write};

use prixfixe_config::Spool;
use prixfixe_delivery::{
    EntryState, Fleet, FleetEntry, FleetError, FleetId, FleetUrl, InvalidFleetId, Which,
};
use tokio::runtime::{Builder, Runtime};

use crate::options;
use crate::protocol::{Delivery, Entry, Line, Request};
use crate::queue::{now, time, until};

/// A connection, and what keeps it while somebody reads slowly.
pub(crate) struct Opened {
    runtime: Runtime,
    fleet: Fleet,
    /// The targets that are configured.
    known: Vec<String>,
}

/// Why a request was not carried out to its end.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Operation(#[from] FleetError),
    #[error("{id:?} is {source}")]
    Id { id: String, source: InvalidFleetId },
    #[error("{error}; done before it: {done}")]
    Midway { done: u64, error: FleetError },
}

impl Opened {
    /// Connects. Nothing is made: what is missing is an error.
    pub(crate) fn new(url: &FleetUrl, spool: &Spool, known: Vec<String>) -> Result<Self, String> {
        // Its own thread answers the server while this one waits for a reader.
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        let mut of_fleet = options::of_fleet(spool);
        of_fleet.creates = false;
        let fleet = runtime
            .block_on(Fleet::open(url, of_fleet))
            .map_err(|error| error.to_string())?;
        Ok(Self {
            runtime,
            fleet,
            known,
        })
    }

    /// Answers a request, to its end or with an error.
    pub(crate) fn answer(&self, request: Request, output: &mut dyn Write) -> io::Result<()> {
        match self.runtime.block_on(self.carry_out(request, output)) {
            Ok(count) => Line::End(count).write(output),
            Err(error) => Line::Error(error.to_string()).write(output),
        }
    }

    async fn carry_out(&self, request: Request, output: &mut dyn Write) -> Result<u64, Refusal> {
        let fleet = &self.fleet;
        match request {
            Request::List => {
                let list = fleet.list(|found| Line::Entry(self.entry(found)).write(output));
                Ok(list.await?)
            }
            Request::Show { id } => self.show(&parse(&id)?, output).await,
            Request::Export { id } => {
                let id = parse(&id)?;
                let export = fleet.export(&id, |piece| {
                    Line::Bytes(piece.len() as u64).write(output)?;
                    output.write_all(piece)
                });
                export.await?;
                Ok(1)
            }
            Request::Targets => {
                let mut used = BTreeSet::new();
                let list = fleet.list(|found| {
                    if found.state != EntryState::Failed {
                        used.insert(found.target);
                    }
                    Ok(())
                });
                list.await?;
                let targets = Line::Targets(used.into_iter().collect());
                targets.write(output).map_err(FleetError::Output)?;
                Ok(0)
            }
            Request::RetryAll { target } => {
                let which = target.as_deref().map_or(Which::All, Which::Target);
                Ok(fleet.retry(which).await.map_err(FleetError::from)?)
            }
            Request::Retry { ids } => for_each(&ids, async |id| fleet.retry_one(id).await).await,
            Request::Hold { ids } => for_each(&ids, async |id| fleet.hold_one(id).await).await,
            Request::Release { ids } => {
                for_each(&ids, async |id| fleet.release_one(id).await).await
            }
            Request::Remove { ids } => for_each(&ids, async |id| fleet.remove_one(id).await).await,
        }
    }

    /// All of a message's targets as one message.
    async fn show(&self, id: &FleetId, output: &mut dyn Write) -> Result<u64, Refusal> {
        let mut shown: Option<Entry> = None;
        let found = self.fleet.show(id, |found| {
            let entry = self.entry(found);
            match &mut shown {
                Some(shown) => shown.deliveries.extend(entry.deliveries),
                None => shown = Some(entry),
            }
            Ok(())
        });
        found.await?;
        if let Some(entry) = shown {
            let written = Line::Entry(entry).write(output);
            written.map_err(FleetError::Output)?;
        }
        Ok(1)
    }

    fn entry(&self, found: FleetEntry) -> Entry {
        let is_known = self.known.contains(&found.target);
        let state = match (found.state, is_known) {
            (state @ EntryState::Failed, _) | (state, true) => state.to_string(),
            (_, false) => "unknown target".to_owned(),
        };
        Entry {
            id: found.id.to_string(),
            message: found.message,
            state: match (found.state, is_known) {
                (state @ EntryState::Failed, _) | (state, true) => state.to_string(),
                // Nobody tries it.
                (_, false) => EntryState::Held.to_string(),
            },
            received: time(found.received),
            age: now().saturating_sub(found.received) / 1000,
            size: found.size,
            from: found.from,
            digest: found.digest,
            deliveries: vec![Delivery {
                target: found.target,
                state,
                recipients: found.recipients,
                attempts: found.attempts,
                next: found.next_attempt.map(until),
                error: found.last_error,
            }],
        }
    }
}

/// All of them are ids, or nothing is done.
async fn for_each(
    ids: &[String],
    act: impl AsyncFn(&FleetId) -> Result<(), FleetError>,
) -> Result<u64, Refusal> {
    let parsed: Vec<FleetId> = ids.iter().map(|id| parse(id)).collect::<Result<_, _>>()?;
    let mut done = 0;
    for id in &parsed {
        act(id).await.map_err(|error| match done {
            0 => Refusal::Operation(error),
            done => Refusal::Midway { done, error },
        })?;
        done += 1;
    }
    Ok(done)
}

fn parse(id: &str) -> Result<FleetId, Refusal> {
    id.parse().map_err(|source| Refusal::Id {
        id: id.to_owned(),
        source,
    })
}
