//! LMTP, and Unix sockets.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::harness::{Client, PATIENCE, Serve, listening_address, prixfixe, run};

const MESSAGE: &str = "MAIL FROM:<ann@client.example>\r\nRCPT TO:<bob@here.example>\r\n\
    RCPT TO:<carol@here.example>\r\nDATA\r\nhello\r\n.\r\nQUIT\r\n";

/// Says all of it at once; everything that comes back.
fn say(path: &Path, text: &str) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    let mut replies = String::new();
    stream.read_to_string(&mut replies).unwrap();
    replies
}

#[test]
fn lmtp_is_served_over_tcp_and_unix_sockets() {
    for transport in ["tokio", "raw"] {
        let directory = TempDir::new().unwrap();
        let (lmtp, smtp) = ("lmtp.sock", "smtp.sock");
        let file = format!(
            "[[listener]]\naddress = '127.0.0.1:0'\n\
             [[listener]]\naddress = 'unix:{smtp}'\nmode = '0666'\n\
             [[listener]]\naddress = '127.0.0.1:0'\nprotocol = 'lmtp'\n\
             [[listener]]\naddress = 'unix:{lmtp}'\nprotocol = 'lmtp'\n"
        );
        fs::write(directory.path().join("mail.toml"), file).unwrap();
        let mut command = prixfixe(&["serve", "--config=mail.toml", "--transport", transport]);
        let mut serve = Serve::spawn(command.current_dir(directory.path()), directory);
        let smtp = serve.directory.path().join(smtp);
        let lmtp_path = serve.directory.path().join(lmtp);
        serve.line("address=unix:smtp.sock ");
        let mut client = Client::connect(listening_address(&serve.line(" protocol=lmtp ")));
        serve.line(&format!("address=unix:{lmtp} "));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&smtp), mode(&lmtp_path)), (0o666, 0o660));

        assert!(client.reply().contains(" LMTP "));
        client.ask("EHLO client.example", "500 5.5.1 ");
        client.ask("LHLO client.example", "250 ");
        client.send(MESSAGE);
        for code in ["250", "250", "250", "354", "250", "250", "221"] {
            let reply = client.reply();
            assert!(reply.starts_with(code), "{reply}");
        }
        let replies = say(&lmtp_path, &format!("LHLO client.example\r\n{MESSAGE}"));
        assert_eq!(replies.matches("\r\n250 2.0.0 OK ").count(), 2, "{replies}");
        let line = serve.line(" message ");
        assert!(line.contains(" peer=127.0.0.1:"), "{line}");
        let line = serve.line(" message ");
        assert!(line.contains(" peer=unix "), "{line}");
        assert!(line.contains(" result=accepted"), "{line}");
        let replies = say(&smtp, &format!("EHLO client.example\r\n{MESSAGE}"));
        assert_eq!(replies.matches("\r\n250 2.0.0 OK ").count(), 1, "{replies}");
        let messages = serve.messages();
        assert!(messages[0].contains(" with LMTP id "), "{}", messages[0]);
        assert!(messages[1].contains("(unix)\r\n"), "{}", messages[1]);
        assert!(messages[2].contains(" with ESMTP id "), "{}", messages[2]);

        serve.signal(Signal::TERM);
        serve.line("stopped");
        assert!(!smtp.exists() && !lmtp_path.exists());
    }
}

#[test]
fn a_stale_socket_is_replaced_and_a_live_one_is_an_error() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("lmtp.sock");
    let listen = format!("--listen-lmtp=unix:{}", path.display());
    let live = UnixListener::bind(&path).unwrap();
    let arguments = [
        "serve",
        "--listen=127.0.0.1:0",
        "--deliver=discard:",
        &listen,
    ];
    let (status, _, stderr) = run(&mut prixfixe(&arguments));
    assert_eq!(status, 1);
    let expected = format!("cannot listen on unix:{}: ", path.display());
    assert!(stderr.contains(&expected), "{stderr}");
    assert!(
        stderr.ends_with("; stop the other server, or choose another path\n"),
        "{stderr}"
    );
    // Whoever is killed leaves it.
    drop(live);
    let mut serve = Serve::start(&["--deliver=discard:", &listen]);
    serve.line(" protocol=lmtp ");
    assert!(say(&path, "LHLO c\r\nQUIT\r\n").starts_with("220 "));
    serve.signal(Signal::KILL);
    serve.wait();
    assert!(path.exists());
    let mut serve = Serve::start(&["--deliver=discard:", &listen]);
    serve.line(" protocol=lmtp ");
    assert!(say(&path, "LHLO c\r\nQUIT\r\n").starts_with("220 "));
}

#[test]
fn a_successor_takes_a_unix_socket_over() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("lmtp.sock");
    let listen = format!("--listen-lmtp=unix:{}", path.display());
    let arguments = ["--deliver=discard:", "--reuse-port", &listen];
    let mut old = Serve::start(&arguments);
    old.line(" protocol=lmtp ");
    let first = fs::metadata(&path).unwrap().ino();
    let mut new = Serve::start(&arguments);
    new.line(" protocol=lmtp ");
    assert_ne!(fs::metadata(&path).unwrap().ino(), first);
    old.signal(Signal::TERM);
    old.line("stopped");
    assert!(say(&path, "LHLO c\r\nQUIT\r\n").starts_with("220 "));
    new.line(" connection ");
}

#[test]
fn check_reads_back_what_it_prints_and_looks_groups_up() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("mail.toml");
    let write = |group: &str| {
        let listener =
            "[[listener]]\naddress = 'unix:/run/l.sock'\nprotocol = 'lmtp'\nmode = '0600'\n";
        fs::write(&file, format!("{listener}group = '{group}'\n")).unwrap();
    };
    let check = || run(prixfixe(&["check", "--config=mail.toml"]).current_dir(directory.path()));
    write("0");
    let (status, printed, stderr) = check();
    assert_eq!((status, stderr.as_str()), (0, ""));
    assert!(
        printed.contains("protocol = \"lmtp\"\nmode = \"0600\"\ngroup = \"0\"\n"),
        "{printed}"
    );
    fs::write(&file, &printed).unwrap();
    assert_eq!(check(), (0, printed, String::new()));
    write("nobody-is-in-it");
    let (status, _, stderr) = check();
    let problem =
        "prixfixe: group nobody-is-in-it: there is no such group; give one of this host\n";
    assert_eq!((status, stderr.as_str()), (2, problem));
    let (status, _, stderr) = run(&mut prixfixe(&["check", "--listen-lmtp=:25"]));
    assert_eq!(status, 2);
    assert!(stderr.starts_with("prixfixe: --listen-lmtp: "), "{stderr}");
}
