//! A server whose mail is on the disk before its client is told `250`, and is delivered afterwards.
//!
//! ```text
//! cargo run -p prixfixe-delivery --example spool -- maildir:./mail
//! ```

use std::error::Error;
use std::time::Duration;

use prixfixe_delivery::{Around, Routes, Spool, SpoolOptions, TargetOptions, TargetUrl};
use prixfixe_server::Server;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let argument = std::env::args().nth(1);
    let target = argument.as_deref().unwrap_or("maildir:./mail");
    let (server, spool) = start(target, "spool", ([127, 0, 0, 1], 2525).into()).await?;
    eprintln!("listening on {}", server.local_address());
    tokio::signal::ctrl_c().await?;
    server.shutdown();
    server.stopped().await;
    spool.stop(Duration::from_secs(30)).await;
    Ok(())
}

/// A server, and the spool between it and the target.
async fn start(
    target: &str,
    spool: &str,
    address: std::net::SocketAddr,
) -> Result<(Server, Spool), Box<dyn Error>> {
    let target: TargetUrl = target.parse()?;
    let opened = target
        .open("default", &TargetOptions::default(), &Around::default())
        .await?;
    let routes = Routes::new("localhost").shared_target("default", opened);
    let spool = Spool::start(spool, routes.rest("default")?, SpoolOptions::default())?;
    let server = Server::builder()
        .listen(address)
        .handler(spool.clone())
        .start()?;
    Ok((server, spool))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use prixfixe_test_support::Client;

    use super::*;
}
