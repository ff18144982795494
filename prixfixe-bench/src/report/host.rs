//! The machine that the load came from: figures without it cannot be repeated.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Host {
    /// Cores that this process may use.
    pub cores: Option<usize>,
    /// What the processor calls itself.
    pub processor: Option<String>,
    /// The operating system with the version of its kernel.
    pub kernel: Option<String>,
    /// Memory in bytes.
    pub memory: Option<u64>,
}

impl Host {
    /// This machine, as far as it can be found out without privileges.
    #[must_use]
    pub fn current() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).ok();
        let value = |text: &str, key: &str| -> Option<String> {
            let line = text.lines().find(|line| line.starts_with(key))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let kernel = read("/proc/sys/kernel/osrelease");
        let memory = read("/proc/meminfo").and_then(|text| value(&text, "MemTotal"));
        let kibibytes = |text: String| text.split(' ').next()?.parse::<u64>().ok();
        Self {
            cores: std::thread::available_parallelism().ok().map(Into::into),
            processor: read("/proc/cpuinfo").and_then(|text| value(&text, "model name")),
            kernel: kernel.map(|version| format!("{} {}", std::env::consts::OS, version.trim())),
            memory: memory.and_then(kibibytes).map(|size| size << 10),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[expect(clippy::cast_precision_loss, reason = "for people to read")]
        let gigabytes = |bytes: u64| format!("{:.1} GiB of memory", bytes as f64 / 1_073_741_824.0);
        let cores = |cores: usize| match cores {
            1 => "1 core".to_owned(),
            cores => format!("{cores} cores"),
        };
        let parts = [
            self.cores.map(cores),
            self.processor.clone(),
            self.memory.map(gigabytes),
            self.kernel.clone(),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        if parts.is_empty() {
            f.write_str("unknown")
        } else {
            f.write_str(&parts.join(", "))
        }
    }
}
