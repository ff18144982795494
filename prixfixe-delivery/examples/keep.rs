//! A server that keeps its mail where it is told to.
//!
//! ```text
//! cargo run -p prixfixe-delivery --example keep -- maildir:./mail
//! cargo run -p prixfixe-delivery --example keep -- stdout:
//! ```

use std::error::Error;

use prixfixe_delivery::{Around, Delivery, MinFree, Routes, TargetOptions, TargetUrl};
use prixfixe_server::Server;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let target: TargetUrl = std::env::args()
        .nth(1)
        .as_deref()
        .unwrap_or("maildir:./mail")
        .parse()?;
    // Goes with the server's limit, 10 MiB unless it is set.
    let mut around = Around::default();
    around.maildir.min_free = MinFree::for_messages_of(10 << 20);
    let opened = target
        .open("default", &TargetOptions::default(), &around)
        .await?;
    let routes = Routes::new("localhost").shared_target("default", opened);
    let delivery = Delivery::new(routes.rest("default")?);
    let server = Server::builder()
        .listen(([127, 0, 0, 1], 2525))
        .handler(delivery)
        .start()?;
    eprintln!(
        "listening on {}, keeping mail in {target}",
        server.local_address()
    );
    server.stopped().await;
    Ok(())
}
