//! Why did my mail bounce? For each refusal one line of the default log says it: who, what, from
//! whom, to whom, and the reply.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};

use rustix::process::Signal;

use crate::harness::{Client, Serve};

/// What a client sends, all of it at once, the reply that it is about, and what is in the line.
struct Case {
    sent: String,
    reply: &'static str,
    line: Vec<&'static str>,
}

fn case(sent: impl Into<String>, reply: &'static str, line: &[&'static str]) -> Case {
    Case {
        sent: sent.into(),
        reply,
        line: line.to_vec(),
    }
}

const TRANSPORTS: [&str; 2] = ["tokio", "raw"];
const HELLO: &str = "EHLO client.example\r\n";
const HELO: &str = " helo=client.example ";
const MAIL: &str = "MAIL FROM:<ann@client.example>\r\n";
const FROM: &str = " from=ann@client.example ";
const RCPT: &str = "RCPT TO:<bob@here.example>\r\n";

fn serve(transport: &str, arguments: &[&str]) -> Serve {
    let fixed = ["--transport", transport, "--accept-domain", "here.example"];
    Serve::start(&[&fixed, arguments].concat())
}

/// The lines about a peer, up to that of its connection, or to one that has all of this in it.
fn lines(serve: &mut Serve, peer: SocketAddr, last: &[&str]) -> Vec<String> {
    let peer = format!(" peer={peer} ");
    let mut lines = Vec::new();
    loop {
        let line = serve.line(&peer);
        let is_last = match last {
            [] => line.contains(" INFO  connection "),
            parts => parts.iter().all(|part| line.contains(part)),
        };
        lines.push(line);
        if is_last {
            return lines;
        }
    }
}

/// Plays a case; exactly one line about its client has the reply, and that line has all that is
/// known.
fn play(serve: &mut Serve, source: u8, case: &Case) {
    let mut client = Client::connect_from(Ipv4Addr::new(127, 0, 1, source), serve.address());
    client.send(&case.sent);
    while !client.reply().starts_with(case.reply) {}
    let peer = client.local_address();
    drop(client);
    let lines = lines(serve, peer, &[]);
    let tells = |line: &&String| line.contains(case.reply) && !line.contains(" connection ");
    let telling: Vec<_> = lines.iter().filter(tells).collect();
    assert_eq!(telling.len(), 1, "{:?}: {lines:#?}", case.sent);
    for part in &case.line {
        assert!(telling[0].contains(part), "{part:?} is not in {lines:#?}");
    }
}

fn play_all(serve: &mut Serve, cases: &[Case]) {
    for (number, case) in (1..).zip(cases) {
        play(serve, number, case);
    }
}

#[test]
fn a_refused_command_is_one_line() {
    let long = "x".repeat(3000);
    let greeted = |rest: &str| format!("{HELLO}{rest}\r\n");
    let in_mail = |rest: &str| format!("{HELLO}{MAIL}{rest}\r\n");
    let command = " what=command ";
    let cases = [
        case("XYZZY\r\n", "500 5.5.1", &[command]),
        case(greeted("XYZZY"), "500 5.5.1", &[HELO, command]),
        case(
            greeted("EXPN list"),
            "502 5.5.1",
            &[HELO, command, " command=EXPN "],
        ),
        case(
            greeted("STARTTLS"),
            "502 5.5.1",
            &[HELO, command, " command=STARTTLS "],
        ),
        case(
            greeted("AUTH PLAIN AGEAYg=="),
            "502 5.5.1",
            &[HELO, command, " command=AUTH "],
        ),
        case(
            greeted("DATA now"),
            "501 5.5.4",
            &[HELO, command, " command=DATA "],
        ),
        case(
            greeted("MAIL FROM:<bare@>"),
            "501 5.1.7",
            &[HELO, " what=mail ", " from=<bare@> "],
        ),
        case(
            greeted("MAIL TO:<a@b>"),
            "501 5.5.4",
            &[HELO, " what=mail ", " from=TO:<a@b> "],
        ),
        case(
            greeted("MAIL FROM:<ann@client.example> X=1"),
            "555 5.5.4",
            &[HELO, " what=mail ", " from=\"<ann@client.example> X=1\" "],
        ),
        case(
            greeted("MAIL FROM:<ann@client.example> BODY=7BIT BODY=7BIT"),
            "501 5.5.4",
            &[
                HELO,
                " what=mail ",
                " from=\"<ann@client.example> BODY=7BIT BODY=7BIT\" ",
            ],
        ),
        case(
            greeted("MAIL FROM:<ann@client.example> SIZE=1001"),
            "552 5.3.4",
            &[
                HELO,
                " what=mail ",
                " from=\"<ann@client.example> SIZE=1001\" ",
            ],
        ),
        case(
            greeted("MAIL FROM:<\u{e4}@client.example>"),
            "553 5.6.7",
            &[HELO, " what=mail ", " from=<\u{e4}@client.example> "],
        ),
        case(
            MAIL,
            "503 5.5.1",
            &[" what=mail ", " from=<ann@client.example> "],
        ),
        case(
            in_mail("MAIL FROM:<>"),
            "503 5.5.1",
            &[HELO, " what=mail ", " from=<> "],
        ),
        case(
            greeted("RCPT TO:<bob@here.example>"),
            "503 5.5.1",
            &[HELO, " what=rcpt ", " to=<bob@here.example> "],
        ),
        case(
            in_mail("RCPT TO:<bob@>"),
            "501 5.1.3",
            &[HELO, FROM, " what=rcpt ", " to=<bob@> "],
        ),
        case(
            in_mail("RCPT TO:<\u{fc}@here.example>"),
            "553 5.6.7",
            &[HELO, FROM, " to=<\u{fc}@here.example> "],
        ),
        case(
            in_mail("RCPT TO:<bob@elsewhere.example>"),
            "550 5.7.1",
            &[HELO, FROM, " what=rcpt ", " to=bob@elsewhere.example "],
        ),
        case(
            in_mail(&format!("{RCPT}{RCPT}RCPT TO:<late@here.example>")),
            "452 4.5.3",
            &[HELO, FROM, " what=rcpt ", " to=<late@here.example> "],
        ),
        case(
            in_mail("DATA"),
            "503 5.5.1",
            &[HELO, FROM, command, " command=DATA "],
        ),
        case(
            format!("{HELLO}MAIL FROM:<ann@client.example> BODY=BINARYMIME\r\n{RCPT}DATA\r\n"),
            "503 5.5.1",
            &[HELO, FROM, " to=bob@here.example ", " command=DATA "],
        ),
        case(
            in_mail(&format!("{RCPT}BDAT 1001\r\n{}", "x".repeat(1001))),
            "552 5.3.4",
            &[HELO, FROM, " what=message ", " to=bob@here.example "],
        ),
        case(greeted(&long), "500 5.5.2", &[HELO, command]),
        case(
            greeted("NOOP a\nb"),
            "500 5.5.2",
            &[HELO, command, " command=NOOP "],
        ),
        case(
            greeted("RCPT TO:<a@\r"),
            "500 5.5.2",
            &[HELO, " what=rcpt ", " to=<a@ "],
        ),
        case(in_mail("X\r\nX\r\nX"), "421 4.7.0", &[HELO, FROM, command]),
        case("GET / HTTP/1.1\r\n", "554 5.7.0", &[command]),
    ];
    for transport in TRANSPORTS {
        let limits = [
            "--max-message-size",
            "1000",
            "--max-recipients",
            "2",
            "--max-errors",
            "2",
        ];
        let mut serve = serve(
            transport,
            &[&limits[..], &["--deliver", "discard:"]].concat(),
        );
        play_all(&mut serve, &cases);
    }
}

#[test]
fn a_refused_message_is_one_line() {
    let message = |rest: &str| format!("{HELLO}{MAIL}{RCPT}{rest}");
    let to = " recipients=bob@here.example ";
    let received = "Received: from a by b\r\n".repeat(101);
    let cases = [
        case(message("DATA\r\na\nb\r\n.\r\n"), "550 5.5.2", &[FROM, to]),
        case(message("BDAT 3 LAST\r\na\rb"), "550 5.5.2", &[FROM, to]),
        case(
            message(&format!("DATA\r\n{}\r\n.\r\n", "x".repeat(5000))),
            "552 5.3.4",
            &[FROM, to],
        ),
        case(
            message(&format!("BDAT 1\r\nxBDAT 5000\r\n{}", "x".repeat(5000))),
            "552 5.3.4",
            &[FROM, to],
        ),
        case(
            message(&format!("DATA\r\n{received}\r\n.\r\n")),
            "554 5.4.6",
            &[FROM, to],
        ),
        case(
            message("DATA\r\nSubject: x\r\n\r\n.\r\n"),
            "451 4.3.0",
            &[FROM, to],
        ),
    ];
    for transport in TRANSPORTS {
        let mut serve = serve(
            transport,
            &["--max-message-size", "4000", "--deliver", "maildir:mail"],
        );
        // Nothing can be stored.
        let folder = serve.directory.path().join("mail/tmp");
        fs::remove_dir_all(&folder).unwrap();
        fs::write(&folder, "").unwrap();
        play_all(&mut serve, &cases);
    }
}

#[test]
fn who_is_too_slow_finds_its_reply_in_the_log() {
    let message = format!("{HELLO}{MAIL}{RCPT}DATA\r\nhalf a body");
    let within = format!("{HELLO}{MAIL}{RCPT}");
    let half = format!("{HELLO}MAIL FR");
    let to = " recipients=bob@here.example ";
    let cases = [
        case(message, "421 4.4.2", &[" message ", FROM, to]),
        case(within, "421 4.4.2", &[HELO, FROM, " to=bob@here.example "]),
        case(half, "421 4.4.2", &[HELO, " refused "]),
    ];
    for transport in TRANSPORTS {
        let limits = ["--command-timeout", "1", "--deliver", "discard:"];
        let mut serve = serve(transport, &limits);
        play_all(&mut serve, &cases);
        // Nothing of an idle client was refused; its connection says what it was told.
        let mut client = Client::connect_from(Ipv4Addr::new(127, 0, 1, 100), serve.address());
        client.send(HELLO);
        while !client.reply().starts_with("421 4.4.2") {}
        let lines = lines(&mut serve, client.local_address(), &[]);
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(
            lines[0].contains(" result=timeout reply=\"421 4.4.2 "),
            "{lines:#?}"
        );
    }
}

#[test]
fn who_is_over_a_limit_finds_its_reply_in_the_log() {
    for transport in TRANSPORTS {
        let mut server = serve(
            transport,
            &["--max-connections", "1", "--deliver", "discard:"],
        );
        let first = Client::greeted(&server);
        let mut second = Client::connect_from(Ipv4Addr::new(127, 0, 1, 1), server.address());
        assert!(second.reply().starts_with("421 4.3.2"));
        let line = [" refused ", " what=connect ", " reply=\"421 4.3.2 "];
        lines(&mut server, second.local_address(), &line);
        drop(first);

        let limits = [
            "--connections-per-minute",
            "2",
            "--messages-per-minute",
            "1",
        ];
        let mut server = serve(
            transport,
            &[&limits[..], &["--deliver", "discard:"]].concat(),
        );
        let mut client = Client::greeted(&server);
        for command in [HELLO, MAIL, "RSET\r\n", MAIL] {
            client.send(command);
        }
        while !client.reply().starts_with("450 4.7.1") {}
        let line = [
            " refused ",
            HELO,
            FROM,
            " what=mail ",
            " reply=\"450 4.7.1 ",
        ];
        lines(&mut server, client.local_address(), &line);
        drop(Client::greeted(&server));
        let mut third = server.connect();
        assert!(third.reply().starts_with("421 4.7.0"));
        let line = [
            " refused ",
            " what=connect ",
            " limit=\"connections a minute\" ",
            " reply=\"421 4.7.0 ",
        ];
        lines(&mut server, third.local_address(), &line);
    }
}

#[test]
fn what_has_to_do_with_tls_is_told_too() {
    for transport in TRANSPORTS {
        let tls = [
            "--tls-self-signed",
            "--tls-required",
            "--listen-tls",
            "127.0.0.1:0",
            "--deliver",
            "discard:",
        ];
        let mut server = serve(transport, &tls);
        let cases = [
            case(
                format!("{HELLO}{MAIL}"),
                "530 5.7.0",
                &[HELO, " what=mail ", " from=<ann@client.example> "],
            ),
            case(
                format!("{HELLO}STARTTLS\r\nNOOP\r\n"),
                "554 5.5.1",
                &[HELO, " what=command ", " command=STARTTLS "],
            ),
        ];
        play_all(&mut server, &cases);
        let mut client = Client::connect_from(Ipv4Addr::new(127, 0, 1, 50), server.address());
        client.send(&format!("{HELLO}STARTTLS\r\n"));
        while !client.reply().starts_with("220 2.0.0") {}
        // A handshake that begins with its end (ServerHelloDone).
        client.send("\u{16}\u{3}\u{1}\u{0}\u{4}\u{e}\u{0}\u{0}\u{0}");
        let failed = lines(&mut server, client.local_address(), &[]);
        let is_it = failed
            .iter()
            .any(|line| line.contains(" result=refused tls_error="));
        assert!(is_it, "{failed:#?}");

        // Its line may come after those of the first clients.
        let seen = server.seen("tls=implicit").map(str::to_owned);
        let implicit = seen.unwrap_or_else(|| server.line("tls=implicit"));
        let address = crate::harness::listening_address(&implicit);
        let mut client = Client::connect_from(Ipv4Addr::new(127, 0, 1, 51), address);
        client.send(HELLO);
        assert!(client.reply().starts_with("554 5.5.1"));
        let line = [" refused ", " what=connect ", " reply=\"554 5.5.1 "];
        lines(&mut server, client.local_address(), &line);
    }
}

#[test]
fn who_is_there_when_the_server_stops_is_told_so() {
    for transport in TRANSPORTS {
        let mut server = serve(transport, &["--deliver", "discard:"]);
        let mut client = Client::greeted(&server);
        client.ask("EHLO client.example", "250 ");
        server.signal(Signal::TERM);
        assert!(client.reply().starts_with("421 4.3.2"));
        let peer = client.local_address();
        drop(client);
        let lines = lines(&mut server, peer, &[]);
        let [line] = &*lines else {
            panic!("{lines:#?}");
        };
        assert!(
            line.contains(" result=shutdown reply=\"421 4.3.2 "),
            "{line}"
        );
    }
}
