//! TLS as a session around a session.

use std::task::{Context, Poll, ready};
use std::time::Instant;

use prixfixe_network::{OutputBuffer, Session};

use crate::channel::Channel;
use crate::handshake::{Handshake, Outcome};
use crate::turn::HeldTurn;
use crate::{HandshakeError, TlsConfig, TlsInfo};

/// A session that can be wrapped by TLS.
///
/// Whatever a wrapped session puts in its output before it [wants TLS](Self::wants_tls) leaves in
/// clear, whatever it puts there later leaves encrypted; likewise for what it receives.
pub trait Upgrade: Session {
    /// True once the session has answered STARTTLS (or the like): its output so far leaves in
    /// clear, then the handshake begins. Not asked again after
    /// [`tls_established`](Self::tls_established).
    fn wants_tls(&self) -> bool;

    /// The handshake is done: what follows is protected.
    fn tls_established(&mut self, now: Instant, info: TlsInfo);

    /// Clear text came where a handshake was due: say so. What is in the output when this returns,
    /// and after one more [`poll`](Session::poll), leaves in clear, and the connection is closed.
    fn clear_text_instead_of_handshake(&mut self, now: Instant);

    /// The handshake failed, and the connection is being closed. For logs and counters: no output
    /// leaves any more.
    fn tls_failed(&mut self, now: Instant, error: &HandshakeError);
}

/// A session with TLS around it: off, after an upgrade, or from the first octet.
///
/// Bounds: in clear, 16 octets beside the session. In a handshake, at most 96 KiB and one read of
/// what the peer sent. Established and idle, what rustls needs, with no buffer; busy, at most one
/// incomplete record (18 KiB) in and 64 KiB and one record out.
#[derive(Debug)]
pub struct Tls<S> {
    inner: S,
    layer: Layer,
}

/// What is between the session and the network.
#[derive(Debug)]
enum Layer {
    /// Nothing, for good.
    Clear,
    /// Nothing, until the session wants TLS.
    Offered(TlsConfig),
    /// The session is left alone meanwhile.
    Handshake(Box<Handshake>),
    Established(Box<Established>),
    /// Clear text came in place of a handshake; the session says so. These are its last words.
    Refused(Box<OutputBuffer>),
    /// The handshake failed; the alert, if any, is in here.
    Failed(Box<OutputBuffer>),
}

#[derive(Debug)]
struct Established {
    channel: Channel,
    /// The turn of the handshake's last step.
    turn: Option<HeldTurn>,
    /// The session was told that nothing more comes.
    eof: bool,
    /// Records cannot be trusted or written any more; the alert, if any, is in the channel.
    broken: bool,
}

/// Encryption goes on while fewer octets than this wait for the network.
const MAX_OUTGOING: usize = 64 * 1024;

impl<S: Upgrade> Tls<S> {
    /// Without TLS, whatever the session wants.
    pub const fn clear(inner: S) -> Self {
        Self {
            inner,
            layer: Layer::Clear,
        }
    }

    /// In clear until the session [wants TLS](Upgrade::wants_tls). The handshake uses what the
    /// configuration is then.
    pub fn starttls(inner: S, config: &TlsConfig) -> Self {
        Self {
            inner,
            layer: Layer::Offered(config.clone()),
        }
    }

    /// The handshake is the first thing that the peer sends. What the session has put in its output
    /// leaves after it, encrypted.
    pub fn implicit(inner: S, config: &TlsConfig, now: Instant) -> Self {
        let mut tls = Self {
            inner,
            layer: Layer::Clear,
        };
        tls.begin(now, config, OutputBuffer::new());
        tls
    }

    /// The session inside.
    pub const fn inner(&self) -> &S {
        &self.inner
    }

    /// Octets that are kept beside the session's own: from the peer, and for it. For whoever
    /// accounts for the memory of a connection.
    pub fn buffered(&self) -> (usize, usize) {
        match &self.layer {
            Layer::Clear | Layer::Offered(_) => (0, 0),
            Layer::Handshake(handshake) => {
                let channel = &handshake.channel;
                let kept = channel.kept() + handshake.plaintext.len();
                (kept, channel.outgoing.len())
            }
            Layer::Established(established) => {
                let channel = &established.channel;
                (channel.kept(), channel.outgoing.len())
            }
            Layer::Refused(outgoing) | Layer::Failed(outgoing) => (0, outgoing.len()),
        }
    }

    /// Begins the handshake if the session wants it.
    fn upgrade(&mut self, now: Instant) {
        if let Layer::Offered(config) = &self.layer
            && self.inner.wants_tls()
        {
            let config = config.clone();
            // From here on nothing leaves the session's own output in clear.
            let clear = std::mem::take(self.inner.output());
            self.begin(now, &config, clear);
        }
    }

    fn begin(&mut self, now: Instant, config: &TlsConfig, clear: OutputBuffer) {
        self.layer = match Handshake::new(now, config, clear) {
            Ok(handshake) => Layer::Handshake(Box::new(handshake)),
            Err(error) => {
                self.inner.tls_failed(now, &HandshakeError::tls(error));
                Layer::Failed(Box::default())
            }
        };
    }

    /// Clear text came; what the session says to that is all that leaves.
    fn refuse(&mut self, now: Instant, mut outgoing: OutputBuffer) {
        *self.inner.output() = OutputBuffer::new();
        self.inner.clear_text_instead_of_handshake(now);
        move_all(self.inner.output(), &mut outgoing);
        self.layer = Layer::Refused(Box::new(outgoing));
    }

    fn poll_layers(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if let Layer::Clear | Layer::Offered(_) = self.layer {
            if self.inner.poll(now, cx).is_ready() {
                return Poll::Ready(());
            }
            self.upgrade(now);
        }
        ready!(self.poll_handshake(now, cx));
        match &mut self.layer {
            Layer::Clear | Layer::Offered(_) | Layer::Handshake(_) => Poll::Pending,
            Layer::Established(established) => established.poll(&mut self.inner, now, cx),
            Layer::Refused(outgoing) => {
                let _ = self.inner.poll(now, cx);
                move_all(self.inner.output(), outgoing);
                Poll::Ready(())
            }
            Layer::Failed(_) => Poll::Ready(()),
        }
    }

    /// Where the turn is kept in which a handshake has taken a step.
    fn turn(&mut self) -> Option<&mut Option<HeldTurn>> {
        match &mut self.layer {
            Layer::Handshake(handshake) => Some(&mut handshake.turn),
            Layer::Established(established) => Some(&mut established.turn),
            _ => None,
        }
    }

    /// `Ready` as soon as the handshake is over.
    fn poll_handshake(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let Layer::Handshake(handshake) = &mut self.layer else {
            return Poll::Ready(());
        };
        let outcome = ready!(handshake.poll(now, cx));
        // Nothing leaves in clear where the session fails in what it is told now.
        let layer = std::mem::replace(&mut self.layer, Layer::Failed(Box::default()));
        self.layer = match (layer, outcome) {
            (Layer::Handshake(handshake), Outcome::Established(info)) => {
                self.establish(now, *handshake, *info)
            }
            (Layer::Handshake(handshake), outcome) => {
                if let Outcome::Failed(error) = outcome {
                    tracing::debug!(%error, "TLS handshake failed");
                    self.inner.tls_failed(now, &error);
                }
                Layer::Failed(Box::new(handshake.channel.outgoing))
            }
            (other, _) => other,
        };
        Poll::Ready(())
    }

    /// The session is told in the order in which things happened.
    fn establish(&mut self, now: Instant, handshake: Handshake, info: TlsInfo) -> Layer {
        let (version, cipher_suite) = (info.version, info.cipher_suite);
        tracing::debug!(%version, cipher_suite, resumed = info.resumed, "TLS established");
        let Handshake {
            channel,
            turn,
            plaintext,
            eof,
            shutdown,
            ..
        } = handshake;
        self.inner.tls_established(now, info);
        if !plaintext.is_empty() {
            self.inner.receive(now, &plaintext);
        }
        let mut established = Established {
            channel,
            turn,
            eof: false,
            broken: false,
        };
        if eof || established.channel.peer_closed() {
            established.receive_eof(&mut self.inner, now);
        }
        if shutdown {
            self.inner.shutdown(now);
        }
        Layer::Established(Box::new(established))
    }
}

impl<S: Upgrade> Session for Tls<S> {
    fn receive(&mut self, now: Instant, bytes: &[u8]) {
        self.upgrade(now);
        match &mut self.layer {
            Layer::Clear | Layer::Offered(_) => self.inner.receive(now, bytes),
            Layer::Handshake(handshake) if handshake.is_clear_text(bytes) => {
                let outgoing = std::mem::take(&mut handshake.channel.outgoing);
                self.refuse(now, outgoing);
            }
            Layer::Handshake(handshake) => handshake.receive(bytes),
            Layer::Established(established) => established.receive(&mut self.inner, now, bytes),
            Layer::Refused(_) | Layer::Failed(_) => {}
        }
    }

    fn receive_eof(&mut self, now: Instant) {
        self.upgrade(now);
        match &mut self.layer {
            Layer::Clear | Layer::Offered(_) => self.inner.receive_eof(now),
            Layer::Handshake(handshake) => handshake.eof = true,
            Layer::Established(established) => {
                if !established.eof {
                    tracing::debug!(
                        "TLS connection was cut off: no close_notify came before its end"
                    );
                }
                established.receive_eof(&mut self.inner, now);
            }
            Layer::Refused(_) | Layer::Failed(_) => {}
        }
    }

    fn poll(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(turn) = self.turn()
            && turn.as_mut().is_some_and(|held| held.is_over(now, cx))
        {
            *turn = None;
        }
        let polled = self.poll_layers(now, cx);
        if polled.is_ready()
            && let Some(turn) = self.turn()
        {
            // It isn't polled again, but may still exist for a while.
            *turn = None;
        }
        polled
    }

    fn output(&mut self) -> &mut OutputBuffer {
        match &mut self.layer {
            Layer::Clear | Layer::Offered(_) => self.inner.output(),
            Layer::Handshake(handshake) => &mut handshake.channel.outgoing,
            Layer::Established(established) => &mut established.channel.outgoing,
            Layer::Refused(outgoing) | Layer::Failed(outgoing) => outgoing,
        }
    }

    fn wants_read(&self) -> bool {
        match &self.layer {
            Layer::Clear | Layer::Offered(_) => self.inner.wants_read(),
            Layer::Handshake(handshake) => handshake.wants_read(),
            Layer::Established(established) => {
                !established.broken
                    && established.channel.outgoing.len() < MAX_OUTGOING
                    && self.inner.wants_read()
            }
            Layer::Refused(_) | Layer::Failed(_) => false,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.layer {
            Layer::Clear | Layer::Offered(_) | Layer::Established(_) => self.inner.deadline(),
            Layer::Handshake(handshake) => handshake.deadline(),
            Layer::Refused(_) | Layer::Failed(_) => None,
        }
    }

    fn shutdown(&mut self, now: Instant) {
        match &mut self.layer {
            Layer::Clear | Layer::Offered(_) | Layer::Established(_) => self.inner.shutdown(now),
            Layer::Handshake(handshake) => handshake.shutdown = true,
            Layer::Refused(_) | Layer::Failed(_) => {}
        }
    }

    fn peer_is_done(&self) -> bool {
        match &self.layer {
            Layer::Clear | Layer::Offered(_) => self.inner.peer_is_done(),
            // Even of a session that is done the peer has one more record to send, its own
            // close_notify (RFC 8446 section 6.1). At a closed socket that would be answered by a
            // reset.
            Layer::Established(established) => established.channel.peer_closed(),
            // The last words, or the alert, are to be read.
            Layer::Handshake(_) | Layer::Refused(_) | Layer::Failed(_) => false,
        }
    }

    fn is_costly(&self) -> bool {
        match &self.layer {
            Layer::Handshake(handshake) => handshake.is_costly(),
            Layer::Clear | Layer::Offered(_) => self.inner.is_costly(),
            Layer::Established(_) | Layer::Refused(_) | Layer::Failed(_) => false,
        }
    }
}

impl Established {
    fn receive<S: Upgrade>(&mut self, inner: &mut S, now: Instant, bytes: &[u8]) {
        // RFC 8446 section 6.1: data after a closure alert is ignored.
        if self.eof || self.broken {
            return;
        }
        let received = self
            .channel
            .receive(bytes, |plaintext| inner.receive(now, plaintext));
        if let Err(error) = &received {
            tracing::debug!(%error, "TLS connection broke");
        }
        self.broken = received.is_err();
        if self.broken || self.channel.peer_closed() {
            self.receive_eof(inner, now);
        }
    }

    fn receive_eof<S: Upgrade>(&mut self, inner: &mut S, now: Instant) {
        if !self.eof {
            self.eof = true;
            inner.receive_eof(now);
        }
    }

    fn poll<S: Upgrade>(&mut self, inner: &mut S, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if self.broken {
            return Poll::Ready(());
        }
        let finished = inner.poll(now, cx).is_ready();
        // The session isn't called again once it is finished. What it leaves is in memory already.
        let limit = if finished { usize::MAX } else { MAX_OUTGOING };
        self.broken = self.channel.encrypt(inner.output(), limit).is_err();
        if finished && !self.broken {
            self.channel.close();
        }
        ready_if(finished || self.broken)
    }
}

const fn ready_if(condition: bool) -> Poll<()> {
    if condition {
        Poll::Ready(())
    } else {
        Poll::Pending
    }
}

fn move_all(from: &mut OutputBuffer, to: &mut OutputBuffer) {
    to.extend_from_slice(from.pending());
    *from = OutputBuffer::new();
}
