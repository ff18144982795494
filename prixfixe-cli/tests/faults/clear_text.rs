//! Clear text to a port where TLS comes first.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::TRANSPORTS;
use crate::server::{Launch, PATIENCE};

#[test]
fn clear_text_to_a_port_with_tls_first_is_told_so() {
    for transport in TRANSPORTS {
        let server = Launch::new(transport)
            .arguments(&["--tls-self-signed", "--listen-tls", "127.0.0.1:0"])
            .start();
        let mut stream = TcpStream::connect(server.addresses()[1]).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"EHLO client.example\r\n").unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        assert_eq!(said, "554 5.5.1 TLS comes first on this port\r\n");
        server.assert_serves();
    }
}
