//! Connections of the admin endpoints, and what each of them may cost.

use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot::Receiver;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::places::{Place, Places};
use super::status::Readiness;
use super::{BACKLOG, Leaving, Status, listen, probe, routes};

/// How long a request's head may take, and a connection be idle between two requests. The status
/// page asks every 2 seconds.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection is closed after the answer under way when it is this old, and in any case a little
/// later: a client that doesn't read its answer does not keep its place.
const LIFETIME: Duration = Duration::from_secs(120);
const LAST_ANSWER: Duration = Duration::from_secs(10);

/// The largest head of a request. hyper takes no less than 8 KiB.
const MAX_HEAD: usize = 16 * 1024;

/// Where an accept fails, most likely for want of descriptors: how long until the next.
const BACKOFF: Duration = Duration::from_millis(500);

/// How long the host may take to say whether another process listens.
const SUCCESSOR_TIMEOUT: Duration = Duration::from_secs(1);

/// How soon a process that drains sees one that has begun to listen beside it. Half of its own
/// connections go there.
const SUCCESSOR_INTERVAL: Duration = Duration::from_millis(100);

/// Answers on all of the sockets, for ever. At `leaving` they are left to another process, or else
/// each is replaced by its spare, until another process comes.
pub(super) async fn serve(
    listeners: Vec<StdListener>,
    status: Arc<Status>,
    leaving: Option<(Leaving, Vec<StdListener>)>,
) {
    let answering = Answering {
        places: Places::default(),
        status,
    };
    let mut accepting = JoinSet::new();
    for listener in &listeners {
        match listener.try_clone().and_then(TcpListener::from_std) {
            Ok(listener) => drop(accepting.spawn(answering.clone().accept(listener))),
            Err(error) => {
                warn!(target: "prixfixe", %error, "an address of the admin endpoints is lost");
            }
        }
    }
    if let Some((leaving, spares)) = leaving {
        leaving.await;
        accepting.shutdown().await;
        for (listener, spare) in listeners.into_iter().zip(spares) {
            if let Some(spare) = answering.hand_over(listener, spare).await {
                accepting.spawn(answering.clone().accept_until_succeeded(spare));
            }
        }
    }
    while accepting.join_next().await.is_some() {}
    // Those who are connected are answered all the same.
    pending().await
}

#[derive(Clone)]
struct Answering {
    places: Places,
    status: Arc<Status>,
}

impl Answering {
    async fn accept(self, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    self.answer(stream, peer);
                    // Whoever lost a place to this one goes before the next one comes.
                    yield_now().await;
                }
                Err(error) => {
                    debug!(target: "prixfixe", %error, "an admin connection was not accepted");
                    sleep(BACKOFF).await;
                }
            }
        }
    }

    fn answer(&self, stream: TcpStream, peer: SocketAddr) {
        let (place, lost) = self.places.take(peer.ip());
        tokio::spawn(connection(stream, Arc::clone(&self.status), place, lost));
    }

    /// Closes a port that another process listens on as well, which from here on gets all that ask,
    /// so that they are not told by turns that mail is accepted and that it is not. Where there is
    /// no other they are told by this one.
    async fn hand_over(&self, listener: StdListener, spare: StdListener) -> Option<StdListener> {
        let address = listener.local_addr().ok()?;
        self.leave(listener).await;
        let asked = timeout(SUCCESSOR_TIMEOUT, TcpStream::connect(address)).await;
        if !matches!(asked, Ok(Err(_))) {
            info!(target: "prixfixe", %address, "the admin port is left to another process");
            return None;
        }
        if let Err(error) = listen(&spare) {
            warn!(target: "prixfixe", %address, %error, "nobody answers at the admin port any more");
            return None;
        }
        Some(spare)
    }

    /// Answers until another process listens on the port as well: one that starts after the drain
    /// has begun.
    async fn accept_until_succeeded(self, listener: StdListener) {
        let Ok(address) = listener.local_addr() else {
            return;
        };
        let accepting = match listener.try_clone().and_then(TcpListener::from_std) {
            Ok(accepting) => tokio::spawn(self.clone().accept(accepting)),
            Err(error) => {
                warn!(target: "prixfixe", %address, %error, "nobody answers at the admin port any more");
                return;
            }
        };
        while !is_answered_by_another(address).await {
            sleep(SUCCESSOR_INTERVAL).await;
        }
        accepting.abort();
        // It holds a copy of the socket until then.
        let _ = accepting.await;
        self.leave(listener).await;
        info!(target: "prixfixe", %address, "the admin port is left to another process");
    }

    /// Closes the socket when all who wait in it are answered: the kernel would reset them.
    async fn leave(&self, listener: StdListener) {
        // No more can wait than its backlog has room for.
        for _ in 0..=BACKLOG {
            match listener.accept() {
                Ok((stream, peer)) => {
                    let ready = stream.set_nonblocking(true);
                    if let Ok(stream) = ready.and_then(|()| TcpStream::from_std(stream)) {
                        self.answer(stream, peer);
                        yield_now().await;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_) => break,
            }
        }
    }
}

/// This process says that it drains. Whatever else is said comes from another one, as long as that
/// does not drain too.
async fn is_answered_by_another(address: SocketAddr) -> bool {
    match probe::ask(probe::reachable(address)).await {
        Ok(answer) => answer.text != Readiness::Draining.to_string(),
        Err(_) => false,
    }
}

async fn connection(stream: TcpStream, status: Arc<Status>, place: Place, lost: Receiver<()>) {
    let local = stream.local_addr().ok();
    let answer = service_fn(move |request| {
        place.is_used();
        let answer = routes::answer(&request, local, &status);
        async move { Ok::<_, Infallible>(answer) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), answer);
    let mut connection = pin!(connection);
    let whole = async {
        // What goes wrong with one client is no news: it went away, or was too slow.
        if timeout(LIFETIME, connection.as_mut()).await.is_err() {
            connection.as_mut().graceful_shutdown();
            let _ = timeout(LAST_ANSWER, connection).await;
        }
    };
    let (mut whole, mut lost) = (pin!(whole), pin!(lost));
    poll_fn(|context| match lost.as_mut().poll(context) {
        Poll::Ready(_) => Poll::Ready(()),
        Poll::Pending => whole.as_mut().poll(context),
    })
    .await;
}
