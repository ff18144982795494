//! The load generator against real sockets.
