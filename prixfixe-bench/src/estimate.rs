//! How many servers a load needs, reckoned from what one was measured to do.

use serde::{Deserialize, Serialize};

use crate::report::{Metric, Run};

/// A server is planned for this part of what it can do.
const PLANNED: f64 = 0.5;
/// Servers beyond those that the load needs, so that one can fail.
const SPARE: u64 = 1;
/// For commands, TCP and IP, on top of the content.
const OVERHEAD: f64 = 1.1;

/// What one server was measured to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Capacity {
    /// Where it delivered.
    pub deliver: String,
    /// Messages per second in a closed loop.
    pub per_second: f64,
    /// Connections that it took.
    pub connections: u32,
    /// The median latency then, in microseconds.
    pub p50: Option<f64>,
    /// The 99th percentile.
    pub p99: Option<f64>,
    /// The 99th percentile at half of that rate.
    pub p99_at_half: Option<f64>,
    /// Processor time of the server for a message, in microseconds.
    pub processor: Option<f64>,
    /// The most memory that it took, in bytes.
    pub memory: Option<u64>,
}

impl Capacity {
    /// From a run in a closed loop.
    #[must_use]
    pub fn new(deliver: &str, run: &Run) -> Self {
        Self {
            deliver: deliver.to_owned(),
            per_second: run.messages.per_second,
            connections: run.settings.concurrency,
            p50: Metric::P50.of(run),
            p99: Metric::P99.of(run),
            p99_at_half: None,
            processor: None,
            memory: None,
        }
    }
}

/// What a load needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Estimate {
    /// What it is reckoned from.
    pub measured: Capacity,
    /// Servers, one to spare included.
    pub servers: u64,
    /// Messages per second of each while all run.
    pub rate_per_server: f64,
    /// Cores of each that its messages keep busy.
    pub cores_per_server: Option<f64>,
    /// Memory of each in bytes, as measured.
    pub memory_per_server: Option<u64>,
    /// Bits per second of all of them from the network.
    pub network_bits: f64,
    /// Bytes per second of content that each stores.
    pub stored_per_server: f64,
}

impl Estimate {
    /// For so many messages per second of so many bytes. `None`: nothing was accepted.
    #[must_use]
    pub fn new(rate: f64, size: u64, measured: Capacity) -> Option<Self> {
        let needed = (rate / (measured.per_second * PLANNED)).ceil();
        if !needed.is_finite() {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a number of servers, and a cast saturates"
        )]
        let servers = (needed as u64).max(1).saturating_add(SPARE);
        #[expect(clippy::cast_precision_loss, reason = "for people to read")]
        let (count, size) = (servers as f64, size as f64);
        let rate_per_server = rate / count;
        Some(Self {
            servers,
            rate_per_server,
            cores_per_server: measured.processor.map(|each| each * rate_per_server / 1e6),
            memory_per_server: measured.memory,
            network_bits: rate * size * OVERHEAD * 8.0,
            stored_per_server: rate_per_server * size,
            measured,
        })
    }

    /// What it takes for granted.
    #[must_use]
    pub fn assumptions(&self) -> Vec<String> {
        let connections = self.measured.connections;
        let mut assumptions = vec![
            "A server is planned for half of what it did here, and one more is there to fail: \
             ceil(rate / (measured / 2)) + 1."
                .to_owned(),
            "Load and server shared this machine, so a server of its own does more.".to_owned(),
            "The servers have this machine's processor and disk, and divide the load evenly."
                .to_owned(),
            "The network carries the content and 10 % for commands, TCP and IP, without TLS."
                .to_owned(),
        ];
        if self.memory_per_server.is_some() {
            assumptions.push(format!(
                "Memory is the most that the server took with {connections} connections; each idle \
                 connection beyond them takes a little more."
            ));
        }
        assumptions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(per_second: f64) -> Capacity {
        Capacity {
            deliver: "maildir:mail".to_owned(),
            per_second,
            connections: 50,
            p50: None,
            p99: None,
            p99_at_half: None,
            processor: Some(200.0),
            memory: Some(10 << 20),
        }
    }

    #[test]
    fn half_of_what_was_measured_and_one_to_spare() {
        for (rate, per_second, servers) in [
            (1000.0, 4000.0, 2),
            (1000.0, 2000.0, 2),
            (1000.0, 1999.0, 3),
            (1000.0, 400.0, 6),
            (0.001, 1e6, 2),
        ] {
            let estimate = Estimate::new(rate, 10_240, measured(per_second)).unwrap();
            assert_eq!(estimate.servers, servers, "{rate} {per_second}");
        }
        assert_eq!(Estimate::new(1000.0, 10_240, measured(0.0)), None);
    }

    #[test]
    fn each_server_has_its_part() {
        let estimate = Estimate::new(1000.0, 10_000, measured(2000.0)).unwrap();
        let near = |value: f64, expected: f64| (value / expected - 1.0).abs() < 1e-9;
        assert!(near(estimate.rate_per_server, 500.0));
        assert!(near(estimate.cores_per_server.unwrap(), 0.1));
        assert!(near(estimate.network_bits, 88_000_000.0));
        assert!(near(estimate.stored_per_server, 5_000_000.0));
        assert!(
            estimate
                .assumptions()
                .iter()
                .any(|it| it.contains("50 connections"))
        );
    }
}
