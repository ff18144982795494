//! Connections of the admin endpoints, and what each of them may cost.

use std::convert::Infallible;
use std::net::TcpListener as StdListener;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::Status;
use super::routes;

/// Connections at once; others wait in the backlog.
const MAX_CONNECTIONS: usize = 64;

/// How long a request's head may take, and a connection be idle between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection is closed after the answer under way when it is this old, and in any case a little later: a client
/// that doesn't read its answer does not keep its place.
const LIFETIME: Duration = Duration::from_secs(120);
const LAST_ANSWER: Duration = Duration::from_secs(10);

/// The largest head of a request. hyper takes no less than 8 KiB.
const MAX_HEAD: usize = 16 * 1024;

/// Where an accept fails, most likely for want of descriptors: how long until the next.
const BACKOFF: Duration = Duration::from_millis(500);

/// Answers on all of the sockets, for ever.
pub(super) async fn serve(listeners: Vec<StdListener>, status: Arc<Status>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut accepting = tokio::task::JoinSet::new();
    for listener in listeners {
        match TcpListener::from_std(listener) {
            Ok(listener) => {
                accepting.spawn(accept(listener, Arc::clone(&places), Arc::clone(&status)));
            }
            Err(error) => {
                warn!(target: "prixfixe", %error, "an address of the admin endpoints is lost");
            }
        }
    }
    while accepting.join_next().await.is_some() {}
}

async fn accept(listener: TcpListener, places: Arc<Semaphore>, status: Arc<Status>) {
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(connection(stream, Arc::clone(&status), place));
            }
            Err(error) => {
                debug!(target: "prixfixe", %error, "an admin connection was not accepted");
                sleep(BACKOFF).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, status: Arc<Status>, _place: OwnedSemaphorePermit) {
    let answer = service_fn(move |request| {
        let status = Arc::clone(&status);
        async move { Ok::<_, Infallible>(routes::answer(&request, &status)) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), answer);
    let mut connection = pin!(connection);
    // What goes wrong with one client is no news: it went away, or was too slow.
    if timeout(LIFETIME, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        let _ = timeout(LAST_ANSWER, connection).await;
    }
}
