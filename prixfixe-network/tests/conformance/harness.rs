//! A running transport and its clients.

use std::future::Future;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::pin::pin;
use std::process::Command;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use prixfixe_network::{Listener, Options, Running, Transport, serve};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Runtime;

use crate::toy::{Seen, Toy};

/// After this long a test has failed. It is never waited for otherwise.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The ways to run a transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Tokio, on a runtime that is there.
    Within,
    /// Tokio, on threads of its own.
    Threads,
    /// Raw.
    Raw,
}

impl Way {
    pub(crate) fn options(self) -> Options {
        let (transport, threads) = match self {
            Self::Within => (Transport::Tokio, None),
            Self::Threads => (Transport::Tokio, NonZeroUsize::new(2)),
            Self::Raw => (Transport::Raw, NonZeroUsize::new(2)),
        };
        Options::default()
            .transport(transport)
            .threads(threads)
            .max_connections(20_000)
    }
}

pub(crate) struct Harness {
    pub(crate) running: Running,
    pub(crate) seen: Arc<Seen>,
    pub(crate) service: Arc<Toy>,
    _runtime: Option<Runtime>,
}

impl Harness {
    pub(crate) fn start(way: Way, toy: Toy, options: Options) -> Self {
        Self::listen(way, vec![loopback()], toy, options)
    }

    /// All on one thread, so that connections have to take turns.
    pub(crate) fn single(way: Way, toy: Toy, options: Options) -> Self {
        Self::single_on(way, loopback(), toy, options)
    }

    pub(crate) fn single_on(way: Way, listener: Listener, toy: Toy, options: Options) -> Self {
        let threads = match way {
            Way::Within => None,
            Way::Threads | Way::Raw => NonZeroUsize::new(1),
        };
        Self::start_on(way, 1, vec![listener], toy, options.threads(threads))
    }

    pub(crate) fn listen(way: Way, listeners: Vec<Listener>, toy: Toy, options: Options) -> Self {
        Self::start_on(way, 2, listeners, toy, options)
    }

    fn start_on(
        way: Way,
        workers: usize,
        listeners: Vec<Listener>,
        toy: Toy,
        options: Options,
    ) -> Self {
        let runtime = (way == Way::Within).then(|| runtime(workers));
        let entered = runtime.as_ref().map(Runtime::enter);
        let seen = Arc::clone(&toy.seen);
        let service = Arc::new(toy);
        let running = serve(listeners, Arc::clone(&service), options).unwrap();
        drop(entered);
        Self {
            running,
            seen,
            service,
            _runtime: runtime,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.running.local_addresses()[0]
    }

    /// A client that was greeted.
    pub(crate) fn client(&self) -> Client {
        let mut client = Client::connect(self.address());
        client.expect("HELLO");
        client
    }

    pub(crate) fn wait_stopped(&self) {
        block_on(self.running.stopped());
    }
}

pub(crate) struct Client {
    pub(crate) reader: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            reader: BufReader::new(stream),
        }
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        self.reader.get_ref()
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.stream().write_all(text.as_bytes()).unwrap();
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        line.truncate(line.trim_end_matches('\n').len());
        line
    }

    #[track_caller]
    pub(crate) fn expect(&mut self, line: &str) {
        assert_eq!(self.line(), line);
    }

    /// What is asked is answered.
    #[track_caller]
    pub(crate) fn echo(&mut self, line: &str) {
        self.send(&format!("{line}\n"));
        self.expect(line);
    }

    /// The server has closed, without a reset.
    #[track_caller]
    pub(crate) fn expect_eof(&mut self) {
        let mut rest = Vec::new();
        self.reader.read_to_end(&mut rest).unwrap();
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }

    pub(crate) fn half_close(&self) {
        self.stream().shutdown(Shutdown::Write).unwrap();
    }

    /// Goes away by a reset.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(self.stream())
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }
}

pub(crate) fn loopback() -> Listener {
    Listener::bind(([127, 0, 0, 1], 0).into()).unwrap()
}

pub(crate) fn runtime(workers: usize) -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
        .unwrap()
}

/// This binary again, to run one of its ignored tests by itself.
pub(crate) fn child(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture"]);
    command
}

/// Leaves this process so many descriptors to open, and gives the limit that it had.
pub(crate) fn limit_descriptors(spare: u64) -> Rlimit {
    // The listing itself has one open.
    let open = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64 - 1;
    let limit = getrlimit(Resource::Nofile);
    let lower = Rlimit {
        current: Some(open + spare),
        ..limit
    };
    setrlimit(Resource::Nofile, lower).unwrap();
    limit
}

/// Waits for what comes about without telling.
#[track_caller]
pub(crate) fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "never happened: {what}");
        thread::yield_now();
    }
}

/// The smallest executor: what runs on it runs on any.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    let start = Instant::now();
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        assert!(start.elapsed() < PATIENCE, "the future never completed");
        thread::park_timeout(PATIENCE);
    }
}
