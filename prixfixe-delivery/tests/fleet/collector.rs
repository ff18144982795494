//! A target that remembers what it was given, and can be told to refuse.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use prixfixe_delivery::{
    Asked, BoxFuture, Delivered, Failure, Health, Outcomes, Target, Transaction,
};
use prixfixe_server::{Mail, Message, Recipient, Reply, reply};
use tokio::sync::watch;

/// What was delivered, by the digest.
#[derive(Default)]
pub(crate) struct Collector {
    taken: std::sync::Arc<Mutex<HashMap<String, Vec<Taken>>>>,
    pub(crate) is_down: AtomicBool,
    pub(crate) attempts: AtomicU64,
    /// True: a delivery does not end.
    pub(crate) stalls: watch::Sender<bool>,
}

/// One delivery.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    pub(crate) recipients: Vec<String>,
    /// `Received`, and what is behind it.
    pub(crate) text: Vec<u8>,
    pub(crate) helo: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) from: String,
}

const NO_SUCH_USER: Reply = reply!(550 5.1.1 "No such user");
const BUSY: Reply = reply!(450 4.2.1 "Busy");

impl Collector {
    pub(crate) fn digests(&self) -> usize {
        self.taken.lock().unwrap().len()
    }

    pub(crate) fn has(&self, digest: &str) -> bool {
        self.taken.lock().unwrap().contains_key(digest)
    }

    pub(crate) fn all(&self) -> Vec<Taken> {
        let taken = self.taken.lock().unwrap();
        taken.values().flatten().cloned().collect()
    }
}

impl Target for Collector {
    fn begin<'a>(&'a self, _: Mail<'a>) -> Asked<'a, Result<Box<dyn Transaction>, Failure>> {
        self.attempts.fetch_add(1, Ordering::SeqCst);
        Asked::Now(match self.is_down.load(Ordering::SeqCst) {
            true => Err(Failure::unreachable("it is down")),
            false => Ok(Box::new(Taking {
                taken: self.taken.clone(),
                stalls: self.stalls.subscribe(),
            })),
        })
    }

    fn health(&self) -> Health {
        Health::always_good()
    }
}

struct Taking {
    taken: std::sync::Arc<Mutex<HashMap<String, Vec<Taken>>>>,
    stalls: watch::Receiver<bool>,
}

impl Transaction for Taking {
    fn rcpt<'a>(&'a mut self, recipient: &'a Recipient) -> Asked<'a, Result<(), Failure>> {
        let recipient = recipient.to_string();
        Asked::Now(match recipient.split('@').next() {
            Some("nobody") => Err(Failure::said(NO_SUCH_USER)),
            Some("busy") => Err(Failure::said(BUSY)),
            _ => Ok(()),
        })
    }

    fn deliver(mut self: Box<Self>, mut message: Message) -> BoxFuture<'static, Outcomes> {
        Box::pin(async move {
            let _ = self.stalls.wait_for(|stalls| !stalls).await;
            let digest = message.digest().await.expect("a digest").to_string();
            let client = message.client().clone();
            let mut taken = Taken {
                recipients: message
                    .envelope()
                    .recipients()
                    .iter()
                    .map(ToString::to_string)
                    .collect(),
                text: message.received_header(),
                helo: client.helo().map(str::to_owned),
                user: client.identity().map(|it| it.name().to_owned()),
                from: message.envelope().reverse_path().to_string(),
            };
            taken
                .text
                .extend(message.collect().await.expect("a content").content());
            self.taken
                .lock()
                .unwrap()
                .entry(digest)
                .or_default()
                .push(taken);
            Outcomes::All(Ok(Delivered::default()))
        })
    }
}
