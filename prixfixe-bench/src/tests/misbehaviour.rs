//! Whatever a server does, each message becomes one failure of the right kind, and the run ends.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use socket2::SockRef;

use super::server::{Peer, start};
use super::{Kind, Stage, failures, run};

/// Four messages over two connections, to a server that fails every one of them.
fn all_fail(address: SocketAddr, options: &str, stage: Stage, kind: Kind) {
    let measured = run(&format!("{address} -n 4 -c 2 --timeout 10s {options}"));
    assert_eq!(failures(&measured), [(stage, kind, 4)]);
    assert_eq!((measured.accepted, measured.failed), (0, 4));
    assert!(!measured.gave_up);
}

/// The same, to a server that makes a client wait: when no connection was answered in time, the run
/// is given up.
fn all_time_out(address: SocketAddr, options: &str, stage: Stage) {
    let measured = run(&format!("{address} -n 100 -c 2 --timeout 100ms {options}"));
    assert_eq!(failures(&measured), [(stage, Kind::Timeout, 2)]);
    assert!(measured.gave_up);
}

#[test]
fn nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    all_fail(address, "", Stage::Connect, Kind::Refused);
}

#[test]
fn no_local_port_is_left() {
    // The network of documentation (RFC 5737): no machine has such an address to connect from.
    all_fail(
        "127.0.0.1:9".parse().unwrap(),
        "--source 192.0.2.1",
        Stage::Connect,
        Kind::NoLocalPort,
    );
}

#[test]
fn the_connection_ends_too_early() {
    let closes = start(|_| Ok(()));
    all_fail(closes, "", Stage::Greeting, Kind::Closed);
    let closes_after_ehlo = start(|peer| {
        peer.say("220 mx\r\n")?;
        peer.line().map(drop)
    });
    all_fail(closes_after_ehlo, "", Stage::Ehlo, Kind::Closed);
    let closes_in_a_reply = start(|peer| {
        peer.say("220 mx\r\n")?;
        peer.line()?;
        peer.say("250-mx\r\n250-PIPE")
    });
    all_fail(closes_in_a_reply, "", Stage::Ehlo, Kind::Closed);
    let closes_after_the_content = start(|peer| {
        peer.greet()?;
        peer.take_envelope()?;
        while peer.line()? != "." {}
        Ok(())
    });
    all_fail(closes_after_the_content, "", Stage::Content, Kind::Closed);
}

#[test]
fn the_connection_is_reset() {
    let reset = start(|peer| {
        peer.greet()?;
        peer.take_envelope()?;
        peer.line()?;
        peer.reset()
    });
    let measured = run(&format!("{reset} -n 2 -c 1 -s 8MiB --timeout 10s"));
    assert_eq!(failures(&measured), [(Stage::Content, Kind::Reset, 2)]);
}

#[test]
fn the_server_does_not_answer() {
    all_time_out(start(Peer::ignore), "", Stage::Greeting);
    let silent_after_the_content = start(|peer| {
        peer.greet()?;
        peer.take_envelope()?;
        peer.ignore()
    });
    all_time_out(silent_after_the_content, "", Stage::Content);
    all_time_out(
        silent_after_the_content,
        "--pipelining full",
        Stage::Content,
    );
    all_time_out(start(Peer::ignore), "--tls --tls-insecure", Stage::Tls);
}

#[test]
fn the_server_does_not_read() {
    let stuck = start(|peer| {
        peer.greet()?;
        peer.take_envelope()?;
        peer.hold()
    });
    all_time_out(stuck, "-s 8MiB", Stage::Content);
}

#[test]
fn an_answer_that_never_ends_is_no_answer() {
    let trickles = start(|peer| {
        peer.say("220-mx")?;
        loop {
            peer.say(".")?;
            peer.pause();
        }
    });
    all_time_out(trickles, "", Stage::Greeting);
    let floods = start(|peer| {
        loop {
            peer.say("220-more\r\n")?;
        }
    });
    all_fail(floods, "", Stage::Greeting, Kind::Garbage);
}

#[test]
fn what_is_said_is_no_smtp() {
    all_fail(
        start(|peer| peer.say("SSH-2.0-OpenSSH_10\r\n")),
        "",
        Stage::Greeting,
        Kind::Garbage,
    );
    let binary = start(|peer| {
        peer.greet()?;
        peer.say("\0\0\0\n")?;
        peer.ignore()
    });
    all_fail(binary, "", Stage::Mail, Kind::Garbage);
}

#[test]
fn refusals_at_each_stage() {
    // What precedes the refusal, and the refusal.
    let cases: [(&[&str], &str, Stage); 8] = [
        (&[], "554 5.7.1 go away", Stage::Greeting),
        (&[], "421 4.3.2 too many", Stage::Greeting),
        (&["220 mx"], "421 4.3.2 later", Stage::Ehlo),
        (&["220 mx", "250 mx"], "451 4.3.0 later", Stage::Mail),
        (
            &["220 mx", "250 mx", "250 ok"],
            "550 5.1.1 who",
            Stage::Rcpt,
        ),
        (
            &["220 mx", "250 mx", "250 ok", "250 ok"],
            "452 4.3.1 full",
            Stage::Data,
        ),
        (
            &["220 mx", "250 mx", "250 ok", "250 ok", "354 go on"],
            "552 5.3.4 big",
            Stage::Content,
        ),
        (
            &["220 mx", "250 mx", "250 ok", "250 ok", "354 go on"],
            "421 4.4.2 slow",
            Stage::Content,
        ),
    ];
    for (before, refusal, stage) in cases {
        let address = start(move |peer| {
            for (i, reply) in before.iter().enumerate() {
                if i > 0 {
                    peer.line()?;
                }
                peer.say(&format!("{reply}\r\n"))?;
            }
            if stage == Stage::Content {
                while peer.line()? != "." {}
            } else if !before.is_empty() {
                peer.line()?;
            }
            peer.say(&format!("{refusal}\r\n"))?;
            // A client that was refused goes on to RSET or to its next MAIL; this server is not
            // there for it.
            Ok(())
        });
        let code = refusal[..3].parse().unwrap();
        let measured = run(&format!("{address} -n 1 -c 1 --timeout 10s"));
        assert_eq!(
            failures(&measured),
            [(stage, Kind::Reply(code), 1)],
            "{refusal}"
        );
        assert_eq!(
            measured.failures[&(stage, Kind::Reply(code))].example,
            refusal
        );
    }
}

#[test]
fn a_refusal_in_the_middle_of_the_content_is_told_apart_from_a_reset() {
    let refuses = start(|peer| {
        peer.greet()?;
        peer.take_envelope()?;
        peer.line()?;
        peer.say("552 5.3.4 too big\r\n")?;
        // Were it to read on, the refusal might as well be one of the whole content.
        peer.hold()
    });
    all_fail(refuses, "-s 8MiB", Stage::Content, Kind::Reply(552));
}

#[test]
fn one_bad_message_does_not_spoil_the_next() {
    // Refuses every second recipient.
    let address = start(|peer| {
        peer.greet()?;
        let mut number = 0;
        loop {
            match peer.line()?.get(..4) {
                Some("RCPT") => {
                    number += 1;
                    peer.say(if number % 2 == 0 {
                        "550 5.1.1 who\r\n"
                    } else {
                        "250 ok\r\n"
                    })?;
                }
                Some("DATA") if number % 2 == 0 => peer.say("503 5.5.1 nobody\r\n")?,
                Some("DATA") => {
                    peer.say("354 go on\r\n")?;
                    while peer.line()? != "." {}
                    peer.say("250 taken\r\n")?;
                }
                Some("QUIT") => return peer.say("221 bye\r\n"),
                _ => peer.say("250 ok\r\n")?,
            }
        }
    });
    for pipelining in ["off", "envelope", "full"] {
        let measured = run(&format!("{address} -n 10 -c 1 --pipelining {pipelining}"));
        assert_eq!(
            (measured.accepted, measured.connections),
            (5, 1),
            "{pipelining}"
        );
        let kind = Kind::Reply(550);
        assert_eq!(
            failures(&measured),
            [(Stage::Rcpt, kind, 5)],
            "{pipelining}"
        );
    }
}

#[test]
fn what_was_asked_for_is_not_offered() {
    let plain = start(|peer| {
        peer.say("220 mx\r\n")?;
        peer.line()?;
        peer.say("250 mx\r\n")?;
        peer.ignore()
    });
    all_fail(plain, "--bdat", Stage::Ehlo, Kind::NotOffered);
    all_fail(
        plain,
        "--starttls --tls-insecure",
        Stage::Ehlo,
        Kind::NotOffered,
    );
}

#[test]
fn starttls_goes_wrong() {
    let offers = |reply: &'static str| {
        start(move |peer| {
            peer.say("220 mx\r\n")?;
            peer.line()?;
            peer.say("250-mx\r\n250 STARTTLS\r\n")?;
            peer.line()?;
            peer.say(reply)?;
            peer.ignore()
        })
    };
    let options = "--starttls --tls-insecure";
    all_fail(
        offers("454 4.7.0 not now\r\n"),
        options,
        Stage::StartTls,
        Kind::Reply(454),
    );
    all_fail(
        offers("220 go\r\n250 injected\r\n"),
        options,
        Stage::StartTls,
        Kind::Garbage,
    );
    let no_tls = start(|peer| {
        peer.say("220 mx\r\n")?;
        peer.line()?;
        peer.say("250-mx\r\n250 STARTTLS\r\n")?;
        peer.line()?;
        peer.say("220 go\r\n")?;
        peer.some()?;
        peer.say("220 this is no TLS record\r\n")?;
        peer.ignore()
    });
    all_fail(no_tls, options, Stage::Tls, Kind::Tls);
}

#[test]
fn an_open_loop_that_is_not_kept_up_with_says_so() {
    // One connection, and a server that never answers: the first message times out on it, those
    // behind it in the queue.
    let silent = start(Peer::ignore);
    let measured = run(&format!("{silent} -n 20 -c 1 --rate 1000 --timeout 200ms"));
    assert_eq!(measured.accepted, 0);
    assert!(measured.gave_up);
    assert_eq!(
        measured.failures[&(Stage::Greeting, Kind::Timeout)].count,
        1
    );
}

impl Peer {
    /// Whatever comes, once.
    fn some(&mut self) -> io::Result<()> {
        self.stream().read(&mut [0; 4096]).map(drop)
    }

    fn reset(&mut self) -> io::Result<()> {
        SockRef::from(&*self.stream()).set_linger(Some(Duration::ZERO))
    }

    /// Between two octets of a server that drips: the time is what is under test.
    fn pause(&mut self) {
        std::thread::sleep(Duration::from_millis(10));
    }

    /// Keeps the connection, and reads nothing more.
    fn hold(&mut self) -> io::Result<()> {
        loop {
            std::thread::park();
        }
    }
}
