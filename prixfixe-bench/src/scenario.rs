//! Named workloads, the same everywhere so that their figures can be compared.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::plan::{Content, Pace, Plan};

/// A named workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scenario {
    /// 1000 messages of 1 KiB over 20 connections.
    BurstSmall,
    /// 2000 messages of 10 KiB over 20 connections.
    BurstMedium,
    /// 5000 messages of 1 KiB over 50 connections.
    HighVolume,
    /// 50 messages of 10 KiB a second for 30 seconds, over 20 connections.
    Sustained,
    /// 500 messages of 100 KiB over 20 connections.
    Large,
}

impl Scenario {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 5] = [
        Self::BurstSmall,
        Self::BurstMedium,
        Self::HighVolume,
        Self::Sustained,
        Self::Large,
    ];

    /// What its run is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BurstSmall => "burst-small",
            Self::BurstMedium => "burst-medium",
            Self::HighVolume => "high-volume",
            Self::Sustained => "sustained",
            Self::Large => "large",
        }
    }

    /// The plan that it stands for; what it does not decide is as in [`Plan::new`].
    #[must_use]
    pub fn plan<T: Into<String>>(self, targets: impl IntoIterator<Item = T>) -> Plan {
        const KIB: u64 = 1024;
        let (pace, size, concurrency) = match self {
            Self::BurstSmall => (Pace::messages(1000), KIB, 20),
            Self::BurstMedium => (Pace::messages(2000), 10 * KIB, 20),
            Self::HighVolume => (Pace::messages(5000), KIB, 50),
            Self::Sustained => {
                let mut pace = Pace::duration(Duration::from_secs(30));
                pace.rate = Some(50.0);
                (pace, 10 * KIB, 20)
            }
            Self::Large => (Pace::messages(500), 100 * KIB, 20),
        };
        Plan {
            name: self.name().to_owned(),
            pace,
            content: Content::Size(size),
            concurrency: NonZeroU32::new(concurrency).unwrap_or(NonZeroU32::MIN),
            ..Plan::new(targets)
        }
    }
}
