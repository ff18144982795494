//! A session that sends back what it receives.

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use prixfixe_network::{OutputBuffer, Session};

/// How long a client may be silent.
pub const ECHO_TIMEOUT: Duration = Duration::from_secs(300);
/// A peer that doesn't read what it sent gets no more of it back.
const MAX_OUTPUT: usize = 64 * 1024;

/// Sends back what it receives.
#[derive(Debug)]
pub struct Echo {
    output: OutputBuffer,
    deadline: Instant,
    is_over: bool,
}

impl Echo {
    /// Of a connection that was accepted now.
    pub fn new(now: Instant) -> Self {
        Self {
            output: OutputBuffer::new(),
            deadline: now + ECHO_TIMEOUT,
            is_over: false,
        }
    }
}

impl Session for Echo {
    fn receive(&mut self, now: Instant, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
        self.deadline = now + ECHO_TIMEOUT;
    }

    fn receive_eof(&mut self, _: Instant) {
        self.is_over = true;
    }

    fn poll(&mut self, now: Instant, _: &mut Context<'_>) -> Poll<()> {
        if self.is_over || self.deadline <= now {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn output(&mut self) -> &mut OutputBuffer {
        &mut self.output
    }

    fn wants_read(&self) -> bool {
        self.output.len() < MAX_OUTPUT
    }

    fn deadline(&self) -> Option<Instant> {
        Some(self.deadline)
    }

    fn shutdown(&mut self, _: Instant) {
        self.is_over = true;
    }
}

#[cfg(feature = "tls-echo")]
impl prixfixe_tls::Upgrade for Echo {
    fn wants_tls(&self) -> bool {
        false
    }

    fn tls_established(&mut self, _: Instant, _: prixfixe_tls::TlsInfo) {}

    fn clear_text_instead_of_handshake(&mut self, _: Instant) {
        self.output.extend_from_slice(b"this port speaks TLS\r\n");
        self.is_over = true;
    }

    fn tls_failed(&mut self, _: Instant, _: &prixfixe_tls::HandshakeError) {}
}
