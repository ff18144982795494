//! A connection to a milter.

use std::io;
use std::time::Duration;

use prixfixe_milter::{Answer, Event, MilterClient, MilterError, Modification, Offer, Sent};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::{MOST_TIMEOUTS, Milter, MilterAddress};

/// What is told without an answer leaves in parts of about this size.
const FLUSH: usize = 64 << 10;
const READ: usize = 16 << 10;

/// Why a milter has failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("cannot connect: {0}; is it running?")]
    Connect(io::Error),
    #[error("no answer within {} s; raise policy.timeout if it needs longer", .0.as_secs_f64())]
    Late(Duration),
    #[error("the connection was lost: {0}")]
    Lost(#[from] io::Error),
    #[error("{0}")]
    Protocol(#[from] MilterError),
    #[error("it gave an address that is none")]
    Address,
    #[error("the message cannot be read again")]
    Unreadable,
}

/// A connection to a milter, with which the options are settled.
#[derive(Debug)]
pub(super) struct Link {
    stream: Stream,
    milter: MilterClient,
    timeout: Duration,
    /// Somebody waits for the milter, or did until it was dropped in the middle.
    is_busy: bool,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Link {
    pub(super) async fn open(check: &Milter) -> Result<Self, Failure> {
        let connected = timeout(check.timeout, Stream::connect(&check.address)).await;
        let connected = connected.map_err(|_| Failure::Late(check.timeout))?;
        let offer = Offer::default().max_body(check.max_body);
        let mut link = Self {
            stream: connected.map_err(Failure::Connect)?,
            milter: MilterClient::new(offer),
            timeout: check.timeout,
            is_busy: true,
        };
        link.flush().await?;
        while link.event().await? != Event::Negotiated {}
        link.is_busy = false;
        Ok(link)
    }

    /// Whether an answer is owed, so that nothing else can be asked.
    pub(super) fn is_busy(&self) -> bool {
        self.is_busy || self.milter.is_waiting()
    }

    /// Whether the milter wants to see the content.
    pub(super) fn is_open(&self) -> bool {
        !self.is_busy() && self.milter.is_open()
    }

    pub(super) fn milter(&self) -> &MilterClient {
        &self.milter
    }

    /// Asks a question of the dialogue with the client.
    pub(super) async fn ask(
        &mut self,
        question: impl FnOnce(&mut MilterClient) -> Result<Sent, MilterError>,
    ) -> Result<Option<Answer>, Failure> {
        let limit = self.timeout.saturating_mul(MOST_TIMEOUTS);
        let mut changes = Vec::new();
        let asked = async {
            let answer = self.say(question, &mut changes).await?;
            self.flush().await?;
            Ok(answer)
        };
        timeout(limit, asked)
            .await
            .unwrap_or(Err(Failure::Late(limit)))
    }

    /// Asks a question, and waits where it has an answer. What has none may wait to be sent.
    pub(super) async fn say(
        &mut self,
        question: impl FnOnce(&mut MilterClient) -> Result<Sent, MilterError>,
        changes: &mut Vec<Modification>,
    ) -> Result<Option<Answer>, Failure> {
        let sent = question(&mut self.milter)?;
        if sent != Sent::Answered {
            if self.milter.pending_output() >= FLUSH {
                self.flush().await?;
            }
            return Ok(None);
        }
        self.is_busy = true;
        self.flush().await?;
        loop {
            match self.event().await? {
                Event::Answer(answer) => {
                    self.is_busy = false;
                    return Ok(Some(answer));
                }
                Event::Change(change) => add(changes, change),
                _ => {}
            }
        }
    }

    /// The next event, within the time for it however slowly its bytes come.
    async fn event(&mut self) -> Result<Event, Failure> {
        let deadline = Instant::now() + self.timeout;
        loop {
            if let Some(event) = self.milter.next_event()? {
                return Ok(event);
            }
            // On the heap: in the future itself, every hook of every session would have room for
            // it.
            let mut room = vec![0; READ];
            let read = timeout_at(deadline, self.stream.read(&mut room)).await;
            let length = read.map_err(|_| Failure::Late(self.timeout))??;
            if length == 0 {
                return Err(Failure::Lost(io::ErrorKind::UnexpectedEof.into()));
            }
            self.milter.receive(room.get(..length).unwrap_or_default());
        }
    }

    async fn flush(&mut self) -> Result<(), Failure> {
        let output = self.milter.take_output();
        if output.is_empty() {
            return Ok(());
        }
        let was_busy = std::mem::replace(&mut self.is_busy, true);
        let written = timeout(self.timeout, self.stream.write_all(&output)).await;
        written.map_err(|_| Failure::Late(self.timeout))??;
        self.is_busy = was_busy;
        Ok(())
    }
}

/// Pieces of a body are joined as they come: each alone may be of a single byte.
fn add(changes: &mut Vec<Modification>, change: Modification) {
    match (changes.last_mut(), change) {
        (Some(Modification::ReplaceBody(body)), Modification::ReplaceBody(piece)) => {
            body.extend_from_slice(&piece);
        }
        (_, change) => changes.push(change),
    }
}

impl Drop for Link {
    /// Says goodbye where that takes no waiting.
    fn drop(&mut self) {
        if !self.is_busy {
            self.milter.quit();
            let output = self.milter.take_output();
            // The end of the connection says the same.
            let _ = self.stream.try_write(&output);
        }
    }
}

impl Stream {
    async fn connect(address: &MilterAddress) -> io::Result<Self> {
        match address {
            MilterAddress::Inet { host, port } => {
                let stream = TcpStream::connect((&**host, *port)).await?;
                stream.set_nodelay(true)?;
                Ok(Self::Tcp(stream))
            }
            #[cfg(unix)]
            MilterAddress::Unix(path) => UnixStream::connect(path).await.map(Self::Unix),
            #[cfg(not(unix))]
            MilterAddress::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    async fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(room).await,
            #[cfg(unix)]
            Self::Unix(stream) => stream.read(room).await,
        }
    }

    async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes).await,
            #[cfg(unix)]
            Self::Unix(stream) => stream.write_all(bytes).await,
        }
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            #[cfg(unix)]
            Self::Unix(stream) => stream.try_write(bytes),
        }
    }
}
