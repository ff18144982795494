//! Named workloads, the same everywhere so that their figures can be compared.

use std::time::Duration;

use super::engine::Pace;

/// A named workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Scenario {
    /// 1000 messages of 1 KiB over 20 connections
    BurstSmall,
    /// 2000 messages of 10 KiB over 20 connections
    BurstMedium,
    /// 5000 messages of 1 KiB over 50 connections
    HighVolume,
    /// 50 messages of 10 KiB a second for 30 seconds
    Sustained,
    /// 500 messages of 100 KiB over 20 connections
    Large,
    /// All of them in a row
    All,
}

/// What a scenario decides.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) pace: Pace,
    pub(crate) size: u64,
    pub(crate) concurrency: u32,
}

impl Scenario {
    /// The runs that it stands for.
    pub(crate) fn shapes(self) -> Vec<Shape> {
        let burst = |name, messages, size, concurrency| {
            let pace = Pace {
                messages: Some(messages),
                duration: None,
                rate: None,
                ramp: Duration::ZERO,
            };
            Shape {
                name,
                pace,
                size,
                concurrency,
            }
        };
        const KIB: u64 = 1024;
        match self {
            Self::BurstSmall => vec![burst("burst-small", 1000, KIB, 20)],
            Self::BurstMedium => vec![burst("burst-medium", 2000, 10 * KIB, 20)],
            Self::HighVolume => vec![burst("high-volume", 5000, KIB, 50)],
            Self::Sustained => {
                let duration = Some(Duration::from_secs(30));
                let pace = Pace {
                    messages: None,
                    duration,
                    rate: Some(50.0),
                    ramp: Duration::ZERO,
                };
                vec![Shape {
                    name: "sustained",
                    pace,
                    size: 10 * KIB,
                    concurrency: 20,
                }]
            }
            Self::Large => vec![burst("large", 500, 100 * KIB, 20)],
            Self::All => [
                Self::BurstSmall,
                Self::BurstMedium,
                Self::HighVolume,
                Self::Sustained,
                Self::Large,
            ]
            .into_iter()
            .flat_map(Self::shapes)
            .collect(),
        }
    }

    /// What is run when no scenario is named.
    pub(crate) const fn none() -> Shape {
        let pace = Pace {
            messages: None,
            duration: None,
            rate: None,
            ramp: Duration::ZERO,
        };
        Shape {
            name: "custom",
            pace,
            size: 1024,
            concurrency: 20,
        }
    }
}
