//! Small servers on threads of their own: one accepts, and one a connection plays its part.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

/// The server's end of a connection.
pub(super) struct Peer<S = TcpStream> {
    stream: BufReader<S>,
}

/// What every reply to EHLO in these tests offers.
pub(super) const EHLO: &str =
    "250-mx\r\n250-PIPELINING\r\n250-SIZE 0\r\n250-8BITMIME\r\n250 CHUNKING\r\n";

/// Plays `part` on every connection.
pub(super) fn start(
    part: impl Fn(&mut Peer) -> io::Result<()> + Send + Sync + 'static,
) -> SocketAddr {
    start_raw(move |stream| part(&mut Peer::new(stream)))
}

/// Plays `part` on every connection's socket.
pub(super) fn start_raw(
    part: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let part = Arc::new(part);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let part = Arc::clone(&part);
            // Replies in several writes would wait for one another's acknowledgement.
            let _ = stream.set_nodelay(true);
            // A client that goes away in the middle is what some of these tests are about.
            thread::spawn(move || drop(part(stream)));
        }
    });
    address
}

/// What a working server was sent.
#[derive(Debug, Clone, Default)]
pub(super) struct Received {
    pub(super) connections: usize,
    /// Of each message: the number of recipients, and the content.
    pub(super) messages: Vec<(usize, Vec<u8>)>,
}

/// A server that works.
pub(super) fn sink() -> (SocketAddr, Arc<Mutex<Received>>) {
    let received = Arc::new(Mutex::new(Received::default()));
    let shared = Arc::clone(&received);
    let address = start(move |peer| {
        shared.lock().unwrap().connections += 1;
        peer.say("220 mx\r\n")?;
        peer.serve(&shared)
    });
    (address, received)
}

/// The same on a Unix socket.
pub(super) fn unix_sink(path: &Path) -> Arc<Mutex<Received>> {
    let received = Arc::new(Mutex::new(Received::default()));
    let shared = Arc::clone(&received);
    let listener = UnixListener::bind(path).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let shared = Arc::clone(&shared);
            thread::spawn(move || -> io::Result<()> {
                shared.lock().unwrap().connections += 1;
                let mut peer = Peer::new(stream);
                peer.say("220 mx\r\n")?;
                peer.serve(&shared)
            });
        }
    });
    received
}

impl<S: Read + Write> Peer<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream: BufReader::new(stream),
        }
    }

    pub(super) fn say(&mut self, text: &str) -> io::Result<()> {
        self.stream.get_mut().write_all(text.as_bytes())?;
        self.stream.get_mut().flush()
    }

    /// The next line, without its end. The end of the stream is an error.
    pub(super) fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }

    /// The stream itself. What has been read ahead is lost.
    pub(super) fn into_stream(self) -> S {
        self.stream.into_inner()
    }

    pub(super) fn stream(&mut self) -> &mut S {
        self.stream.get_mut()
    }

    /// Reads until the client goes away.
    pub(super) fn ignore(&mut self) -> io::Result<()> {
        io::copy(&mut self.stream, &mut io::sink()).map(drop)
    }

    /// The greeting, and an answer to EHLO.
    pub(super) fn greet(&mut self) -> io::Result<()> {
        self.say("220 mx\r\n")?;
        self.line()?;
        self.say(EHLO)
    }

    /// Takes MAIL, one RCPT and DATA.
    pub(super) fn take_envelope(&mut self) -> io::Result<()> {
        for reply in ["250 ok\r\n", "250 ok\r\n", "354 go on\r\n"] {
            self.line()?;
            self.say(reply)?;
        }
        Ok(())
    }

    /// The reply to a content: with LMTP one for each recipient, of which the second has no room.
    fn conclude(&mut self, lmtp: bool, recipients: usize) -> io::Result<()> {
        if !lmtp {
            return self.say("250 taken\r\n");
        }
        let reply = |number| match number {
            1 => "452 4.2.2 mailbox full\r\n",
            _ => "250 taken\r\n",
        };
        self.say(&(0..recipients).map(reply).collect::<String>())
    }

    /// A dialogue from EHLO or LHLO to its end, with a working server's answers.
    pub(super) fn serve(&mut self, received: &Mutex<Received>) -> io::Result<()> {
        let (mut recipients, mut content) = (0, Vec::new());
        let mut lmtp = false;
        loop {
            let line = self.line()?;
            let (command, rest) = line.split_once(' ').unwrap_or((&line, ""));
            match command {
                "EHLO" => self.say(EHLO)?,
                "LHLO" => {
                    lmtp = true;
                    self.say(EHLO)?;
                }
                "RCPT" => {
                    recipients += 1;
                    self.say("250 ok\r\n")?;
                }
                "DATA" => {
                    self.say("354 go on\r\n")?;
                    let count = std::mem::take(&mut recipients);
                    let message = (count, self.data()?);
                    received.lock().unwrap().messages.push(message);
                    self.conclude(lmtp, count)?;
                }
                "BDAT" => {
                    let size = rest
                        .split(' ')
                        .next()
                        .and_then(|size| size.parse().ok())
                        .unwrap_or(0);
                    let mut chunk = vec![0; size];
                    self.stream.read_exact(&mut chunk)?;
                    content.append(&mut chunk);
                    if rest.ends_with("LAST") {
                        let count = std::mem::take(&mut recipients);
                        let message = (count, std::mem::take(&mut content));
                        received.lock().unwrap().messages.push(message);
                        self.conclude(lmtp, count)?;
                    } else {
                        self.say("250 taken\r\n")?;
                    }
                }
                "QUIT" => return self.say("221 bye\r\n"),
                _ => self.say("250 ok\r\n")?,
            }
        }
    }

    fn data(&mut self) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        loop {
            let start = content.len();
            if self.stream.read_until(b'\n', &mut content)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if &content[start..] == b".\r\n" {
                content.truncate(start);
                return Ok(content);
            }
            if content[start] == b'.' {
                content.remove(start);
            }
        }
    }
}
