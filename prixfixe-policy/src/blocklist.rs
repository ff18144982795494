//! DNS blocklists (RFC 5782).

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use mail_auth::common::resolver::ToReverseName as _;
use mail_auth::{DnsError, Error, RecordSet};
use prixfixe_core::{ForwardPath, Reply};
use prixfixe_http::BoxFuture;
use prixfixe_server::{Check, CheckSession, Client, Content, Edit, Finding, Rcpt, Verdict, reply};

use crate::authentication::is_stranger;
use crate::task::Task;
use crate::{Observer, Resolver};

const LISTED: Reply = reply!(554 5.7.1 "The client's address is on a blocklist");

/// The field that names the lists on which a client was found.
const FIELD: &str = "X-Blocklist";

/// What is done with a client that is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ListedAction {
    /// Its messages say so.
    #[default]
    Mark,
    /// It is refused each recipient but postmaster: `554 5.7.1`.
    Reject,
}

/// A DNS blocklist (RFC 5782): a zone that lists addresses of clients, IPv4 and IPv6.
///
/// It is looked up when the client connects, and counts from the first recipient on. Messages to postmaster are never
/// refused, so that who is listed can ask why (RFC 5321 section 4.5.1). A list that gives no answer, or one from
/// 127.255.255.0/24, in which lists say that they do not serve this resolver, lists nobody.
///
/// ```
/// use prixfixe_policy::{Blocklist, ListedAction, Resolver};
///
/// let resolver = Resolver::with_servers([([127, 0, 0, 1], 53).into()])?;
/// let check = Blocklist::new(resolver, "dnsbl.example.org").action(ListedAction::Reject);
/// # drop(check);
/// # Ok::<(), prixfixe_policy::ResolverError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Blocklist {
    resolver: Resolver,
    zone: Box<str>,
    action: ListedAction,
    observer: Option<Arc<dyn Observer>>,
}

impl Blocklist {
    /// A list that marks.
    #[must_use]
    pub fn new(resolver: Resolver, zone: impl Into<Box<str>>) -> Self {
        Self {
            resolver,
            zone: zone.into(),
            action: ListedAction::Mark,
            observer: None,
        }
    }

    /// What is done with a client that is listed.
    #[must_use]
    pub fn action(mut self, action: ListedAction) -> Self {
        self.action = action;
        self
    }

    /// Tells somebody what is found, and how long it took.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    fn look(&self, client: IpAddr) -> BoxFuture<'_, Listing> {
        Box::pin(async move {
            let began = Instant::now();
            let name = format!("{}.{}.", client.to_reverse_name(), self.zone);
            let none = None::<&mail_auth::common::cache::NoCache<Box<str>, RecordSet<Ipv4Addr>>>;
            let lookup = self.resolver.dns().ipv4_lookup(name, none);
            let listing = match self.resolver.in_time(lookup).await {
                Some(Ok(answers)) => Listing::of(&answers.rrset),
                Some(Err(Error::Dns(DnsError::RecordNotFound(_)))) => Listing::Absent,
                Some(Err(_)) | None => Listing::Unknown,
            };
            if listing == Listing::Unknown {
                tracing::debug!(zone = &*self.zone, "the blocklist gives no answer");
            }
            if let Some(observer) = &self.observer {
                observer.observed("dnsbl", listing.as_str(), began.elapsed());
            }
            listing
        })
    }
}

/// What a list says of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listing {
    Listed(Ipv4Addr),
    Absent,
    Unknown,
}

impl Listing {
    /// RFC 5782 section 2.1: listed is what has an address in 127.0.0.0/8. Of these, 127.255.255.0/24 is how lists say
    /// that something is wrong with the question. Anything else comes from a zone that has been sold.
    fn of(answers: &[Ipv4Addr]) -> Self {
        let is_error = |answer: &Ipv4Addr| answer.octets().starts_with(&[127, 255, 255]);
        if answers.iter().any(is_error) {
            return Self::Unknown;
        }
        let listed = answers.iter().find(|answer| answer.is_loopback());
        listed.map_or(Self::Unknown, |answer| Self::Listed(*answer))
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Listed(_) => "listed",
            Self::Absent => "absent",
            Self::Unknown => "temperror",
        }
    }
}

impl Check for Blocklist {
    type Session = BlocklistSession;

    async fn connect(self: &Arc<Self>, client: &Client) -> Result<BlocklistSession, Reply> {
        let address = client.peer().ip().filter(|_| is_stranger(client));
        let state = match address {
            Some(address) => {
                let list = Arc::clone(self);
                State::Asked(Task::spawn(Box::pin(async move {
                    list.look(address.to_canonical()).await
                })))
            }
            None => State::Known(Listing::Absent),
        };
        Ok(BlocklistSession {
            list: Arc::clone(self),
            state,
        })
    }

    fn needs_runtime(&self) -> bool {
        true
    }
}

/// One connection, as a blocklist sees it.
#[derive(Debug)]
pub struct BlocklistSession {
    list: Arc<Blocklist>,
    state: State,
}

#[derive(Debug)]
enum State {
    Asked(Task<Listing>),
    Known(Listing),
}

impl BlocklistSession {
    fn is_asked(&self) -> bool {
        !matches!(self.state, State::Known(Listing::Absent))
    }

    async fn listing(&mut self) -> Listing {
        match &mut self.state {
            State::Known(listing) => *listing,
            State::Asked(task) => {
                let listing = task.await.unwrap_or(Listing::Unknown);
                self.state = State::Known(listing);
                listing
            }
        }
    }
}

impl CheckSession for BlocklistSession {
    async fn rcpt(&mut self, rcpt: Rcpt<'_>) -> Result<(), Reply> {
        let spared = self.list.action == ListedAction::Mark
            || is_postmaster(rcpt.path())
            || !is_stranger(rcpt.client());
        if spared {
            return Ok(());
        }
        match self.listing().await {
            Listing::Listed(_) => Err(LISTED),
            Listing::Absent | Listing::Unknown => Ok(()),
        }
    }

    /// Who is refused has no content, so nothing is left to be marked.
    fn reads_content(&self) -> bool {
        self.list.action == ListedAction::Mark && self.is_asked()
    }

    async fn content(&mut self, content: Content<'_>) -> Result<Verdict, Reply> {
        if !is_stranger(content.client()) {
            return Ok(Verdict::default());
        }
        let Listing::Listed(answer) = self.listing().await else {
            return Ok(Verdict::default());
        };
        let (zone, answer) = (&*self.list.zone, answer.to_string());
        let edit = Edit::Prepend {
            name: FIELD.into(),
            value: format!("{zone} ({answer})"),
        };
        let finding = Finding::new("dnsbl", "listed");
        let finding = finding.property("dns.zone", zone);
        let finding = finding.property("policy.ip", answer);
        Ok(Verdict::default().found(finding).edit(edit))
    }
}

/// `postmaster` at whatever domain: it is ours, or the handler refuses it.
fn is_postmaster(path: &ForwardPath) -> bool {
    let local_part = path.mailbox().map(|mailbox| mailbox.local_part());
    local_part.is_none_or(|it| it.eq_ignore_ascii_case("postmaster"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_none_lists_nobody() {
        let of = |answers: &[[u8; 4]]| {
            let answers: Vec<_> = answers.iter().map(|it| Ipv4Addr::from(*it)).collect();
            Listing::of(&answers)
        };
        assert_eq!(
            of(&[[127, 0, 0, 2]]),
            Listing::Listed(Ipv4Addr::new(127, 0, 0, 2))
        );
        assert_eq!(of(&[[127, 255, 255, 254]]), Listing::Unknown);
        assert_eq!(
            of(&[[127, 0, 0, 2], [127, 255, 255, 252]]),
            Listing::Unknown
        );
        assert_eq!(of(&[[192, 0, 2, 1]]), Listing::Unknown);
        assert_eq!(of(&[]), Listing::Unknown);
    }
}
