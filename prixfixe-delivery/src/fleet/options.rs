//! How a fleet's spool is used.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::names::is_word;
use crate::{
    Bouncer, NatsError, NatsOptions, NatsUrl, NoBounces, ParseNatsUrlError, RetrySchedule,
};

/// How a [`Fleet`](crate::Fleet) is used.
#[derive(Clone)]
#[non_exhaustive]
pub struct FleetOptions {
    /// The stream, which its subjects begin with. By default: `PRIXFIXE`.
    pub stream: String,
    /// Of each stream and of the bucket: those that are made have so many, and fewer are a fault.
    /// By default: 3.
    pub replicas: usize,
    /// Streams that share the mail, by its digest. By default: 1.
    pub partitions: usize,
    /// What all messages that wait may take, in bytes of one replica. By default: 10 GiB.
    pub max_size: u64,
    /// How long a message waits after each failed attempt.
    pub retry: RetrySchedule,
    /// How old a message may be before it is given up. By default: 5 days.
    pub give_up_after: Duration,
    /// How long a message whose server died stays with it. By default: 30 s.
    pub ack_wait: Duration,
    /// How old an object of the bucket is at least before it is removed where no message names it:
    /// a server that died left it. By default: 24 hours.
    pub objects_age: Duration,
    /// Who writes to senders. Nobody: what cannot be delivered goes to the stream of what was given
    /// up.
    pub bouncer: Arc<dyn Bouncer>,
    /// Streams and a bucket that are missing are made. Else that is a fault: for programs that look
    /// into the spool. By default: true.
    pub creates: bool,
    /// The connection. Its `min_replicas` and `objects` mean nothing here, and its `name` is by
    /// default `spool`.
    pub connection: NatsOptions,
}

impl Default for FleetOptions {
    fn default() -> Self {
        Self {
            stream: "PRIXFIXE".to_owned(),
            replicas: 3,
            partitions: 1,
            max_size: 10 << 30,
            retry: RetrySchedule::default(),
            give_up_after: Duration::from_secs(5 * 86_400),
            ack_wait: Duration::from_secs(30),
            objects_age: Duration::from_secs(86_400),
            bouncer: Arc::new(NoBounces),
            creates: true,
            connection: NatsOptions {
                name: "spool".to_owned(),
                ..NatsOptions::default()
            },
        }
    }
}

impl fmt::Debug for FleetOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FleetOptions")
            .field("stream", &self.stream)
            .field("replicas", &self.replicas)
            .field("partitions", &self.partitions)
            .field("max_size", &self.max_size)
            .field("retry", &self.retry)
            .field("give_up_after", &self.give_up_after)
            .field("ack_wait", &self.ack_wait)
            .field("creates", &self.creates)
            .field("objects_age", &self.objects_age)
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}

/// More partitions are no faster, and a fault in a configuration.
pub(super) const MAX_PARTITIONS: usize = 256;

impl FleetOptions {
    /// What a configuration may be told before anything is opened.
    pub(super) fn check(&self) -> Result<(), NatsError> {
        if !is_word(&self.stream) {
            return Err(NatsError::Options(
                "the spool's stream has a name of letters, digits, - and _",
            ));
        }
        if !(1..=MAX_PARTITIONS).contains(&self.partitions) {
            return Err(NatsError::Options("a spool has 1 to 256 partitions"));
        }
        match self.replicas {
            1..=5 => Ok(()),
            _ => Err(NatsError::Options("a stream has 1 to 5 replicas")),
        }
    }
}

/// The servers of a NATS cluster that has a fleet's spool: `nats://HOST[:PORT][,HOST[:PORT]…]`.
///
/// ```
/// use prixfixe_delivery::FleetUrl;
///
/// let url: FleetUrl = "nats://10.0.0.1,10.0.0.2:4333".parse()?;
/// assert_eq!(url.to_string(), "nats://10.0.0.1:4222,10.0.0.2:4333");
/// assert!("nats://10.0.0.1/mail".parse::<FleetUrl>().is_err());
/// # Ok::<(), prixfixe_delivery::ParseNatsUrlError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FleetUrl(NatsUrl);

impl FleetUrl {
    pub(super) fn nats(&self) -> &NatsUrl {
        &self.0
    }

    /// Whether all servers are on this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.0.is_loopback()
    }
}

/// Stands where a target's subject does.
const NO_SUBJECT: &str = "PRIXFIXE";

impl std::str::FromStr for FleetUrl {
    type Err = ParseNatsUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let servers = text
            .strip_prefix("nats://")
            .ok_or_else(|| ParseNatsUrlError::Scheme(text.to_owned()))?;
        let servers = servers.strip_suffix('/').unwrap_or(servers);
        if let Some((_, subject)) = servers.split_once('/') {
            return Err(ParseNatsUrlError::NoSubject(subject.to_owned()));
        }
        format!("nats://{servers}/{NO_SUBJECT}").parse().map(Self)
    }
}

impl std::fmt::Display for FleetUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let whole = self.0.to_string();
        let (servers, _) = whole.rsplit_once('/').unwrap_or((&whole, ""));
        f.write_str(servers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spool_has_servers_and_no_subject() {
        let url: FleetUrl = "nats://a,[::1]:1/".parse().unwrap();
        assert_eq!(url.to_string(), "nats://a:4222,[::1]:1");
        for (text, word) in [
            ("nats://a/mail", "spool.stream"),
            ("nats://", "no NATS server"),
            ("nats://me:secret@a", "password-file"),
            ("/var/spool", "nats://HOST"),
        ] {
            let error = text.parse::<FleetUrl>().unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn what_cannot_be_a_stream_is_said_before_it_is_opened() {
        type Change = fn(&mut FleetOptions);
        let cases: [Change; 4] = [
            |it| it.stream = "a.b".to_owned(),
            |it| it.partitions = 0,
            |it| it.partitions = 257,
            |it| it.replicas = 0,
        ];
        for change in cases {
            let mut options = FleetOptions::default();
            assert!(options.check().is_ok());
            change(&mut options);
            assert!(options.check().is_err(), "{options:?}");
        }
    }
}
