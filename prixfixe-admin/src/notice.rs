//! What the status page warns of: a setting that nobody wants on the Internet.

use std::sync::{Arc, Mutex, PoisonError};

/// The warning as of the configuration in force. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Notice(Arc<Mutex<Option<String>>>);

impl Notice {
    /// Replaces what is warned of; `None`: of nothing.
    pub fn set(&self, warning: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = warning;
    }

    pub(super) fn get(&self) -> Option<String> {
        let warning = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        warning.clone()
    }
}
