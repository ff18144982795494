//! Reports for whatever a spool could not deliver.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use prixfixe_server::{Client, Message, Reply, reply};

use super::{Fate, Original, Report, is_wanted, may_report_to};
use crate::Target;
use crate::spool::{Bouncer, Ended, Ending, Notice, Report as Undelivered};
use crate::target::UNREACHABLE;

/// A target whose failures senders hear of: another mail server.
#[derive(Clone)]
#[non_exhaustive]
pub struct ReportedTarget {
    /// The name of the server, for the report.
    pub host: Box<str>,
    /// It puts mail into mailboxes (LMTP), and does not pass it on.
    pub is_final: bool,
    /// The target, which may turn out to send reports itself.
    pub target: Arc<dyn Target>,
}

/// The [`Bouncer`] of mail servers: a [report](Report) for whom [it may go to](may_report_to).
/// Clones share everything.
///
/// It knows the targets that are mail servers. What fails at all others is for the operator, and
/// not for the sender.
#[derive(Debug, Clone, Default)]
pub struct Reports(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    known: RwLock<Known>,
    sent: AtomicU64,
    withheld: AtomicU64,
}

#[derive(Debug, Default)]
struct Known {
    domain: Box<str>,
    targets: HashMap<String, ReportedTarget>,
}

/// A delivery that was given up, and that nobody has said anything about.
static EXPIRED: Reply = reply!(451 4.4.7 "The message could not be delivered in time");
static TAKEN: Reply = reply!(250 2.0.0 "Delivered");

impl Reports {
    /// From a server of this domain, about these targets, from now on.
    pub fn set(
        &self,
        domain: impl Into<Box<str>>,
        targets: impl IntoIterator<Item = (String, ReportedTarget)>,
    ) {
        let known = Known {
            domain: domain.into(),
            targets: targets.into_iter().collect(),
        };
        *self.0.known.write().unwrap_or_else(PoisonError::into_inner) = known;
    }

    /// Reports that were made.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.0.sent.load(Ordering::Relaxed)
    }

    /// Failures that nobody may be told. A spool does not ask about those of which nobody wants to
    /// hear.
    #[must_use]
    pub fn withheld(&self) -> u64 {
        self.0.withheld.load(Ordering::Relaxed)
    }

    fn make(&self, undelivered: &Undelivered<'_>) -> Option<Notice> {
        let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
        let target = known.targets.get(undelivered.target)?;
        let fate = target.fate(undelivered.ending)?;
        let stored = undelivered.envelope;
        let message = stored.message(&[], |it| it).ok()?;
        let envelope = message.envelope();
        if !may_report_to(envelope.reverse_path(), message.client(), message.verdict()) {
            return None;
        }
        let ended = undelivered.recipients.iter().enumerate();
        // One whose address cannot be read has none to be named by.
        let ended =
            ended.filter_map(|(place, it)| Some((place, it.recipient.recipient().ok()?, it)));
        let ended: Vec<_> = ended.collect();
        let now = SystemTime::now();
        let mut report =
            Report::new(&known.domain, &stored.id, envelope, stored.received_at()).at(now);
        for (_, recipient, it) in &ended {
            let (remote, reply) = said(it, fate, &target.host);
            report = report.about(recipient, fate, remote, reply);
        }
        let headers = message.received_header();
        let bounce = report.bounce(Original {
            headers: &headers,
            content: undelivered.content,
            is_whole: undelivered.is_whole,
        })?;
        let message = Message::builder(Client::builder().build(), bounce.envelope)
            .received_at(now)
            .domain(&*known.domain)
            .pieces([bounce.content])
            .build();
        let told = ended.iter().filter(|(_, it, _)| is_wanted(it, fate));
        Some(Notice::of_some(message, told.map(|(place, ..)| *place)))
    }
}

impl Bouncer for Reports {
    fn report(&self, undelivered: &Undelivered<'_>) -> Option<Notice> {
        let notice = self.make(undelivered);
        let count = match (&notice, undelivered.ending) {
            (Some(_), _) => &self.0.sent,
            (None, Ending::Delivered) => return None,
            (None, _) => &self.0.withheld,
        };
        count.fetch_add(1, Ordering::Relaxed);
        notice
    }
}

impl ReportedTarget {
    /// A next hop, as reports call it.
    #[must_use]
    pub fn new(host: impl Into<Box<str>>, is_final: bool, target: Arc<dyn Target>) -> Self {
        Self {
            host: host.into(),
            is_final,
            target,
        }
    }

    /// RFC 3461 section 5.2.2: a next server that takes the parameters of DSN reports what it
    /// delivers itself.
    fn fate(&self, ending: Ending) -> Option<Fate> {
        match ending {
            Ending::Refused | Ending::GivenUp => Some(Fate::Failed),
            Ending::Delivered if self.target.offers_dsn() => None,
            Ending::Delivered if self.is_final => Some(Fate::Delivered),
            Ending::Delivered => Some(Fate::Relayed),
        }
    }
}

fn said<'a>(ended: &'a Ended, fate: Fate, host: &'a str) -> (Option<&'a str>, &'a Reply) {
    // That nobody could be reached is our word.
    match ended.reply.as_ref().filter(|reply| **reply != UNREACHABLE) {
        Some(reply) => (Some(host), reply),
        None if fate == Fate::Failed => (None, &EXPIRED),
        None => (None, &TAKEN),
    }
}

impl fmt::Debug for ReportedTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReportedTarget")
            .field("host", &self.host)
            .field("is_final", &self.is_final)
            .finish_non_exhaustive()
    }
}
