//! The answer of `/status.json`.

use std::net::IpAddr;
use std::time::SystemTime;

use jiff::Timestamp;
use prixfixe_server::{AcceptedMessage, ClientActivity, Incident};
use serde::Serialize;

use super::history::HistoryReport;
use super::lately::LastMinute;
use super::spool::SpoolReport;
use super::storage::StorageReport;
use super::targets::TargetReport;

/// The answer of `/status.json`: what the status page shows beside the numbers of `/metrics`.
///
/// ```json
/// {
///   "state": "failing",
///   "reason": "cannot create /var/mail/tmp/1.M2P3.host: No space left on device (os error 28)",
///   "warning": null,
///   "version": "0.1.0",
///   "transport": "tokio",
///   "domain": "mx.example.com",
///   "started": "2026-01-31T12:00:00Z",
///   "uptime_seconds": 86400,
///   "listeners": [{"address": "0.0.0.0:25", "protocol": "smtp", "tls": "starttls", "auth": "off"}],
///   "max_connections": 100,
///   "last_minute": {"accepted": 4, "failed": [{"reason": "storage", "count": 26}]},
///   "storage": [{
///     "path": "/var/mail",
///     "free_bytes": 52428800,
///     "free_inodes": 120000,
///     "min_free_bytes": 15728640,
///     "min_free_inodes": 1000,
///     "short": false
///   }],
///   "targets": [{
///     "name": "default",
///     "remote": false,
///     "up": true,
///     "error": null,
///     "delivered": 9000,
///     "deferred": 3,
///     "refused": 0,
///     "timeout": 0
///   }],
///   "spool": null,
///   "recent": [{
///     "time": "2026-02-01T11:59:00Z",
///     "kind": "message_failed",
///     "code": 452,
///     "text": "4.3.1 insufficient system storage, try again later",
///     "client": "192.0.2.1",
///     "sender": "ann@example.com",
///     "recipient": "bob@example.net",
///     "id": "1PQ0X3ZKT6R8V2M4C7HD9JNB",
///     "count": 1
///   }],
///   "accepted": [{
///     "time": "2026-02-01T11:58:59Z",
///     "id": "1PQ0X3ZKT6R8V2M4C7HD9JNA",
///     "client": "192.0.2.1",
///     "sender": "ann@example.com",
///     "recipient": "bob@example.net",
///     "recipients": 1,
///     "bytes": 1042,
///     "seconds": 0.0021
///   }],
///   "clients": [{"client": "192.0.2.1", "accepted": 9000, "bytes": 9378000, "refused": 26}],
///   "processing": [["0.00001", 0], ["0.00002", 12], ["+Inf", 0]],
///   "delivery": [["0.00001", 7], ["0.00002", 5], ["+Inf", 0]]
/// }
/// ```
///
/// With `?after=N` there is `history` too: the samples of the last hour with a higher number than
/// `N`.
///
/// ```json
/// {"history": {
///   "every_seconds": 2,
///   "series": ["smtp_messages_success_total", "smtp_active_connections"],
///   "samples": [[1, 1769860800000, 0, 12, 1, 3]]
/// }}
/// ```
///
/// A sample is its number, its time in milliseconds since 1970, and then by turns an index into
/// `series` and a value: of a counter what it gained since the sample before, of a gauge what it
/// was. What is not there is 0.
///
/// Texts hold no control characters and none that reorder or hide text. They may hold `<` and `&`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct StatusReport {
    /// `ready`, `degraded` (some recipients' mail cannot be delivered, or much of the last minute's
    /// was not accepted), `draining` or `failing`.
    pub(crate) state: &'static str,
    /// Why the state is not `ready`; else null.
    pub(crate) reason: Option<String>,
    /// What became of the messages of the last minute.
    pub(crate) last_minute: LastMinute,
    /// A setting that is for tests alone; else null.
    pub(crate) warning: Option<String>,
    /// Of PrixFixe.
    pub(crate) version: &'static str,
    /// `tokio` or `raw`.
    pub(crate) transport: &'static str,
    /// The name that the server gives itself.
    pub(crate) domain: String,
    /// When it began to serve, in RFC 3339, UTC.
    pub(crate) started: String,
    /// Whole seconds since then, by a clock that nobody sets.
    pub(crate) uptime_seconds: u64,
    /// Where mail is received, in the order of the configuration.
    pub(crate) listeners: Vec<ListenerReport>,
    /// The connection limit.
    pub(crate) max_connections: usize,
    /// Each file system that mail is written to, where it says what is free.
    pub(crate) storage: Vec<StorageReport>,
    /// Where mail is handed to.
    pub(crate) targets: Vec<TargetReport>,
    /// What waits for them; null without a spool.
    pub(crate) spool: Option<SpoolReport>,
    /// The busiest clients of the last half hour to hour, at most 10.
    pub(crate) clients: Vec<ClientReport>,
    /// From MAIL to the reply that ends the transaction, since the start: upper bounds in seconds,
    /// and how many messages are within each alone. Finer than in `/metrics`.
    pub(crate) processing: Vec<(String, u64)>,
    /// The same from the end of the content to the answer of the delivery.
    pub(crate) delivery: Vec<(String, u64)>,
    /// The latest messages that were accepted, at most 200, the latest first. Of more than 50 in a
    /// second some are left out.
    pub(crate) accepted: Vec<AcceptedReport>,
    /// The latest refusals and failures, at most 50, the latest first.
    pub(crate) recent: Vec<IncidentReport>,
    /// The samples of the last hour, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) history: Option<HistoryReport>,
}

/// A message that was accepted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct AcceptedReport {
    /// When, in RFC 3339, UTC.
    pub(crate) time: String,
    /// The id in its reply, its `Received` header and the log.
    pub(crate) id: String,
    /// The client's address.
    pub(crate) client: String,
    /// Empty for the null reverse-path.
    pub(crate) sender: String,
    /// The first recipient.
    pub(crate) recipient: Option<String>,
    /// How many recipients there are.
    pub(crate) recipients: usize,
    /// The size of the content.
    pub(crate) bytes: u64,
    /// From MAIL to the reply.
    pub(crate) seconds: f64,
}

/// What one client did in the last half hour to hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ClientReport {
    /// Its address.
    pub(crate) client: String,
    /// Messages that were accepted, and the size of their contents.
    pub(crate) accepted: u64,
    pub(crate) bytes: u64,
    /// Refusals and failures: connections, commands and messages.
    pub(crate) refused: u64,
}

/// A refusal or a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct IncidentReport {
    /// When it happened, in RFC 3339, UTC; of several in a row, the last time.
    pub(crate) time: String,
    /// `connection_refused`, `sender_refused`, `recipient_refused`, `command_refused`,
    /// `message_failed`, `tls_failed` or `timeout`.
    pub(crate) kind: &'static str,
    /// The reply's code; null where there was no reply.
    pub(crate) code: Option<u16>,
    /// The rest of the reply, or what happened.
    pub(crate) text: String,
    /// The client's address.
    pub(crate) client: String,
    /// The sender where it is known, else null; empty for the null reverse-path.
    pub(crate) sender: Option<String>,
    /// The first recipient where one is known, else null.
    pub(crate) recipient: Option<String>,
    /// Of a message that failed, its id as in the log; else null.
    pub(crate) id: Option<String>,
    /// How often it happened in a row.
    pub(crate) count: u64,
}

/// One address where mail is received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ListenerReport {
    /// The address really bound.
    pub(crate) address: String,
    /// `smtp` or `lmtp`.
    pub(crate) protocol: String,
    /// `implicit` (before anything else), `starttls` (offered) or `none`.
    pub(crate) tls: &'static str,
    /// `off`, `offer`, `require`, or `any`, where every password is right.
    pub(crate) auth: &'static str,
}

impl From<Incident> for IncidentReport {
    fn from(incident: Incident) -> Self {
        // The server has made its texts printable.
        Self {
            time: time(incident.time),
            kind: incident.kind.as_str(),
            code: incident.code,
            text: incident.text,
            client: client(incident.client),
            sender: incident.sender,
            recipient: incident.recipient,
            id: incident.id.map(|id| id.to_string()),
            count: incident.count,
        }
    }
}

impl From<AcceptedMessage> for AcceptedReport {
    fn from(message: AcceptedMessage) -> Self {
        // The server has made its texts printable.
        Self {
            time: time(message.time),
            id: message.id.to_string(),
            client: client(message.client),
            sender: message.sender,
            recipient: message.recipient,
            recipients: message.recipients,
            bytes: message.size,
            seconds: (message.duration.as_secs_f64() * 1e6).round() / 1e6,
        }
    }
}

impl From<ClientActivity> for ClientReport {
    fn from(activity: ClientActivity) -> Self {
        Self {
            client: client(activity.client),
            accepted: activity.accepted,
            bytes: activity.bytes,
            refused: activity.refused,
        }
    }
}

/// One without an address came over a Unix socket.
fn client(address: Option<IpAddr>) -> String {
    address.map_or_else(|| "unix".to_owned(), |it| it.to_string())
}

fn time(time: SystemTime) -> String {
    seconds(Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH))
}

/// RFC 3339 without a fraction.
pub(super) fn seconds(time: Timestamp) -> String {
    format!("{time:.0}")
}
