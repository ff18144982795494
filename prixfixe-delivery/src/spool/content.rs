//! Reading a message from the log.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use prixfixe_server::{BodyError, MessageBuilder};
use prixfixe_spool::{Content, Disk, LargeReader, ReadError};
use tokio::sync::mpsc;

use crate::fault::NOT_STORED;

/// Bytes of a large content that are read at once.
const PIECE: usize = 128 << 10;

/// Pieces that are read ahead.
const AHEAD: usize = 2;

/// What turned out to be wrong with a content while a target took it.
pub(super) type Damage = Arc<OnceLock<ReadError>>;

/// Gives a content to a message. A large one is read piece by piece, while the target takes it.
pub(super) fn give<D: Disk>(
    content: Content<D>,
    message: MessageBuilder,
    damage: &Damage,
) -> MessageBuilder {
    match content {
        Content::Here(bytes) => message.pieces([bytes]),
        Content::Large(reader) => {
            let (sender, mut pieces) = mpsc::channel(AHEAD);
            let damage = Arc::clone(damage);
            // It waits for the disk, and for a target that may be slow.
            tokio::task::spawn_blocking(move || read_ahead(reader, &sender, &damage));
            message.source(move |cx| pieces.poll_recv(cx).map(|piece| piece.unwrap_or(Ok(None))))
        }
    }
}

type Piece = Result<Option<Bytes>, BodyError>;

fn read_ahead<D: Disk>(
    mut reader: LargeReader<D>,
    sender: &mpsc::Sender<Piece>,
    damage: &OnceLock<ReadError>,
) {
    loop {
        let mut buffer = vec![0; PIECE];
        let piece = match reader.read(&mut buffer) {
            Ok(0) => Ok(None),
            Ok(count) => {
                buffer.truncate(count);
                Ok(Some(Bytes::from(buffer)))
            }
            Err(error) => {
                match error {
                    // Whoever makes the attempt tells of it.
                    ReadError::Damaged { .. } => drop(damage.set(error)),
                    error => tracing::error!(%error, "a message of the spool cannot be read"),
                }
                Err(BodyError::Refused(NOT_STORED))
            }
        };
        let is_last = !matches!(piece, Ok(Some(_)));
        // Nobody wants it any more: the target has given up.
        if sender.blocking_send(piece).is_err() || is_last {
            return;
        }
    }
}

/// Reads a content piece by piece, on a thread that may wait.
pub(super) fn each_piece<D: Disk, E: From<ReadError>>(
    content: Content<D>,
    mut take: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    match content {
        Content::Here(bytes) => take(&bytes),
        Content::Large(mut reader) => {
            let mut buffer = vec![0; PIECE];
            loop {
                let count = reader.read(&mut buffer)?;
                match buffer.get(..count) {
                    None | Some([]) => return Ok(()),
                    Some(piece) => take(piece)?,
                }
            }
        }
    }
}

/// The beginning of a content, and whether that is all of it.
pub(super) fn beginning<D: Disk>(content: Content<D>) -> Result<(Vec<u8>, bool), ReadError> {
    const MOST: usize = 256 << 10;
    match content {
        Content::Here(bytes) => Ok((bytes, true)),
        Content::Large(mut reader) => {
            let mut bytes = vec![0; MOST];
            let mut filled = 0;
            while let Some(room) = bytes.get_mut(filled..).filter(|it| !it.is_empty()) {
                match reader.read(room)? {
                    0 => break,
                    count => filled += count,
                }
            }
            bytes.truncate(filled);
            let is_whole = reader.length() <= filled as u64;
            Ok((bytes, is_whole))
        }
    }
}

/// Where something is wrong with a file, beside the message.
pub(super) fn path_of(error: &ReadError) -> Option<PathBuf> {
    match error {
        ReadError::Damaged { path, .. } | ReadError::Io { path, .. } => Some(path.clone()),
        _ => None,
    }
}
