//! A test of an application that sends mail: the server is its mail sink.
//!
//! `cargo test --example mail_sink` runs it.
#![allow(
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "an example shows what it does"
)]

use std::net::SocketAddr;

use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

/// The application under test: it sends one mail.
async fn welcome(mail_server: SocketAddr, user: &str) -> Result<(), Box<dyn std::error::Error>> {
    let mail = Message::builder()
        .from("app@example.com".parse()?)
        .to(user.parse()?)
        .subject("Welcome")
        .body(String::from("Nice to have you.\n"))?;
    AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(mail_server.ip().to_string())
        .port(mail_server.port())
        .build()
        .send(mail)
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_new_user_is_welcomed() -> Result<(), Box<dyn std::error::Error>> {
    let (handler, mut inbox) = prixfixe_server::inbox();
    let server = prixfixe_server::Server::builder()
        .listen(([127, 0, 0, 1], 0))
        .handler(handler)
        .start()?;

    welcome(server.local_address(), "new@example.com").await?;

    let message = inbox.next().await.ok_or("no message")?;
    assert_eq!(
        message.envelope().recipients()[0].to_string(),
        "new@example.com"
    );
    assert!(String::from_utf8_lossy(message.content()).contains("Subject: Welcome"));
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (handler, mut inbox) = prixfixe_server::inbox();
    let server = prixfixe_server::Server::builder()
        .listen(([127, 0, 0, 1], 0))
        .handler(handler)
        .start()?;
    welcome(server.local_address(), "new@example.com").await?;
    if let Some(message) = inbox.next().await {
        println!("{}", String::from_utf8_lossy(message.content()));
    }
    Ok(())
}
