//! Who counts what checks find.

use std::fmt;
use std::time::Duration;

/// Is told what checks find: for metrics. Called on the connections' threads; it returns at once.
pub trait Observer: fmt::Debug + Send + Sync + 'static {
    /// A check, `spf` for instance, found a result, `pass` for instance, in so long.
    fn observed(&self, check: &'static str, result: &str, took: Duration);
}
