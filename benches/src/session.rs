//! Sessions of a server in memory: what the core, the handler and counting cost together, without
//! sockets.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::time::Instant;

use prixfixe_network::simulation::{Admission, Next, Socket, Transport};
use prixfixe_network::{Connection, Options};
use prixfixe_server::{Accepted, Message, Server, StartError};

use crate::dialogue::Workload;

/// Plays a workload over one connection, as a client that pipelines. Gives how many messages the
/// handler took.
///
/// # Errors
///
/// The server cannot be set up.
pub fn run(workload: &Workload, repetitions: u32) -> Result<u64, StartError> {
    let taken = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&taken);
    let service = Server::builder()
        .max_idle_commands(0)
        .handler(move |mut message: Message| {
            let count = Arc::clone(&count);
            async move {
                while let Some(piece) = message.body().chunk().await? {
                    std::hint::black_box(piece);
                }
                count.fetch_add(1, Ordering::Relaxed);
                Ok(Accepted::default())
            }
        })
        .listen(([127, 0, 0, 1], 25))
        .into_service()?;
    let transport = Transport::new(Arc::new(service), &Options::default());
    let here = SocketAddr::from(([127, 0, 0, 1], 25));
    let connection = Connection::new(here, Some(here), 0);
    let now = Instant::now();
    let Admission::Served(mut served) = transport.admit(now, &connection) else {
        return Ok(0);
    };
    let mut buffer = vec![0; 64 << 10];
    let mut say = |text: &[u8]| {
        let mut socket = Memory(text);
        let cx = &mut Context::from_waker(Waker::noop());
        while served.turn(&mut socket, &mut buffer, now, cx) == Next::Again {}
    };
    say(b"EHLO bench.example.com\r\n");
    for _ in 0..repetitions {
        workload.pieces.iter().for_each(|piece| say(piece));
    }
    drop(served);
    Ok(taken.load(Ordering::Relaxed))
}

/// What the client says, and a place for replies that takes all.
struct Memory<'a>(&'a [u8]);

impl Read for Memory<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }
}

impl Write for Memory<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        std::hint::black_box(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket for Memory<'_> {
    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_of_a_workload_reaches_the_handler() {
        for workload in Workload::all() {
            let taken = run(&workload, 3).unwrap();
            assert_eq!(taken, 3 * workload.messages, "{}", workload.name);
        }
    }
}
