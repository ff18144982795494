//! One rustls connection: what the network sent in, plaintext and records for the network out.
//!
//! rustls's unbuffered connection decrypts in a buffer that is lent to it. The buffer is this
//! thread's, filled with what was read just now behind what was left of the last time; only the
//! beginning of a record that is not complete is kept with the connection. An idle connection
//! therefore has no buffer.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use prixfixe_network::OutputBuffer;
use rustls::ServerConfig;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, InsufficientSizeError, UnbufferedStatus,
    WriteTraffic,
};

/// A TLS connection, seen from the server, between records and plaintext.
pub(crate) struct Channel {
    connection: UnbufferedServerConnection,
    /// Records that rustls is not done with: one that is not complete, or the parts so far of a
    /// handshake message that spans several.
    incoming: Vec<u8>,
    /// The octets of `incoming` that rustls has seen already.
    seen: usize,
    /// Records for the peer.
    pub(crate) outgoing: OutputBuffer,
    peer_closed: bool,
}

impl Channel {
    /// A connection whose records leave behind what is in `outgoing` already.
    pub(crate) fn new(
        config: Arc<ServerConfig>,
        outgoing: OutputBuffer,
    ) -> Result<Self, rustls::Error> {
        let connection = UnbufferedServerConnection::new(config)?;
        Ok(Self {
            connection,
            incoming: Vec::new(),
            seen: 0,
            outgoing,
            peer_closed: false,
        })
    }

    pub(crate) const fn connection(&self) -> &UnbufferedServerConnection {
        &self.connection
    }

    /// The peer has said that nothing more comes (RFC 8446 section 6.1).
    pub(crate) const fn peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// Octets from the peer that are kept.
    pub(crate) const fn kept(&self) -> usize {
        self.incoming.len()
    }

    /// Keeps octets from the peer for [`process_kept`](Self::process_kept).
    pub(crate) fn keep(&mut self, bytes: &[u8]) {
        self.incoming.extend_from_slice(bytes);
    }

    /// There is something in the kept octets that rustls has not seen.
    pub(crate) fn has_record(&self) -> bool {
        complete_records(&self.incoming, self.seen) > self.seen
    }

    /// Processes what was kept. `plaintext` is given the content of each record.
    pub(crate) fn process_kept(
        &mut self,
        plaintext: impl FnMut(&[u8]),
    ) -> Result<(), rustls::Error> {
        let mut incoming = std::mem::take(&mut self.incoming);
        self.process(&mut incoming, plaintext)
    }

    /// Processes what was kept and then `bytes`. `plaintext` is given the content of each record.
    pub(crate) fn receive(
        &mut self,
        bytes: &[u8],
        plaintext: impl FnMut(&[u8]),
    ) -> Result<(), rustls::Error> {
        let mut buffer = BUFFER.take();
        buffer.clear();
        buffer.extend_from_slice(&self.incoming);
        buffer.extend_from_slice(bytes);
        let result = self.process(&mut buffer, plaintext);
        if buffer.len() <= WIPED {
            buffer.fill(0);
        }
        // Another one may have been put there, if the plaintext's taker drove another connection.
        if buffer.capacity() <= MAX_KEPT_BUFFER {
            BUFFER.set(buffer);
        }
        result
    }

    /// Processes all complete records in `buffer` and keeps the rest of it.
    fn process(
        &mut self,
        buffer: &mut [u8],
        plaintext: impl FnMut(&[u8]),
    ) -> Result<(), rustls::Error> {
        let seen = complete_records(buffer, self.seen);
        if seen == self.seen {
            self.incoming = buffer.to_vec();
            return Ok(());
        }
        let (done, result) = self.process_records(buffer, plaintext);
        // An exact copy: a connection that is idle behind a half record doesn't hold the capacity
        // for a whole.
        self.incoming = buffer.get(done..).unwrap_or_default().to_vec();
        self.seen = seen.saturating_sub(done);
        result
    }

    /// Returns how many octets at the front of `buffer` rustls is done with.
    fn process_records(
        &mut self,
        buffer: &mut [u8],
        mut plaintext: impl FnMut(&[u8]),
    ) -> (usize, Result<(), rustls::Error>) {
        let mut done = 0;
        loop {
            let rest = buffer.get_mut(done..).unwrap_or_default();
            let UnbufferedStatus { mut discard, state } = self.connection.process_tls_records(rest);
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(Ok(record)) = traffic.next_record() {
                        discard += record.discard;
                        plaintext(record.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, &mut self.outgoing),
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.peer_closed = true,
                Ok(_) => return (done + discard, Ok(())),
                Err(error) => {
                    done += discard;
                    self.encode_alerts(buffer.get_mut(done..).unwrap_or_default());
                    return (done, Err(error));
                }
            }
            done += discard;
        }
    }

    /// After an error, rustls has the alert that tells the peer. It must not be made to look at its
    /// input again.
    fn encode_alerts(&mut self, rest: &mut [u8]) {
        while self.connection.wants_write() {
            let UnbufferedStatus {
                state: Ok(ConnectionState::EncodeTlsData(data)),
                ..
            } = self.connection.process_tls_records(rest)
            else {
                break;
            };
            encode(data, &mut self.outgoing);
        }
    }

    /// Encrypts the front of `clear` while fewer than `limit` octets wait for the network.
    pub(crate) fn encrypt(
        &mut self,
        clear: &mut OutputBuffer,
        limit: usize,
    ) -> Result<(), rustls::Error> {
        while !clear.is_empty() && self.outgoing.len() < limit {
            let Some(encrypted) = self.write(|mut traffic, outgoing| {
                let pending = clear.pending();
                let chunk = pending.get(..MAX_CHUNK).unwrap_or(pending);
                let room = chunk.len() + (chunk.len() / MAX_FRAGMENT + 1) * MAX_OVERHEAD;
                append(outgoing, room, |to| traffic.encrypt(chunk, to)).map(|()| chunk.len())
            })?
            else {
                break;
            };
            clear.consume(encrypted.map_err(|_| rustls::Error::EncryptError)?);
        }
        Ok(())
    }

    /// Tells the peer that nothing more comes.
    pub(crate) fn close(&mut self) {
        // Without keys for it there is nobody who could be told.
        let _ = self.write(|mut traffic, outgoing| {
            append(outgoing, ALERT_LENGTH + MAX_OVERHEAD, |to| {
                traffic.queue_close_notify(to)
            })
        });
    }

    /// Writes, if the connection is in a state to. An error is the peer's, and the end of the
    /// connection.
    fn write<T>(
        &mut self,
        mut write: impl FnMut(WriteTraffic<'_, ServerConnectionData>, &mut OutputBuffer) -> T,
    ) -> Result<Option<T>, rustls::Error> {
        loop {
            let status = self.connection.process_tls_records(&mut self.incoming);
            let discard = status.discard;
            let written = match status.state {
                Ok(ConnectionState::EncodeTlsData(data)) => {
                    encode(data, &mut self.outgoing);
                    None
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    None
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.peer_closed = true;
                    None
                }
                Ok(ConnectionState::WriteTraffic(traffic)) => {
                    Some(write(traffic, &mut self.outgoing))
                }
                Ok(_) => return Ok(None),
                Err(error) => return Err(error),
            };
            self.incoming.drain(..discard.min(self.incoming.len()));
            self.seen = self.seen.saturating_sub(discard);
            if written.is_some() {
                return Ok(written);
            }
        }
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("kept", &self.incoming.len())
            .field("outgoing", &self.outgoing.len())
            .field("peer_closed", &self.peer_closed)
            .finish_non_exhaustive()
    }
}

thread_local! {
    /// Where records are decrypted, one connection after the other.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A read of at most 64 KiB behind the rest of a record.
const MAX_KEPT_BUFFER: usize = 128 * 1024;

/// A read of no more than this may be a password, which must not lie about: the longest line of a
/// login fits (RFC 4954 section 4). Those of large bodies are longer, and wiping them would cost.
const WIPED: usize = 16 * 1024;
/// As much as is encrypted at once.
const MAX_CHUNK: usize = 4 * MAX_FRAGMENT;
/// RFC 8446 section 5.1, RFC 5246 section 6.2.1.
const MAX_FRAGMENT: usize = 16 * 1024;
/// Header, explicit nonce, content type and tag of a record take fewer than this.
const MAX_OVERHEAD: usize = 64;
const ALERT_LENGTH: usize = 2;
/// Type, version, length: RFC 8446 section 5.1.
const HEADER_LENGTH: usize = 5;
/// A record's length is less than this: RFC 5246 section 6.2.3, and rustls takes one octet less.
const MAX_CIPHERTEXT: usize = MAX_FRAGMENT + 2048;
const APPLICATION_DATA: u8 = 23;

/// Where the last complete record ends that begins at or behind `from`. What cannot be a record
/// counts as complete: rustls is to see and to refuse it. It refuses by the header alone; were such
/// a header kept, the next write would meet the refusal, and every one after it.
fn complete_records(bytes: &[u8], from: usize) -> usize {
    let mut end = from;
    while let Some(&[content_type, major, _, high, low]) =
        bytes.get(end..).and_then(<[u8]>::first_chunk)
    {
        let length = usize::from(u16::from_be_bytes([high, low]));
        // change_cipher_spec, alert, handshake, application_data; this one alone may be empty (RFC
        // 8446 section 5.1).
        let known = (20..=APPLICATION_DATA).contains(&content_type) && major == 3;
        let empty = length == 0 && content_type != APPLICATION_DATA;
        if !known || empty || length >= MAX_CIPHERTEXT {
            return bytes.len();
        }
        if bytes.len() - end < HEADER_LENGTH + length {
            break;
        }
        end += HEADER_LENGTH + length;
    }
    end
}

fn encode(mut data: EncodeTlsData<'_, ServerConnectionData>, outgoing: &mut OutputBuffer) {
    // It says how much room it needs, and takes no more; it fails in no other way the first time.
    if let Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) =
        data.encode(&mut [])
    {
        let _ = append(outgoing, required_size, |to| data.encode(to));
    }
}

/// Appends what `write` puts into `room` octets, and cuts off what it doesn't use.
fn append<E>(
    outgoing: &mut OutputBuffer,
    room: usize,
    write: impl FnOnce(&mut [u8]) -> Result<usize, E>,
) -> Result<(), E> {
    let back = outgoing.back();
    let start = back.len();
    back.resize(start + room, 0);
    let written = write(back.get_mut(start..).unwrap_or_default());
    back.truncate(start + *written.as_ref().unwrap_or(&0));
    written.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_complete_with_its_last_octet() {
        let records = [22, 3, 1, 0, 2, 1, 2, 23, 3, 3, 0, 0, 21, 3, 3, 0, 1];
        let complete: Vec<usize> = (0..=records.len())
            .map(|end| complete_records(&records[..end], 0))
            .collect();
        assert_eq!(
            complete,
            [0, 0, 0, 0, 0, 0, 0, 7, 7, 7, 7, 7, 12, 12, 12, 12, 12, 12]
        );
        assert_eq!(complete_records(&records, 7), 12);
        assert_eq!(complete_records(&records, 12), 12);
    }

    #[test]
    fn a_short_read_is_wiped_when_it_was_processed() {
        let source = crate::CertificateSource::SelfSigned {
            domains: vec!["mx.test".to_owned()],
        };
        let config = crate::TlsConfig::builder()
            .certificate(source)
            .build()
            .unwrap();
        let mut channel =
            Channel::new(Arc::clone(&config.generation().server), OutputBuffer::new()).unwrap();
        // What lies in the buffer is what rustls decrypts in place.
        let _ = channel.receive(b"AUTH PLAIN AGFubgBzZWNyZXQ=\r\n", |_| {});
        let buffer = BUFFER.take();
        assert!(
            buffer.len() > 20 && buffer.iter().all(|byte| *byte == 0),
            "{buffer:?}"
        );
    }

    #[test]
    fn what_cannot_be_a_record_is_not_waited_for() {
        assert_eq!(complete_records(b"EHLO a", 0), 6);
        for header in [
            [22, 3, 1, 0xff, 0xff],
            [22, 2, 1, 0, 5],
            [22, 3, 1, 0, 0],
            [23, 3, 3, 0x48, 0],
        ] {
            assert_eq!(complete_records(&header, 0), 5, "{header:?}");
        }
        assert_eq!(complete_records(&[23, 3, 3, 0x47, 0xff], 0), 0);
    }
}
