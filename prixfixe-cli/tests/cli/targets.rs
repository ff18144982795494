//! Mail handed on to other servers and programs, over both transports.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use prixfixe_test_support::wait_until;
use tempfile::TempDir;

use crate::harness::{Client, Serve, prixfixe, run};

/// An endpoint that takes what is posted, and hands it to the test.
fn endpoint() -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, posted) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if stream.read_line(&mut head).unwrap_or(0) == 0 {
                    break;
                }
            }
            let length = head.to_ascii_lowercase();
            let length = length.split("content-length: ").nth(1);
            let length = length.and_then(|rest| rest.split("\r\n").next());
            let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
            stream.read_exact(&mut body).unwrap();
            let answer = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
            let _ = stream.get_mut().write_all(answer);
            let body = String::from_utf8_lossy(&body).into_owned();
            if sender.send(head + &body).is_err() {
                return;
            }
        }
    });
    (address, posted)
}

pub(crate) fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// A receiver of SMTP and LMTP, and a server that hands mail to it and to a webhook.
struct Pair {
    receiver: Option<Serve>,
    server: Serve,
    posted: Receiver<String>,
    admin: SocketAddr,
    receiving: [SocketAddr; 2],
}

impl Pair {
    fn start(transport: &str) -> Self {
        let receiver = receiver(["127.0.0.1:0", "127.0.0.1:0"].map(str::to_owned));
        let (receiver, receiving) = receiver;
        let (endpoint, posted) = endpoint();
        let directory = TempDir::new().unwrap();
        let [smtp, lmtp] = receiving;
        let file = format!(
            "transport = '{transport}'\nadmin.listen = '127.0.0.1:0'\n\
             accept.domains = ['example.com', 'example.org', 'example.net']\n\
             [[listener]]\naddress = '127.0.0.1:0'\n\
             [[target]]\nname = 'next'\nurl = 'smtp:{smtp}'\n\
             [[target]]\nname = 'boxes'\nurl = 'lmtp:{lmtp}'\n\
             [[target]]\nname = 'hook'\nurl = 'http://{endpoint}/mail?x=y'\n\
             [[route]]\nrecipients = ['@example.com']\nto = ['next']\n\
             [[route]]\nrecipients = ['@example.org']\nto = ['boxes']\n\
             [[route]]\nto = ['hook']\n"
        );
        fs::write(directory.path().join("mail.toml"), file).unwrap();
        let mut command = prixfixe(&["serve", "--config", "mail.toml"]);
        let server = Serve::spawn(command.current_dir(directory.path()), directory);
        let admin = server.seen("admin endpoints").unwrap();
        let admin = admin.rsplit_once("address=").unwrap().1.trim();
        let admin = admin.parse().unwrap();
        Self {
            receiver: Some(receiver),
            server,
            posted,
            admin,
            receiving,
        }
    }

    fn send(&self, recipients: &[&str]) -> String {
        let mut client = Client::greeted(&self.server);
        client.ask("EHLO client.example", "250");
        client.ask("MAIL FROM:<ann@example.com>", "250");
        for recipient in recipients {
            client.send(&format!("RCPT TO:<{recipient}>\r\n"));
            let reply = client.reply();
            if !reply.starts_with("250") {
                return reply;
            }
        }
        client.ask("DATA", "354");
        client.send("Date: now\r\n\r\n..dots\r\n.\r\n");
        client.reply()
    }
}

fn receiver([smtp, lmtp]: [String; 2]) -> (Serve, [SocketAddr; 2]) {
    let directory = TempDir::new().unwrap();
    let file = format!(
        "delivery.target = 'maildir:mail'\n[[listener]]\naddress = '{smtp}'\n\
         [[listener]]\naddress = '{lmtp}'\nprotocol = 'lmtp'\n"
    );
    fs::write(directory.path().join("mail.toml"), file).unwrap();
    let mut command = prixfixe(&["serve", "--config", "mail.toml"]);
    let mut serve = Serve::spawn(command.current_dir(directory.path()), directory);
    let smtp = serve.address();
    let line = serve.line("protocol=lmtp");
    let lmtp = crate::harness::listening_address(&line);
    (serve, [smtp, lmtp])
}

fn mail_goes_where_its_route_says(transport: &str) {
    let pair = Pair::start(transport);
    let two = |domain: &str| [format!("bob@{domain}"), format!("cyd@{domain}")];
    for domain in ["example.com", "example.org", "example.net"] {
        let [first, second] = two(domain);
        let reply = pair.send(&[&first, &second]);
        assert!(reply.starts_with("250 2.0.0 OK"), "{domain}: {reply}");
    }
    let reply = pair.send(&["bob@example.com", "bob@example.org"]);
    assert!(reply.starts_with("452 4.5.3"), "{reply}");

    let stored = pair.receiver.as_ref().unwrap().messages();
    assert_eq!(stored.len(), 2, "{stored:#?}");
    for message in &stored {
        assert!(message.ends_with("Date: now\r\n\r\n.dots\r\n"), "{message}");
        assert!(message.starts_with("Return-Path: <ann@example.com>\r\nDelivered-To: bob@"));
        assert!(
            message.contains("Received: from client.example"),
            "{message}"
        );
    }
    let posted = pair.posted.recv_timeout(Duration::from_secs(30)).unwrap();
    assert!(
        posted.starts_with("POST /mail?x=y HTTP/1.1\r\n"),
        "{posted}"
    );
    assert!(
        posted.contains(r#""to":["bob@example.net","cyd@example.net"]"#),
        "{posted}"
    );

    let metrics = get(pair.admin, "/metrics");
    for name in ["next", "boxes", "hook"] {
        let delivered =
            format!("smtp_target_attempts_total{{target=\"{name}\",result=\"delivered\"}} 1\n");
        assert!(metrics.contains(&delivered), "{metrics}");
    }
}

fn what_is_down_is_told_and_comes_back(transport: &str) {
    let mut pair = Pair::start(transport);
    assert!(get(pair.admin, "/readyz").ends_with("\r\n\r\nready\n"));
    drop(pair.receiver.take());
    // Nothing of the reason is told to clients.
    let reply = pair.send(&["bob@example.com"]);
    assert_eq!(
        reply,
        "451 4.4.1 Delivery is not possible now, try again later"
    );
    assert!(pair.send(&["bob@example.net"]).starts_with("250"));
    let ready = get(pair.admin, "/readyz");
    assert!(ready.starts_with("HTTP/1.1 200 "), "{ready}");
    assert!(
        ready.contains("ready, but not everywhere: next: "),
        "{ready}"
    );
    assert!(get(pair.admin, "/metrics").contains("smtp_target_up{target=\"next\"} 0\n"));

    let (receiver, _) = receiver(pair.receiving.map(|address| address.to_string()));
    pair.receiver = Some(receiver);
    wait_until("mail flows again", || {
        pair.send(&["bob@example.com"]).starts_with("250")
    });
    assert!(get(pair.admin, "/readyz").ends_with("\r\n\r\nready\n"));
}

#[test]
fn mail_goes_where_its_route_says_over_tokio() {
    mail_goes_where_its_route_says("tokio");
}

#[test]
fn mail_goes_where_its_route_says_over_raw() {
    mail_goes_where_its_route_says("raw");
}

#[test]
fn what_is_down_is_told_and_comes_back_over_tokio() {
    what_is_down_is_told_and_comes_back("tokio");
}

#[test]
fn what_is_down_is_told_and_comes_back_over_raw() {
    what_is_down_is_told_and_comes_back("raw");
}

/// The contract's rule, and the ways around it.
#[test]
fn a_relay_is_never_open_to_everybody() {
    let relay = "[[target]]\nname = 'relay'\nurl = 'smtp:relay.example.com'\n";
    let route = |recipients: &str| format!("{relay}[[route]]\n{recipients}to = ['relay']\n");
    let directory = TempDir::new().unwrap();
    let check = |file: &str| {
        fs::write(directory.path().join("mail.toml"), file).unwrap();
        let mut command = prixfixe(&["check", "--config", "mail.toml"]);
        run(command.current_dir(directory.path()))
    };
    for open in [
        "delivery.target = 'smtp:relay.example.com'\n".to_owned(),
        "delivery.target = 'smtps:relay.example.com'\n".to_owned(),
        route(""),
        route("recipients = ['abuse@']\n"),
        route("recipients = ['@example.com', 'abuse@']\n"),
        format!(
            "auth.mode = 'offer'\ntls.self-signed = true\nauth.users = '/dev/null'\n{}",
            route("")
        ),
    ] {
        let (status, _, stderr) = check(&open);
        assert_eq!(status, 2, "{open}");
        assert!(stderr.contains("passes mail on to anybody"), "{stderr}");
    }
    let silent = "[accept]\ncheck = 'https://example.com/'\non-failure = 'accept'\n";
    let (status, _, stderr) = check(&format!("{silent}{}", route("")));
    assert_eq!(status, 2);
    let advice = "passes mail on to anybody while accept.check gives no answer";
    assert!(stderr.contains(advice), "{stderr}");
    let login = "tls.self-signed = true\nauth.users = '/dev/null'\n";
    let required = format!("auth.mode = 'require'\n{login}{}", route(""));
    let listener = "[[listener]]\naddress = '0.0.0.0:0'\n";
    let weaker = format!("{required}{listener}auth = 'offer'\n");
    assert_eq!(check(&required).0, 0);
    assert_eq!(check(&format!("{required}{listener}")).0, 0);
    assert_eq!(check(&weaker).0, 2);
    // Nobody but this host reaches a loopback address, unless a proxy there brings everybody.
    let local =
        format!("{required}[[listener]]\naddress = '127.0.0.1:0'\nauth = 'offer'\n{listener}");
    assert_eq!(check(&local).0, 0);
    for proxy in ["proxy-protocol-from", "xclient-from"] {
        let behind = local.replacen(
            "auth = 'offer'",
            &format!("auth = 'offer'\n{proxy} = ['127.0.0.0/8']"),
            1,
        );
        assert_eq!(check(&behind).0, 2, "{behind}");
    }
    let any = format!(
        "auth.mode = 'any'\naccept.domains = ['example.com']\n{}",
        route("")
    );
    let (status, _, stderr) = check(&any);
    assert_eq!(status, 2);
    assert!(stderr.contains("every password is right"), "{stderr}");
    for bound in [
        "accept.domains = ['example.com']\ndelivery.target = 'smtp:relay.example.com'\n".to_owned(),
        format!("accept.domains = ['example.com']\n{}", route("")),
        route("recipients = ['@example.com', 'bob@example.org', '@*.example.net']\n"),
        "delivery.target = 'lmtp:127.0.0.1:24'\n".to_owned(),
    ] {
        let (status, _, stderr) = check(&bound);
        assert_eq!((status, stderr.as_str()), (0, ""), "{bound}");
    }
}

/// The next server may not take it, and what was promised to a client cannot be taken back.
#[test]
fn binarymime_is_not_offered_where_mail_goes_to_another_server() {
    for (target, expected) in [("discard:", "250 2.1.0"), ("lmtp:127.0.0.1:9", "555 5.5.4")] {
        let serve = Serve::start(&["--deliver", target]);
        let mail = "MAIL FROM:<ann@example.com> BODY=BINARYMIME";
        let replies = prixfixe_test_support::talk(serve.address(), &["EHLO a.test", mail]);
        assert!(replies[2].starts_with(expected), "{target}: {replies:?}");
    }
}
