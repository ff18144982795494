//! A target at the other end of a network: it answers late, stands still, dies before it has a
//! message, and dies when it has one and nobody has heard so yet. Its mail goes the way that all
//! mail to a target goes.

use prixfixe_delivery::{
    Asked, Delivered, Failure, Health, Maildir, Outcomes, Target, Transaction,
};
use prixfixe_delivery::{BoxFuture, Delivery};
use prixfixe_server::{Accepted, Handler, Mail, Message, Rcpt, Recipient, Reply, Session};

use std::sync::Arc;

use crate::disk::Disk;
use crate::runtime::{MILLISECOND, Runtime};
use crate::scenario::Sabotage;

/// What it does with a message. It is in the sender's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Late,
    Dies,
    Stalls,
    /// It dies behind the last byte.
    Unsure,
}

/// The target. Cheap to clone.
#[derive(Clone)]
struct Away {
    maildir: Maildir<Disk>,
    runtime: Runtime,
    sabotage: Option<Sabotage>,
}

/// The handler of all mail to it.
pub fn delivery(maildir: Maildir<Disk>, runtime: Runtime, sabotage: Option<Sabotage>) -> Delivery {
    let away = Away {
        maildir,
        runtime,
        sabotage,
    };
    Delivery::to("away", away)
}

/// A message on its way there, from MAIL on.
pub async fn hand_on(delivery: &Delivery, message: Message) -> Result<Accepted, Reply> {
    let (client, envelope) = (message.client().clone(), message.shared_envelope());
    let mut visit = Arc::new(delivery.clone()).connect(&client).await?;
    visit.mail(Mail::new(&client, &envelope)).await?;
    for recipient in envelope.recipients() {
        visit.rcpt(Rcpt::new(&client, &envelope, recipient)).await?;
    }
    visit.message(message).await
}

impl Target for Away {
    fn begin<'a>(&'a self, mail: Mail<'a>) -> Asked<'a, Result<Box<dyn Transaction>, Failure>> {
        let sender = mail.reverse_path().to_string();
        let mood = match sender.split('.').nth(1) {
            Some("dies") => Mood::Dies,
            Some("stalls") => Mood::Stalls,
            Some("unsure") => Mood::Unsure,
            _ => Mood::Late,
        };
        let away = self.clone();
        Asked::later(async move {
            away.runtime.sleep(20 * MILLISECOND).await;
            Ok(Box::new(Visiting { away, mood }) as Box<dyn Transaction>)
        })
    }

    fn health(&self) -> Health {
        self.maildir.health()
    }
}

struct Visiting {
    away: Away,
    mood: Mood,
}

impl Transaction for Visiting {
    fn rcpt<'a>(&'a mut self, _: &'a Recipient) -> Asked<'a, Result<(), Failure>> {
        Asked::later(async {
            self.away.runtime.sleep(5 * MILLISECOND).await;
            Ok(())
        })
    }

    fn deliver(self: Box<Self>, message: Message) -> BoxFuture<'static, Outcomes> {
        Box::pin(async move {
            let result = match self.mood {
                Mood::Late if self.away.sabotage == Some(Sabotage::TargetLies) => {
                    Ok(Delivered::default())
                }
                Mood::Late | Mood::Unsure => self.away.store(message).await,
                Mood::Dies => self.away.die(message).await,
                Mood::Stalls => self.away.stall(message).await,
            };
            let lost = Failure::unknown("the connection was lost behind the content");
            Outcomes::All(match (self.mood, result) {
                (Mood::Unsure, Ok(_)) => Err(lost),
                (_, result) => result,
            })
        })
    }
}

impl Away {
    async fn store(&self, mut message: Message) -> Result<Delivered, Failure> {
        let head = message.trace_headers(message.envelope().recipients());
        let mut incoming = self.maildir.begin(head);
        while let Some(piece) = message.body().chunk().await.map_err(Reply::from)? {
            incoming.write(piece).await.map_err(Reply::from)?;
        }
        incoming.commit().await.map_err(Reply::from)?;
        self.runtime.sleep(300 * MILLISECOND).await;
        Ok(Delivered::default())
    }

    /// In the middle of the content.
    async fn die(&self, mut message: Message) -> Result<Delivered, Failure> {
        let head = message.trace_headers(message.envelope().recipients());
        let mut incoming = self.maildir.begin(head);
        if let Some(piece) = message.body().chunk().await.map_err(Reply::from)? {
            incoming.write(piece).await.map_err(Reply::from)?;
        }
        Err(Failure::unreachable("the connection was lost"))
    }

    async fn stall(&self, mut message: Message) -> Result<Delivered, Failure> {
        while message.body().chunk().await.map_err(Reply::from)?.is_some() {}
        std::future::pending().await
    }
}
