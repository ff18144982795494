//! `prixfixe health`: whether a running server is ready, for the health checks of containers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::{Admin, AdminArguments, Scope, Target};
use crate::error::{Error, print};

/// How long each address has for its answer.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The reason is a line; what is longer comes from something else.
const LONGEST_ANSWER: usize = 16 * 1024;

pub(crate) fn run(arguments: &AdminArguments) -> Result<ExitCode, Error> {
    let admin = Admin::load(arguments)?;
    let target = admin.look_up()?.ok_or(Error::NoAdmin)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::EventLoop)?;
    let mut failure = Error::NoAdminAddress;
    for address in addresses(target) {
        if address.port() == 0 {
            return Err(Error::NoAdminPort(address));
        }
        match runtime.block_on(ask(address)) {
            Ok(answer) => return judge(address, &answer),
            Err(reason) => failure = Error::NoAnswer { address, reason },
        }
    }
    Err(failure)
}

/// A server that listens on all addresses is asked on the loopback.
fn addresses(target: Target) -> Vec<SocketAddr> {
    match target {
        Target::Both(_, port) => Scope::Loopback.addresses(port).to_vec(),
        Target::Addresses(addresses) => addresses.into_iter().map(reachable).collect(),
        // No admin address is one.
        Target::Unix(_) => Vec::new(),
    }
}

pub(crate) fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    address
}

/// What `/readyz` says.
pub(crate) struct Answer {
    code: StatusCode,
    pub(crate) text: String,
}

pub(crate) async fn ask(address: SocketAddr) -> Result<Answer, String> {
    match timeout(TIMEOUT, exchange(address)).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err(format!("it took longer than {} s", TIMEOUT.as_secs())),
    }
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
    let code = response.status();
    let body = Limited::new(response.into_body(), LONGEST_ANSWER);
    let text = body.collect().await?.to_bytes();
    connection.abort();
    Ok(Answer {
        code,
        text: String::from_utf8_lossy(&text).trim_end().to_owned(),
    })
}

fn judge(address: SocketAddr, answer: &Answer) -> Result<ExitCode, Error> {
    match answer.code {
        StatusCode::OK => {
            print("ready\n")?;
            Ok(ExitCode::SUCCESS)
        }
        StatusCode::SERVICE_UNAVAILABLE => Err(Error::NotReady(answer.text.clone())),
        code => Err(Error::NotAdmin { address, code }),
    }
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
        let loopback = ["127.0.0.1:1", "[::1]:1"].map(|it| it.parse().unwrap());
        for scope in [Scope::Loopback, Scope::All] {
            assert_eq!(addresses(Target::Both(scope, 1)), loopback);
        }
    }
}
