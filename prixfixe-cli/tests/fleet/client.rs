//! A client that sends like a mail server does: what is lost, or sent away, it sends again.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use socket2::{Domain, Socket, Type};

use prixfixe_test_support::PATIENCE;

/// A message that got its `250`.
#[derive(Debug)]
pub(crate) struct Acknowledged {
    /// The client's own end of the connection.
    pub(crate) client: SocketAddr,
    pub(crate) server: String,
    pub(crate) content: Vec<u8>,
}

/// A connection that ended without a word, or said what it must not.
#[derive(Debug)]
pub(crate) struct Fault {
    /// Who had greeted, if anybody.
    pub(crate) server: Option<String>,
    pub(crate) what: String,
}

/// What all clients of a load have seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) acknowledged: Mutex<Vec<Acknowledged>>,
    pub(crate) faults: Mutex<Vec<Fault>>,
    /// The servers that sent somebody away with a `421` between two messages.
    pub(crate) sent_away: Mutex<Vec<String>>,
    count: AtomicUsize,
    stop: AtomicBool,
}

impl Seen {
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// How many messages a server has acknowledged.
    pub(crate) fn count_of(&self, server: &str) -> usize {
        let acknowledged = self.acknowledged.lock().expect("no panic under it");
        acknowledged.iter().filter(|it| it.server == server).count()
    }
}

/// Clients at work until they are told to stop.
pub(crate) struct Load {
    pub(crate) seen: Arc<Seen>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// From each of the addresses, one client that sends many messages over a connection, and one
    /// that sends one over each.
    pub(crate) fn start(target: SocketAddr, from: &[Ipv4Addr]) -> Self {
        let seen = Arc::<Seen>::default();
        let clients = from
            .iter()
            .flat_map(|address| [(*address, 20), (*address, 1)])
            .enumerate()
            .map(|(number, (address, per_connection))| {
                let mut client = Client {
                    number,
                    address,
                    target,
                    per_connection,
                    seen: Arc::clone(&seen),
                };
                thread::spawn(move || client.run())
            })
            .collect();
        Self { seen, clients }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.clients.iter().all(|client| !client.is_finished())
    }

    pub(crate) fn stop(self) -> Arc<Seen> {
        self.seen.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().expect("a client");
        }
        self.seen
    }
}

struct Client {
    number: usize,
    address: Ipv4Addr,
    target: SocketAddr,
    per_connection: usize,
    seen: Arc<Seen>,
}

/// How a message, or a connection, came out.
#[derive(Debug)]
pub(crate) enum Outcome {
    Done,
    /// `421`: the server has gone out of service, properly.
    SentAway,
    Fault(String),
}

impl Client {
    fn run(&mut self) {
        let mut next = 0;
        while !self.seen.stop.load(Ordering::Relaxed) {
            let mut server = None;
            match self.connection(&mut server, &mut next) {
                Outcome::Done => {}
                Outcome::SentAway => {
                    let mut away = self.seen.sent_away.lock().expect("no panic under it");
                    away.push(server.unwrap_or_default());
                }
                Outcome::Fault(what) => {
                    let mut faults = self.seen.faults.lock().expect("no panic under it");
                    faults.push(Fault { server, what });
                }
            }
        }
    }

    /// One connection; `next` is the message that is due.
    fn connection(&self, server: &mut Option<String>, next: &mut usize) -> Outcome {
        let mut talk = match Talk::connect(self.address, self.target) {
            Ok(talk) => talk,
            Err(error) => return Outcome::Fault(format!("connect: {error}")),
        };
        let greeting = match talk.reply(220) {
            Ok(greeting) => greeting,
            Err(outcome) => return outcome,
        };
        *server = greeting.split(' ').nth(1).map(ToOwned::to_owned);
        let name = server.clone().unwrap_or_default();
        if let Err(outcome) = talk.ask("EHLO client.test\r\n", 250) {
            return outcome;
        }
        for _ in 0..self.per_connection {
            let content = self.content(*next);
            if let Err(outcome) = talk.send(&content) {
                return outcome;
            }
            *next += 1;
            self.seen
                .acknowledged
                .lock()
                .expect("no panic under it")
                .push(Acknowledged {
                    client: talk.local,
                    server: name.clone(),
                    content,
                });
            self.seen.count.fetch_add(1, Ordering::Relaxed);
            if self.seen.stop.load(Ordering::Relaxed) {
                break;
            }
        }
        match talk.ask("QUIT\r\n", 221) {
            Ok(_) => Outcome::Done,
            Err(outcome) => outcome,
        }
    }

    /// No two are alike, and none is easy: dots, eight-bit octets, lengths around what one read
    /// takes.
    fn content(&self, number: usize) -> Vec<u8> {
        let name = format!("{}-{number}", self.number);
        let mut content = format!("Subject: {name}\r\n\r\n.\r\n..dots\r\n").into_bytes();
        content.extend_from_slice(b"eight bits: \xE4\xF6\xFC\r\n");
        for line in 0..[3, 40, 400, 2000][number % 4] {
            content.extend_from_slice(format!("{line} of {name}, and so on\r\n").as_bytes());
        }
        content
    }
}

/// A connection, and what is said over it.
pub(crate) struct Talk {
    client: prixfixe_test_support::Client<TcpStream>,
    local: SocketAddr,
}

impl Talk {
    pub(crate) fn connect(from: Ipv4Addr, to: SocketAddr) -> std::io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((from, 0)).into())?;
        socket.connect(&to.into())?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            local: stream.local_addr()?,
            client: prixfixe_test_support::Client::new(stream),
        })
    }

    /// The next reply, which must have this code.
    pub(crate) fn reply(&mut self, code: u16) -> Result<String, Outcome> {
        let line = self.client.last_line().map_err(|error| {
            Outcome::Fault(match error.kind() {
                ErrorKind::UnexpectedEof => "closed without a word".to_owned(),
                _ => format!("reading: {error}"),
            })
        })?;
        if line.starts_with(&code.to_string()) {
            Ok(line)
        } else if line.starts_with("421 4.3.2") {
            Err(Outcome::SentAway)
        } else {
            Err(Outcome::Fault(format!("{code} was due, not {line:?}")))
        }
    }

    pub(crate) fn ask(&mut self, command: &str, code: u16) -> Result<String, Outcome> {
        self.write(command.as_bytes())?;
        self.reply(code)
    }

    /// A server that has sent its `421` takes nothing more, but the `421` can still be read.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Outcome> {
        match self.client.send(bytes) {
            Err(error)
                if !matches!(
                    error.kind(),
                    ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
                ) =>
            {
                Err(Outcome::Fault(format!("writing: {error}")))
            }
            _ => Ok(()),
        }
    }

    /// A message, dots stuffed, envelope pipelined.
    pub(crate) fn send(&mut self, content: &[u8]) -> Result<(), Outcome> {
        self.write(
            b"MAIL FROM:<ann@client.test> BODY=8BITMIME\r\nRCPT TO:<bob@example.com>\r\nDATA\r\n",
        )?;
        self.reply(250)?;
        self.reply(250)?;
        self.reply(354)?;
        let mut data = Vec::with_capacity(content.len() + 100);
        for line in content.split_inclusive(|byte| *byte == b'\n') {
            if line.first() == Some(&b'.') {
                data.push(b'.');
            }
            data.extend_from_slice(line);
        }
        data.extend_from_slice(b".\r\n");
        self.write(&data)?;
        self.reply(250).map(|_| ())
    }
}
