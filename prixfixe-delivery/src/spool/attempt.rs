//! An attempt to deliver a message to a target, and what comes of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use prixfixe_server::{Message, Reply};
use prixfixe_spool::{Content, Disk, ReadError};

use super::content;
use super::core::Core;
use super::ending::Endings;
use super::envelope::{InvalidEnvelope, StoredEnvelope, StoredRecipient, StoredTarget};
use super::failed::FailedError;
use super::kept::Kept;
use super::queue::{Again, Next};
use super::state::TargetState;
use super::undelivered::Ending;
use crate::target::UNREACHABLE;
use crate::{Failure, FailureKind, Health, hand_over};

/// Before it is tried again where the trouble is ours: the disk cannot be read, say.
const OWN_TROUBLE: u64 = 60_000;

/// An attempt that is under way. Dropped in the middle, the message is tried again.
pub(super) struct UnderWay<D: Disk> {
    pub(super) core: Arc<Core<D>>,
    pub(super) next: Next,
    has_ended: bool,
}

/// A message that is being tried, and for whom.
pub(super) struct Trial {
    origin: Origin,
    pub(super) target: StoredTarget,
    /// The target's place among the envelope's.
    pub(super) place: usize,
    pub(super) state: TargetState,
    /// Places in the target's list of those for whom it is not over.
    pub(super) pending: Vec<usize>,
}

/// Where what is known of a message comes from.
enum Origin {
    Kept(Arc<Kept>),
    Stored(Arc<StoredEnvelope>),
}

/// Where the content of a message that is being tried is.
enum Tried<D: Disk> {
    Kept(Arc<Kept>),
    Read(Content<D>),
}

impl<D: Disk> Tried<D> {
    /// The message, for the recipients at these places.
    fn message(
        self,
        trial: &Trial,
        places: &[u32],
        damage: &content::Damage,
    ) -> Result<Message, InvalidEnvelope> {
        match self {
            Self::Kept(kept) => Ok(kept.message(places)),
            Self::Read(content) => {
                let envelope = trial.envelope();
                envelope.message(places, |it| content::give(content, it, damage))
            }
        }
    }
}

impl Trial {
    /// What was stored of the message.
    pub(super) fn envelope(&self) -> &Arc<StoredEnvelope> {
        match &self.origin {
            Origin::Kept(kept) => kept.envelope(),
            Origin::Stored(envelope) => envelope,
        }
    }

    /// Whether its sender has said of a recipient what it wants to hear of.
    pub(super) fn is_any_asked_for(&self) -> bool {
        match &self.origin {
            Origin::Kept(kept) => kept.is_any_asked_for(),
            Origin::Stored(envelope) => envelope.recipients.iter().any(|it| it.notify.is_some()),
        }
    }

    fn tried_since(&self) -> u64 {
        match &self.origin {
            Origin::Kept(kept) => kept.tried_since(),
            Origin::Stored(envelope) => envelope.tried_since(),
        }
    }

    /// The recipient at this place of the target's list.
    pub(super) fn recipient(&self, place: usize) -> Option<&StoredRecipient> {
        let place = *self.target.recipients.get(place)?;
        let recipients = &self.envelope().recipients;
        recipients.get(usize::try_from(place).ok()?)
    }
}

/// Makes an attempt.
pub(super) async fn attempt<D: Disk>(core: Arc<Core<D>>, next: Next) {
    let under_way = UnderWay::new(core, next);
    let core = &under_way.core;
    let Some((trial, content)) = under_way.read().await else {
        return;
    };
    if trial.pending.is_empty() {
        return under_way.over();
    }
    let routes = core.routes();
    let Some(target) = routes.named(&trial.target.name) else {
        return under_way.again(0, "unknown target", false);
    };
    let places = trial.pending.iter();
    let places: Vec<u32> = places
        .filter_map(|place| trial.target.recipients.get(*place).copied())
        .collect();
    let damage = content::Damage::default();
    let message = match content.message(&trial, &places, &damage) {
        Ok(message) => message,
        Err(error) => return under_way.unreadable(&error.to_string()),
    };
    let since = Instant::now();
    let count = places.len();
    let outcomes = hand_over(target.target(), message).await;
    target.count(&outcomes, since.elapsed());
    if let Some(error) = damage.get() {
        return under_way.damaged(error).await;
    }
    let outcomes = outcomes.each_of(count);
    let mut endings = Endings::new(u32::from(under_way.next.attempts) + 1);
    for (place, outcome) in trial.pending.iter().zip(outcomes) {
        endings.add(*place, outcome, since.elapsed());
    }
    let is_up = endings.is_any_ended() || !is_down(&target.health(), endings.failures());
    core.reached(&under_way.next, is_up, endings.last_error().as_deref());
    under_way.conclude(trial, endings).await;
}

/// Ends what was tried for too long, without another attempt.
pub(super) async fn give_up<D: Disk>(core: Arc<Core<D>>, next: Next) {
    let under_way = UnderWay::new(core, next);
    let Some((trial, _)) = under_way.read().await else {
        return;
    };
    let attempts = u32::from(under_way.next.attempts);
    let mut endings = Endings::new(attempts);
    let error = under_way.core.last_error(&under_way.next);
    let error = error.unwrap_or_else(|| "its target could not be reached".to_owned());
    for place in &trial.pending {
        let failure = Failure::unreachable(&*error);
        endings.add(*place, Err(failure), Duration::ZERO);
    }
    endings.give_up();
    under_way.conclude(trial, endings).await;
}

/// Whether a failure says that nothing can be delivered there now, rather than something about this mail.
///
/// A target that keeps its health knows that better than the words of a failure: an answer to one message that says
/// nothing clear has the same ones.
fn is_down<'a>(health: &Health, mut failures: impl Iterator<Item = &'a Failure>) -> bool {
    let is_ours =
        |failure: &Failure| failure.kind() != FailureKind::Never && *failure.reply() == UNREACHABLE;
    match health.is_kept() {
        true => health.fault().is_some(),
        false => failures.any(is_ours),
    }
}

impl<D: Disk> UnderWay<D> {
    fn new(core: Arc<Core<D>>, next: Next) -> Self {
        Self {
            core,
            next,
            has_ended: false,
        }
    }

    /// The message, and for whom it is still to be tried. `None`: that has been dealt with.
    async fn read(&self) -> Option<(Trial, Tried<D>)> {
        let (core, id) = (Arc::clone(&self.core), self.next.id);
        let kept = core.queue().kept(id);
        if let Some(kept) = kept {
            let trial = self.trial(Origin::Kept(Arc::clone(&kept)))?;
            return Some((trial, Tried::Kept(kept)));
        }
        let read = tokio::task::spawn_blocking(move || core.log.read(id)).await;
        let stored = match read {
            Ok(Ok(stored)) => stored,
            Ok(Err(ReadError::Unknown)) => {
                self.core.queue().remove(id);
                return None;
            }
            Ok(Err(error @ ReadError::Damaged { .. })) => {
                self.damaged(&error).await;
                return None;
            }
            Ok(Err(error)) => {
                tracing::error!(target: "prixfixe", %id, %error, "a message of the spool cannot be read");
                return None;
            }
            Err(_) => return None,
        };
        match StoredEnvelope::from_bytes(&stored.envelope) {
            Ok(envelope) => {
                let trial = self.trial(Origin::Stored(Arc::new(envelope)))?;
                Some((trial, Tried::Read(stored.content)))
            }
            Err(error) => {
                self.unreadable(&error.to_string());
                None
            }
        }
    }

    fn trial(&self, origin: Origin) -> Option<Trial> {
        let queue = self.core.queue();
        let jobs = queue.jobs(self.next.id)?;
        let place = jobs.iter().position(|job| job.lane == self.next.lane)?;
        let ended = queue.ended_of(self.next.id, place);
        drop(queue);
        let targets = match &origin {
            Origin::Kept(kept) => kept.targets(),
            Origin::Stored(envelope) => &envelope.targets,
        };
        let target = targets.get(place)?.clone();
        let state = TargetState {
            ended,
            ..TargetState::default()
        };
        let pending = 0..target.recipients.len();
        let pending = pending.filter(|place| !state.has_ended(*place)).collect();
        Some(Trial {
            origin,
            target,
            place,
            state,
            pending,
        })
    }

    /// Nobody gets it any more. What is left of it is kept, for whoever wants to look.
    async fn damaged(&self, error: &ReadError) {
        let (core, id) = (Arc::clone(&self.core), self.next.id);
        let path = content::path_of(error).unwrap_or_default();
        let aside = tokio::task::spawn_blocking(move || core.log.set_aside(id)).await;
        match aside {
            // Another attempt has found it too.
            Ok(Ok(()) | Err(ReadError::Unknown)) => {}
            Ok(Err(cause)) => return self.unreadable(&format!("{error}; {cause}")),
            Err(_) => return,
        }
        tracing::error!(
            target: "prixfixe", %id, path = %path.display(), %error,
            "a message of the spool is damaged: what is left of it is set aside in damaged/"
        );
        self.core.queue().lose(id);
        self.core.forget(id);
    }

    fn unreadable(&self, error: &str) {
        tracing::error!(
            target: "prixfixe", id = %self.next.id, error,
            "a message of the spool cannot be understood and is kept"
        );
        self.core.queue().hold(self.next.id);
    }

    /// What came of it: who has ended is told and stored, everybody else is tried again.
    async fn conclude(self, mut trial: Trial, mut endings: Endings) {
        let core = Arc::clone(&self.core);
        let options = core.options();
        let patience = u64::try_from(options.give_up_after.as_millis()).unwrap_or(u64::MAX);
        let deadline = trial.tried_since().saturating_add(patience);
        let now = core.now();
        if now >= deadline {
            endings.give_up();
        }
        endings.log(&trial, self.next.id);
        for ending in [Ending::Delivered, Ending::Refused, Ending::GivenUp] {
            let ended = endings.places(ending);
            if ended.is_empty() {
                continue;
            }
            let told = core.report(&trial, self.next.id, ending, &endings).await;
            if let Err(FailedError::Read(error @ ReadError::Damaged { .. })) = &told {
                return self.damaged(error).await;
            }
            if let Err(error) = told {
                // They are not over before somebody can find them.
                tracing::error!(target: "prixfixe", id = %self.next.id, %error, "cannot write to failed/");
                endings.keep(ending, &error.to_string());
                continue;
            }
            ended.iter().for_each(|place| trial.state.end(*place));
            if ending == Ending::GivenUp
                && let Some(lane) = core.queue().lane_mut(self.next.lane)
            {
                lane.given_up += ended.len() as u64;
            }
        }
        let is_over = trial.state.is_over(trial.target.recipients.len());
        // Where other targets are left this is stored too, or a restart would deliver here again.
        core.queue()
            .set_ended_of(self.next.id, trial.place, trial.state.ended);
        if is_over {
            return self.over();
        }
        let attempts = u32::from(self.next.attempts) + 1;
        let wait = options.retry.wait(attempts).as_millis();
        let due = now.saturating_add(u64::try_from(wait).unwrap_or(u64::MAX));
        let due = match deadline > now {
            // The last one.
            true => due.min(deadline),
            false => due,
        };
        let error = endings.last_error().unwrap_or_default();
        self.again(due, &error, true);
    }

    /// It is tried again. 0: in a while.
    fn again(mut self, due: u64, error: &str, counts: bool) {
        let now = self.core.now();
        let due = match due {
            0 => now + OWN_TROUBLE,
            due => due,
        };
        let again = Again { due, error, counts };
        self.end(Some(again));
        self.core.store_state(self.next.id);
    }

    /// Nothing is left to be done for this target.
    fn over(mut self) {
        if self.end(None) {
            self.core.log.done(self.next.id);
            self.core.settle();
        } else {
            self.core.store_state(self.next.id);
        }
    }

    fn end(&mut self, again: Option<Again<'_>>) -> bool {
        self.has_ended = true;
        let now = self.core.now();
        self.core.queue().ended(&self.next, again, now)
    }
}

impl<D: Disk> Drop for UnderWay<D> {
    fn drop(&mut self) {
        if !self.has_ended {
            let due = self.core.now() + OWN_TROUBLE;
            let error = "the attempt was interrupted";
            self.end(Some(Again {
                due,
                error,
                counts: false,
            }));
        }
    }
}

impl<D: Disk> Core<D> {
    pub(super) fn now(&self) -> u64 {
        self.clock.now()
    }

    /// An attempt has shown whether a target can be reached.
    fn reached(&self, next: &Next, is_up: bool, error: Option<&str>) {
        let now = self.now();
        if let Some(lane) = self.queue().lane_mut(next.lane) {
            lane.reached(is_up, now);
            lane.last_error = error.map(Into::into);
        }
    }

    fn last_error(&self, next: &Next) -> Option<String> {
        let queue = self.queue();
        let lane = queue.lanes().get(usize::from(next.lane))?;
        lane.last_error.as_deref().map(ToOwned::to_owned)
    }

    /// A message is over.
    pub(super) fn forget(&self, id: prixfixe_spool::MessageId) {
        self.queue().remove(id);
        self.log.done(id);
        self.settle();
    }
}

/// The words of a failure: the target's own, and those for the log.
pub(super) fn words(failure: &Failure) -> String {
    let reply: &Reply = failure.reply();
    match failure.detail() {
        Some(detail) => detail.to_owned(),
        None => reply.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Fault;
    use crate::health::Monitor;

    #[test]
    fn a_target_that_keeps_its_health_is_down_when_that_says_so() {
        let unclear = Failure::unreachable("status 408");
        assert!(is_down(&Health::always_good(), [&unclear].into_iter()));
        let monitor = Monitor::new("a webhook");
        assert!(!is_down(&monitor.health(), [&unclear].into_iter()));
        let error = std::io::Error::other("connection refused");
        monitor.failed(Arc::new(Fault::new("deliver to", "a webhook", error)));
        assert!(is_down(&monitor.health(), [&unclear].into_iter()));
    }
}
