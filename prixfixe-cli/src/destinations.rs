//! What the admin endpoints tell of where mail goes: the targets, whatever is before them.

use std::fmt::Write as _;

use prixfixe_admin::Numbers;
use prixfixe_delivery::{Delivery, SpoolStatus, Storage, TargetStatus, TemporarySpace};

use crate::spooling::Spooling;

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

/// Reports to senders.
impl Numbers for Spooling {
    fn encode(&self, text: &mut String) {
        let name = "smtp_bounces_total";
        let help = "Reports to senders, and those that nobody may be told";
        let reports = self.reports();
        // Writing to a String does not fail.
        let _ = writeln!(text, "# HELP {name} {help}.\n# TYPE {name} counter");
        for (result, count) in [("sent", reports.sent()), ("withheld", reports.withheld())] {
            let _ = writeln!(text, "{name}{{result=\"{result}\"}} {count}");
        }
    }
}
