//! Policy on the binary, with the zones of a name server that others wrote.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};

use prixfixe_test_support::{HttpServer, mail_in, talk, unused_port, wait_until};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::harness::{Client, Serve, has, prixfixe, run};

/// bind9 with a zone, until it is dropped.
struct Named {
    process: Child,
    address: SocketAddr,
    _directory: TempDir,
}

/// All of `test`: who has a zone is asked about what lies above it too.
const ZONE: &str = "$TTL 300
@ SOA ns.test. root.test. 1 1h 1h 1h 5m
@ NS ns.test.
ns A 127.0.0.1
sender TXT \"v=spf1 ip4:127.0.0.1 -all\"
_dmarc.sender TXT \"v=DMARC1; p=reject\"
other TXT \"v=spf1 ip4:192.0.2.1 -all\"
_dmarc.other TXT \"v=DMARC1; p=reject\"
1.0.0.127.list A 127.0.0.2
";

impl Named {
    fn start() -> Option<Self> {
        if !has("named") {
            return None;
        }
        let directory = TempDir::new().unwrap();
        let folder = directory.path().display();
        let port = unused_port(Ipv4Addr::LOCALHOST).unwrap();
        fs::write(directory.path().join("zone"), ZONE).unwrap();
        let configuration = format!(
            "options {{ directory \"{folder}\"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};\n\
             recursion no; pid-file none; session-keyfile none; managed-keys-directory \"{folder}\"; }};\n\
             controls {{ }};\nzone \"test\" {{ type primary; file \"{folder}/zone\"; }};\n"
        );
        let file = directory.path().join("named.conf");
        fs::write(&file, configuration).unwrap();
        let mut command = Command::new("named");
        command.arg("-g").arg("-c").arg(&file);
        let process = command.stderr(Stdio::null()).spawn().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        wait_until("named answers", || answers(address));
        Some(Self {
            process,
            address,
            _directory: directory,
        })
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A question for the root's name servers (RFC 1035 section 4.1) has some answer.
fn answers(address: SocketAddr) -> bool {
    let question = b"\0\x01\0\0\0\x01\0\0\0\0\0\0\0\0\x02\0\x01";
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let patience = std::time::Duration::from_millis(200);
    socket.set_read_timeout(Some(patience)).unwrap();
    socket.connect(address).unwrap();
    let _ = socket.send(question);
    socket.recv(&mut [0; 512]).is_ok()
}

fn serve(named: &Named, transport: &str, policy: &str) -> Serve {
    let address = named.address;
    let file = format!(
        "domain = 'mx.test'\ntransport = '{transport}'\nadmin.listen = '127.0.0.1:0'\n\
         [[listener]]\naddress = '127.0.0.1:0'\n\
         [policy]\ndns = ['{address}']\n{policy}"
    );
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("mail.toml"), file).unwrap();
    let mut command = prixfixe(&["serve", "--config", "mail.toml"]);
    Serve::spawn(command.current_dir(directory.path()), directory)
}

/// The reply to a message, or to what was refused before it.
fn send(serve: &Serve, sender: &str, author: &str) -> String {
    let mail = format!("MAIL FROM:<{sender}>");
    let content = format!("From: {author}\r\nSubject: a\r\n\r\nb\r\n.");
    let begin = ["EHLO client.test", &*mail, "RCPT TO:<bob@mx.test>"];
    let replies = talk(
        serve.address(),
        &[&begin[..], &["DATA", &*content]].concat(),
    );
    let refused = replies.iter().find(|reply| reply.starts_with(['4', '5']));
    refused.or(replies.last()).unwrap().clone()
}

fn metrics(serve: &Serve) -> String {
    let line = serve.seen("admin endpoints").unwrap();
    let (_, address) = line.rsplit_once("address=").unwrap();
    let mut stream = TcpStream::connect(address.trim()).unwrap();
    let request = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn on_both_transports(test: fn(&Named, &str)) {
    let Some(named) = Named::start() else { return };
    for transport in ["tokio", "raw"] {
        test(&named, transport);
    }
}

#[test]
fn a_message_says_what_its_senders_zone_says() {
    on_both_transports(|named, transport| {
        let serve = serve(named, transport, "dmarc = 'enforce'\n");
        let reply = send(&serve, "ann@sender.test", "ann@sender.test");
        assert!(reply.starts_with("250 2.0.0"), "{reply}");
        let mail = mail_in(&serve.directory.path().join("mail"));
        let expected = "Authentication-Results: mx.test;\r\n\
            \tspf=pass smtp.mailfrom=sender.test;\r\n\tdkim=none;\r\n\
            \tdmarc=pass header.from=sender.test policy.dmarc=reject\r\n\
            From: ann@sender.test\r\n";
        // Below Received, on top of what the client sent.
        let text = String::from_utf8_lossy(&mail[0].content);
        assert!(text.starts_with(expected), "{text}");
        let reply = send(&serve, "eve@other.test", "ann@sender.test");
        assert!(reply.starts_with("550 5.7.26"), "{reply}");
        let metrics = metrics(&serve);
        for line in [
            r#"smtp_policy_total{check="spf",result="pass"} 1"#,
            r#"smtp_policy_total{check="spf",result="fail"} 1"#,
            r#"smtp_policy_total{check="dmarc",result="fail"} 1"#,
            r#"smtp_policy_duration_seconds_count{check="dkim"} 2"#,
        ] {
            assert!(metrics.contains(line), "{line}\n{metrics}");
        }
    });
}

#[test]
fn the_line_of_a_message_says_what_was_found() {
    on_both_transports(|named, transport| {
        let mut serve = serve(named, transport, "dmarc = 'mark'\nclient-name = true\n");
        send(&serve, "eve@other.test", "ann@sender.test");
        let line = serve.line("INFO  message");
        assert!(line.contains(" spf=fail dkim=none dmarc=fail "), "{line}");
        let mail = fs::read_dir(serve.directory.path().join("mail/new")).unwrap();
        let file = mail.flatten().next().unwrap().path();
        let text = fs::read_to_string(file).unwrap();
        // The DNS has that name for it everywhere (RFC 6761 section 6.3).
        let received = "\r\nReceived: from client.test (localhost [127.0.0.1])\r\n";
        assert!(text.contains(received), "{text}");
    });
}

#[test]
fn who_does_not_wait_for_its_greeting_is_refused() {
    for transport in ["tokio", "raw"] {
        let mut serve = serve_by(transport, "[policy]\nearly-talker = '30s'\n");
        let address = serve.address();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"EHLO client.test\r\n").unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        assert!(reply.starts_with("554 5.5.1 "), "{reply}");
        let line = serve.line("refused");
        assert!(line.contains("what=connect"), "{line}");
        // Where nobody is judged, nobody waits; and it can change.
        let file = serve.directory.path().join("mail.toml");
        let text = fs::read_to_string(&file).unwrap();
        let unjudged = text.replace("0'\n[policy]", "0'\npolicy = false\n[policy]");
        assert_ne!(text, unjudged);
        fs::write(&file, text.replace("'30s'", "'off'")).unwrap();
        serve.signal(Signal::HUP);
        serve.line("policy.early-talker");
        let reply = send(&serve, "ann@sender.test", "ann@sender.test");
        assert!(reply.starts_with("250"), "{reply}");
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join("mail.toml"), unjudged).unwrap();
        let mut command = prixfixe(&["serve", "--config", "mail.toml"]);
        let serve = Serve::spawn(command.current_dir(directory.path()), directory);
        let reply = send(&serve, "ann@sender.test", "ann@sender.test");
        assert!(reply.starts_with("250"), "{reply}");
    }
}

#[test]
fn who_is_on_a_list_is_refused_or_marked() {
    on_both_transports(|named, transport| {
        let lists = "[[policy.dnsbl]]\nzone = 'list.test'\naction = 'reject'\n";
        let refusing = serve(named, transport, lists);
        let reply = send(&refusing, "ann@sender.test", "ann@sender.test");
        assert!(reply.starts_with("554 5.7.1"), "{reply}");
        let lists = "[[policy.dnsbl]]\nzone = 'list.test'\n[[policy.dnsbl]]\nzone = 'empty.test'\n";
        let marking = serve(named, transport, lists);
        let reply = send(&marking, "ann@sender.test", "ann@sender.test");
        assert!(reply.starts_with("250"), "{reply}");
        let mail = mail_in(&marking.directory.path().join("mail"));
        let text = String::from_utf8_lossy(&mail[0].content);
        assert!(
            text.contains("X-Blocklist: list.test (127.0.0.2)\r\n"),
            "{text}"
        );
        assert!(!text.contains("empty.test"), "{text}");
    });
}

#[test]
fn policy_changes_with_a_reload_for_transactions_to_come() {
    on_both_transports(|named, transport| {
        let mut serve = serve(named, transport, "spf = 'mark'\n");
        let reply = send(&serve, "eve@other.test", "eve@other.test");
        assert!(reply.starts_with("250"), "{reply}");
        let file = serve.directory.path().join("mail.toml");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replace("spf = 'mark'", "spf = 'enforce'")).unwrap();
        serve.signal(Signal::HUP);
        serve.line("policy.spf");
        let reply = send(&serve, "eve@other.test", "eve@other.test");
        assert!(reply.starts_with("550 5.7.23"), "{reply}");
    });
}

#[test]
fn a_listener_may_judge_nobody() {
    on_both_transports(|named, transport| {
        let policy = "spf = 'enforce'\n";
        let with = serve(named, transport, policy);
        let reply = send(&with, "eve@other.test", "eve@other.test");
        assert!(reply.starts_with("550 5.7.23"), "{reply}");
        let file = fs::read_to_string(with.directory.path().join("mail.toml")).unwrap();
        let listener = "address = '127.0.0.1:0'\n[policy]";
        let without = file.replace(listener, &listener.replace("\n[", "\npolicy = false\n["));
        assert_ne!(file, without);
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join("mail.toml"), without).unwrap();
        let mut command = prixfixe(&["serve", "--config", "mail.toml"]);
        let without = Serve::spawn(command.current_dir(directory.path()), directory);
        let reply = send(&without, "eve@other.test", "eve@other.test");
        assert!(reply.starts_with("250"), "{reply}");
    });
}

/// All of a file but its listener.
fn serve_by(transport: &str, policy: &str) -> Serve {
    let file = format!(
        "domain = 'mx.test'\ntransport = '{transport}'\nadmin.listen = '127.0.0.1:0'\n\
         [[listener]]\naddress = '127.0.0.1:0'\n{policy}"
    );
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("mail.toml"), file).unwrap();
    let mut command = prixfixe(&["serve", "--config", "mail.toml"]);
    Serve::spawn(command.current_dir(directory.path()), directory)
}

#[test]
fn rspamd_is_asked_and_obeyed() {
    for transport in ["tokio", "raw"] {
        let rspamd = HttpServer::start(|request| {
            let text = String::from_utf8_lossy(&request.body);
            let action = match text.contains("eve@") {
                true => "reject",
                false => "add header",
            };
            let body = format!(r#"{{"action":"{action}","score":7.25,"required_score":15}}"#);
            Some((200, String::new(), body))
        });
        let url = rspamd.url();
        // The second one is away, and mail flows all the same.
        let policy = format!(
            "[[policy.rspamd]]\nurl = '{url}'\n\
             [[policy.rspamd]]\nurl = 'http://127.0.0.1:1'\non-failure = 'accept'\n"
        );
        let mut serve = serve_by(transport, &policy);
        let reply = send(&serve, "ann@sender.test", "ann@sender.test");
        assert!(reply.starts_with("250"), "{reply}");
        let mail = mail_in(&serve.directory.path().join("mail"));
        let text = String::from_utf8_lossy(&mail[0].content);
        assert!(text.contains("\r\nX-Spam: Yes\r\n"), "{text}");
        // A stranger's word is not ours, whoever looks at it.
        let lines = [
            "EHLO client.test",
            "MAIL FROM:<ann@sender.test>",
            "RCPT TO:<bob@receiver.test>",
            "DATA",
            "Authentication-Results: mx.test; spf=pass\r\nSubject: forged\r\n\r\n.",
        ];
        let replies = talk(serve.address(), &lines);
        assert!(replies[5].starts_with("250"), "{replies:?}");
        let mail = mail_in(&serve.directory.path().join("mail"));
        let mut texts = mail.iter().map(|it| String::from_utf8_lossy(&it.content));
        let forged = texts.find(|it| it.contains("Subject: forged")).unwrap();
        assert!(!forged.contains("Authentication-Results"), "{forged}");
        let reply = send(&serve, "eve@other.test", "eve@other.test");
        assert!(reply.starts_with("554 5.7.1"), "{reply}");
        assert_eq!(rspamd.requests()[0].header("mta-name"), Some("mx.test"));
        let line = serve.line("rspamd gives no answer");
        assert!(line.contains("cannot connect to 127.0.0.1:1"), "{line}");
        let metrics = metrics(&serve);
        for line in [
            r#"smtp_policy_total{check="rspamd",result="add header"} 2"#,
            r#"smtp_policy_total{check="rspamd",result="reject"} 1"#,
            r#"smtp_policy_total{check="rspamd",result="temperror"} 2"#,
            r#"smtp_policy_duration_seconds_count{check="rspamd"} 5"#,
        ] {
            assert!(metrics.contains(line), "{line}\n{metrics}");
        }
    }
}

/// A milter that refuses every message, and knows nothing of headers and bodies.
fn refusing_milter() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            std::thread::spawn(move || refuse_messages(stream));
        }
    });
    address
}

fn refuse_messages(mut stream: TcpStream) {
    let mut length = [0; 4];
    while stream.read_exact(&mut length).is_ok() {
        let mut packet = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut packet).unwrap();
        let answer: &[u8] = match packet[0] {
            b'O' => b"\0\0\0\x0dO\0\0\0\x06\0\0\0\0\0\0\0\x30",
            b'D' | b'A' | b'Q' => b"",
            b'E' => b"\0\0\0\x12y550 5.7.9 Not so\0",
            _ => b"\0\0\0\x01c",
        };
        let _ = stream.write_all(answer);
    }
}

#[test]
fn milters_are_asked_and_obeyed() {
    for transport in ["tokio", "raw"] {
        let address = refusing_milter();
        // The first one is away, and mail flows all the same.
        let policy = format!(
            "[[policy.milter]]\nsocket = 'inet:127.0.0.1:1'\non-failure = 'accept'\n\
             [[policy.milter]]\nsocket = 'inet:{address}'\n"
        );
        let mut serve = serve_by(transport, &policy);
        let reply = send(&serve, "ann@sender.test", "ann@sender.test");
        assert_eq!(reply, "550 5.7.9 Not so");
        let line = serve.line("a milter gives no answer");
        assert!(line.contains("inet:127.0.0.1:1"), "{line}");
        let metrics = metrics(&serve);
        let line = r#"smtp_policy_total{check="milter",result="reject"} 1"#;
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}

#[test]
fn a_reload_puts_milters_into_force_for_old_connections() {
    for transport in ["tokio", "raw"] {
        let mut serve = serve_by(transport, "");
        let mut client = Client::greeted(&serve);
        client.ask("EHLO client.test", "250");
        let file = serve.directory.path().join("mail.toml");
        let text = fs::read_to_string(&file).unwrap();
        let milter = format!("[[policy.milter]]\nsocket = 'inet:{}'\n", refusing_milter());
        fs::write(&file, text + &milter).unwrap();
        serve.signal(Signal::HUP);
        serve.line("policy.milter");
        client.ask("MAIL FROM:<ann@sender.test>", "250");
        client.ask("RCPT TO:<bob@receiver.test>", "250");
        client.ask("DATA", "354");
        client.ask("Subject: a\r\n\r\n.", "550 5.7.9 Not so");
    }
}

#[test]
fn a_reload_leaves_a_milter_that_has_not_changed_its_connection() {
    for transport in ["tokio", "raw"] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let milter = format!("[[policy.milter]]\nsocket = 'inet:{address}'\n");
        // It serves one connection, and nobody listens after that.
        let one = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            drop(listener);
            refuse_messages(stream);
        });
        let mut serve = serve_by(transport, &milter);
        let mut client = Client::greeted(&serve);
        client.ask("EHLO client.test", "250");
        let file = serve.directory.path().join("mail.toml");
        let text = fs::read_to_string(&file).unwrap();
        let other = format!("[[policy.milter]]\nsocket = 'inet:{}'\n", refusing_milter());
        fs::write(&file, text + &other).unwrap();
        serve.signal(Signal::HUP);
        serve.line("policy.milter");
        client.ask("MAIL FROM:<ann@sender.test>", "250");
        client.ask("RCPT TO:<bob@receiver.test>", "250");
        client.ask("DATA", "354");
        client.ask("Subject: a\r\n\r\n.", "550 5.7.9 Not so");
        drop((client, serve));
        one.join().unwrap();
    }
}

#[test]
fn check_prints_policy_and_names_what_is_wrong_in_it() {
    let (code, printed, _) = run(&mut prixfixe(&["check", "--dmarc=mark", "--dnsbl=a.test"]));
    assert_eq!(code, 0);
    assert!(printed.contains("dmarc = \"mark\""), "{printed}");
    assert!(
        printed.contains("[[policy.dnsbl]]\nzone = \"a.test\"\naction = \"mark\""),
        "{printed}"
    );
    let urls = "--rspamd=http://10.0.0.1:11333,https://rspamd.test/checkv2";
    let (code, printed, _) = run(&mut prixfixe(&["check", urls]));
    assert_eq!(code, 0);
    let tables = "[[policy.rspamd]]\nurl = \"http://10.0.0.1:11333\"\non-failure = \"defer\"\n\n\
         [[policy.rspamd]]\nurl = \"https://rspamd.test/checkv2\"\non-failure = \"defer\"\n";
    assert!(printed.contains(tables), "{printed}");
    let sockets = "--milter=inet:127.0.0.1:8891,unix:/run/milter";
    let (code, printed, _) = run(&mut prixfixe(&["check", sockets]));
    assert_eq!(code, 0);
    let tables = "[[policy.milter]]\nsocket = \"inet:127.0.0.1:8891\"\non-failure = \"defer\"\n\n\
         [[policy.milter]]\nsocket = \"unix:/run/milter\"\non-failure = \"defer\"\n";
    assert!(printed.contains(tables), "{printed}");
    for (argument, problem) in [
        (
            "--milter=127.0.0.1:8891",
            "--milter: `127.0.0.1:8891` is no socket of a milter; give inet:HOST:PORT or unix:/PATH",
        ),
        (
            "--rspamd=127.0.0.1:11333",
            "--rspamd: \"127.0.0.1:11333\" is no URL",
        ),
        (
            "--rspamd=http://rspamd:11333",
            "policy.rspamd 1: http://rspamd:11333: http: is for this host alone",
        ),
        (
            "--spf=yes",
            "--spf: `yes` is not known; give one of off, mark, enforce",
        ),
        (
            "--dkim=enforce",
            "--dkim: `enforce` is not known; give one of off, mark",
        ),
        (
            "--dnsbl=no domain",
            "--dnsbl: `no domain` is not a domain name",
        ),
    ] {
        let (code, _, stderr) = run(&mut prixfixe(&["check", argument]));
        assert_eq!(code, 2, "{argument}");
        assert!(stderr.contains(problem), "{argument}: {stderr}");
    }
}
