//! A Dovecot of the test's own, which says what it likes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::Instant;

use tempfile::TempDir;

use super::*;

const HELLO: &str = "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tSCRAM-SHA-256\nSPID\t1\nCUID\t1\n\
                     COOKIE\t0\nDONE\n";

/// What is said to a line that begins so; `{id}` is the login's. Nothing: it hangs.
type Script = &'static [(&'static str, &'static str)];

struct Fixture {
    dovecot: Dovecot,
    path: PathBuf,
    _directory: TempDir,
}

fn fixture(patience: Duration) -> Fixture {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("auth-client");
    Fixture {
        dovecot: Dovecot::with(path.clone(), patience).unwrap(),
        path,
        _directory: directory,
    }
}

/// Serves one connection after the other, each with its script.
fn serve(
    path: &Path,
    hello: &'static str,
    scripts: Vec<Script>,
) -> thread::JoinHandle<Vec<String>> {
    let listener = UnixListener::bind(path).unwrap();
    thread::spawn(move || {
        let mut heard = Vec::new();
        for script in scripts {
            let (stream, _) = listener.accept().unwrap();
            speak(stream, hello, script, &mut heard);
        }
        heard
    })
}

fn speak(mut stream: UnixStream, hello: &str, script: Script, heard: &mut Vec<String>) {
    stream.write_all(hello.as_bytes()).unwrap();
    for line in BufReader::new(stream.try_clone().unwrap()).lines() {
        let Ok(line) = line else { return };
        let id = line.split('\t').nth(1).unwrap_or_default().to_owned();
        let answer = script.iter().find(|(start, _)| line.contains(start));
        heard.push(line);
        match answer {
            Some((_, "close")) => return,
            Some((_, answer)) => {
                let answer = answer.replace("{id}", &id);
                let _ = stream.write_all(answer.as_bytes());
            }
            None => {}
        }
    }
}

fn outcome(dovecot: &Dovecot, login: Login<'_>) -> Result<String, u16> {
    let result = pollster::block_on(dovecot.authenticate(login));
    let name = result.map(|identity| identity.name().to_owned());
    name.map_err(|reply| reply.code())
}

fn plain(dovecot: &Dovecot, name: &str) -> Result<String, u16> {
    let client = Client::builder().build();
    outcome(dovecot, Login::plain(&client, name, "pw"))
}

/// The link connects by itself: until it has, logins are 454.
fn plain_once_connected(dovecot: &Dovecot, name: &str) -> Result<String, u16> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let outcome = plain(dovecot, name);
        if outcome != Err(454) || Instant::now() > deadline {
            return outcome;
        }
        thread::yield_now();
    }
}

/// `\0name\0pw`
const ANN: &str = "resp=AGFubgBwdw==";
const BOB: &str = "resp=AGJvYgBwdw==";
const CARL: &str = "resp=AGNhcmwAcHc=";

#[test]
fn logins_are_relayed() {
    let Fixture { dovecot, path, .. } = &fixture(PATIENCE);
    let client = Client::builder().build();
    let offered = |dovecot: &Dovecot| {
        let offered = dovecot.mechanisms(&client);
        let offered: Vec<_> = offered.iter().map(Mechanism::as_str).collect();
        offered.join(" ")
    };
    // Nobody is there, and clients are told to come again.
    assert_eq!(offered(dovecot), "PLAIN LOGIN");
    assert_eq!(plain(dovecot, "ann"), Err(454));
    let script: Script = &[
        (ANN, "OK\t{id}\tuser=ann@example.com\n"),
        (BOB, "FAIL\t{id}\tuser=bob\treason=no\n"),
        (CARL, "FAIL\t{id}\tuser=carl\ttemp\n"),
        ("SCRAM-SHA-256", "CONT\t{id}\tcj14\n"),
        ("CONT\t5\tYw==", "CONT\t{id}\tdj14\n"),
        ("CONT\t5\t", "OK\t{id}\tuser=dora\n"),
        ("CANCEL", "close"),
    ];
    let server = serve(path, HELLO, vec![script]);
    assert_eq!(
        plain_once_connected(dovecot, "ann").as_deref(),
        Ok("ann@example.com")
    );
    assert_eq!(offered(dovecot), "SCRAM-SHA-256 PLAIN LOGIN");
    assert_eq!(plain(dovecot, "bob"), Err(535));
    assert_eq!(plain(dovecot, "carl"), Err(454));
    let login = Login::builder(&client, Mechanism::LOGIN)
        .response("ann")
        .response("pw")
        .build();
    assert_eq!(outcome(dovecot, login).as_deref(), Ok("ann@example.com"));

    let mut shown = Vec::new();
    let login = Login::builder(&client, Mechanism::SCRAM_SHA_256)
        .initial_response("n,,n=dora,r=x")
        .answers(|challenge| {
            shown.push(challenge.to_vec());
            Some(if challenge == b"r=x" {
                b"c".to_vec()
            } else {
                Vec::new()
            })
        })
        .build();
    assert_eq!(outcome(dovecot, login).as_deref(), Ok("dora"));
    assert_eq!(shown, [b"r=x", b"v=x"]);

    // A client that gives up in the middle: Dovecot is told.
    let login = Login::builder(&client, Mechanism::SCRAM_SHA_256)
        .initial_response("n,,n=dora,r=x")
        .build();
    assert_eq!(outcome(dovecot, login), Err(501));
    let heard = server.join().unwrap();
    assert!(heard[0].starts_with("VERSION\t1\t"), "{heard:?}");
    assert!(heard[1].starts_with("CPID\t"), "{heard:?}");
    assert_eq!(heard.last().map(String::as_str), Some("CANCEL\t6"));
}

#[test]
fn a_connection_that_is_lost_is_made_again() {
    let Fixture { dovecot, path, .. } = &fixture(PATIENCE);
    let breaks: Script = &[(ANN, "OK\t{id}\tuser=ann\n"), (BOB, "close")];
    let mends: Script = &[(ANN, "OK\t{id}\tuser=ann\n"), (BOB, "close")];
    let server = serve(path, HELLO, vec![breaks, mends]);
    assert_eq!(plain_once_connected(dovecot, "ann").as_deref(), Ok("ann"));
    assert_eq!(plain(dovecot, "bob"), Err(454));
    assert_eq!(plain_once_connected(dovecot, "ann").as_deref(), Ok("ann"));
    assert_eq!(plain(dovecot, "bob"), Err(454));
    server.join().unwrap();
}

#[test]
fn what_is_no_answer_ends_the_connection() {
    let garbage: [Script; 2] = [&[(ANN, "OK\tx\tuser=ann\n")], &[(ANN, "VERSION\n")]];
    for script in garbage {
        let Fixture { dovecot, path, .. } = &fixture(Duration::from_secs(1));
        let server = serve(
            path,
            HELLO,
            vec![script, &[(BOB, "OK\t{id}\tuser=bob\n"), (CARL, "close")]],
        );
        assert_eq!(
            plain_once_connected(dovecot, "bob").as_deref(),
            Ok("bob"),
            "{script:?}"
        );
        assert_eq!(plain(dovecot, "carl"), Err(454));
        server.join().unwrap();
    }
}

/// What one client can bring about is no end of the others' logins: there is one connection for
/// all.
#[test]
fn one_login_does_not_break_off_the_others() {
    let Fixture { dovecot, path, .. } = &fixture(PATIENCE);
    let script: Script = &[
        (ANN, "OK\t{id}\tuser=ann\n"),
        (BOB, "OK\t{id}\n"),
        (CARL, "CONT\t{id}\t*\n"),
        ("resp=AGVuZA", "close"),
    ];
    let server = serve(path, HELLO, vec![script]);
    assert_eq!(plain_once_connected(dovecot, "ann").as_deref(), Ok("ann"));
    assert_eq!(plain(dovecot, "bob"), Err(454));
    assert_eq!(plain(dovecot, "carl"), Err(454));
    let client = Client::builder().build();
    let long = "x".repeat(16 * 1024 / 4 * 3);
    let login = Login::plain(&client, "ann", &long);
    assert_eq!(outcome(dovecot, login), Err(535));
    assert_eq!(plain(dovecot, "ann").as_deref(), Ok("ann"));
    assert_eq!(plain(dovecot, "end"), Err(454));
    let heard = server.join().unwrap();
    assert!(heard.iter().all(|line| line.len() < 16 * 1024));
}

/// Its silence ends the login and the connection; another Dovecot is found at the same place.
#[test]
fn a_dovecot_that_hangs_is_given_up() {
    let Fixture { dovecot, path, .. } = &fixture(Duration::from_millis(10));
    let answers: Script = &[(ANN, "OK\t{id}\tuser=ann\n"), (BOB, "close")];
    let server = serve(path, HELLO, vec![&[], answers]);
    let mut hung = plain(dovecot, "ann");
    let deadline = Instant::now() + Duration::from_secs(60);
    while hung.is_err() && Instant::now() < deadline {
        assert_eq!(hung, Err(454));
        hung = plain(dovecot, "ann");
    }
    assert_eq!(hung.as_deref(), Ok("ann"));
    let _ = plain(dovecot, "bob");
    let heard = server.join().unwrap();
    assert_eq!(
        heard
            .iter()
            .filter(|line| line.starts_with("VERSION"))
            .count(),
        2
    );
}

#[test]
fn another_version_and_endless_lines_are_refused() {
    static LONG: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| "x".repeat(20_000));
    for hello in ["VERSION\t2\t0\nDONE\n", "\u{e4}\nDONE\n", &LONG] {
        let Fixture { dovecot, path, .. } = &fixture(PATIENCE);
        // It is left twice: the second time only after a look at the first.
        let server = serve(path, hello, vec![&[], &[]]);
        server.join().unwrap();
        assert_eq!(plain(dovecot, "ann"), Err(454));
    }
}

/// EXTERNAL needs a certificate that was verified, and Dovecot's word for it.
#[test]
fn external_is_offered_to_clients_with_a_certificate() {
    use prixfixe_server::{TlsInfo, TlsVersion};
    let Fixture { dovecot, path, .. } = &fixture(PATIENCE);
    let mut tls = TlsInfo::new(TlsVersion::Tls13, "TLS13_AES_256_GCM_SHA384");
    tls.client_name = Some("ann".to_owned());
    let client = Client::builder().tls(tls).build();
    let script: Script = &[
        (BOB, "FAIL\t{id}\tuser=bob\n"),
        ("EXTERNAL", "OK\t{id}\tuser=ann\n"),
        ("resp=AGNhcmwAcHc=", "close"),
    ];
    let hello = "VERSION\t1\t1\nMECH\tPLAIN\nMECH\tEXTERNAL\nDONE\n";
    let server = serve(path, hello, vec![script]);
    assert_eq!(plain_once_connected(dovecot, "bob"), Err(535));
    let has = |client: &Client| dovecot.mechanisms(client).contains(&Mechanism::EXTERNAL);
    assert!(has(&client) && !has(&Client::builder().build()));
    let login = Login::builder(&client, Mechanism::EXTERNAL)
        .initial_response("")
        .build();
    assert_eq!(outcome(dovecot, login).as_deref(), Ok("ann"));
    assert_eq!(plain(dovecot, "carl"), Err(454));
    let heard = server.join().unwrap();
    let external = heard.iter().find(|line| line.contains("EXTERNAL")).unwrap();
    assert!(external.contains("\tsecured\tvalid-client-cert\tcert_username=ann\tresp="));
}
