//! `KEY.json` and `KEY.eml`, and what is left of them.

use std::sync::Arc;

use prixfixe_server::Reply;

use super::object::{Checksum, Object};
use super::sidecar::{Attempt, sidecar};
use super::store::{Head, Mode, Put, Store};
use crate::Failure;
use crate::facts::Facts;

/// The two objects of a copy.
pub(super) struct Pair<'a> {
    pub(super) store: &'a Arc<Store>,
    pub(super) facts: &'a Facts,
    pub(super) json: String,
    pub(super) object: Object<'a>,
}

impl Pair<'_> {
    /// Stores both, unless they are there. What became of it, in words.
    ///
    /// An attempt has an id and a time of its own, in both objects. So a sidecar that an earlier
    /// attempt left alone is written over, and that of an attempt which comes second belongs to the
    /// one that was first.
    pub(super) async fn put(&self, attempt: &Attempt) -> Result<&'static str, Failure> {
        if self.put_sidecar(attempt, Mode::New).await? == Put::Exists {
            match self.store.head(self.object.key).await? {
                Head::Found(_) => return Ok(THERE),
                Head::Absent => {
                    self.put_sidecar(attempt, Mode::Over).await?;
                }
                Head::Hidden => {
                    return match self.store.put(&self.object, Mode::New).await? {
                        Put::Exists => Ok(THERE),
                        Put::Stored => {
                            self.put_sidecar(attempt, Mode::Over).await?;
                            Ok("stored")
                        }
                    };
                }
            }
        }
        if self.store.put(&self.object, Mode::New).await? == Put::Stored {
            return Ok("stored");
        }
        // Another attempt was first, at this very moment or before somebody removed its sidecar.
        if let Head::Found(Some(first)) = self.store.head(self.object.key).await? {
            self.put_sidecar(&first, Mode::Over).await?;
        }
        Ok(THERE)
    }

    async fn put_sidecar(&self, attempt: &Attempt, mode: Mode) -> Result<Put, Failure> {
        let json = sidecar(self.facts, attempt);
        let json =
            json.map_err(|error| Failure::said(Reply::TRY_LATER).because(error.to_string()))?;
        let object = Object {
            key: &self.json,
            content_type: "application/json",
            checksum: Checksum::of(&json),
            front: json.into(),
            content: None,
            attempt: None,
        };
        self.store.put(&object, mode).await
    }
}

const THERE: &str = "there already";
