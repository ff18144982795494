//! Connections serve one transaction after another, and what waits may turn out dead.

use prixfixe_delivery::Target;
use prixfixe_server::Mail;

use crate::scripted::{
    Do, HELLO, Scripted, client, content, envelope, envelope_to, hear, hello, is_down, relay, say,
    send,
};

#[tokio::test]
async fn a_connection_is_used_again() {
    let one = [envelope(), content("250 one")].concat();
    let two = [envelope(), content("250 two")].concat();
    let server = Scripted::new(vec![[hello(&[]), one, two].concat()]).await;
    let hop = server.hop("smtp");
    assert_eq!(send(&hop).await, ["ok: 250 one"]);
    assert_eq!(send(&hop).await, ["ok: 250 two"]);
    server.heard().await;
}

#[tokio::test]
async fn a_connection_that_waited_and_is_dead_is_replaced_once() {
    let first = [hello(&[]), envelope(), content("250 one")].concat();
    let second = [hello(&[]), envelope(), content("250 two")].concat();
    for end in [
        vec![],
        vec![hear("MAIL")],
        vec![hear("MAIL"), say("421 4.4.2 timeout")],
    ] {
        let scripts = vec![[first.clone(), end].concat(), second.clone()];
        let server = Scripted::new(scripts).await;
        let hop = server.hop("smtp");
        assert_eq!(send(&hop).await, ["ok: 250 one"]);
        assert_eq!(send(&hop).await, ["ok: 250 two"]);
        assert!(!is_down(&hop));
        server.heard().await;
    }
}

#[tokio::test]
async fn a_new_connection_that_is_dead_is_not_replaced() {
    let server = Scripted::new(vec![
        [hello(&[]), vec![hear("MAIL")]].concat(),
        [hello(&[]), envelope(), content("250 ok")].concat(),
    ])
    .await;
    let hop = server.hop("smtp");
    assert!(send(&hop).await[0].starts_with("rcpt: 451 4.4.1"));
    assert!(is_down(&hop));
    assert_eq!(send(&hop).await, ["ok: 250 ok"]);
    assert!(!is_down(&hop));
    server.heard().await;
}

#[tokio::test]
async fn a_recipient_that_is_taken_does_not_show_that_messages_are() {
    let fails = [hear("DATA"), say("421 4.3.2 going down")];
    let server = Scripted::new(vec![
        [hello(&[]), envelope(), fails.to_vec()].concat(),
        [hello(&[]), envelope(), content("250 ok")].concat(),
    ])
    .await;
    let hop = server.hop("smtp");
    assert!(send(&hop).await[0].starts_with("end: 451 4.4.1"));
    assert!(is_down(&hop));
    let (client, mail) = (client(), envelope_to(&["bob@example.org"]));
    let mut transaction = hop.begin(Mail::new(&client, &mail)).answer().await.unwrap();
    let taken = transaction.rcpt(&mail.recipients()[0]).answer().await;
    assert_eq!(taken, Ok(()));
    assert!(is_down(&hop));
    // It is in nobody's way while its client is silent.
    assert!(hop.begin(Mail::new(&client, &mail)).answer().await.is_ok());
    let message = prixfixe_server::Message::new(client, mail, [HELLO]);
    transaction.deliver(message).await;
    assert!(!is_down(&hop));
    server.heard().await;
}

#[tokio::test]
async fn a_transaction_that_was_given_up_leaves_its_connection_to_the_next() {
    let refused = [
        hear("MAIL"),
        say("250 ok"),
        hear("RCPT"),
        say("550 5.1.1 no"),
    ];
    let script = [
        hello(&[]),
        refused.to_vec(),
        vec![hear("RSET"), say("250 ok")],
        envelope(),
        content("250 ok"),
    ];
    let server = Scripted::new(vec![script.concat()]).await;
    let hop = server.hop("smtp");
    assert!(send(&hop).await[0].starts_with("rcpt: 550 5.1.1 no"));
    assert_eq!(send(&hop).await, ["ok: 250 ok"]);
    server.heard().await;
}

#[tokio::test]
async fn a_question_that_was_given_up_takes_its_connection_along() {
    let server = Scripted::new(vec![
        [hello(&[]), vec![hear("MAIL"), Do::Hang]].concat(),
        [hello(&[]), envelope(), content("250 ok")].concat(),
    ])
    .await;
    let hop = server.hop("smtp");
    let (client, mail) = (client(), envelope_to(&["bob@example.org"]));
    let mut transaction = hop.begin(Mail::new(&client, &mail)).answer().await.unwrap();
    let asked = transaction.rcpt(&mail.recipients()[0]).answer();
    // The client is gone before there is an answer.
    let given_up = tokio::time::timeout(std::time::Duration::from_millis(300), asked).await;
    assert!(given_up.is_err());
    drop(transaction);
    assert_eq!(send(&hop).await, ["ok: 250 ok"]);
    server.heard().await;
}

#[tokio::test]
async fn a_server_that_closes_while_the_client_is_waited_for_is_not_down() {
    let server = Scripted::new(vec![[hello(&[]), envelope()].concat()]).await;
    let hop = server.hop("smtp");
    let (client, mail) = (client(), envelope_to(&["bob@example.org"]));
    let mut transaction = hop.begin(Mail::new(&client, &mail)).answer().await.unwrap();
    transaction
        .rcpt(&mail.recipients()[0])
        .answer()
        .await
        .unwrap();
    // The server's end is read once the runtime has heard of it.
    server.heard().await;
    let message = prixfixe_server::Message::new(client, mail, [HELLO]);
    let outcomes = format!("{:?}", transaction.deliver(message).await);
    assert!(outcomes.contains("closed the connection"), "{outcomes}");
}

#[tokio::test]
async fn a_refused_recipient_of_several_is_not_in_the_way_of_the_others() {
    let script = [
        hello(&["PIPELINING"]),
        vec![
            hear("MAIL"),
            hear("RCPT TO:<a@"),
            say("250 ok"),
            say("550 5.1.1 no"),
        ],
        vec![hear("RCPT TO:<b@"), say("250 ok")],
        content("250 ok"),
    ];
    let server = Scripted::new(vec![script.concat()]).await;
    let hop = server.hop("smtp");
    let told = relay(&hop, envelope_to(&["a@x.example", "b@x.example"]), &[HELLO]).await;
    assert!(told[0].starts_with("rcpt: 550 5.1.1 no"), "{told:?}");
    assert_eq!(told[1], "ok: 250 ok");
    server.heard().await;
}
