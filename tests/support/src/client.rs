//! A client that says exactly what a test tells it to.

use std::io::{self, Read, Write};

use prixfixe_client::{Reply, ReplyReader};

/// The replies in what a server has sent, for clients that move bytes themselves.
#[derive(Debug, Default)]
pub struct Replies {
    reader: ReplyReader,
    received: Vec<u8>,
    taken: usize,
}

impl Replies {
    /// More came.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.received.drain(..std::mem::take(&mut self.taken));
        self.received.extend_from_slice(bytes);
    }

    /// All lines of the next reply, as they came but without the last line end. `None`: it has not
    /// come yet.
    ///
    /// # Errors
    ///
    /// What came is no reply.
    pub fn next_reply(&mut self) -> io::Result<Option<String>> {
        let mut rest = &self.received[self.taken..];
        let reply = self
            .reader
            .next_reply(&mut rest)
            .map(|reply| reply.map(text));
        self.taken = self.received.len() - rest.len();
        reply.map_err(io::Error::other)
    }

    /// What came behind the last reply that was asked for.
    pub fn take_rest(&mut self) -> Vec<u8> {
        let taken = std::mem::take(&mut self.taken);
        let rest = self.received.split_off(taken);
        self.received.clear();
        rest
    }
}

fn text(reply: Reply<'_>) -> String {
    let code = reply.code();
    let lines: Vec<_> = reply.lines().map(String::from_utf8_lossy).collect();
    let lines = lines.iter().enumerate().map(|(at, line)| match () {
        () if at + 1 < lines.len() => format!("{code}-{line}\r\n"),
        () => format!("{code} {line}").trim_end().to_owned(),
    });
    lines.collect()
}

/// One over any stream that blocks. Reading it gives what comes behind the last reply that was
/// asked for.
#[derive(Debug)]
pub struct Client<S> {
    stream: S,
    replies: Replies,
}

impl<S: Read + Write> Client<S> {
    /// Over a stream on which nothing was read.
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            replies: Replies::default(),
        }
    }

    /// The stream.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// The stream, for what is no SMTP.
    pub fn stream_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// The stream, without what was read of it.
    pub fn into_stream(self) -> S {
        self.stream
    }

    /// Says it as it is.
    ///
    /// # Errors
    ///
    /// The stream's.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())?;
        self.stream.flush()
    }

    /// All lines of the next reply, without the last line end.
    ///
    /// # Errors
    ///
    /// The stream's; its end before a whole reply; what is no reply.
    pub fn reply(&mut self) -> io::Result<String> {
        let mut buffer = [0; 512];
        loop {
            if let Some(reply) = self.replies.next_reply()? {
                return Ok(reply);
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.replies.receive(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The last line of the next reply.
    ///
    /// # Errors
    ///
    /// As [`reply`](Self::reply).
    pub fn last_line(&mut self) -> io::Result<String> {
        let reply = self.reply()?;
        Ok(reply.lines().next_back().unwrap_or_default().to_owned())
    }
}

impl<S: Read> Read for Client<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = self.replies.take_rest();
        if rest.is_empty() {
            return self.stream.read(buffer);
        }
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.replies.receive(&rest[count..]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says one piece for each read.
    struct Script(Vec<&'static [u8]>, Vec<u8>);

    impl Read for Script {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Ok(0);
            }
            let piece = self.0.remove(0);
            buffer[..piece.len()].copy_from_slice(piece);
            Ok(piece.len())
        }
    }

    impl Write for Script {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn replies_come_whole_and_what_is_behind_them_can_be_read() {
        let pieces = [
            &b"220 mx\r\n250-m"[..],
            b"x\r\n250 HELP\r",
            b"\n354\r\nand more",
            b".",
        ];
        let mut client = Client::new(Script(pieces.to_vec(), Vec::new()));
        assert_eq!(client.reply().unwrap(), "220 mx");
        client.send("EHLO a\r\n").unwrap();
        assert_eq!(client.reply().unwrap(), "250-mx\r\n250 HELP");
        assert_eq!(client.last_line().unwrap(), "354");
        let mut rest = String::new();
        client.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "and more.");
        assert_eq!(client.into_stream().1, b"EHLO a\r\n");
    }

    #[test]
    fn the_end_and_what_is_no_reply_are_errors() {
        for (said, kind) in [
            (&b""[..], io::ErrorKind::UnexpectedEof),
            (b"250-mx\r\n", io::ErrorKind::UnexpectedEof),
            (b"250 mx", io::ErrorKind::UnexpectedEof),
            (b"hello\r\n", io::ErrorKind::Other),
        ] {
            let mut client = Client::new(Script(vec![said], Vec::new()));
            assert_eq!(client.reply().unwrap_err().kind(), kind, "{said:?}");
        }
    }
}
