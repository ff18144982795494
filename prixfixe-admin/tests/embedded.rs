//! The endpoints of a program that embeds the server, without `prixfixe-delivery`.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use prixfixe_admin::{Admin, Destinations, Numbers, Status};
use prixfixe_server::{Accepted, Message, Server};

#[derive(Debug, Default)]
struct Database {
    is_lost: AtomicBool,
}

impl Destinations for Database {
    fn fault(&self) -> Option<String> {
        let is_lost = self.is_lost.load(Ordering::Relaxed);
        is_lost.then(|| "the database is\r\nnot there".to_owned())
    }
}

#[derive(Debug)]
struct Tickets;

impl Numbers for Tickets {
    fn encode(&self, text: &mut String) {
        text.push_str("helpdesk_tickets 7\n");
    }
}

/// The whole answer to a GET.
fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_program_tells_of_its_own_destinations_and_numbers() {
    let server = Server::builder()
        .listen(([127, 0, 0, 1], 0))
        .handler(|message: Message| async {
            message.collect().await?;
            Ok(Accepted::default())
        })
        .start()
        .unwrap();
    let server = Arc::new(server);
    let database = Arc::new(Database::default());
    let admin = Admin::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = admin.addresses()[0];
    let status = Status::new(Arc::clone(&server))
        .delivery(Arc::clone(&database))
        .numbers(Arc::new(Tickets));
    admin.serve(status, std::future::pending()).unwrap();

    assert!(get(address, "/readyz").ends_with("\r\n\r\nready\n"));
    let metrics = get(address, "/metrics");
    assert!(metrics.contains("\nsmtp_ready 1\n") && metrics.ends_with("\nhelpdesk_tickets 7\n"));
    let status = get(address, "/status.json");
    let (_, json) = status.split_once("\r\n\r\n").unwrap();
    let status: serde_json::Value = serde_json::from_str(json).unwrap();
    let listener = &status["listeners"][0];
    assert_eq!(
        (
            listener["address"].as_str(),
            listener["protocol"].as_str(),
            listener["tls"].as_str()
        ),
        (
            Some(server.addresses()[0].to_string().as_str()),
            Some("smtp"),
            Some("none")
        )
    );

    database.is_lost.store(true, Ordering::Relaxed);
    let answer = get(address, "/readyz");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    // Printable: one line.
    assert!(answer.contains("cannot be delivered: the database is"));
    assert_eq!(
        answer.split_once("\r\n\r\n").unwrap().1.lines().count(),
        1,
        "{answer}"
    );
    server.shutdown();
    assert!(get(address, "/readyz").contains("draining"));
}
