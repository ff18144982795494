//! The one connection to Dovecot, and the two threads that keep it up: one connects and writes, one
//! reads.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use prixfixe_server::Reply;
use zeroize::Zeroizing;

use super::wire::{Answer, BadLine, Line, Request};

/// For a handshake, and for a write.
const SOCKET_PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks at what is late, and between two attempts to connect.
const TICK: Duration = Duration::from_secs(1);
/// Dovecot's own documentation expects lines to fit into it.
const MAX_LINE: u64 = 16 * 1024;
/// Dovecot takes no longer line, its end included: it closes the connection, which all logins
/// share.
const MAX_REQUEST: usize = 16 * 1024;
const MAX_MECHANISMS: usize = 64;
/// Logins at once.
const MAX_CONVERSATIONS: usize = 1024;

type Bytes = Zeroizing<Vec<u8>>;

/// A connection that is made again whenever it is lost.
#[derive(Debug)]
pub(super) struct Link {
    shared: Arc<Shared>,
    /// The end of it ends the threads.
    lines: SyncSender<Bytes>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// How long an answer may take.
    patience: Duration,
}

#[derive(Debug, Default)]
struct State {
    /// Those of the last handshake.
    mechanisms: Vec<String>,
    /// `None`: there is no connection.
    connection: Option<Connection>,
    next_id: u32,
}

#[derive(Debug)]
struct Connection {
    waiting: HashMap<u32, Waiting>,
    heard: Instant,
}

#[derive(Debug)]
struct Waiting {
    answer: async_channel::Sender<Answer>,
    /// `None`: it is the client's turn.
    asked: Option<Instant>,
}

/// One login.
pub(super) struct Conversation {
    id: u32,
    answers: async_channel::Receiver<Answer>,
    shared: Arc<Shared>,
    lines: SyncSender<Bytes>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Line(#[from] BadLine),
    #[error("it speaks version {0} of the protocol, not 1")]
    Version(u32),
    #[error("a line of over {MAX_LINE} bytes")]
    Length,
    #[error("it was closed")]
    Closed,
    #[error("it does not answer")]
    Silent,
}

impl Link {
    pub(super) fn open(path: PathBuf, patience: Duration) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            patience,
        });
        let (lines, queue) = mpsc::sync_channel(MAX_CONVERSATIONS);
        let of_thread = Arc::clone(&shared);
        let thread = thread::Builder::new().name("prixfixe-dovecot".to_owned());
        thread.spawn(move || keep_up(&path, &of_thread, &queue))?;
        Ok(Self { shared, lines })
    }

    /// What Dovecot announced last.
    pub(super) fn mechanisms(&self) -> Vec<String> {
        self.shared.lock().mechanisms.clone()
    }

    /// Begins a login.
    pub(super) fn begin(&self) -> Result<Conversation, Reply> {
        let mut state = self.shared.lock();
        let id = state.next_id.checked_add(1).unwrap_or(1);
        let connection = state.connection.as_mut().ok_or(Reply::LOGIN_UNAVAILABLE)?;
        if connection.waiting.len() >= MAX_CONVERSATIONS || connection.waiting.contains_key(&id) {
            return Err(Reply::LOGIN_UNAVAILABLE);
        }
        let (answer, answers) = async_channel::bounded(1);
        let waiting = Waiting {
            answer,
            asked: None,
        };
        connection.waiting.insert(id, waiting);
        state.next_id = id;
        Ok(Conversation {
            id,
            answers,
            shared: Arc::clone(&self.shared),
            lines: self.lines.clone(),
        })
    }
}

impl Conversation {
    /// Asks Dovecot. What is too long for it can be no login of its users.
    pub(super) async fn ask(&self, request: &Request) -> Result<Answer, Reply> {
        let line = request.line(self.id);
        if line.len() > MAX_REQUEST {
            return Err(Reply::BAD_CREDENTIALS);
        }
        {
            let mut state = self.shared.lock();
            // Where the connection was lost in between, another one knows nothing of this login.
            let waiting = state
                .connection
                .as_mut()
                .and_then(|connection| connection.waiting.get_mut(&self.id));
            waiting.ok_or(Reply::LOGIN_UNAVAILABLE)?.asked = Some(Instant::now());
        }
        let queued = self.lines.try_send(line);
        queued.map_err(|_| Reply::LOGIN_UNAVAILABLE)?;
        let answer = self.answers.recv().await;
        answer.map_err(|_| Reply::LOGIN_UNAVAILABLE)
    }

    /// Dovecot has said its last word.
    pub(super) fn finished(&self) {
        self.shared.forget(self.id);
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        if self.shared.forget(self.id) {
            let line = format!("CANCEL\t{}\n", self.id);
            let _ = self.lines.try_send(Zeroizing::new(line.into_bytes()));
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether Dovecot knew of it.
    fn forget(&self, id: u32) -> bool {
        let mut state = self.lock();
        let connection = state.connection.as_mut();
        connection.is_some_and(|connection| connection.waiting.remove(&id).is_some())
    }

    fn connected(&self, mechanisms: Vec<String>) {
        let mut state = self.lock();
        state.mechanisms = mechanisms;
        state.connection = Some(Connection {
            waiting: HashMap::new(),
            heard: Instant::now(),
        });
    }

    /// Whoever waits hears of it.
    fn disconnected(&self) {
        self.lock().connection = None;
    }

    fn answered(&self, id: u32, answer: Answer) {
        let mut state = self.lock();
        let Some(connection) = &mut state.connection else {
            return;
        };
        connection.heard = Instant::now();
        // What was given up is answered all the same.
        if let Some(waiting) = connection.waiting.get_mut(&id) {
            waiting.asked = None;
            let _ = waiting.answer.try_send(answer);
        }
    }

    /// Gives up what is late. An error: nothing was heard since.
    fn expire(&self, now: Instant) -> Result<(), Fault> {
        let mut state = self.lock();
        let connection = state.connection.as_mut().ok_or(Fault::Closed)?;
        let heard = connection.heard;
        let mut is_silent = false;
        connection.waiting.retain(|_, waiting| {
            let late = waiting
                .asked
                .filter(|asked| now.duration_since(*asked) >= self.patience);
            is_silent |= late.is_some_and(|asked| heard < asked);
            late.is_none()
        });
        if is_silent {
            Err(Fault::Silent)
        } else {
            Ok(())
        }
    }
}

/// Until nobody has a use for it any more.
fn keep_up(path: &Path, shared: &Arc<Shared>, lines: &Receiver<Bytes>) {
    let mut was_lost = false;
    loop {
        let ended = connect(path).and_then(|(stream, reader, mechanisms)| {
            let file = path.display();
            tracing::info!(socket = %file, mechanisms = mechanisms.join(" "), "Dovecot checks logins");
            was_lost = false;
            // What was queued for the last connection says nothing to this one.
            while lines.try_recv().is_ok() {}
            shared.connected(mechanisms);
            let ended = serve(stream, reader, shared, lines);
            shared.disconnected();
            ended
        });
        match ended {
            Ok(()) => return,
            Err(error) => {
                if !was_lost {
                    let socket = path.display();
                    tracing::warn!(%socket, %error, "no connection to Dovecot; logins receive 454");
                }
                was_lost = true;
            }
        }
        match lines.recv_timeout(TICK) {
            Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

type Connected = (UnixStream, BufReader<UnixStream>, Vec<String>);

fn connect(path: &Path) -> Result<Connected, Fault> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_write_timeout(Some(SOCKET_PATIENCE))?;
    stream.set_read_timeout(Some(SOCKET_PATIENCE))?;
    // It stands for a process, and no process has so high a number: a second connection of this one
    // must have another.
    let mut random = [0; 4];
    getrandom::fill(&mut random).map_err(io::Error::from)?;
    let process = u32::from_ne_bytes(random) >> 2 | 1 << 30;
    stream.write_all(format!("VERSION\t1\t1\nCPID\t{process}\n").as_bytes())?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut mechanisms = Vec::new();
    let mut has_version = false;
    let deadline = Instant::now() + SOCKET_PATIENCE;
    loop {
        match read_line(&mut reader)? {
            Line::Version { major: 1 } => has_version = true,
            Line::Version { major } => return Err(Fault::Version(major)),
            Line::Mechanism(name) if mechanisms.len() < MAX_MECHANISMS => mechanisms.push(name),
            Line::Done if has_version => break,
            Line::Done => return Err(BadLine.into()),
            _ => {}
        }
        if Instant::now() > deadline {
            return Err(Fault::Silent);
        }
    }
    stream.set_read_timeout(None)?;
    Ok((stream, reader, mechanisms))
}

/// `Ok`: nobody has a use for it any more.
fn serve(
    mut stream: UnixStream,
    mut reader: BufReader<UnixStream>,
    shared: &Arc<Shared>,
    lines: &Receiver<Bytes>,
) -> Result<(), Fault> {
    let of_thread = Arc::clone(shared);
    let thread = thread::Builder::new().name("prixfixe-dovecot".to_owned());
    let reading = thread.spawn(move || {
        let fault = loop {
            match read_line(&mut reader) {
                Ok(Line::Answer(id, answer)) => of_thread.answered(id, answer),
                Ok(_) => {}
                Err(fault) => break fault,
            }
        };
        of_thread.disconnected();
        fault
    })?;
    let ended = write(&mut stream, shared, lines);
    let _ = stream.shutdown(Shutdown::Both);
    match (ended, reading.join()) {
        // What the reader says is why it was closed.
        (Err(Fault::Closed), Ok(fault)) => Err(fault),
        (ended, _) => ended,
    }
}

fn write(stream: &mut UnixStream, shared: &Shared, lines: &Receiver<Bytes>) -> Result<(), Fault> {
    let mut looked = Instant::now();
    loop {
        match lines.recv_timeout(TICK) {
            Ok(line) => stream.write_all(&line)?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        let now = Instant::now();
        if now.duration_since(looked) >= TICK {
            looked = now;
            shared.expire(now)?;
        }
    }
}

fn read_line(reader: &mut BufReader<UnixStream>) -> Result<Line, Fault> {
    let mut line = Vec::new();
    reader.take(MAX_LINE).read_until(b'\n', &mut line)?;
    match line.pop() {
        Some(b'\n') => Ok(Line::parse(&line)?),
        None => Err(Fault::Closed),
        Some(_) if line.len() as u64 + 1 == MAX_LINE => Err(Fault::Length),
        Some(_) => Err(Fault::Closed),
    }
}
