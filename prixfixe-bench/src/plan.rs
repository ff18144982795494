//! What a run is to do, as its caller says it.
//!
//! A [`Plan`] is plain values. [`Plan::prepare`] reads, resolves and checks all of them before the
//! first connection.

use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prixfixe_client::{Config, InvalidArgument, StartTls};

pub use crate::content::{Content, ContentError, Transfer};
pub use crate::dialogue::Pipelining;
pub use crate::engine::Pace;
pub use crate::target::TargetError;
pub use crate::tls::{Tls, TlsError, Trust};
pub use prixfixe_client::Protocol;

use crate::content::{Addressing, Prepared};
use crate::dialogue::Manner;
use crate::report::Settings;
use crate::target::Target;
use crate::tls::Security;
use crate::workload::Workload;

/// Messages per second that can be kept to.
const RATES: std::ops::RangeInclusive<f64> = 0.001..=1e8;

/// One run: to which servers, how much, and how.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Plan {
    /// What the run is called in reports.
    pub name: String,
    /// What is spoken.
    pub protocol: Protocol,
    /// Servers, as `HOST`, `HOST:PORT`, `ADDRESS:PORT`, `[IPV6]:PORT` or `unix:PATH`. The port is
    /// 25 where none is given; LMTP needs one. Connections go to them in turn.
    pub targets: Vec<String>,
    /// How much to send, and how fast.
    pub pace: Pace,
    /// Connections at once, over all threads.
    pub concurrency: NonZeroU32,
    /// Threads that send. One without a connection of its own is not started.
    pub threads: NonZeroU32,
    /// Messages on a connection before QUIT; `None`: no limit.
    pub per_connection: Option<NonZeroU64>,
    /// What is sent.
    pub content: Content,
    /// Decides generated text: the same seed gives the same bytes.
    pub seed: u64,
    /// The name given in EHLO.
    pub helo: String,
    /// The sender; empty for the null reverse-path.
    pub from: String,
    /// The recipient; `{n}` stands for its number within the message.
    pub to: String,
    /// Recipients of a message.
    pub recipients: NonZeroU32,
    /// What leaves without waiting for replies, where the server offers PIPELINING.
    pub pipelining: Pipelining,
    /// The command by which contents travel.
    pub transfer: Transfer,
    /// `None`: plaintext.
    pub tls: Option<Tls>,
    /// The longest that a message may take from when it is due, or a background connection to the
    /// reply to its EHLO.
    pub timeout: Duration,
    /// Local addresses to connect from in turn; empty: the system chooses.
    pub sources: Vec<IpAddr>,
    /// Connections that are opened first and held in the background.
    pub idle_connections: u32,
    /// Clients in the background that send a few bytes at a time.
    pub slow_clients: u32,
    /// Bytes per second of each slow client.
    pub slow_rate: NonZeroU32,
}

/// Why a [`Plan`] cannot be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// [`Plan::targets`] has none, or one that cannot be used.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// TLS cannot be set up as [`Plan::tls`] says.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// [`Pace::rate`] is too low, too high or no number.
    #[error("{0} is no rate; give 0.001 to 100000000 messages per second")]
    Rate(f64),
    /// [`Plan::from`] cannot be sent.
    #[error("the sender: {0}")]
    From(#[source] InvalidArgument),
    /// [`Plan::to`] cannot be sent.
    #[error("the recipient: {0}")]
    To(#[source] InvalidArgument),
    /// [`Plan::content`] gives no messages.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// [`Plan::helo`] cannot be sent.
    #[error("the name in EHLO: {0}")]
    Helo(#[source] InvalidArgument),
}

impl Plan {
    /// A thousand generated messages of 1 KiB over 20 connections, in plaintext.
    #[must_use]
    pub fn new<T: Into<String>>(targets: impl IntoIterator<Item = T>) -> Self {
        Self {
            name: "custom".to_owned(),
            protocol: Protocol::Smtp,
            targets: targets.into_iter().map(Into::into).collect(),
            pace: Pace::messages(1000),
            concurrency: NonZeroU32::MIN.saturating_add(19),
            threads: NonZeroU32::MIN,
            per_connection: None,
            content: Content::Size(1024),
            seed: 1,
            helo: "bench.invalid".to_owned(),
            from: "bench@example.com".to_owned(),
            to: "user{n}@example.com".to_owned(),
            recipients: NonZeroU32::MIN,
            pipelining: Pipelining::default(),
            transfer: Transfer::Data,
            tls: None,
            timeout: Duration::from_secs(60),
            sources: Vec::new(),
            idle_connections: 0,
            slow_clients: 0,
            slow_rate: NonZeroU32::MIN.saturating_add(99),
        }
    }

    /// Resolves the targets, reads certificates and files, and makes the messages ready for the
    /// wire.
    ///
    /// # Errors
    ///
    /// [`PlanError`] says what is wrong with the plan.
    pub fn prepare(&self) -> Result<Workload, PlanError> {
        let targets: Result<Vec<Target>, TargetError> = self
            .targets
            .iter()
            .map(|name| Target::resolve(name, self.protocol))
            .collect();
        let targets = targets?;
        if targets.is_empty() {
            return Err(TargetError::None.into());
        }
        let security = self.tls.as_ref().map(Security::new).transpose()?;
        if let Some(rate) = self.pace.rate
            && !RATES.contains(&rate)
        {
            return Err(PlanError::Rate(rate));
        }
        let addressing =
            Addressing::new(&self.from, &self.to, self.recipients.get(), self.transfer)?;
        let pool = Prepared::pool(&self.content, &addressing, self.seed)?;
        let messages: Vec<_> = pool.into_iter().map(Arc::new).collect();
        let manner = self.manner(&addressing, &messages)?;
        Ok(Workload {
            name: self.name.clone(),
            settings: Settings::of(self, &messages),
            targets,
            messages,
            pace: self.pace,
            concurrency: self.concurrency,
            threads: self.busy_threads(),
            per_connection: self.per_connection.map(Into::into),
            manner: Arc::new(manner),
            security,
            timeout: self.timeout,
            sources: self.sources.clone(),
            idle_connections: self.idle_connections,
            slow_clients: self.slow_clients,
            slow_rate: self.slow_rate,
        })
    }

    /// A thread without a worker would have nothing to do.
    pub(crate) fn busy_threads(&self) -> NonZeroU32 {
        self.threads.min(self.concurrency)
    }

    fn manner(
        &self,
        addressing: &Addressing,
        messages: &[Arc<Prepared>],
    ) -> Result<Manner, PlanError> {
        let config = match self.protocol {
            Protocol::Lmtp => Config::lmtp(&self.helo),
            _ => Config::smtp(&self.helo),
        };
        let mut config = config.map_err(PlanError::Helo)?;
        config.pipelining = self.pipelining != Pipelining::Off;
        // The engine reads while it writes, so replies never pile up.
        config.window = usize::MAX;
        let over_tls = self.tls.as_ref().is_some_and(|tls| tls.implicit);
        if self.tls.is_some() && !over_tls {
            config.start_tls = StartTls::Required;
        }
        Ok(Manner {
            config: Arc::new(config),
            pipelining: self.pipelining,
            over_tls,
            bdat: matches!(self.transfer, Transfer::Bdat { .. }),
            eight_bit: messages.iter().any(|message| message.eight_bit),
            smtp_utf8: addressing.is_internationalised(),
            greetings: self.targets.iter().map(|_| OnceLock::new()).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan::new(["127.0.0.1:25"])
    }

    #[test]
    fn what_cannot_be_run_is_found_before_a_connection() {
        let error = |change: fn(&mut Plan)| {
            let mut plan = plan();
            change(&mut plan);
            plan.prepare().unwrap_err()
        };
        assert!(plan().prepare().is_ok());
        let none = error(|plan| plan.targets.clear());
        assert!(matches!(none, PlanError::Target(TargetError::None)));
        let target = error(|plan| plan.targets.push("mx:smtp".to_owned()));
        assert!(matches!(
            target,
            PlanError::Target(TargetError::Port { .. })
        ));
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let mut plan = plan();
            plan.pace.rate = Some(rate);
            let error = plan.prepare().unwrap_err();
            assert!(matches!(error, PlanError::Rate(_)), "{rate}");
        }
        let from = error(|plan| plan.from = "a@x>\r\nQUIT".to_owned());
        assert!(matches!(from, PlanError::From(_)));
        let to = error(|plan| plan.to = String::new());
        assert!(matches!(to, PlanError::To(_)));
        let helo = error(|plan| plan.helo = "a b".to_owned());
        assert!(matches!(helo, PlanError::Helo(_)));
        let trust = error(|plan| {
            let mut tls = Tls::starttls();
            tls.trust = Trust::File("/does/not/exist".into());
            plan.tls = Some(tls);
        });
        assert!(matches!(trust, PlanError::Tls(TlsError::File { .. })));
    }

    #[test]
    fn sizes_that_no_message_can_have_are_refused() {
        #[expect(clippy::reversed_empty_ranges, reason = "that is what is refused")]
        let wrong = [
            Content::Size(1),
            Content::Size(u64::MAX),
            Content::Sizes(1..=100),
            Content::Sizes(100..=u64::MAX),
            Content::Sizes(100..=99),
        ];
        for content in wrong {
            let plan = Plan {
                content: content.clone(),
                ..plan()
            };
            let error = plan.prepare().unwrap_err();
            let is_size = matches!(error, PlanError::Content(ContentError::Size { .. }));
            assert!(is_size, "{content:?}: {error}");
        }
    }
}
