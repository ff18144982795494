//! Clients that do all they can to fill the disk with the log.

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::TRANSPORTS;
use crate::client::Client;
use crate::mail;
use prixfixe_test_support::wait_until;

use crate::server::{Launch, PATIENCE, Server};

const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const VICTIM: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// One that sends good mail beside it, from the attacker's own address.
const GOOD_MESSAGES: usize = 30;

const TRANSACTIONS: usize = 3000;
const LARGE_TRANSACTIONS: usize = 30;
const REFUSED: usize = 1000;
const OVER_LIMIT: usize = 1500;
const PLACES: usize = 20;

/// What one client may make the server write in a minute.
const MAX_OCTETS: usize = 200_000;

fn connect(source: Ipv4Addr, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.connect(&address.into())?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Sends this so many times over as few connections as the server allows, and reads all replies.
fn flood(server: &Server, sent: &str, replies: usize, times: usize) {
    const BATCH: usize = 10;
    let mut client = None;
    let mut done = 0;
    while done < times {
        let mut attacker = client.take().unwrap_or_else(|| server.connect());
        let mut batch = || {
            attacker.write(sent.repeat(BATCH).as_bytes())?;
            (0..replies * BATCH).try_for_each(|_| attacker.reply().map(drop))
        };
        // It may be sent away.
        if batch().is_ok() {
            client = Some(attacker);
        }
        done += BATCH;
    }
}

/// Connections over the limit, while all places are taken.
fn crowd(server: &Server) {
    let idle: Vec<_> = (0..PLACES).map(|_| server.connect()).collect();
    for _ in 0..OVER_LIMIT {
        let mut stream = connect(ATTACKER, server.address()).unwrap();
        let mut said = Vec::new();
        // A reset may overtake it.
        let _ = stream.read_to_end(&mut said);
        assert!(said.is_empty() || said.starts_with(b"421 4.3.2 "));
    }
    drop(idle);
    wait_until("there are places", || {
        Client::connect(server.address()).is_ok()
    });
}

fn attack(server: &Server) {
    let start = "MAIL FROM:<a@client.example> SMTPUTF8\r\n";
    let empty = format!("{start}RCPT TO:<b@here.example>\r\nBDAT 0\r\nRSET\r\n");
    flood(server, &empty, 4, TRANSACTIONS);
    let recipient = format!("RCPT TO:<{}@here.example>\r\n", "\u{202e}".repeat(20));
    let large = format!("{start}{}BDAT 0\r\nRSET\r\n", recipient.repeat(200));
    flood(server, &large, 203, LARGE_TRANSACTIONS);
    let quotes = format!("MAIL FROM:<\"{}\"@client.example\r\n", r#"\""#.repeat(100));
    flood(server, &quotes, 1, REFUSED);
    crowd(server);
}

/// A refusal of somebody else.
fn refuse_the_victim(server: &Server) {
    let stream = connect(VICTIM, server.address()).unwrap();
    let mut victim = Client::over(stream).unwrap();
    victim
        .write(b"MAIL FROM:<ann@victim.example>\r\nRCPT TO:<bob@elsewhere.example>\r\n")
        .unwrap();
    victim.expect("250").unwrap();
    victim.expect("550 5.7.1").unwrap();
    victim.quit();
}

#[test]
fn no_client_fills_the_disk_with_the_log() {
    for transport in TRANSPORTS {
        for format in ["text", "json"] {
            let places = PLACES.to_string();
            let server = Launch::new(transport)
                .arguments(&["--deliver", "discard:", "--log-format", format])
                .arguments(&["--max-connections", &places, "--max-errors", "1000000"])
                .arguments(&["--accept-domain", "here.example"])
                .start();
            let begun = Instant::now();
            attack(&server);
            refuse_the_victim(&server);
            for number in 0..GOOD_MESSAGES {
                let mut client = server.connect();
                let content = mail::content(&format!("good-{number}"), 500);
                assert!(client.send(&content).unwrap().starts_with("250"));
                client.quit();
            }

            // Mail that is accepted has all its lines, from the same address too.
            let accepted = ["accepted=1 ", "\"accepted\":1,"];
            let count =
                |parts: [&str; 2]| parts.iter().map(|it| server.log.count(it)).sum::<usize>();
            wait_until("all lines", || count(accepted) == GOOD_MESSAGES);
            assert_eq!(
                count(["result=accepted", "\"result\":\"accepted\""]),
                GOOD_MESSAGES
            );
            // So has the victim, whatever the attacker has spent.
            assert_eq!(server.log.count("bob@elsewhere.example"), 1);
            assert!(
                server.log.count("421 4.3.2") >= 1,
                "the first over the limit is told"
            );
            assert!(server.log.count("log lines about clients were left out") >= 1);

            let lines = server.log.all();
            let octets: usize = lines.iter().map(|line| line.len() + 1).sum();
            assert!(lines.iter().all(|line| line.len() < 4096));
            eprintln!(
                "{transport}, {format}: {octets} bytes in {} lines",
                lines.len()
            );
            let minutes = begun.elapsed().as_secs() / 60 + 1;
            let good = GOOD_MESSAGES * 1000;
            let most = MAX_OCTETS * usize::try_from(minutes).unwrap() + good;
            assert!(octets < most, "{octets} octets in {} lines", lines.len());
            assert!(begun.elapsed() < Duration::from_secs(600));
        }
    }
}
