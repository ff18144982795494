//! Large objects, in parts.

use std::fmt::Write;
use std::sync::Arc;

use prixfixe_server::Reply;
use rusty_s3::Bucket;
use rusty_s3::actions::CreateMultipartUpload;

use super::object::{Checksum, Object};
use super::store::{Mode, Store, Tried, signed, tried};
use crate::Failure;
use prixfixe_http::Part;

/// The smallest part that all stores take.
const PART: u64 = 5 << 20;

/// An upload that has begun. What was stored of it is removed unless it is completed.
struct Upload {
    store: Arc<Store>,
    key: String,
    id: String,
    is_complete: bool,
}

/// A part that is stored.
struct Stored {
    /// As the store gave it.
    etag: String,
    checksum: Checksum,
}

impl Store {
    /// Stores an object in parts.
    pub(super) async fn upload(
        self: &Arc<Self>,
        object: &Object<'_>,
        mode: Mode,
    ) -> Result<Tried, Failure> {
        let mut upload = match self.begin(object).await? {
            Ok(upload) => upload,
            Err(tried) => return Ok(tried),
        };
        let mut stored = Vec::new();
        for part in parts(object) {
            let number = u16::try_from(stored.len() + 1).unwrap_or(u16::MAX);
            stored.push(upload.send(number, part).await?);
        }
        upload.complete(&stored, mode).await
    }

    async fn begin(
        self: &Arc<Self>,
        object: &Object<'_>,
    ) -> Result<Result<Upload, Tried>, Failure> {
        let mut fields = object.fields();
        fields.push(("x-amz-checksum-algorithm", "SHA256".to_owned()));
        let sign = |bucket: &Bucket, credentials: &rusty_s3::Credentials| {
            let action = bucket.create_multipart_upload(Some(credentials), object.key);
            signed(action, &fields)
        };
        let answer = self
            .ask(sign, &fields, Vec::new(), self.patience.each)
            .await?;
        match tried(&answer)? {
            Tried::Put(_) => {}
            other => return Ok(Err(other)),
        }
        let parsed = CreateMultipartUpload::parse_response(&answer.text());
        let id = match parsed {
            Ok(parsed) => parsed.upload_id().to_owned(),
            // Some stores leave the name space out.
            Err(_) => answer.element("UploadId").ok_or_else(|| {
                Failure::said(Reply::TRY_LATER).because("the store gave no id for an upload")
            })?,
        };
        Ok(Ok(Upload {
            store: Arc::clone(self),
            key: object.key.to_owned(),
            id,
            is_complete: false,
        }))
    }
}

impl Upload {
    async fn send(&self, number: u16, part: Vec<Part>) -> Result<Stored, Failure> {
        let checksum = Checksum::of_parts(&part).await.map_err(Failure::said)?;
        let fields = vec![("x-amz-checksum-sha256", checksum.base64())];
        let sign = |bucket: &Bucket, credentials: &rusty_s3::Credentials| {
            let action = bucket.upload_part(Some(credentials), &self.key, number, &self.id);
            signed(action, &fields)
        };
        let Self { store, .. } = self;
        let answer = store.ask(sign, &fields, part, store.patience.last).await?;
        if answer.is_error() {
            return Err(answer.failure());
        }
        let etag = answer.header("etag").ok_or_else(|| {
            Failure::said(Reply::TRY_LATER).because("the store gave no ETag for a part")
        })?;
        let etag = etag.to_owned();
        Ok(Stored { etag, checksum })
    }

    async fn complete(&mut self, parts: &[Stored], mode: Mode) -> Result<Tried, Failure> {
        let mut fields = vec![("content-type", "application/xml".to_owned())];
        let store = Arc::clone(&self.store);
        store.condition(&mut fields, mode);
        let sign = |bucket: &Bucket, credentials: &rusty_s3::Credentials| {
            let etags = parts.iter().map(|part| part.etag.as_str());
            let (key, id) = (&*self.key, &*self.id);
            let action = bucket.complete_multipart_upload(Some(credentials), key, id, etags);
            signed(action, &fields)
        };
        let content = vec![Part::Bytes(list(parts).into())];
        let answer = store
            .ask(sign, &fields, content, store.patience.last)
            .await?;
        let tried = tried(&answer)?;
        if let Tried::Put(_) = tried {
            // A 200 comes before the store knows: only the end of its body tells. Its element is
            // called …Result, and by some stores …Response.
            let text = answer.text();
            let (_, end) = text.rsplit_once("</").unwrap_or_default();
            let is_there = answer.status == 412 || end.contains("CompleteMultipartUpload");
            if !is_there {
                return Err(Failure::unknown(
                    "the store's answer to an upload breaks off",
                ));
            }
            self.is_complete = answer.status != 412;
        }
        Ok(tried)
    }
}

/// What has begun and will not be completed costs its owner money until somebody removes it. So it
/// is removed also where the delivery was given up.
impl Drop for Upload {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        if self.is_complete {
            return;
        }
        let store = Arc::clone(&self.store);
        let (key, id) = (std::mem::take(&mut self.key), std::mem::take(&mut self.id));
        runtime.spawn(async move {
            let sign = |bucket: &Bucket, credentials: &rusty_s3::Credentials| {
                signed(bucket.abort_multipart_upload(Some(credentials), &key, &id), &[])
            };
            let patience = store.patience.each;
            let aborted = store.ask(sign, &[], Vec::new(), patience).await;
            if aborted.is_err() {
                tracing::warn!(%key, upload = %id, "parts of an upload that failed stay in the bucket: let a lifecycle rule abort incomplete uploads");
            }
        });
    }
}

/// The body of the request that completes an upload.
fn list(parts: &[Stored]) -> String {
    let mut text =
        String::from("<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for (index, Stored { etag, checksum }) in parts.iter().enumerate() {
        let etag = etag
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('"', "&quot;");
        // Writing to a String does not fail.
        let _ = write!(
            text,
            "<Part><ChecksumSHA256>{}</ChecksumSHA256><ETag>{etag}</ETag><PartNumber>{}</PartNumber></Part>",
            checksum.base64(),
            index + 1
        );
    }
    text.push_str("</CompleteMultipartUpload>");
    text
}

/// The parts of an object. None has memory of its own: each is read again while it is sent.
fn parts(object: &Object<'_>) -> impl Iterator<Item = Vec<Part>> {
    let front = object.front.clone();
    let content = object.content.clone();
    let front_size = front.len() as u64;
    (0..object.size().div_ceil(PART)).map(move |number| {
        let start = number * PART;
        let end = start + PART;
        let within =
            |position: u64| usize::try_from(position.min(front_size)).unwrap_or(usize::MAX);
        let of_front = front.slice(within(start)..within(end));
        let of_content = content.as_ref().map(|content| {
            let start = start.saturating_sub(front_size);
            content.part(start, end.saturating_sub(front_size).saturating_sub(start))
        });
        let of_front = (!of_front.is_empty()).then_some(Part::Bytes(of_front));
        let of_content = of_content.filter(|it| it.size() > 0).map(Part::Gathered);
        of_front.into_iter().chain(of_content).collect()
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use prixfixe_server::Gathered;

    use super::*;

    async fn read(parts: &[Part]) -> Vec<u8> {
        let mut whole = Vec::new();
        for part in parts {
            match part {
                Part::Bytes(bytes) => whole.extend_from_slice(bytes),
                Part::Gathered(gathered) => {
                    let mut body = gathered.body();
                    while let Some(piece) = body.chunk().await.unwrap() {
                        whole.extend_from_slice(&piece);
                    }
                }
            }
        }
        whole
    }

    #[tokio::test]
    async fn parts_are_of_one_size_but_the_last_and_together_the_object() {
        let part = usize::try_from(PART).unwrap();
        for (front, size) in [
            (2, 0),
            (2, 1),
            (2, part - 3),
            (2, part - 2),
            (2, 2 * part),
            (2, 2 * part + 7),
            (part + 5, 3),
            (part, part),
        ] {
            let content: Vec<u8> = (0..size).map(|it| it as u8).collect();
            let front = vec![b'f'; front];
            let object = Object {
                key: "key",
                content_type: "message/rfc822",
                front: Bytes::from(front.clone()),
                content: Some(Gathered::new(content.clone())),
                checksum: Checksum::of(b""),
                attempt: None,
            };
            let mut whole = Vec::new();
            let mut lengths = Vec::new();
            for part in parts(&object) {
                let bytes = read(&part).await;
                assert_eq!(Checksum::of_parts(&part).await, Ok(Checksum::of(&bytes)));
                lengths.push(bytes.len());
                whole.extend_from_slice(&bytes);
            }
            let last = lengths.pop().unwrap();
            assert!(lengths.iter().all(|it| *it == part) && last <= part);
            assert_eq!(whole, [front, content].concat());
        }
    }
}
