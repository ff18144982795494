//! What an idle connection costs: `idle [tokio|raw [connections]]` opens so many (9000) to an echo service in
//! this process and prints by how much the resident memory grew. It takes two descriptors a connection
//! (`ulimit -n`), and Linux: it reads `/proc`.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use prixfixe_network::{
    Connection, Listener, Options, OutputBuffer, Service, Session, Transport, serve,
};

const TIMEOUT: Duration = Duration::from_secs(300);

struct Echo;

struct EchoSession {
    output: OutputBuffer,
    deadline: Instant,
    over: bool,
}

impl Service for Echo {
    type Session = EchoSession;

    fn session(&self, now: Instant, _: &Connection) -> EchoSession {
        EchoSession {
            output: OutputBuffer::new(),
            deadline: now + TIMEOUT,
            over: false,
        }
    }

    fn over_limit(&self, _: Instant, _: &Connection) -> &[u8] {
        b""
    }
}

impl Session for EchoSession {
    fn receive(&mut self, now: Instant, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
        self.deadline = now + TIMEOUT;
    }

    fn receive_eof(&mut self, _: Instant) {
        self.over = true;
    }

    fn poll(&mut self, now: Instant, _: &mut Context<'_>) -> Poll<()> {
        if self.over || self.deadline <= now {
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
        self.over = true;
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let transport = match arguments.next().as_deref() {
        None | Some("tokio") => Transport::Tokio,
        Some("raw") => Transport::Raw,
        Some(other) => return Err(format!("`{other}` is neither tokio nor raw").into()),
    };
    let count = arguments.next().map_or(Ok(9000), |count| count.parse())?;
    let options = Options {
        transport,
        threads: NonZeroUsize::new(1),
        max_connections: usize::MAX,
        ..Options::default()
    };
    let running = serve(
        vec![Listener::bind(([127, 0, 0, 1], 0).into())?],
        Arc::new(Echo),
        options,
    )?;
    let address = running
        .local_addresses()
        .first()
        .copied()
        .ok_or("nothing is bound")?;
    let mut clients = Vec::with_capacity(count + 1);
    clients.push(echo(address)?);
    let before = resident()?;
    for _ in 0..count {
        clients.push(echo(address)?);
    }
    let octets = resident()?.saturating_sub(before) / count.max(1);
    eprintln!(
        "{transport:?}: {octets} octets a connection, of which {} are the session's",
        size_of::<EchoSession>()
    );
    Ok(())
}

fn echo(address: SocketAddr) -> Result<TcpStream, Box<dyn Error>> {
    let mut client = TcpStream::connect(address)?;
    client.write_all(b"hello")?;
    client.read_exact(&mut [0; 5])?;
    Ok(client)
}

fn resident() -> Result<usize, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<usize>()? * 1024)
}
