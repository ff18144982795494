//! What is between a client's commands and the network: nothing, or TLS.

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

/// What a client writes to and reads from.
pub enum Wire {
    Clear,
    Tls(Box<ClientConnection>),
}

impl Wire {
    /// An error: there is no such connection.
    pub fn tls(config: &Arc<ClientConfig>) -> Result<Self, String> {
        let name =
            ServerName::try_from("mx.simulation.example").map_err(|error| error.to_string())?;
        let connection =
            ClientConnection::new(Arc::clone(config), name).map_err(|error| error.to_string())?;
        Ok(Self::Tls(Box::new(connection)))
    }

    pub fn is_handshaking(&self) -> bool {
        match self {
            Self::Clear => false,
            Self::Tls(connection) => connection.is_handshaking(),
        }
    }

    /// From the network to the client.
    pub fn receive(&mut self, mut bytes: &[u8], clear: &mut Vec<u8>) -> Result<(), String> {
        let Self::Tls(connection) = self else {
            clear.extend_from_slice(bytes);
            return Ok(());
        };
        while !bytes.is_empty() {
            connection
                .read_tls(&mut bytes)
                .map_err(|error| error.to_string())?;
            let state = connection
                .process_new_packets()
                .map_err(|error| error.to_string())?;
            let start = clear.len();
            clear.resize(start + state.plaintext_bytes_to_read(), 0);
            connection
                .reader()
                .read_exact(&mut clear[start..])
                .map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// From the client to the network.
    pub fn send(&mut self, clear: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Clear => out.extend_from_slice(clear),
            Self::Tls(connection) => {
                // What does not fit would be cut off silently.
                connection.set_buffer_limit(None);
                let _ = connection.writer().write_all(clear);
            }
        }
        self.flush(out);
    }

    /// Moves the records that are there.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        if let Self::Tls(connection) = self {
            while connection.wants_write() {
                let _ = connection.write_tls(out);
            }
        }
    }

    /// Says that nothing more comes.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        if let Self::Tls(connection) = self {
            connection.send_close_notify();
        }
        self.flush(out);
    }
}
