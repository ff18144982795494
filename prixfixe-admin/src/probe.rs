//! Asking a server whether it is ready, as a load balancer does.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long each address has for its answer.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The reason is a line; what is longer comes from something else.
const LONGEST_ANSWER: usize = 16 * 1024;

/// Where a socket that listens at this address is reached from this host: one on all addresses is
/// asked on the loopback.
#[must_use]
pub fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    address
}

/// What `/readyz` says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// The status: 200 while mail is taken, 503 while it is not. Anything else comes from another
    /// program.
    pub code: u16,
    /// The status with its usual words, as in `404 Not Found`.
    pub status: String,
    /// The line that says why, without its line end.
    pub text: String,
}

/// Asks the endpoints at an address for `/readyz`, for 3 seconds at most. Inside of a tokio
/// runtime.
///
/// # Errors
///
/// There was no answer; the text says why.
pub fn ask(
    address: SocketAddr,
) -> Pin<Box<dyn Future<Output = Result<Answer, String>> + Send + 'static>> {
    Box::pin(async move {
        match timeout(TIMEOUT, exchange(address)).await {
            Ok(result) => result.map_err(|error| error.to_string()),
            Err(_) => Err(format!("it took longer than {} s", TIMEOUT.as_secs())),
        }
    })
}

async fn exchange(address: SocketAddr) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::get("/readyz")
        .header(header::HOST, address.to_string())
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), LONGEST_ANSWER);
    let text = body.collect().await?.to_bytes();
    connection.abort();
    Ok(Answer {
        code: status.as_u16(),
        status: status.to_string(),
        text: String::from_utf8_lossy(&text).trim_end().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_all_addresses_is_asked_on_the_loopback() {
        for (configured, asked) in [
            ("0.0.0.0:9125", "127.0.0.1:9125"),
            ("[::]:9125", "[::1]:9125"),
            ("192.0.2.1:9125", "192.0.2.1:9125"),
        ] {
            let configured = configured.parse().unwrap();
            assert_eq!(reachable(configured), asked.parse().unwrap());
        }
    }
}
