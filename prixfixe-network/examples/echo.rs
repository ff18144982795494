//! An echo server: `echo [auto|tokio|raw [threads [port]]]`, on port 2007 of localhost unless told
//! otherwise. For trying the transports out, with `strace -c -f` for example. It ends with its
//! standard input.

use std::error::Error;
use std::io;
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
    let options = Options::default()
        .transport(transport)
        .threads(threads)
        .max_connections(100_000);
    let running = serve(Listener::bind_localhost(port)?, Arc::new(Echoes), options)?;
    eprintln!(
        "{:?} on {:?}; the end of the input ends it",
        running.transport(),
        running.local_addresses()
    );
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}
