//! The dialogue on blocking sockets of the standard library, a thread for each client.
//!
//! `cargo run --example blocking`, then `swaks --server 127.0.0.1:2525 --to bob@example.net`.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use prixfixe_core::{Answer, Config, Connection, Event, Reply};

/// A session to its end. `keep` is given each message, and says whether it is safe.
fn serve(
    mut stream: TcpStream,
    config: Arc<Config>,
    keep: impl Fn(&[u8]) -> bool,
) -> io::Result<()> {
    let mut connection = Connection::new(config, Instant::now());
    let (mut input, mut output, mut content) = (Vec::new(), Vec::new(), Vec::new());
    let mut buffer = [0; 4096];
    connection.answer(Instant::now(), Answer::Accept, &mut output);
    loop {
        let mut rest = input.as_slice();
        while let Some(event) = connection.poll_event(Instant::now(), &mut rest, &mut output) {
            match event {
                Event::Body(piece) => content.extend_from_slice(piece),
                Event::MessageAborted(_) => content.clear(),
                Event::MessageEnd { .. } if !keep(&std::mem::take(&mut content)) => {
                    let later = Answer::Refuse(Reply::TRY_LATER);
                    connection.answer(Instant::now(), later, &mut output);
                }
                _ if connection.question().is_some() => {
                    connection.answer(Instant::now(), Answer::Accept, &mut output);
                }
                _ => {}
            }
        }
        let taken = input.len() - rest.len();
        input.drain(..taken);
        stream.write_all(&output)?;
        output.clear();
        if connection.is_closed() {
            return Ok(());
        }
        // It stops while many replies wait; they are on their way now.
        if taken > 0 && !input.is_empty() {
            continue;
        }
        let deadline = connection.deadline().unwrap_or_else(Instant::now);
        let wait = deadline.saturating_duration_since(Instant::now());
        stream.set_read_timeout(Some(wait.max(Duration::from_millis(1))))?;
        match stream.read(&mut buffer) {
            Ok(0) => connection.receive_eof(Instant::now()),
            Ok(count) => input.extend(buffer.iter().take(count)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                connection.handle_timeout(Instant::now(), &mut output);
            }
            Err(error) => return Err(error),
        }
    }
}

fn main() -> io::Result<()> {
    let config = Arc::new(Config::new("mx.example.net"));
    for stream in TcpListener::bind("127.0.0.1:2525")?.incoming() {
        let (stream, config) = (stream?, Arc::clone(&config));
        let print = |content: &[u8]| io::stdout().write_all(content).is_ok();
        std::thread::spawn(move || serve(stream, config, print));
    }
    Ok(())
}

#[test]
fn a_mail_behind_thousands_of_commands_is_kept() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let mut config = Config::new("mx.example.net");
    config.max_idle_commands = 0;
    std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            let kept = std::sync::atomic::AtomicBool::new(false);
            let (stream, _) = listener.accept()?;
            serve(stream, Arc::new(config), |content| {
                kept.store(
                    content == b"Hello\r\n",
                    std::sync::atomic::Ordering::Relaxed,
                );
                true
            })?;
            Ok::<bool, io::Error>(kept.into_inner())
        });
        let mut client = TcpStream::connect(address)?;
        let mail = "EHLO c.test\r\nMAIL FROM:<a@c.test>\r\nRCPT TO:<b@d.test>\r\nDATA\r\nHello\r\n.\r\nQUIT\r\n";
        let said = "NOOP\r\n".repeat(3_000) + mail;
        let mut sender = client.try_clone()?;
        scope.spawn(move || sender.write_all(said.as_bytes()));
        let mut replies = String::new();
        client.read_to_string(&mut replies)?;
        assert!(replies.ends_with("221 2.0.0 Goodbye\r\n"), "{replies}");
        let kept = server.join().map_err(|_| io::Error::other("it panicked"))?;
        assert!(kept?);
        Ok(())
    })
}
