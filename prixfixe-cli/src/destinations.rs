//! What the admin endpoints tell of where mail goes: the targets, whatever is before them.

use prixfixe_admin::Numbers;
use prixfixe_delivery::{Delivery, SpoolStatus, Storage, TargetStatus, TemporarySpace};
use prixfixe_spooling::Spooling;

/// The delivery, and the spool between it and the targets.
#[derive(Debug)]
pub(crate) struct Destinations {
    pub(crate) delivery: Delivery,
    pub(crate) spool: Option<Spooling>,
    /// What messages pass through.
    pub(crate) temporary: TemporarySpace,
}

impl prixfixe_admin::Destinations for Destinations {
    fn fault(&self) -> Option<String> {
        let fault = self.temporary.fault().or_else(|| self.delivery.fault());
        fault.map(|fault| fault.to_string())
    }

    fn storage(&self) -> Vec<Storage> {
        let mut storage = match &self.spool {
            Some(spool) => spool.storage(),
            None => self.delivery.storage(),
        };
        storage.extend(self.temporary.storage());
        storage
    }

    fn targets(&self) -> Vec<TargetStatus> {
        match &self.spool {
            Some(spool) => spool.targets(),
            None => self.delivery.targets(),
        }
    }

    fn spool(&self) -> Option<SpoolStatus> {
        self.spool.as_ref().map(Spooling::status)
    }
}

/// What a spool counts itself.
#[derive(Debug)]
pub(crate) struct OfSpool(pub(crate) Spooling);

impl Numbers for OfSpool {
    fn encode(&self, text: &mut String) {
        self.0.encode(text);
    }
}
