//! Many messages while the endpoint fails in every way: what was acknowledged is there, and mail
//! flows.

use std::collections::HashSet;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prixfixe_delivery::{FailureKind, WebhookOptions};
use prixfixe_server::Message;

use crate::endpoint::{Endpoint, OK, client, deliver, envelope, open};

const MESSAGES: usize = 2_000;

#[tokio::test(flavor = "multi_thread")]
async fn every_success_is_there() {
    let taken = Arc::<Mutex<HashSet<String>>>::default();
    let count = AtomicUsize::new(0);
    let endpoint = Endpoint::start({
        let taken = Arc::clone(&taken);
        move |request, stream| {
            let take = || {
                let id = request.header("webhook-id").expect("a name");
                taken.lock().unwrap().insert(id.to_owned());
            };
            let (response, stays): (&str, bool) = match count.fetch_add(1, Ordering::Relaxed) % 23 {
                3 => ("HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n", true),
                7 => ("HTTP/1.1 406 x\r\nContent-Length: 0\r\n\r\n", true),
                11 => return false,
                // It has the message, and says so to nobody.
                13 => {
                    take();
                    return false;
                }
                17 => ("HTTP/1.1 20", false),
                19 => ("220 hello\r\n", false),
                21 => {
                    take();
                    (OK, false)
                }
                _ => {
                    take();
                    (OK, true)
                }
            };
            stream.write_all(response.as_bytes()).is_ok() && stays
        }
    });
    let mut options = WebhookOptions::default();
    options.final_timeout = Duration::from_secs(20);
    options.concurrency = 8.try_into().unwrap();

    let webhook = open(&endpoint.url(), options);
    let next = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let (webhook, next) = (webhook.clone(), Arc::clone(&next));
            tokio::spawn(async move {
                let (mut delivered, mut refused) = (Vec::new(), Vec::new());
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= MESSAGES {
                        return (delivered, refused);
                    }
                    let content = format!("Date: now\r\nSubject: {number}\r\n\r\nx\r\n");
                    loop {
                        let envelope = envelope("ann@example.com", &["bob@example.org"]);
                        let mut message = Message::new(client(), envelope, [content.clone()]);
                        let digest = message.digest().await.unwrap().to_string();
                        match deliver(&webhook, message).await {
                            Ok(_) => break delivered.push(digest),
                            Err(failure) if failure.kind() == FailureKind::Never => {
                                break refused.push(digest);
                            }
                            // As a client's queue does.
                            Err(_) => tokio::task::yield_now().await,
                        }
                    }
                }
            })
        })
        .collect();
    let (mut delivered, mut refused) = (Vec::new(), Vec::new());
    for each in clients {
        let (some, others) = each.await.unwrap();
        delivered.extend(some);
        refused.extend(others);
    }
    let taken = taken.lock().unwrap();
    assert_eq!(delivered.len() + refused.len(), MESSAGES);
    assert!(!refused.is_empty());
    for digest in &delivered {
        assert!(
            taken.contains(&format!("msg_{digest}")),
            "acknowledged and not there"
        );
    }
    let connections = endpoint.requests().iter().map(|it| it.connection).max();
    // Most requests were on connections that were kept.
    assert!(connections.unwrap() < endpoint.requests().len() / 2);
}
