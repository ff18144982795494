//! An echo server: `echo [auto|tokio|raw [threads [port]]]`, on port 2007 of localhost unless told otherwise.
//! For trying the transports out, with `strace -c -f` for example. It ends with its standard input.

use std::error::Error;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use prixfixe_network::{
    Connection, Listener, Options, OutputBuffer, Service, Session, Transport, serve,
};

struct Echo;

struct EchoSession {
    output: OutputBuffer,
    deadline: Instant,
    eof: bool,
}

impl Service for Echo {
    type Session = EchoSession;

    fn session(&self, now: Instant, _: &Connection) -> EchoSession {
        EchoSession {
            output: OutputBuffer::new(),
            deadline: now + TIMEOUT,
            eof: false,
        }
    }

    fn over_limit(&self, _: Instant, _: &Connection) -> &[u8] {
        b""
    }
}

const TIMEOUT: Duration = Duration::from_secs(300);

impl Session for EchoSession {
    fn receive(&mut self, now: Instant, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
        self.deadline = now + TIMEOUT;
    }

    fn receive_eof(&mut self, _: Instant) {
        self.eof = true;
    }

    fn poll(&mut self, now: Instant, _: &mut Context<'_>) -> Poll<()> {
        if self.eof || self.deadline <= now {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn output(&mut self) -> &mut OutputBuffer {
        &mut self.output
    }

    fn wants_read(&self) -> bool {
        true
    }

    fn deadline(&self) -> Option<Instant> {
        Some(self.deadline)
    }

    fn shutdown(&mut self, _: Instant) {
        self.eof = true;
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let transport = match arguments.next().as_deref() {
        None | Some("auto") => Transport::Auto,
        Some("tokio") => Transport::Tokio,
        Some("raw") => Transport::Raw,
        Some(other) => return Err(format!("`{other}` is neither auto nor tokio nor raw").into()),
    };
    let threads = arguments
        .next()
        .map(|count| count.parse::<NonZeroUsize>())
        .transpose()?;
    let port = arguments.next().map_or(Ok(2007), |port| port.parse())?;
    let options = Options {
        transport,
        threads,
        max_connections: 100_000,
        ..Options::default()
    };
    let running = serve(Listener::bind_localhost(port)?, Arc::new(Echo), options)?;
    eprintln!(
        "{:?} on {:?}; the end of the input ends it",
        running.transport(),
        running.local_addresses()
    );
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}
