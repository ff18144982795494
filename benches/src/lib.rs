//! What the benchmarks of PrixFixe are read against.

pub mod floor;
