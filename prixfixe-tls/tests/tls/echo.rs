//! A toy session: it sends back what it receives, line by line.

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use prixfixe_network::{OutputBuffer, Session};
use prixfixe_tls::{HandshakeError, TlsInfo, Upgrade};

/// Sends back what it receives. `starttls` is answered by `go ahead`, `quit` by `bye` and the end.
#[derive(Debug, Default)]
pub(crate) struct Echo {
    input: Vec<u8>,
    output: OutputBuffer,
    /// Everything received, in clear and after TLS was established.
    pub(crate) in_clear: Vec<u8>,
    pub(crate) in_tls: Vec<u8>,
    pub(crate) info: Option<TlsInfo>,
    pub(crate) failed: Option<HandshakeError>,
    pub(crate) eof: bool,
    pub(crate) refused: bool,
    wants_tls: bool,
    quit: bool,
    finished: bool,
    pub(crate) idle_since: Option<Instant>,
    /// So many octets are to be written unasked.
    pub(crate) to_write: usize,
}

pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// The session writes no more while so much is in its output.
const MAX_OUTPUT: usize = 16 * 1024;

impl Echo {
    pub(crate) fn greeting() -> Self {
        let mut echo = Self::default();
        echo.output.extend_from_slice(b"hello\n");
        echo
    }
}

impl Session for Echo {
    fn receive(&mut self, now: Instant, bytes: &[u8]) {
        let received = if self.info.is_some() {
            &mut self.in_tls
        } else {
            &mut self.in_clear
        };
        received.extend_from_slice(bytes);
        self.input.extend_from_slice(bytes);
        self.idle_since = Some(now);
    }

    fn receive_eof(&mut self, _: Instant) {
        assert!(!self.eof, "told once only");
        self.eof = true;
    }

    fn poll(&mut self, now: Instant, _: &mut Context<'_>) -> Poll<()> {
        assert!(!self.finished, "not called again when it is finished");
        while let Some(end) = self.input.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.input.drain(..=end).collect();
            match line.as_slice() {
                b"starttls\n" => {
                    self.output.extend_from_slice(b"go ahead\n");
                    self.wants_tls = true;
                }
                b"quit\n" => {
                    self.output.extend_from_slice(b"bye\n");
                    self.quit = true;
                    self.finished = true;
                }
                line => self.output.extend_from_slice(line),
            }
        }
        while self.to_write > 0 && self.output.len() < MAX_OUTPUT {
            self.output.extend_from_slice(b"x");
            self.to_write -= 1;
        }
        self.finished |= self.eof || self.refused;
        self.finished |= self.deadline().is_some_and(|deadline| deadline <= now);
        if self.finished {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn output(&mut self) -> &mut OutputBuffer {
        &mut self.output
    }

    fn wants_read(&self) -> bool {
        true
    }

    fn deadline(&self) -> Option<Instant> {
        self.idle_since.map(|since| since + IDLE_TIMEOUT)
    }

    fn shutdown(&mut self, _: Instant) {
        self.output.extend_from_slice(b"going\n");
        self.eof = true;
    }

    fn peer_is_done(&self) -> bool {
        self.quit
    }
}

impl Upgrade for Echo {
    fn wants_tls(&self) -> bool {
        self.wants_tls
    }

    fn tls_established(&mut self, _: Instant, info: TlsInfo) {
        assert!(self.info.is_none() && self.failed.is_none());
        self.info = Some(info);
    }

    fn clear_text_instead_of_handshake(&mut self, _: Instant) {
        self.output.extend_from_slice(b"not in clear\n");
        self.refused = true;
    }

    fn tls_failed(&mut self, _: Instant, error: &HandshakeError) {
        assert!(self.info.is_none() && self.failed.is_none());
        self.failed = Some(error.clone());
    }
}
