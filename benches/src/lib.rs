//! Benchmarks of PrixFixe.
