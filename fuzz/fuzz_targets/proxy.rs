//! Invariant: a PROXY protocol header ends at the same octet and says the same however it is cut,
//! what is held of it has a bound, nothing behind it is touched, and an address that was read reads
//! the same when it is written again.
#![no_main]

use std::net::{IpAddr, SocketAddr};

use libfuzzer_sys::fuzz_target;
use prixfixe_server::proxy::{HeaderReader, Source};

/// 16 octets and the addresses of UNIX sockets.
const MOST_HELD: usize = 232;

/// What came of the octets, and how many were taken.
type Outcome = (Result<Option<Source>, String>, usize);

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Outcome {
    let mut reader = HeaderReader::new();
    let mut taken = 0;
    for piece in pieces {
        let mut input = piece;
        let result = reader.read(&mut input);
        assert!(reader.held() <= MOST_HELD);
        assert!(
            piece.ends_with(input),
            "what is left is the end of what came"
        );
        taken += piece.len() - input.len();
        match result {
            Ok(None) => assert!(input.is_empty(), "what it waits for it takes"),
            Ok(source) => return (Ok(source), taken),
            // Where an error is seen, nothing more is read.
            Err(error) => return (Err(error.to_string()), 0),
        }
    }
    (Ok(None), taken)
}

/// Both versions of a header that says so.
fn written(peer: SocketAddr, local: SocketAddr) -> [Vec<u8>; 2] {
    let (family, name) = match peer {
        SocketAddr::V4(_) => (0x11, "TCP4"),
        SocketAddr::V6(_) => (0x21, "TCP6"),
    };
    let octets = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let ports = [peer.port().to_be_bytes(), local.port().to_be_bytes()].concat();
    let content = [octets(peer), octets(local), ports].concat();
    let mut binary = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
    binary.extend([family, 0, content.len() as u8]);
    binary.extend(content);
    let line = format!(
        "PROXY {name} {} {} {} {}\r\n",
        peer.ip(),
        local.ip(),
        peer.port(),
        local.port()
    );
    [line.into_bytes(), binary]
}

// The first octet says how long the pieces are; the rest is what comes.
fuzz_target!(|data: &[u8]| {
    let Some((length, octets)) = data.split_first() else {
        return;
    };
    let at_once = read([octets].into_iter());
    let length = usize::from(*length).max(1);
    assert_eq!(read(octets.chunks(length)), at_once);
    assert_eq!(read(octets.chunks(1)), at_once);
    if let (Ok(Some(source)), taken) = &at_once {
        // The header alone is enough, and one octet less is not.
        assert_eq!(read([&octets[..*taken]].into_iter()), at_once);
        let short = read([&octets[..*taken - 1]].into_iter()).0;
        assert_eq!(short, Ok(None));
        if let Source::Client { peer, local } = *source
            && peer.is_ipv4() == local.is_ipv4()
        {
            for header in written(peer, local) {
                let length = header.len();
                assert_eq!(
                    read([header.as_slice()].into_iter()),
                    (Ok(Some(*source)), length)
                );
            }
        }
    }
});
