//! The handler: a Maildir behind answers that are in the addresses.

use std::sync::Arc;

use prixfixe_delivery::{Delivery, Maildir, Transaction as _};
use prixfixe_server::{
    Accepted, Client, Envelope, Handler, Mail, Message, Rcpt, Reply, Session, reply,
};

use crate::disk::Disk;
use crate::runtime::{MILLISECOND, Runtime};
use crate::scenario::{Answer, Handling, Sabotage};
use crate::target::hand_on;

/// What a handler panics with, so that the panic is known for one that is meant.
pub struct Meant;

pub struct Store {
    /// Mail to a target at the other end of a network.
    pub away: Delivery,
    pub maildir: Maildir<Disk>,
    pub runtime: Runtime,
    pub sabotage: Option<Sabotage>,
}

pub const REFUSED: (u16, &str) = (550, "5.7.1");
pub const LATER: (u16, &str) = (451, "4.7.1");
pub const CONTENT_REFUSED: (u16, &str) = (554, "5.6.0");

/// So that it is in an address, where the handler finds it.
#[must_use]
pub const fn word(answer: Answer) -> &'static str {
    match answer {
        Answer::Yes => "yes",
        Answer::Slow => "slow",
        Answer::No => "no",
        Answer::Later => "later",
        Answer::Hangs => "hangs",
        Answer::Panics => "panics",
    }
}

#[must_use]
pub const fn handling_word(handling: Handling) -> &'static str {
    match handling {
        Handling::Store => "store",
        Handling::StoreSlowly => "slowly",
        Handling::StoreAside => "aside",
        Handling::Refuse => "refuse",
        Handling::RefuseUnread => "unread",
        Handling::Hang => "hang",
        Handling::HangUnread => "stuck",
        Handling::Panic => "panic",
        Handling::TargetLate => "late",
        Handling::TargetDies => "dies",
        Handling::TargetStalls => "stalls",
        Handling::TargetUnsure => "unsure",
    }
}

/// The parts of the local part of an address.
fn parts(address: &str) -> impl Iterator<Item = &str> {
    address.split('@').next().unwrap_or_default().split('.')
}

impl Store {
    async fn answer(&self, word: &str) -> Result<(), Reply> {
        match word {
            "slow" => {
                self.runtime.sleep(700 * MILLISECOND).await;
                Ok(())
            }
            "no" => Err(Reply::permanent("no")),
            "later" => Err(reply!(451 4.7.1 "later")),
            "hangs" => std::future::pending().await,
            "panics" => std::panic::panic_any(Meant),
            _ => Ok(()),
        }
    }

    async fn store(&self, mut message: Message, pause: bool) -> Result<Accepted, Reply> {
        if self.sabotage == Some(Sabotage::AnswersEarly) {
            let whole = message.collect().await?;
            let head = whole.trace_headers(whole.envelope().recipients());
            let mut incoming = self.maildir.begin(head);
            let content = whole.into_content();
            drop(self.runtime.spawn(async move {
                if incoming.write(content).await.is_ok() {
                    let _ = incoming.commit().await;
                }
            }));
            return Ok(Accepted::default());
        }
        let head = message.trace_headers(message.envelope().recipients());
        let mut twin = (self.sabotage == Some(Sabotage::StoresTwice)
            && message.id().as_str().ends_with('7'))
        .then(|| self.maildir.begin(head.clone()));
        let mut incoming = self.maildir.begin(head);
        loop {
            match message.body().chunk().await {
                Ok(Some(piece)) => {
                    if let Some(twin) = &mut twin {
                        twin.write(piece.clone()).await?;
                    }
                    incoming.write(piece).await?;
                }
                Ok(None) => break,
                Err(_) if self.sabotage == Some(Sabotage::KeepsParts) => {
                    drop(self.runtime.spawn(incoming.commit()));
                    return Ok(Accepted::default());
                }
                Err(error) => return Err(error.into()),
            }
            if pause {
                self.runtime.sleep(30 * MILLISECOND).await;
            }
        }
        incoming.commit().await?;
        if let Some(twin) = twin {
            twin.commit().await?;
        }
        Ok(Accepted::default())
    }
}

/// What the parts of the sender's address say.
fn handling(envelope: &Envelope) -> String {
    let sender = envelope.reverse_path().to_string();
    parts(&sender).nth(1).unwrap_or_default().to_owned()
}

/// Reads all of it.
async fn read(message: &mut Message) -> Result<(), Reply> {
    while message.body().chunk().await?.is_some() {}
    Ok(())
}

/// Cheap to clone, so that it can be moved into a task.
#[derive(Clone)]
pub struct SimulatedHandler(pub Arc<Store>);

impl Handler for SimulatedHandler {
    type Session = Self;

    async fn connect(self: &Arc<Self>, client: &Client) -> Result<Self, Reply> {
        let octets = match client.peer().ip() {
            Some(std::net::IpAddr::V4(address)) => address.octets(),
            _ => [0; 4],
        };
        let answer = ANSWERS
            .get(usize::from(octets[1]))
            .copied()
            .unwrap_or(Answer::Yes);
        self.0.answer(word(answer)).await?;
        Ok(Self::clone(self))
    }
}

impl Session for SimulatedHandler {
    async fn mail(&mut self, mail: Mail<'_>) -> Result<(), Reply> {
        let sender = mail.reverse_path().to_string();
        self.0
            .answer(parts(&sender).next().unwrap_or_default())
            .await
    }

    async fn rcpt(&mut self, rcpt: Rcpt<'_>) -> Result<(), Reply> {
        let recipient = rcpt.path().to_string();
        self.0
            .answer(parts(&recipient).next().unwrap_or_default())
            .await
    }

    async fn message(&mut self, mut message: Message) -> Result<Accepted, Reply> {
        match handling(message.envelope()).as_str() {
            "store" if self.0.sabotage.is_none() => {
                let transaction = Box::new(self.0.maildir.clone());
                transaction.deliver(message).await.into_answer()
            }
            "store" => self.0.store(message, false).await,
            "slowly" => self.0.store(message, true).await,
            "aside" => {
                let store = self.clone();
                self.0
                    .runtime
                    .spawn(async move { store.0.store(message, false).await })
                    .await
            }
            "late" | "dies" | "stalls" | "unsure" => hand_on(&self.0.away, message).await,
            "refuse" => {
                read(&mut message).await?;
                Err(reply!(554 5.6.0 "not this"))
            }
            "unread" => Err(reply!(554 5.6.0 "not this")),
            "hang" => {
                read(&mut message).await?;
                std::future::pending().await
            }
            "stuck" => {
                // The body is held and never read.
                std::future::pending::<()>().await;
                drop(message);
                Ok(Accepted::default())
            }
            _ => {
                read(&mut message).await?;
                std::panic::panic_any(Meant)
            }
        }
    }
}

/// Their places are the second octet of a client's address.
pub const ANSWERS: [Answer; 6] = [
    Answer::Yes,
    Answer::Slow,
    Answer::No,
    Answer::Later,
    Answer::Hangs,
    Answer::Panics,
];
