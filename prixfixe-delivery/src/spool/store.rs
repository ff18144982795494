//! A message on its way into the spool.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;

use bytes::Bytes;
use prixfixe_server::{Digest, Mail, Message, Recipient, Reply, reply};
use prixfixe_spool::{AppendError, Disk, Draft, LargeFile, LargeWriter, MessageId, Ticket};

use super::core::Core;
use super::envelope::{StoredEnvelope, StoredTarget};
use super::summary::Summary;
use super::waiters::Waiters;
use crate::fault::{NO_SPACE, NOT_STORED};
use crate::routes::Routes;
use crate::{BoxFuture, Delivered, Failure, Fault, Outcomes, Transaction};

/// No route leads anywhere for this recipient.
pub(super) const NO_ROUTE: Reply = reply!(550 5.7.1 "No mail for this recipient here");
/// The next server may take it for a route of its own.
const ROUTE_IN_LOCAL_PART: Reply = reply!(550 5.7.1 "No routes in local parts");
const TOO_LONG: Reply = reply!(552 5.3.4 "Too many recipients for one message");

/// Contents up to this are in the record, longer ones in a file of their own.
pub(super) const IN_RECORD: usize = 256 << 10;

/// A message that a client sends.
pub(super) struct Incoming<D: Disk> {
    core: Arc<Core<D>>,
    routes: Arc<Routes>,
    is_stranger: bool,
}

/// A content, as far as it was read.
enum Gathering<D: Disk> {
    Memory(Vec<u8>),
    File(Writing<D>),
}

/// A long content that is being written. Given up, it is removed by a thread that may wait for the disk.
struct Writing<D: Disk>(Option<LargeWriter<D>>);

impl<D: Disk> Writing<D> {
    fn into_writer(mut self) -> std::io::Result<LargeWriter<D>> {
        self.0.take().ok_or_else(|| ErrorKind::NotFound.into())
    }
}

impl<D: Disk> Drop for Writing<D> {
    fn drop(&mut self) {
        if let Some(writer) = self.0.take() {
            drop_elsewhere(writer);
        }
    }
}

impl<D: Disk> Incoming<D> {
    pub(super) fn new(core: &Arc<Core<D>>, mail: Mail<'_>) -> Self {
        Self {
            core: Arc::clone(core),
            routes: core.routes(),
            is_stranger: mail.client().identity().is_none(),
        }
    }
}

/// Whether a recipient goes anywhere.
pub(crate) fn admit(
    routes: &Routes,
    recipient: &Recipient,
    is_stranger: bool,
) -> Result<(), Failure> {
    let mut targets = routes.find_all(recipient.path()).peekable();
    if targets.peek().is_none() {
        return Err(Failure::said(NO_ROUTE));
    }
    let local = recipient.path().mailbox().map_or("", |it| it.local_part());
    // RFC 5321 section 3.6.1: `bob%example.com@here` and its kin make a relay of the next server.
    let is_route = is_stranger && local.contains(['%', '!', '@', '/']);
    match is_route && targets.any(|it| it.target().is_relay()) {
        true => Err(Failure::said(ROUTE_IN_LOCAL_PART)),
        false => Ok(()),
    }
}

impl<D: Disk> Transaction for Incoming<D> {
    fn rcpt<'a>(&'a mut self, recipient: &'a Recipient) -> crate::Asked<'a, Result<(), Failure>> {
        crate::Asked::Now(admit(&self.routes, recipient, self.is_stranger))
    }

    fn deliver(self: Box<Self>, message: Message) -> BoxFuture<'static, Outcomes> {
        Box::pin(async move {
            let stored = self.core.store(&self.routes, message).await;
            Outcomes::All(stored.map(|_| Delivered::default()))
        })
    }
}

impl<D: Disk> Core<D> {
    /// Stores a message, for all of its recipients. It is on the disk when this returns.
    pub(super) async fn store(
        self: &Arc<Self>,
        routes: &Routes,
        mut message: Message,
    ) -> Result<MessageId, Failure> {
        let targets = split(routes, message.envelope().recipients())?;
        message.hash_while_read();
        let (gathered, size) = self.gather(&mut message).await?;
        let digest: Digest = message.digest().await?;
        let envelope = StoredEnvelope::new(&message, digest, size, targets);
        self.append(&message, digest, envelope, gathered).await
    }

    async fn gather(
        self: &Arc<Self>,
        message: &mut Message,
    ) -> Result<(Gathering<D>, u64), Failure> {
        let mut gathering = Gathering::Memory(Vec::new());
        let mut size = 0;
        while let Some(piece) = message.body().chunk().await.map_err(Reply::from)? {
            size += piece.len() as u64;
            gathering = match gathering {
                Gathering::Memory(mut bytes) if bytes.len() + piece.len() <= IN_RECORD => {
                    bytes.extend_from_slice(&piece);
                    Gathering::Memory(bytes)
                }
                Gathering::Memory(bytes) => {
                    if !self.log.has_room(size) {
                        return Err(Failure::said(NO_SPACE));
                    }
                    let core = Arc::clone(self);
                    let written = offload(move || {
                        let mut writer = core.log.large()?;
                        writer.write(&bytes)?;
                        writer.write(&piece)?;
                        Ok(Writing(Some(writer)))
                    });
                    Gathering::File(written.await.map_err(|error| self.cannot_write(error))?)
                }
                Gathering::File(writing) => {
                    if !self.log.has_room(size) {
                        return Err(Failure::said(NO_SPACE));
                    }
                    let written = offload(move || {
                        let mut writer = writing.into_writer()?;
                        writer.write(&piece)?;
                        Ok(Writing(Some(writer)))
                    });
                    Gathering::File(written.await.map_err(|error| self.cannot_write(error))?)
                }
            };
        }
        Ok((gathering, size))
    }

    async fn append(
        &self,
        message: &Message,
        digest: Digest,
        envelope: StoredEnvelope,
        gathered: Gathering<D>,
    ) -> Result<MessageId, Failure> {
        let ticket = match gathered {
            Gathering::Memory(content) => self.submit_kept(message, digest, envelope, content),
            Gathering::File(writing) => {
                let file = offload(move || writing.into_writer()?.finish()).await;
                let file = file.map_err(|error| self.cannot_write(error))?;
                if !self.log.has_room(0) {
                    drop_elsewhere(file);
                    return Err(Failure::said(NO_SPACE));
                }
                self.submit(&envelope, &[], Some(file))
            }
        };
        let ticket = match Waiters::here() {
            Some(place) => ticket.together(place),
            None => ticket,
        };
        let owed = self.monitor.ticket();
        let stored = ticket.await;
        drop(owed);
        match stored {
            Ok(_) => self.monitor.succeeded(),
            Err(AppendError::Failed | AppendError::NoSpace) => {
                let kind = match stored {
                    Err(AppendError::NoSpace) => std::io::ErrorKind::StorageFull,
                    _ => std::io::ErrorKind::Other,
                };
                let fault = Fault::at("write to", &self.root, kind.into());
                self.monitor.failed(Arc::new(fault));
            }
            Err(_) => {}
        }
        stored.map_err(|error| {
            Failure::said(match error {
                AppendError::Full | AppendError::NoSpace => NO_SPACE,
                AppendError::TooLong => TOO_LONG,
                _ => NOT_STORED,
            })
            .because(error.to_string())
        })
    }

    /// Hands a message to the log, and has it kept in memory for its delivery.
    fn submit_kept(
        &self,
        message: &Message,
        digest: Digest,
        envelope: StoredEnvelope,
        content: Vec<u8>,
    ) -> Ticket<MessageId> {
        let (taken, content) = (content.capacity(), Bytes::from(content));
        let summary = Summary::of(&envelope).to_bytes();
        let stored = envelope.to_bytes();
        let draft = Draft {
            summary: &summary,
            envelope: &stored,
            content: &content,
            ..Draft::default()
        };
        let kept = match self.is_delivering() {
            true => self.room.keep(message, digest, envelope, &content, taken),
            false => None,
        };
        let ticket = match kept {
            Some(kept) => self.log.append_with(draft, kept),
            None => self.log.append(draft),
        };
        self.settle();
        ticket
    }

    /// Hands a message to the log.
    pub(super) fn submit(
        &self,
        envelope: &StoredEnvelope,
        content: &[u8],
        file: Option<LargeFile<D>>,
    ) -> Ticket<MessageId> {
        let summary = Summary::of(envelope).to_bytes();
        let envelope = envelope.to_bytes();
        let draft = Draft {
            summary: &summary,
            envelope: &envelope,
            content,
            ..Draft::default()
        };
        let ticket = match file {
            Some(file) => self.log.append_large(draft, file),
            None => self.log.append(draft),
        };
        self.settle();
        ticket
    }

    fn cannot_write(&self, error: std::io::Error) -> Failure {
        let fault = Arc::new(Fault::at("write to", &self.root, error));
        let reply = match fault.is_no_space() {
            true => NO_SPACE,
            false => NOT_STORED,
        };
        self.monitor.failed(Arc::clone(&fault));
        Failure::said(reply).because(fault.to_string())
    }
}

/// Drops what waits for the disk when it is dropped.
fn drop_elsewhere<T: Send + 'static>(it: T) {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(move || drop(it))),
        Err(_) => drop(it),
    }
}

/// Does what waits for the disk.
pub(super) async fn offload<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(std::io::Error::other(error)))
}

/// Which recipients go to which target.
pub(crate) fn split(
    routes: &Routes,
    recipients: &[Recipient],
) -> Result<Vec<StoredTarget>, Failure> {
    let mut places: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for (place, recipient) in recipients.iter().enumerate() {
        let mut is_routed = false;
        for target in routes.find_all(recipient.path()) {
            is_routed = true;
            let place = u32::try_from(place).unwrap_or(u32::MAX);
            places.entry(target.name()).or_default().push(place);
        }
        // The routes have changed since RCPT, or a check has added it.
        if !is_routed {
            return Err(Failure::said(NO_ROUTE));
        }
    }
    let targets = places.into_iter();
    Ok(targets
        .map(|(name, places)| StoredTarget::new(name, places))
        .collect())
}
