//! Another protocol on the transports: a finger server (RFC 1288), a line in and some lines out.
//!
//! `cargo run --example finger`, then `echo ann | nc 127.0.0.1 7979`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use prixfixe_network::{Connection, Listener, Options, OutputBuffer, Session, serve};

struct Visit {
    line: Vec<u8>,
    output: OutputBuffer,
    end: Instant,
}

fn visit(now: Instant, _: &Connection) -> Visit {
    Visit {
        line: Vec::new(),
        output: OutputBuffer::new(),
        end: now + Duration::from_secs(10),
    }
}

impl Session for Visit {
    fn receive(&mut self, now: Instant, bytes: &[u8]) {
        self.line.extend_from_slice(bytes);
        if self.line.contains(&b'\n') || self.line.len() > 256 {
            self.end = now;
            self.output.extend_from_slice(match self.line.trim_ascii() {
                b"" => b"ann\r\nbob\r\n",
                b"ann" => b"ann: on holiday\r\n",
                _ => b"Nobody here of that name\r\n",
            });
        }
    }

    fn receive_eof(&mut self, now: Instant) {
        self.end = now;
    }

    fn deadline(&self) -> Option<Instant> {
        Some(self.end)
    }

    fn output(&mut self) -> &mut OutputBuffer {
        &mut self.output
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listeners = Listener::bind_localhost(7979)?;
    let running = serve(listeners, Arc::new(visit), Options::default())?;
    eprintln!("on {:?}; the end of the input ends it", running.addresses());
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}

#[test]
fn it_answers_on_both_transports() -> Result<(), Box<dyn std::error::Error>> {
    use prixfixe_network::Transport;
    use std::io::{Read, Write};

    for transport in [Transport::Raw, Transport::Auto] {
        let options = Options::default()
            .transport(transport)
            .threads(std::num::NonZero::new(1));
        let listener = Listener::bind(([127, 0, 0, 1], 0).into())?;
        let running = serve(vec![listener], Arc::new(visit), options)?;
        let address = running
            .local_addresses()
            .first()
            .ok_or("no address")?
            .to_owned();
        for (asked, answered) in [
            ("ann\r\n", "ann: on holiday\r\n"),
            ("\r\n", "ann\r\nbob\r\n"),
        ] {
            let mut stream = std::net::TcpStream::connect(address)?;
            stream.write_all(asked.as_bytes())?;
            let mut said = String::new();
            stream.read_to_string(&mut said)?;
            assert_eq!(said, answered);
        }
    }
    Ok(())
}
