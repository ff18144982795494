//! A `prixfixe` process, and a client that talks to it line by line.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) use prixfixe_test_support::{PATIENCE, has};
use rustix::process::{Pid, Signal, kill_process};
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

/// The command, in an environment without variables of ours.
pub(crate) fn prixfixe(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_prixfixe"));
    command.env_clear().envs(profile());
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Where a binary that is instrumented for coverage writes what it has seen. Another user cannot
/// write there.
pub(crate) fn profile() -> Option<(&'static str, OsString)> {
    std::env::var_os(PROFILE).map(|file| (PROFILE, file))
}

pub(crate) const PROFILE: &str = "LLVM_PROFILE_FILE";

/// What a command that ends by itself said: exit status, stdout, stderr.
pub(crate) fn run(command: &mut Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// A running `prixfixe serve`, in a directory of its own. It is killed when this is dropped.
pub(crate) struct Serve {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    pub(crate) directory: TempDir,
    address: Option<SocketAddr>,
}

impl Serve {
    /// Starts with these arguments beside a free port, and waits until it listens.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let arguments = [&["serve", "--listen", "127.0.0.1:0"], arguments].concat();
        let directory = TempDir::new().unwrap();
        Self::spawn(
            prixfixe(&arguments).current_dir(directory.path()),
            directory,
        )
    }

    pub(crate) fn spawn(command: &mut Command, directory: TempDir) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            stderr
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        let mut serve = Self {
            child,
            lines,
            seen: Vec::new(),
            directory,
            address: None,
        };
        serve.address = Some(listening_address(&serve.line("listening")));
        serve
    }

    /// The next line of the log with this in it.
    pub(crate) fn line(&mut self, part: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|error| {
                panic!("{error}: no line with {part:?} after {:#?}", self.seen)
            });
            self.seen.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Whether a line with this in it comes within a time.
    pub(crate) fn has_line(&mut self, part: &str, time: Duration) -> bool {
        let until = Instant::now() + time;
        while let Ok(line) = self
            .lines
            .recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            self.seen.push(line.clone());
            if line.contains(part) {
                return true;
            }
        }
        false
    }

    /// A line with this in it among those that were read already.
    pub(crate) fn seen(&self, part: &str) -> Option<&str> {
        self.seen
            .iter()
            .map(String::as_str)
            .find(|line| line.contains(part))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Its number.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Where its first listener listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address.unwrap()
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    /// Waits for the end, and gives the exit status and the whole log.
    pub(crate) fn wait(mut self) -> (ExitStatus, Vec<String>) {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => self.seen.push(line),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("does not end: {:#?}", self.seen),
            }
        }
        (self.child.wait().unwrap(), std::mem::take(&mut self.seen))
    }

    /// Closes the reading end of its stderr.
    pub(crate) fn close_stderr(&mut self) {
        let (_, lines) = mpsc::channel();
        // The reading thread ends with the next line that it cannot pass on.
        self.lines = lines;
    }

    /// Closes the reading end of its stdout.
    pub(crate) fn close_stdout(&mut self) {
        drop(self.child.stdout.take());
    }

    /// The messages in its Maildir, in the order of arrival.
    pub(crate) fn messages(&self) -> Vec<String> {
        let new = self.directory.path().join("mail/new");
        let files = std::fs::read_dir(new).unwrap();
        let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        // A directory is listed in any order; names sort by arrival.
        paths.sort_unstable();
        let messages = paths.iter().map(std::fs::read_to_string);
        messages.collect::<Result<_, _>>().unwrap()
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        // Who is killed writes no profile.
        let deadline = Instant::now() + PATIENCE;
        while profile().is_some()
            && matches!(self.child.try_wait(), Ok(None))
            && Instant::now() < deadline
        {
            self.signal(Signal::TERM);
            thread::sleep(Duration::from_millis(20));
        }
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address in the line `listening`.
pub(crate) fn listening_address(line: &str) -> SocketAddr {
    let (_, rest) = line.split_once("address").unwrap();
    let address = rest.trim_start_matches(['=', '"', ':']);
    address.split([' ', '"']).next().unwrap().parse().unwrap()
}

/// One connection.
pub(crate) struct Client(prixfixe_test_support::Client<TcpStream>);

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(prixfixe_test_support::Client::new(stream))
    }

    /// From an address of its own: limits and the log tell clients apart by it.
    pub(crate) fn connect_from(source: Ipv4Addr, address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
        socket.connect(&address.into()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_tcp_nodelay(true).unwrap();
        Self(prixfixe_test_support::Client::new(socket.into()))
    }

    /// Its own address, as the server sees it.
    pub(crate) fn local_address(&self) -> SocketAddr {
        self.0.stream().local_addr().unwrap()
    }

    /// Connected and greeted.
    pub(crate) fn greeted(serve: &Serve) -> Self {
        let mut client = serve.connect();
        assert!(client.reply().starts_with("220 "));
        client
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.0.send(text).unwrap();
    }

    /// The last line of the next reply; empty where the connection ends instead.
    pub(crate) fn reply(&mut self) -> String {
        match self.0.last_line() {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => String::new(),
            reply => reply.unwrap(),
        }
    }

    /// Sends a line; the reply must begin like this.
    pub(crate) fn ask(&mut self, command: &str, expected: &str) {
        self.send(&format!("{command}\r\n"));
        let reply = self.reply();
        assert!(reply.starts_with(expected), "{command}: {reply}");
    }

    /// Everything up to DATA's 354.
    pub(crate) fn begin_message(&mut self) {
        self.ask("EHLO client.example", "250 ");
        self.ask("MAIL FROM:<a@client.example>", "250 ");
        self.ask("RCPT TO:<b@here.example>", "250 ");
        self.ask("DATA", "354 ");
    }

    /// The peer must have closed, with nothing more to say.
    pub(crate) fn assert_closed(mut self) {
        let mut rest = Vec::new();
        // A reset closes too.
        let _ = self.0.read_to_end(&mut rest);
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }
}
