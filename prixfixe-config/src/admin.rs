//! The `[admin]` table.

use serde::{Deserialize, Serialize};

use super::address::{ListenAddress, Target};
use super::given::Invalid;
use super::words::{admin_address, display_some, read};

/// Where operators ask.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// HTTP address of the status page, /metrics, /healthz and /readyz
    #[arg(id = "admin.listen", long = "admin", value_name = "ADDR:PORT", value_parser = admin_address)]
    #[serde(
        serialize_with = "display_some",
        deserialize_with = "read::admin_address"
    )]
    pub listen: Option<ListenAddress>,
}

impl Admin {
    pub(super) fn is_off(&self) -> bool {
        self.listen.is_none()
    }

    /// What the address stands for, where there is one.
    pub fn look_up(&self) -> Result<Option<Target>, Invalid> {
        let look_up = |address: &ListenAddress| {
            let place = format!("admin.listen {address}");
            address
                .resolve()
                .map_err(|problem| Invalid { place, problem })
        };
        self.listen.as_ref().map(look_up).transpose()
    }
}
