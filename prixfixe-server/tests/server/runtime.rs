//! Hooks that use sockets and timers of tokio's, whatever the transport.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prixfixe_server::{
    Accepted, BoxHandler, Client as Peer, Handler, Message, Reply, Session, Transport,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::client::{Client, start};
use crate::on_both_transports;

on_both_transports![
    a_hook_may_speak_to_others,
    the_digest_is_the_same_each_time,
    a_digest_can_be_made_while_the_content_passes_by
];

/// Hands each content to whoever listens there.
struct Forward(SocketAddr);

impl Handler for Forward {
    type Session = Forwarding;

    async fn connect(self: &Arc<Self>, _: &Peer) -> Result<Forwarding, Reply> {
        Ok(Forwarding(self.0))
    }

    fn needs_runtime(&self) -> bool {
        true
    }
}

struct Forwarding(SocketAddr);

impl Session for Forwarding {
    async fn message(&mut self, mut message: Message) -> Result<Accepted, Reply> {
        let failed = |_| Reply::TRY_LATER;
        tokio::time::sleep(Duration::from_millis(1)).await;
        let mut stream = TcpStream::connect(self.0).await.map_err(failed)?;
        while let Some(piece) = message.body().chunk().await? {
            stream.write_all(&piece).await.map_err(failed)?;
        }
        stream.shutdown().await.map_err(failed)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.map_err(failed)?;
        Ok(Accepted::with_text(answer))
    }
}

async fn a_hook_may_speak_to_others(transport: Transport) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let next = listener.local_addr().expect("it is bound");
    let server = start(transport, BoxHandler::new(Forward(next)));
    let hop = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("the hook connects");
        let mut content = String::new();
        stream.read_to_string(&mut content).await.expect("it sends");
        stream.write_all(b"taken").await.expect("it reads");
        content
    });
    let mut client = Client::greeted(server.local_address()).await;
    assert_eq!(client.deliver("Hello").await, "250 2.0.0 taken");
    assert_eq!(hop.await.expect("no panic"), "Hello\r\n");
}

async fn the_digest_is_the_same_each_time(transport: Transport) {
    let server = start(transport, |mut message: Message| async move {
        let digest = message.digest().await?;
        let again = message.digest().await?;
        assert_eq!(digest, again);
        let content = message.collect().await?;
        assert!(content.content().starts_with(b"Date: "));
        Ok(Accepted::with_text(digest.to_string()))
    });
    let mut client = Client::greeted(server.local_address()).await;
    let content = format!("Date: now\r\n\r\n{}", "x".repeat(300_000));
    let first = client.deliver(&content).await;
    assert_eq!(first.len(), "250 2.0.0 ".len() + 64);
    assert_eq!(client.deliver(&content).await, first);
    assert_ne!(client.deliver("Date: later\r\n\r\n").await, first);
}

async fn a_digest_can_be_made_while_the_content_passes_by(transport: Transport) {
    let server = start(transport, |mut message: Message| async move {
        message.hash_while_read();
        let envelope = message.shared_envelope();
        assert!(envelope.digest().is_none());
        while message.body().chunk().await?.is_some() {}
        let passing = envelope.digest().expect("it has been read to its end");
        Ok(Accepted::with_text(passing.to_string()))
    });
    let gathering = start(transport, |mut message: Message| async move {
        Ok(Accepted::with_text(message.digest().await?.to_string()))
    });
    let content = format!("Date: now\r\n\r\n{}", "x".repeat(300_000));
    let mut client = Client::greeted(server.local_address()).await;
    let mut other = Client::greeted(gathering.local_address()).await;
    assert_eq!(
        client.deliver(&content).await,
        other.deliver(&content).await
    );
}
