//! What is down is found to be up again, where no mail comes that would find out: a balancer sends
//! none to a server that is not ready.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::upstream::Upstream;

/// How often it is looked, while it is down.
const INTERVAL: Duration = Duration::from_secs(5);

/// A target that can be looked at without a message.
pub(crate) trait Revived: Send + Sync + 'static {
    fn upstream(&self) -> &Upstream;

    fn revival(&self) -> &Revival;

    /// Whether it can be reached. An error is for the log.
    fn look(&self) -> impl Future<Output = Result<(), String>> + Send;
}

/// What is known of the failures of a target.
#[derive(Debug, Default)]
pub(crate) struct Revival {
    is_watched: AtomicBool,
    failures: AtomicU64,
    /// It could be reached the last time, and failed all the same: only a message can tell whether
    /// that is over.
    is_reached: AtomicBool,
}

impl Revival {
    /// It has failed: where it can be reached all the same, and where it cannot.
    pub(crate) fn begin<T: Revived>(target: &Arc<T>, is_reached: bool) {
        let revival = target.revival();
        revival.failures.fetch_add(1, Ordering::AcqRel);
        revival.is_reached.store(is_reached, Ordering::Release);
        if !revival.is_watched.swap(true, Ordering::AcqRel) {
            tokio::spawn(watch(Arc::downgrade(target)));
        }
    }

    /// Nothing is left to watch. False where it has failed again meanwhile, and nobody else
    /// watches.
    fn end(&self, upstream: &Upstream) -> bool {
        self.is_watched.store(false, Ordering::Release);
        !upstream.is_down() || self.is_watched.swap(true, Ordering::AcqRel)
    }
}

async fn watch<T: Revived>(target: std::sync::Weak<T>) {
    let mut seen = 0;
    loop {
        sleep(INTERVAL).await;
        let Some(target) = target.upgrade() else {
            return;
        };
        let (upstream, revival) = (target.upstream(), target.revival());
        if !upstream.is_down() {
            match revival.end(upstream) {
                true => return,
                false => continue,
            }
        }
        // Where a message tries just now it finds out more.
        let Ok(pass) = upstream.enter().await else {
            continue;
        };
        let failures = revival.failures.load(Ordering::Acquire);
        let is_quiet = std::mem::replace(&mut seen, failures) == failures;
        // Messages are refused meanwhile, so it is no long look.
        match timeout(INTERVAL, target.look()).await {
            Ok(Ok(())) if is_quiet || !revival.is_reached.load(Ordering::Acquire) => {
                pass.succeeded();
            }
            Ok(Ok(())) | Err(_) => {}
            Ok(Err(error)) => pass.failed(&error),
        }
    }
}
