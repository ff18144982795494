//! The file systems of many Maildirs, beside the one that most of them are on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::space::Gauge;
use crate::{Fault, FreeSpace, MinFree, Storage};

/// What is known of each, by its number.
#[derive(Debug, Default)]
pub(crate) struct Volumes(Mutex<BTreeMap<u64, Volume>>);

#[derive(Debug)]
struct Volume {
    /// Of the Maildir there that was found first.
    path: PathBuf,
    gauge: Gauge,
}

/// So many are known by their numbers. Those beyond are judged each time anew, without the tenth
/// more.
const MOST: usize = 256;

impl Volumes {
    /// What is wrong with the free space where this Maildir is.
    pub(crate) fn sample(
        &self,
        device: u64,
        path: &Path,
        free: FreeSpace,
        min_free: MinFree,
    ) -> Option<Fault> {
        let subject = path.display().to_string();
        let mut volumes = self.lock();
        if volumes.len() >= MOST && !volumes.contains_key(&device) {
            return Gauge::new(min_free).sample(&subject, free);
        }
        let volume = volumes.entry(device).or_insert_with(|| Volume {
            path: path.to_owned(),
            gauge: Gauge::new(min_free),
        });
        volume.gauge.sample(&subject, free)
    }

    pub(crate) fn set_min_free(&self, min_free: MinFree) {
        for volume in self.lock().values() {
            let subject = volume.path.display().to_string();
            volume.gauge.set_min_free(&subject, min_free);
        }
    }

    pub(crate) fn storage(&self) -> Vec<Storage> {
        let volumes = self.lock();
        let storage = volumes
            .values()
            .map(|volume| volume.gauge.storage(volume.path.clone()));
        storage.flatten().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Volume>> {
        // Nothing that can panic runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_system_is_short_by_itself() {
        let volumes = Volumes::default();
        let least = MinFree::bytes(1000);
        let is_short = |device, bytes| {
            let free = FreeSpace::new(bytes, None);
            volumes
                .sample(device, Path::new("/mail/a"), free, least)
                .is_some()
        };
        assert!(!is_short(1, 1000));
        assert!(is_short(2, 999));
        assert!(is_short(2, 1000), "a tenth more is needed");
        assert!(!is_short(1, 1000));
        volumes.set_min_free(MinFree::OFF);
        assert!(!is_short(2, 0));
        assert_eq!(volumes.storage().len(), 2);
    }

    #[test]
    fn the_number_that_is_known_is_bounded() {
        let volumes = Volumes::default();
        let free = FreeSpace::new(1, None);
        for device in 0..2 * MOST as u64 {
            let fault = volumes.sample(device, Path::new("/m"), free, MinFree::bytes(1000));
            assert!(fault.is_some());
        }
        assert_eq!(volumes.storage().len(), MOST);
    }
}
