//! Recipients that an HTTP server is asked about.

use std::sync::{Arc, Mutex};

use prixfixe_delivery::{AcceptRecipients, AskOptions, AskRecipients, RecipientsFile};
use prixfixe_server::{Check, CheckSession, Client, Envelope, Rcpt, Recipient};
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
    assert_eq!(ask(&accept, "postmaster@example.org").await, "accepted");
}
