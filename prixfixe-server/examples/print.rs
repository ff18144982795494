//! Prints every mail that arrives: `cargo run --example print`, then send one to port 2525.
#![allow(
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "an example shows what it does"
)]

use prixfixe_server::{Accepted, Message, Server};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::builder()
        .listen(([127, 0, 0, 1], 2525))
        .handler(|message: Message| async {
            let message = message.collect().await?;
            println!(
                "--- {} from <{}>",
                message.id(),
                message.envelope().reverse_path()
            );
            println!("{}", String::from_utf8_lossy(message.content()));
            Ok(Accepted::default())
        })
        .start()?;
    println!("listening on {}", server.local_address());
    tokio::signal::ctrl_c().await?;
    server.stop().await;
    Ok(())
}
