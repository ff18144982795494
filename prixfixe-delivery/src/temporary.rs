//! The free space of a directory that messages pass through, and do not stay in.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prixfixe_server::{Check, CheckSession, Client, Mail, Reply};

use crate::fault::NO_SPACE;
use crate::space::Gauge;
use crate::{Disk, Fault, FileSystem, MinFree, Storage};

/// The check of the directory where a server [gathers](prixfixe_server::Settings::temporary) what
/// has no room in memory: with too little free space there MAIL is answered `452 4.3.1`. Clones
/// share everything.
///
/// It knows what it saw when it last [looked](Self::look).
///
/// ```
/// use prixfixe_delivery::{MinFree, TemporarySpace};
///
/// let space = TemporarySpace::default();
/// space.set(Some("/tmp".into()), MinFree::bytes(1));
/// space.look();
/// assert!(space.fault().is_none());
/// ```
#[derive(Clone, Default)]
pub struct TemporarySpace(Arc<Mutex<Option<Watched>>>);

struct Watched {
    directory: PathBuf,
    gauge: Arc<Gauge>,
    fault: Option<Arc<Fault>>,
}

impl TemporarySpace {
    /// From now on it is about this directory, which is not looked at yet, or about none.
    pub fn set(&self, directory: Option<PathBuf>, min_free: MinFree) {
        let mut watched = self.watched();
        match (&mut *watched, directory) {
            (Some(it), Some(directory)) if it.directory == directory => {
                let fault = it.gauge.set_min_free(&subject(&directory), min_free);
                it.fault = fault.map(Arc::new);
            }
            (watched, directory) => {
                *watched = directory.map(|directory| Watched {
                    directory,
                    gauge: Arc::new(Gauge::new(min_free)),
                    fault: None,
                });
            }
        }
    }

    /// Looks at the free space. This waits for the disk.
    pub fn look(&self) {
        let place = |it: &Watched| (it.directory.clone(), Arc::clone(&it.gauge));
        // Not under the lock: MAIL waits for that.
        let place = self.watched().as_ref().map(place);
        let Some((directory, gauge)) = place else {
            return;
        };
        let Ok(Some(free)) = Disk.free_space(&directory) else {
            return;
        };
        let fault = gauge.sample(&subject(&directory), free);
        if let Some(it) = &mut *self.watched()
            && it.directory == directory
        {
            it.fault = fault.map(Arc::new);
        }
    }

    /// What was seen.
    #[must_use]
    pub fn storage(&self) -> Option<Storage> {
        let watched = self.watched();
        let it = watched.as_ref()?;
        it.gauge.storage(it.directory.clone())
    }

    /// Why no mail is taken.
    #[must_use]
    pub fn fault(&self) -> Option<Arc<Fault>> {
        self.watched().as_ref()?.fault.clone()
    }

    fn has_room_for(&self, bytes: u64) -> bool {
        let watched = self.watched();
        let watched = watched.as_ref();
        watched.is_none_or(|it| it.fault.is_none() && it.gauge.has_room_for(bytes))
    }

    fn watched(&self) -> MutexGuard<'_, Option<Watched>> {
        // Nothing that can panic runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn subject(directory: &Path) -> String {
    directory.display().to_string()
}

impl Check for TemporarySpace {
    type Session = TemporarySpaceSession;

    async fn connect(self: &Arc<Self>, _: &Client) -> Result<TemporarySpaceSession, Reply> {
        Ok(TemporarySpaceSession(Self::clone(self)))
    }
}

/// One connection, as [`TemporarySpace`] sees it.
#[derive(Debug)]
pub struct TemporarySpaceSession(TemporarySpace);

impl CheckSession for TemporarySpaceSession {
    async fn mail(&mut self, mail: Mail<'_>) -> Result<(), Reply> {
        match self.0.has_room_for(mail.parameters().size.unwrap_or(0)) {
            true => Ok(()),
            false => Err(NO_SPACE),
        }
    }

    fn is_indifferent(&self) -> bool {
        true
    }
}

impl fmt::Debug for TemporarySpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TemporarySpace")
            .field(&self.storage())
            .finish()
    }
}
