//! A client that says exactly what a test tells it to.

use std::net::SocketAddr;
use std::time::Duration;

use prixfixe_server::{Handler, Server, ServerBuilder, Transport};
use prixfixe_test_support::Replies;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// A test that waits longer than this for the server has found a hang.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server on any free port.
pub(crate) fn builder(transport: Transport) -> ServerBuilder<()> {
    Server::builder()
        .domain("mx.test")
        .listen(([127, 0, 0, 1], 0))
        .transport(transport)
}

pub(crate) fn start(transport: Transport, handler: impl Handler) -> Server {
    builder(transport)
        .handler(handler)
        .start()
        .expect("the server starts")
}

pub(crate) struct Client {
    stream: TcpStream,
    replies: Replies,
}

impl From<TcpStream> for Client {
    fn from(stream: TcpStream) -> Self {
        Self {
            stream,
            replies: Replies::default(),
        }
    }
}

impl Client {
    /// Connects, without reading the greeting.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address)
            .await
            .expect("the server listens");
        Self::from(stream)
    }

    /// The address that the server sees.
    pub(crate) fn local_address(&self) -> SocketAddr {
        self.stream.local_addr().expect("it is connected")
    }

    /// Connects, with as little room in the kernel as it gives.
    pub(crate) async fn connect_with_small_buffers(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a socket option");
        socket.set_send_buffer_size(4096).expect("a socket option");
        let stream = socket.connect(address).await.expect("the server listens");
        Self::from(stream)
    }

    /// Connects, reads the greeting and says EHLO.
    pub(crate) async fn greeted(address: SocketAddr) -> Self {
        let mut client = Self::connect(address).await;
        assert!(
            client
                .reply()
                .await
                .starts_with("220 mx.test ESMTP PrixFixe")
        );
        assert!(client.ask("EHLO client.test").await.starts_with("250"));
        client
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream
            .write_all(bytes.as_ref())
            .await
            .expect("the server reads");
    }

    /// Sends, unless the server takes nothing for a while.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> bool {
        // Only whether all of it was taken is asked for here, so what a slow machine could change
        // is how much the server was given, never the outcome.
        timeout(Duration::from_secs(2), self.stream.write_all(bytes))
            .await
            .is_ok()
    }

    /// Sends a line and reads its reply.
    pub(crate) async fn ask(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n")).await;
        self.reply().await
    }

    /// A whole reply, all of its lines.
    pub(crate) async fn reply(&mut self) -> String {
        let mut buffer = [0; 4096];
        loop {
            if let Some(reply) = self.replies.next_reply().expect("a reply") {
                return reply;
            }
            let read = timeout(PATIENCE, self.stream.read(&mut buffer)).await;
            let count = read.expect("a reply comes").expect("the connection holds");
            assert_ne!(count, 0, "closed after {:?}", self.replies);
            self.replies.receive(&buffer[..count]);
        }
    }

    /// MAIL, one RCPT and DATA, up to its 354.
    pub(crate) async fn open_data(&mut self) {
        assert!(
            self.ask("MAIL FROM:<ann@example.com>")
                .await
                .starts_with("250")
        );
        assert!(
            self.ask("RCPT TO:<bob@example.com>")
                .await
                .starts_with("250")
        );
        assert!(self.ask("DATA").await.starts_with("354"));
    }

    /// One whole message; its last reply.
    pub(crate) async fn deliver(&mut self, content: &str) -> String {
        self.open_data().await;
        self.send(format!("{content}\r\n.\r\n")).await;
        self.reply().await
    }

    /// No more is sent; replies can still be read.
    pub(crate) async fn half_close(&mut self) {
        self.stream.shutdown().await.expect("the connection holds");
    }

    /// Everything up to the end of the connection.
    pub(crate) async fn rest(&mut self) -> String {
        let mut rest = self.replies.take_rest();
        let read = timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await;
        read.expect("the server closes").expect("it closes cleanly");
        String::from_utf8(rest).expect("replies are text")
    }
}
