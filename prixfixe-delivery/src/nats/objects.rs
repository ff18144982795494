//! Contents that are too large for a message: objects of a bucket.

#[cfg(feature = "fleet")]
use async_nats::jetstream::object_store::{GetErrorKind, Object, ObjectInfo};
use async_nats::jetstream::object_store::{ObjectMetadata, ObjectStore};
#[cfg(feature = "fleet")]
use async_nats::jetstream::stream::LastRawMessageErrorKind;
#[cfg(feature = "fleet")]
use base64::{Engine, engine::general_purpose::URL_SAFE};
use prixfixe_server::Reply;
use tokio::io::AsyncRead;

use super::answers::InUse;
use super::link::{Session, words_of};
use super::send::{CONNECTION_LOST, full};
use crate::{BoxFuture, Failure};

/// A bucket, as one message uses it.
pub(crate) struct Objects<'a> {
    session: &'a Session,
    name: &'a str,
    store: ObjectStore,
    /// How often the connection was lost before.
    losses: u64,
    _use: InUse,
}

/// A piece of an object, unless the server takes less.
const CHUNK: usize = 128 << 10;

impl<'a> Objects<'a> {
    pub(crate) fn open(
        session: &'a Session,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Self, Failure>> {
        Box::pin(async move {
            let losses = session.losses();
            let in_use = InUse::begin(&session.answers);
            match session.context.get_object_store(name).await {
                Ok(store) => Ok(Self {
                    session,
                    name,
                    store,
                    losses,
                    _use: in_use,
                }),
                Err(error) => Err(failure(name, "cannot get hold", &error)),
            }
        })
    }

    /// An object is complete where it is there, since its description is stored last.
    pub(crate) fn has<'f>(&'f self, name: &'f str) -> BoxFuture<'f, bool> {
        Box::pin(async move {
            let info = self.store.info(name).await;
            info.is_ok_and(|info| !info.deleted)
        })
    }

    /// Stores an object, in pieces that the server takes: `limit` bytes at most.
    pub(crate) fn put<'f>(
        &'f self,
        name: String,
        limit: usize,
        mut content: &'f mut (dyn AsyncRead + Unpin + Send),
    ) -> BoxFuture<'f, Result<(), Failure>> {
        let metadata = ObjectMetadata {
            name,
            description: Some("message/rfc822".to_owned()),
            chunk_size: Some(CHUNK.min(limit).max(1)),
            ..ObjectMetadata::default()
        };
        Box::pin(async move {
            tokio::select! {
                stored = self.store.put(metadata, &mut content) => match stored {
                    Ok(_) => Ok(()),
                    Err(error) => Err(failure(self.name, "cannot store an object", &error)),
                },
                () = self.session.is_lost_since(self.losses) => {
                    Err(Failure::unreachable(CONNECTION_LOST))
                }
            }
        })
    }
}

#[cfg(feature = "fleet")]
impl Objects<'_> {
    /// The object, to be read; `None` where there is none.
    pub(crate) fn get<'f>(
        &'f self,
        name: &'f str,
    ) -> BoxFuture<'f, Result<Option<Object>, Failure>> {
        Box::pin(async move {
            match self.store.get(name).await {
                Ok(object) => Ok(Some(object)),
                Err(error) if error.kind() == GetErrorKind::NotFound => {
                    match self.is_gone(name).await {
                        true => Ok(None),
                        false => Err(failure(self.name, "cannot get an object", &error)),
                    }
                }
                Err(error) => Err(failure(self.name, "cannot get an object", &error)),
            }
        })
    }

    /// Whether the leader knows for certain of no such object: a copy that lags may not have it
    /// yet.
    fn is_gone<'f>(&'f self, name: &'f str) -> BoxFuture<'f, bool> {
        Box::pin(async move {
            let bucket = self.name;
            let subject = format!("$O.{bucket}.M.{}", URL_SAFE.encode(name));
            let stream = format!("OBJ_{bucket}");
            let Ok(stream) = self.session.context.get_stream_no_info(stream).await else {
                return false;
            };
            match stream.get_last_raw_message_by_subject(&subject).await {
                Ok(message) => {
                    let info = serde_json::from_slice::<ObjectInfo>(&message.payload);
                    info.is_ok_and(|info| info.deleted)
                }
                Err(error) => error.kind() == LastRawMessageErrorKind::NoMessageFound,
            }
        })
    }

    /// Removes it. One that stays takes room and does no other harm.
    pub(crate) fn remove<'f>(&'f self, name: &'f str) -> BoxFuture<'f, ()> {
        Box::pin(async move {
            if let Err(error) = self.store.delete(name).await {
                let bucket = self.name;
                tracing::debug!(bucket, name, cause = %error, "an object stays");
            }
        })
    }
}

fn failure(bucket: &str, what: &str, error: &dyn std::error::Error) -> Failure {
    let words = format!("{what} of the bucket {bucket}: {}", words_of(error));
    match full(&words) {
        true => Failure::said(Reply::NO_ROOM).because(words),
        false => Failure::unreachable(words),
    }
}
