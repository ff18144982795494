//! Milters as Debian has them.
