//! Mail by routes, to targets that do as they are told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use prixfixe_delivery::{
    Asked, BoxFuture, Delivered, Delivery, Discard, Failure, Health, Outcomes, Routes, Target,
    Transaction,
};
use prixfixe_server::{
    Accepted, Client, Envelope, Handler, Mail, Message, Rcpt, Recipient, Reply, Session, reply,
};

/// Takes mail, or not, as is written in it: `full.1@` is over quota in the first attempt, `gone@`
/// is unknown at the end of the data, `nobody@` is unknown at RCPT.
#[derive(Clone, Default)]
struct Scripted {
    got: Arc<Mutex<Vec<(String, String)>>>,
    attempts: Arc<Mutex<HashMap<String, u32>>>,
    is_relay: bool,
}

impl Scripted {
    fn got(&self) -> Vec<String> {
        let got = self.got.lock().unwrap();
        got.iter().map(|(to, _)| to.clone()).collect()
    }
}

impl Target for Scripted {
    fn begin<'a>(&'a self, mail: Mail<'a>) -> Asked<'a, Result<Box<dyn Transaction>, Failure>> {
        if mail.reverse_path().to_string().starts_with("down@") {
            return Asked::Now(Err(Failure::unreachable("connection refused")));
        }
        Asked::Now(Ok(Box::new(self.clone())))
    }

    fn health(&self) -> Health {
        Health::always_good()
    }

    fn is_relay(&self) -> bool {
        self.is_relay
    }
}

impl Transaction for Scripted {
    fn rcpt<'a>(&'a mut self, recipient: &'a Recipient) -> Asked<'a, Result<(), Failure>> {
        let is_known = !recipient.to_string().starts_with("nobody@");
        Asked::later(async move {
            match is_known {
                true => Ok(()),
                false => Err(Failure::said(Reply::NO_SUCH_USER)),
            }
        })
    }

    fn deliver(self: Box<Self>, message: Message) -> BoxFuture<'static, Outcomes> {
        Box::pin(async move {
            let Ok(message) = message.collect().await else {
                return Failure::unreachable("the client is gone").into();
            };
            let mut outcomes = Vec::new();
            for recipient in message.envelope().recipients() {
                let to = recipient.to_string();
                let mut attempts = self.attempts.lock().unwrap();
                let attempt = attempts.entry(to.clone()).or_default();
                *attempt += 1;
                outcomes.push(match (to.split('@').next(), *attempt) {
                    (Some("full.1"), 1) => Err(Failure::said(Reply::MAILBOX_FULL)),
                    (Some("gone"), _) => Err(Failure::said(Reply::NO_SUCH_USER)),
                    _ => {
                        let content = String::from_utf8_lossy(message.content()).into_owned();
                        self.got.lock().unwrap().push((to, content));
                        Ok(Delivered::saying("taken"))
                    }
                });
            }
            Outcomes::Each(outcomes)
        })
    }
}

/// One transaction; what the client is told, in a row.
async fn send(delivery: &Delivery, from: &str, to: &[&str], content: &'static str) -> Vec<String> {
    let client = Client::builder().ehlo("client.example").build();
    let mut session = Arc::new(delivery.clone()).connect(&client).await.unwrap();
    let envelope = Envelope::builder().from(from).unwrap();
    let empty = envelope.clone().build();
    let mut said = Vec::new();
    if let Err(reply) = session.mail(Mail::new(&client, &empty)).await {
        return vec![reply.to_string()];
    }
    let mut taken = envelope;
    for to in to {
        let recipient = Recipient::new(to.parse().unwrap());
        match session.rcpt(Rcpt::new(&client, &empty, &recipient)).await {
            Ok(()) => taken = taken.recipient(recipient),
            Err(reply) => said.push(reply.to_string()),
        }
    }
    let taken = taken.build();
    if !taken.recipients().is_empty() {
        let message = Message::new(client.clone(), taken, [content]);
        said.push(match session.message(message).await {
            Ok(accepted) => common(accepted),
            Err(reply) => reply.to_string(),
        });
    }
    said
}

/// What a client of SMTP is told.
fn common(accepted: Accepted) -> String {
    match accepted.reply() {
        Ok(_) => "250".to_owned(),
        Err(reply) => reply.to_string(),
    }
}

const DATED: &str = "Date: now\r\n\r\nHello\r\n";

#[tokio::test]
async fn each_recipient_goes_where_the_first_route_says() {
    let (first, second) = (Scripted::default(), Discard::new());
    let routes = Routes::new("mx.example.com")
        .target("first", first.clone())
        .target("second", second.clone())
        .route(["@example.com".parse().unwrap()], "first")
        .unwrap()
        .route(["abuse@".parse().unwrap()], "second")
        .unwrap();
    let delivery = Delivery::new(routes);
    for (to, told) in [
        (vec!["bob@example.com"], vec!["250"]),
        (vec!["abuse@example.org"], vec!["250"]),
        (
            vec!["bob@example.org"],
            vec!["550 5.7.1 No mail for this recipient here"],
        ),
        (
            vec!["bob@example.com", "abuse@example.org"],
            vec![
                "452 4.5.3 Send this recipient in another transaction",
                "250",
            ],
        ),
        // Nobody goes the first way, so the second is open.
        (
            vec!["nobody@example.com", "abuse@example.org"],
            vec!["550 5.1.1 No such user here", "250"],
        ),
    ] {
        assert_eq!(
            send(&delivery, "ann@example.net", &to, DATED).await,
            told,
            "{to:?}"
        );
    }
    assert_eq!(first.got(), ["bob@example.com", "bob@example.com"]);
    assert_eq!(second.messages(), 2);
}

#[tokio::test]
async fn our_trouble_with_a_target_is_a_451_that_says_nothing_of_it() {
    let delivery = Delivery::to("relay", Scripted::default());
    let told = send(&delivery, "down@example.net", &["bob@example.com"], DATED).await;
    assert_eq!(
        told,
        ["451 4.4.1 Delivery is not possible now, try again later"]
    );
    let status = &delivery.targets()[0];
    assert_eq!(
        (status.name.as_str(), status.attempts),
        ("relay", [0, 1, 0, 0])
    );
}

/// RFC 5321 section 3.6.1, and what people have made of it.
#[tokio::test]
async fn strangers_choose_no_route_behind_the_next_hop() {
    let relay = Scripted {
        is_relay: true,
        ..Scripted::default()
    };
    let delivery = Delivery::to("relay", relay.clone());
    for to in [
        "victim%example.net@example.com",
        "example.net!victim@example.com",
        "\"victim@example.net\"@example.com",
        "\"x/y\"@example.com",
    ] {
        let told = send(&delivery, "ann@example.net", &[to], DATED).await;
        assert_eq!(told, ["550 5.7.1 No routes in local parts"], "{to}");
    }
    assert!(relay.got().is_empty());
}

#[tokio::test]
async fn a_repeat_goes_to_those_alone_who_have_no_final_outcome() {
    let target = Scripted::default();
    let delivery = Delivery::to("lmtp", target.clone());
    let to = ["bob@example.com", "full.1@example.com", "gone@example.com"];
    let later = "451 4.3.0 Local error, try again later";
    assert_eq!(
        send(&delivery, "ann@example.net", &to, DATED).await,
        [later]
    );
    assert_eq!(target.got(), ["bob@example.com"]);
    // The worst of what is final, when nobody is left.
    let gone = "550 5.1.1 No such user here";
    assert_eq!(send(&delivery, "ann@example.net", &to, DATED).await, [gone]);
    assert_eq!(target.got(), ["bob@example.com", "full.1@example.com"]);
    assert_eq!(target.attempts.lock().unwrap()["gone@example.com"], 1);
    assert_eq!(send(&delivery, "ann@example.net", &to, DATED).await, [gone]);
    assert_eq!(target.got().len(), 2);

    // Another message to the same people is another message.
    let other = "Date: later\r\n\r\n";
    assert_eq!(send(&delivery, "ann@example.net", &to, other).await, [gone]);
    assert_eq!(target.got().len(), 4);
}

#[tokio::test]
async fn routes_change_while_it_runs_and_numbers_go_on() {
    let (old, new) = (Discard::new(), Discard::new());
    let delivery = Delivery::to("keep", old.clone());
    let to = ["bob@example.com"];
    assert_eq!(send(&delivery, "", &to, DATED).await, ["250"]);
    delivery.set_routes(Routes::all_to("keep", new.clone()));
    assert_eq!(send(&delivery, "", &to, DATED).await, ["250"]);
    assert_eq!((old.messages(), new.messages()), (1, 1));
    assert_eq!(delivery.targets()[0].attempts, [2, 0, 0, 0]);
    let unknown = reply!(550 5.7.1 "No mail for this recipient here");
    delivery.set_routes(Routes::new("mx.example.com"));
    assert_eq!(send(&delivery, "", &to, DATED).await, [unknown.to_string()]);
}
