//! Why there is no response.

use std::error::Error;
use std::fmt::Write;
use std::io;
use std::time::Duration;

use crate::request::Progress;

/// Why there is no response, or only a part of one. The texts are for the log and say what to look
/// at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The name has no address, or cannot be looked up.
    #[error("cannot look up {host}: {error}")]
    Lookup {
        /// The host.
        host: Box<str>,
        /// What is wrong.
        error: io::Error,
    },
    /// No address of it answers.
    #[error("cannot connect to {address}: {error}")]
    Connect {
        /// The last that was tried.
        address: Box<str>,
        /// What is wrong.
        error: io::Error,
    },
    /// The handshake failed: a certificate that is not trusted, for the most part.
    #[error("TLS with {host} failed: {error}; look at its certificate, at tls-ca and at the clock")]
    Tls {
        /// The host.
        host: Box<str>,
        /// What is wrong.
        error: io::Error,
    },
    /// No connection in time.
    #[error("no connection within {} s", .0.as_secs_f32())]
    ConnectTimedOut(Duration),
    /// A request that it may have, and no answer in time.
    #[error("no answer within {} s", .0.as_secs_f32())]
    TimedOut(Duration),
    /// The content could not be read: a file of ours.
    #[error("the content cannot be read: {0}")]
    Content(String),
    /// The connection ended, or what came is no HTTP.
    #[error("{0}")]
    Lost(String),
}

impl HttpError {
    /// What hyper says about a connection that broke.
    pub(super) fn lost(error: &hyper::Error, progress: &Progress) -> Self {
        if let Some(failure) = progress.failure() {
            return Self::Content(failure);
        }
        let mut text = match error {
            error if error.is_parse_too_large() => {
                String::from("the head of its response is over 64 KiB")
            }
            error if error.is_parse() => String::from("its response is not HTTP/1.1"),
            error if error.is_incomplete_message() => {
                String::from("it closed the connection before its response")
            }
            _ => String::from("the connection was lost"),
        };
        let mut cause = error.source();
        while let Some(error) = cause {
            // Writing to a String does not fail.
            let _ = write!(text, ": {error}");
            cause = error.source();
        }
        Self::Lost(text)
    }

    /// True where there was a connection.
    pub fn is_reached(&self) -> bool {
        matches!(self, Self::TimedOut(_) | Self::Lost(_) | Self::Content(_))
    }

    /// True where the other side may have the request all the same.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::TimedOut(_) | Self::Lost(_))
    }
}
