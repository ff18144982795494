//! What the benchmarks of PrixFixe are made of, and the reference floor that they are read against.

pub mod dialogue;
pub mod floor;
pub mod session;
