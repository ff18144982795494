//! What a sender hears of it when a delivery is over.

use std::time::SystemTime;

use bytes::Bytes;
use prixfixe_server::ReversePath;
use tokio::io::AsyncReadExt;

use super::accept::Origin;
use super::letter::{Content, Stored};
use super::mail::Kept;
use super::names;
use super::round::Round;
use super::target::parts;
use super::verdict::Verdict;
use crate::nats::objects::Objects;
use crate::{Ended, Ending, Failure, Report};

/// So much of a content is shown to whoever writes a report: all of most, and the header of any.
const SHOWN: usize = 256 << 10;

impl Round {
    /// Tells the sender, who may want to hear of it. Those who have failed and whom it is not told
    /// of are returned.
    pub(super) async fn report<'a>(
        &self,
        stored: &Stored,
        kept: &Kept,
        verdict: &'a Verdict,
    ) -> Vec<&'a (u32, Failure)> {
        let wants_success = |place: &u32| {
            let notify = kept.recipient(*place).and_then(|it| it.notify.as_deref());
            notify.is_some_and(|it| it.contains("SUCCESS"))
        };
        let attempts = stored.attempt.saturating_add(1);
        let ended = |place: u32, failure: Option<&Failure>| {
            let recipient = kept.recipient(place)?.clone();
            let mut ended = Ended::new(recipient, attempts, SystemTime::now());
            ended.reply = failure.map(|it| it.reply().clone());
            ended.detail = failure.and_then(Failure::detail).map(str::to_owned);
            Some(ended)
        };
        let delivered = verdict.delivered.iter().map(|(place, _)| place);
        let delivered = delivered.filter(|it| wants_success(it));
        let delivered: Vec<Ended> = delivered.filter_map(|it| ended(*it, None)).collect();
        // RFC 3461 section 4.1: without NOTIFY a sender hears of failures.
        let wants_failure = |place: u32| {
            let notify = kept.recipient(place).and_then(|it| it.notify.as_deref());
            notify.is_none_or(|it| it.contains("FAILURE"))
        };
        let failed = verdict.failed.iter();
        let (wanted, mut untold): (Vec<_>, Vec<_>) = failed.partition(|it| wants_failure(it.0));
        if !delivered.is_empty() {
            self.send_report(stored, kept, Ending::Delivered, &delivered)
                .await;
        }
        if wanted.is_empty() {
            return untold;
        }
        let mut failures = wanted.iter().map(|(_, failure)| failure);
        let is_refused = failures.all(|failure| failure.reply().is_permanent());
        let ending = match is_refused {
            true => Ending::Refused,
            false => Ending::GivenUp,
        };
        let mut failed = Vec::new();
        let mut asked = Vec::new();
        for it in wanted {
            match ended(it.0, Some(&it.1)) {
                Some(ended) => {
                    failed.push(ended);
                    asked.push(it);
                }
                None => untold.push(it),
            }
        }
        let told = self.send_report(stored, kept, ending, &failed).await;
        let left_out = asked.into_iter().zip(told).filter(|(_, is_told)| !is_told);
        untold.extend(left_out.map(|(it, _)| it));
        untold
    }

    /// Whether each of these recipients is told of. The delivery is over, and is not made again
    /// since a report fails: what was given up is kept in place of it.
    async fn send_report(
        &self,
        stored: &Stored,
        kept: &Kept,
        ending: Ending,
        recipients: &[Ended],
    ) -> Vec<bool> {
        let nobody = vec![false; recipients.len()];
        match self.try_report(stored, kept, ending, recipients).await {
            Ok(told) => told.unwrap_or(nobody),
            Err(cause) => {
                let (digest, target) = (&stored.digest, self.target.name());
                tracing::warn!(digest, target, %cause, "a report to a sender was not kept");
                nobody
            }
        }
    }

    /// A report is a message as any other is, and goes by the routes. Of whom it tells; `None`:
    /// there is none.
    async fn try_report(
        &self,
        stored: &Stored,
        kept: &Kept,
        ending: Ending,
        recipients: &[Ended],
    ) -> Result<Option<Vec<bool>>, Failure> {
        let (content, is_whole) = self.beginning(stored).await?;
        let target = self.target.name();
        let report = Report::new(kept.envelope(), target, ending, recipients)
            .with_content(&content, is_whole);
        let Some(notice) = self.inner.bouncer.report(&report) else {
            return Ok(None);
        };
        let told = (0..recipients.len())
            .map(|it| notice.tells_of(it))
            .collect();
        let message = notice.into_message();
        // Nobody is told what became of a report: there would be no end of it.
        if !matches!(message.envelope().reverse_path(), ReversePath::Null) {
            return Ok(None);
        }
        let Ok(parts) = parts(&self.inner.routes(), &message) else {
            return Ok(None);
        };
        let id = self.report_id(stored, kept, ending, recipients);
        let origin = Origin {
            stream: &self.stream,
            id: &id,
        };
        self.inner.keep(message, &parts, Some(&origin)).await?;
        Ok(Some(told))
    }

    /// The same for each report of this attempt that tells the same of the same recipients.
    fn report_id(&self, stored: &Stored, kept: &Kept, ending: Ending, of: &[Ended]) -> String {
        let (digest, target, attempt) = (&stored.digest, self.target.name(), stored.attempt);
        let mark = names::mark(of.iter().map(|it| &*it.recipient.to));
        let what = match ending {
            Ending::Delivered => "delivered",
            Ending::Refused | Ending::GivenUp => "failed",
        };
        // Another mail of the same content has a report of its own.
        let id = &kept.envelope().id;
        format!("{digest}.{id}.{target}.{attempt}.{what}.{mark}")
    }

    async fn beginning(&self, stored: &Stored) -> Result<(Bytes, bool), Failure> {
        let name = match &stored.content {
            Content::Here(content) => {
                let shown = content.slice(..content.len().min(SHOWN));
                return Ok((shown, content.len() <= SHOWN));
            }
            Content::Object(name) => name,
        };
        let session = self.inner.keeper.shared.session().await?;
        let objects = Objects::open(&session, self.inner.names.bucket()).await?;
        let Some(object) = objects.get(name).await? else {
            return Ok((Bytes::new(), false));
        };
        let mut content = Vec::new();
        let mut object = object.take(SHOWN as u64);
        let read = object.read_to_end(&mut content).await;
        read.map_err(|error| Failure::unreachable(error.to_string()))?;
        Ok((Bytes::from(content), false))
    }
}
