//! What an idle connection costs: `idle [tokio|raw [connections]]` opens so many (9000) to an echo
//! service in this process and prints by how much the resident memory grew. It takes two
//! descriptors a connection (`ulimit -n`), and Linux: it reads `/proc`.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use prixfixe_network::{Connection, Listener, Options, Service, Transport, serve};
use prixfixe_test_support::Echo;

struct Echoes;

impl Service for Echoes {
    type Session = Echo;

    fn session(&self, now: Instant, _: &Connection) -> Echo {
        Echo::new(now)
    }

    fn over_limit(&self, _: Instant, _: &Connection) -> &[u8] {
        b""
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
    let options = Options::default()
        .transport(transport)
        .threads(NonZeroUsize::new(1))
        .max_connections(usize::MAX);
    let running = serve(
        vec![Listener::bind(([127, 0, 0, 1], 0).into())?],
        Arc::new(Echoes),
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
        size_of::<Echo>()
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
