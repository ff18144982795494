//! The `[delivery]` table.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::ArgAction;
use prixfixe_delivery::{MaildirOptions, MinFree, TargetUrl};
use serde::{Deserialize, Serialize};

use super::sockets::Mode;
use super::units::{Seconds, Size, no};
use super::words::{self, display, display_some, path, read};

#[derive(Debug, Clone, PartialEq, Eq, clap::Args, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Delivery {
    /// Where mail goes: maildir:PATH, lmtp:HOST:PORT, smtp:HOST, https://HOST/PATH, pipe:PROGRAM,
    /// s3://BUCKET, nats://HOST/SUBJECT, stdout:, discard:, or the name of a target of the file
    #[arg(id = "delivery.target", long = "deliver", value_name = "TARGET", value_parser = words::destination)]
    #[serde(serialize_with = "display", deserialize_with = "read::destination")]
    pub target: Destination,
    /// Timeout for connecting to a target, and for each of its answers but the last
    #[arg(
        id = "delivery.timeout",
        long = "deliver-timeout",
        value_name = "SECONDS"
    )]
    pub timeout: Seconds<1>,
    /// For its answer to the whole message; `None` is the kind's own.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub final_timeout: Option<Seconds<1>>,
    /// File of secrets to sign the webhook with, if --deliver is a webhook
    #[arg(id = "delivery.secret-file", long = "webhook-secret-file", value_name = "FILE", value_parser = path)]
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read::path"
    )]
    pub secret_file: Option<PathBuf>,
    /// Answer 250 without waiting for the disk: faster, but a power failure loses mail
    // The flag says the opposite of the key.
    #[arg(id = "delivery.fsync", long = "no-fsync", value_name = "BOOLEAN", action = ArgAction::Set, value_parser = no)]
    pub fsync: bool,
    /// `None` until the largest message is known.
    #[arg(skip)]
    pub min_free: Option<Size<0, { 1 << 50 }>>,
    /// Of the files in Maildirs; `None`: their owner's alone.
    #[arg(skip)]
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "display_some",
        deserialize_with = "read::mode"
    )]
    pub mode: Option<Mode>,
    #[arg(skip)]
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read::group"
    )]
    pub group: Option<String>,
}

/// Where mail goes that no route has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    Url(TargetUrl),
    /// The name of a `[[target]]`.
    Named(String),
}

impl Destination {
    /// The target's URL, where it stands here.
    pub fn url(&self) -> Option<&TargetUrl> {
        match self {
            Self::Url(url) => Some(url),
            Self::Named(_) => None,
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => url.fmt(f),
            Self::Named(name) => f.write_str(name),
        }
    }
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            target: Destination::Url(TargetUrl::maildir("./mail")),
            timeout: Seconds::nearest(Duration::from_secs(30)),
            final_timeout: None,
            secret_file: None,
            fsync: MaildirOptions::default().fsync,
            min_free: None,
            mode: None,
            group: None,
        }
    }
}

impl Delivery {
    /// Unless it is set, the least free space goes with the largest message.
    pub(super) fn complete(&mut self, max_message_size: u64) {
        let usual = MinFree::for_messages_of(max_message_size).bytes;
        self.min_free.get_or_insert(Size::nearest(usual));
    }

    pub fn min_free(&self) -> MinFree {
        MinFree::bytes(self.min_free.map_or(0, Size::get))
    }
}
