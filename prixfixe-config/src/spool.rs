//! The `[spool]` table.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::units::{DAY, Seconds, Size};
use super::words::{read, spool_path};

/// Where mail is kept until its targets have it.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spool {
    /// Directory that keeps mail until its targets have it; clients do not wait for them
    #[arg(id = "spool.path", long = "spool", value_name = "PATH", value_parser = spool_path)]
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read::spool_path"
    )]
    pub path: Option<PathBuf>,
    #[arg(skip)]
    pub max_size: Size<{ 1 << 20 }, { 1 << 50 }>,
    #[arg(skip)]
    pub give_up_after: Seconds<60, { 30 * DAY }>,
    /// The pauses between attempts; the last one repeats.
    #[arg(skip)]
    #[serde(deserialize_with = "read::pauses")]
    pub retry: Vec<Seconds<1>>,
}

/// RFC 5321 section 4.5.4.1 asks for 30 minutes and more after the first attempts, and for four to five days.
const RETRY: [u64; 7] = [60, 300, 900, 1800, 3600, 7200, 14_400];

impl Default for Spool {
    fn default() -> Self {
        Self {
            path: None,
            max_size: Size::nearest(10 << 30),
            give_up_after: Seconds::nearest(Duration::from_secs(5 * DAY)),
            retry: RETRY
                .map(|pause| Seconds::nearest(Duration::from_secs(pause)))
                .to_vec(),
        }
    }
}

impl Spool {
    pub(super) fn is_off(&self) -> bool {
        *self == Self::default()
    }

    pub fn pauses(&self) -> Vec<Duration> {
        self.retry.iter().map(|pause| pause.get()).collect()
    }
}
