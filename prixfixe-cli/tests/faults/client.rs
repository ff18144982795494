//! A client that sends messages and reads replies.

use std::io;
use std::net::{SocketAddr, TcpStream};

use crate::server::PATIENCE;

pub(crate) struct Client(prixfixe_test_support::Client<TcpStream>);

impl Client {
    /// Connected, greeted and introduced.
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect(address)?)
    }

    /// Greeted and introduced.
    pub(crate) fn over(stream: TcpStream) -> io::Result<Self> {
        let mut client = Self::greeted_over(stream)?;
        client.write(b"EHLO client.example\r\n")?;
        client.expect("250")?;
        Ok(client)
    }

    /// Connected and greeted.
    pub(crate) fn greeted(address: SocketAddr) -> io::Result<Self> {
        Self::greeted_over(TcpStream::connect(address)?)
    }

    fn greeted_over(stream: TcpStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut client = Self(prixfixe_test_support::Client::new(stream));
        client.expect("220")?;
        Ok(client)
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.send(bytes)
    }

    /// The last line of the next reply.
    pub(crate) fn reply(&mut self) -> io::Result<String> {
        self.0.last_line()
    }

    pub(crate) fn expect(&mut self, start: &str) -> io::Result<()> {
        let reply = self.reply()?;
        if reply.starts_with(start) {
            return Ok(());
        }
        Err(io::Error::other(format!("{start} expected: {reply}")))
    }

    /// Everything up to the 354.
    pub(crate) fn begin(&mut self) -> io::Result<()> {
        self.write(b"MAIL FROM:<a@client.example>\r\nRCPT TO:<b@here.example>\r\nDATA\r\n")?;
        self.expect("250")?;
        self.expect("250")?;
        self.expect("354")
    }

    /// Sends a message without dots by DATA; the reply that ends the transaction.
    pub(crate) fn send(&mut self, content: &[u8]) -> io::Result<String> {
        self.begin()?;
        self.write(content)?;
        self.write(b".\r\n")?;
        self.reply()
    }

    /// The same, whatever the replies are: the first refusal, and the transaction is over.
    pub(crate) fn try_to_send(&mut self, content: &[u8]) -> io::Result<String> {
        for command in [
            "MAIL FROM:<a@client.example>",
            "RCPT TO:<b@here.example>",
            "DATA",
        ] {
            self.write(format!("{command}\r\n").as_bytes())?;
            let reply = self.reply()?;
            if !reply.starts_with(['2', '3']) {
                self.write(b"RSET\r\n")?;
                self.expect("250")?;
                return Ok(reply);
            }
        }
        self.write(content)?;
        self.write(b".\r\n")?;
        self.reply()
    }

    /// Sends a message by BDAT, in chunks of this length, all of it at once.
    pub(crate) fn send_chunks(&mut self, content: &[u8], length: usize) -> io::Result<String> {
        let mut text = b"MAIL FROM:<a@client.example>\r\nRCPT TO:<b@here.example>\r\n".to_vec();
        let mut chunks = 0;
        for chunk in content.chunks(length) {
            text.extend_from_slice(format!("BDAT {}\r\n", chunk.len()).as_bytes());
            text.extend_from_slice(chunk);
            chunks += 1;
        }
        text.extend_from_slice(b"BDAT 0 LAST\r\n");
        self.write(&text)?;
        for _ in 0..chunks + 2 {
            self.expect("250")?;
        }
        self.reply()
    }

    pub(crate) fn quit(mut self) {
        // The server may have gone first.
        let _ = self.write(b"QUIT\r\n").and_then(|()| self.reply());
    }

    pub(crate) fn into_stream(self) -> TcpStream {
        self.0.into_stream()
    }
}
