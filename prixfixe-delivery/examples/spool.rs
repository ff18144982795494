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
    let mut around = Around::default();
    around.domain = "localhost".to_owned();
    let opened = target
        .open("default", &TargetOptions::default(), &around)
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
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const MAIL: &str = "HELO client.example\r\nMAIL FROM:<ann@example.com>\r\nRCPT TO:<bob@example.org>\r\n\
                        DATA\r\nSubject: hello\r\n\r\nHow are you?\r\n.\r\nQUIT\r\n";

    #[tokio::test]
    async fn mail_goes_through_the_spool_into_the_maildir() {
        let directory = tempfile::tempdir().unwrap();
        let maildir = directory.path().join("mail");
        let path = directory.path().join("spool");
        let (server, spool) = start(
            &format!("maildir:{}", maildir.display()),
            path.to_str().unwrap(),
            ([127, 0, 0, 1], 0).into(),
        )
        .await
        .unwrap();
        let mut stream = tokio::net::TcpStream::connect(server.local_address())
            .await
            .unwrap();
        stream.write_all(MAIL.as_bytes()).await.unwrap();
        let mut replies = String::new();
        stream.read_to_string(&mut replies).await.unwrap();
        assert!(replies.contains("\r\n250 2.0.0 "), "{replies}");
        while std::fs::read_dir(maildir.join("new")).unwrap().count() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        spool.stop(Duration::from_secs(5)).await;
    }
}
