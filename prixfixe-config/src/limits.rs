//! The `[limits]` table.

use std::path::PathBuf;

use prixfixe_server::Settings;
use serde::{Deserialize, Serialize};

use super::given::Invalid;
use super::sources::Sources;
use super::units::{Count, Seconds, Size};
use super::words::read;

/// A limit of one client; 0 is none.
type OfClient = Count<0, 1_000_000>;

#[derive(Debug, Clone, PartialEq, Eq, clap::Args, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Limits {
    /// Maximum concurrent connections; an excess client receives 421 and is closed
    #[arg(
        id = "limits.max-connections",
        long = "max-connections",
        value_name = "N"
    )]
    pub max_connections: Count<1, 1_000_000>,
    /// Maximum concurrent connections per client (IPv4 address or IPv6 /64), then 421; 0 for no
    /// limit. The default exempts loopback, private and link-local addresses
    #[arg(
        id = "limits.max-connections-per-client",
        long = "max-connections-per-client",
        value_name = "N"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections_per_client: Option<OfClient>,
    /// Maximum new connections per minute from one client, then 421; 0 for no limit
    #[arg(
        id = "limits.connections-per-minute",
        long = "connections-per-minute",
        value_name = "N"
    )]
    pub connections_per_minute: OfClient,
    /// Maximum messages per minute from one client, then 450; 0 for no limit
    #[arg(
        id = "limits.messages-per-minute",
        long = "messages-per-minute",
        value_name = "N"
    )]
    pub messages_per_minute: OfClient,
    #[arg(skip)]
    pub max_idle_commands: OfClient,
    #[arg(skip)]
    pub idle_timeout: Seconds<1>,
    /// Maximum size of a message, as SIZE announces it
    #[arg(
        id = "limits.max-message-size",
        long = "max-message-size",
        value_name = "BYTES"
    )]
    pub max_message_size: Size<1, { 1 << 40 }>,
    /// Maximum recipients per message; an excess one receives 452
    #[arg(
        id = "limits.max-recipients",
        long = "max-recipients",
        value_name = "N"
    )]
    pub max_recipients: Count<1, 100_000>,
    /// Maximum bad commands per connection; the next one receives 421, and the connection is closed
    #[arg(id = "limits.max-errors", long = "max-errors", value_name = "N")]
    pub max_errors: Count<1, 1_000_000>,
    /// Timeout for a command, and for a message in addition to --min-data-rate
    #[arg(
        id = "limits.command-timeout",
        long = "command-timeout",
        value_name = "SECONDS"
    )]
    pub command_timeout: Seconds<1>,
    /// Minimum rate of a message, in bytes per second; 0 for no minimum
    #[arg(
        id = "limits.min-data-rate",
        long = "min-data-rate",
        value_name = "BYTES"
    )]
    pub min_data_rate: Size<0, { 1 << 30 }>,
    /// Time for transactions to finish after SIGTERM or SIGINT
    #[arg(
        id = "limits.drain-timeout",
        long = "drain-timeout",
        value_name = "SECONDS"
    )]
    pub drain_timeout: Seconds<0>,
    /// For all messages together that have to be gathered whole.
    #[arg(skip)]
    pub message_memory: Size<0, { 1 << 40 }>,
    /// Where what is over that goes. `None`: to the file system of a Maildir, or where the system
    /// has it.
    #[arg(skip)]
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read::path"
    )]
    pub temporary: Option<PathBuf>,
}

impl Limits {
    /// Better said at the start than at the first large message.
    pub(crate) fn check(&self, sources: &Sources<'_>) -> Result<(), Invalid> {
        match &self.temporary {
            Some(path) if !path.is_dir() => {
                let place = sources.place("limits.temporary");
                let problem = format!("`{}` is no directory; make it", path.display());
                Err(Invalid::new(place, problem))
            }
            _ => Ok(()),
        }
    }
}

impl Default for Limits {
    /// Those of the server library.
    fn default() -> Self {
        let limits = Settings::default().limits();
        Self {
            max_connections: Count::nearest(limits.max_connections),
            max_connections_per_client: None,
            connections_per_minute: Count::nearest(limits.connections_per_minute),
            messages_per_minute: Count::nearest(limits.messages_per_minute),
            max_idle_commands: Count::nearest(limits.max_idle_commands),
            idle_timeout: Seconds::nearest(limits.idle_timeout),
            max_message_size: Size::nearest(limits.max_message_size),
            max_recipients: Count::nearest(limits.max_recipients),
            max_errors: Count::nearest(limits.max_errors),
            command_timeout: Seconds::nearest(limits.command_timeout),
            min_data_rate: Size::nearest(limits.min_data_rate.into()),
            drain_timeout: Seconds::nearest(limits.drain_timeout),
            message_memory: Size::nearest(limits.message_memory),
            temporary: None,
        }
    }
}
