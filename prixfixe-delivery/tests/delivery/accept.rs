//! Recipients that an HTTP server is asked about.

use std::sync::{Arc, Mutex};

use prixfixe_delivery::{
    AcceptRecipients, AcceptSession, AskOptions, AskRecipients, RecipientsFile,
};
use prixfixe_server::{Check, CheckSession, Client, Envelope, Mail, Rcpt, Recipient};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Answers each question by the local part of its recipient, and keeps the questions.
async fn server() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/lookup?a=b", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let heard = Arc::clone(&heard);
            tokio::spawn(async move {
                let mut request = vec![0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut request).await {
                    let text = String::from_utf8_lossy(&request[..count]).into_owned();
                    let status = match text.split_once("\"recipient\":\"").unwrap().1 {
                        body if body.starts_with("yes") => "204 No Content",
                        body if body.starts_with("no") => "404 Not Found",
                        body if body.starts_with("bad") => "403 Forbidden",
                        body if body.starts_with("hang") => std::future::pending().await,
                        _ => "500 Internal Server Error",
                    };
                    heard.lock().unwrap().push(text);
                    let response = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
                    stream.write_all(response.as_bytes()).await.unwrap();
                }
            });
        }
    });
    (url, asked)
}

async fn ask(accept: &AcceptRecipients, recipient: &str) -> String {
    let client = Client::builder().ehlo("mx.example.net").build();
    let mut session = Arc::new(accept.clone()).connect(&client).await.unwrap();
    ask_in(&mut session, recipient).await
}

async fn ask_in(session: &mut AcceptSession, recipient: &str) -> String {
    let client = Client::builder().ehlo("mx.example.net").build();
    let envelope = Envelope::builder().from("ann@example.net").unwrap().build();
    let recipient = Recipient::new(recipient.parse().unwrap());
    match session
        .rcpt(Rcpt::new(&client, &envelope, &recipient))
        .await
    {
        Ok(()) => "accepted".to_owned(),
        Err(reply) => reply.to_string(),
    }
}

fn asking(url: &str, accept_on_failure: bool) -> AcceptRecipients {
    let mut options = AskOptions::default();
    options.accept_on_failure = accept_on_failure;
    let accept = AcceptRecipients::default();
    let asked = AskRecipients::new(&url.parse().unwrap(), options).unwrap();
    accept.set_ask(Some(asked));
    accept
}

#[tokio::test]
async fn the_status_is_the_reply() {
    let (url, asked) = server().await;
    let accept = asking(&url, false);
    accept.set_postmaster_domains(["example.com".parse().unwrap()]);
    let later = "451 4.4.1 Delivery is not possible now, try again later";
    for (recipient, reply) in [
        ("yes@example.com", "accepted"),
        ("no@example.com", "550 5.1.1 No such user here"),
        ("bad@example.com", "550 5.7.1 Recipient refused"),
        ("broken@example.com", later),
        ("postmaster@example.com", "accepted"),
        ("postmaster", "accepted"),
    ] {
        assert_eq!(ask(&accept, recipient).await, reply, "{recipient}");
    }
    let first = asked.lock().unwrap()[0].clone();
    assert!(
        first.starts_with("POST /lookup?a=b HTTP/1.1\r\n"),
        "{first}"
    );
    for part in [
        r#""sender":"ann@example.net""#,
        r#""helo":"mx.example.net""#,
        r#""user":null"#,
    ] {
        assert!(first.contains(part), "{first}");
    }
    assert_eq!(
        asked.lock().unwrap().len(),
        4,
        "postmaster is not asked about"
    );
    assert_eq!(
        ask(&accept, "no@example.com").await,
        "550 5.1.1 No such user here"
    );
    assert_eq!(asked.lock().unwrap().len(), 4, "the answer is known");
}

#[tokio::test]
async fn without_an_answer_a_recipient_waits_or_is_accepted() {
    let (url, _) = server().await;
    let later = "451 4.4.1 Delivery is not possible now, try again later";
    for (accept_on_failure, reply) in [(false, later), (true, "accepted")] {
        let accept = asking(&url, accept_on_failure);
        assert_eq!(ask(&accept, "hang@example.com").await, reply);
        assert_eq!(ask(&accept, "broken@example.com").await, reply);
        let nobody = asking("http://127.0.0.1:9/", accept_on_failure);
        assert_eq!(ask(&nobody, "yes@example.com").await, reply);
    }
}

#[tokio::test]
async fn the_file_is_asked_before_the_server() {
    let (url, asked) = server().await;
    let accept = asking(&url, false);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("recipients");
    std::fs::write(&path, "yes@example.com\n").unwrap();
    accept.set_file(Some(RecipientsFile::open(&path).unwrap()));
    assert_eq!(
        ask(&accept, "yes@example.org").await,
        "550 5.1.1 No such user here"
    );
    assert_eq!(asked.lock().unwrap().len(), 0);
    assert_eq!(ask(&accept, "yes@example.com").await, "accepted");
    // It is a domain of ours, so its postmaster is.
    assert_eq!(ask(&accept, "Postmaster@example.com").await, "accepted");
}

/// Else a relay would be one to every postmaster of the world.
#[tokio::test]
async fn a_postmaster_of_somebody_else_is_no_recipient() {
    let (url, _) = server().await;
    let by_server = asking(&url, false);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("recipients");
    std::fs::write(&path, "bob@example.com\n@*.example.net\n").unwrap();
    let by_file = AcceptRecipients::default();
    by_file.set_file(Some(RecipientsFile::open(&path).unwrap()));
    for accept in [&by_server, &by_file] {
        accept.set_postmaster_domains(["mx.example.com".parse().unwrap()]);
        assert_eq!(ask(accept, "postmaster").await, "accepted");
        assert_eq!(ask(accept, "postmaster@MX.Example.com.").await, "accepted");
        for foreign in ["postmaster@example.org", "POSTMASTER@[192.0.2.1]"] {
            assert_ne!(ask(accept, foreign).await, "accepted", "{foreign}");
        }
    }
    assert_eq!(ask(&by_file, "postmaster@example.com").await, "accepted");
    assert_eq!(ask(&by_file, "postmaster@a.example.net").await, "accepted");
}

/// The transaction goes by the route of then: what is accepted from now on may be meant for another
/// one.
#[tokio::test]
async fn a_transaction_is_judged_by_what_was_set_when_it_began() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("recipients");
    std::fs::write(&path, "bob@example.com\n").unwrap();
    let accept = AcceptRecipients::default();
    accept.set_file(Some(RecipientsFile::open(&path).unwrap()));
    let client = Client::builder().build();
    let mut session = Arc::new(accept.clone()).connect(&client).await.unwrap();
    let envelope = Envelope::builder().from("ann@example.net").unwrap().build();
    session.mail(Mail::new(&client, &envelope)).await.unwrap();
    accept.set_file(None);
    let stranger = "eve@example.org";
    assert_ne!(ask_in(&mut session, stranger).await, "accepted");
    session.reset();
    session.mail(Mail::new(&client, &envelope)).await.unwrap();
    assert_eq!(ask_in(&mut session, stranger).await, "accepted");
}
