//! However the bytes are cut, the same plaintext arrives.

use std::sync::LazyLock;

use prixfixe_tls::TlsConfig;
use proptest::prelude::*;

use crate::wire::{Server, TLS12, TLS13, World, exchange_pieces};

static WORLD: LazyLock<(World, TlsConfig)> = LazyLock::new(|| {
    let world = World::new();
    let config = world.issued.config();
    (world, config)
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_cut_gives_the_same_plaintext(
        modern in any::<bool>(),
        lines in prop::collection::vec("[a-z]{0,2000}", 1..6),
        cuts in prop::collection::vec(1_usize..3000, 1..40),
    ) {
        let (world, config) = &*WORLD;
        let mut server = Server::starttls(config);
        server.receive(b"starttls\n");
        prop_assert_eq!(server.sent(), b"hello\ngo ahead\n");
        let mut client = world.client(if modern { TLS13 } else { TLS12 });
        let mut cuts = cuts.into_iter().cycle();
        let mut cut = |bytes: &[u8]| {
            let mut left = bytes.len();
            let mut pieces = Vec::new();
            while left > 0 {
                let piece = cuts.next().unwrap_or(1).min(left);
                pieces.push(piece);
                left -= piece;
            }
            pieces
        };
        let mut expected = Vec::new();
        for line in &lines {
            client.write(line.as_bytes());
            client.write(b"\n");
            expected.extend_from_slice(line.as_bytes());
            expected.push(b'\n');
            exchange_pieces(&mut client, &mut server, &mut cut);
        }
        prop_assert_eq!(&server.echo().in_tls, &expected);
        prop_assert_eq!(&client.received, &expected);
    }

    #[test]
    fn no_bytes_in_place_of_a_handshake_do_harm(
        bytes in prop::collection::vec(any::<u8>(), 1..600),
        header in any::<bool>(),
    ) {
        let mut server = Server::implicit(&WORLD.1);
        if header {
            server.receive(&[22, 3, 1]);
        }
        server.receive(&bytes);
        server.receive_eof();
        prop_assert!(server.finished);
        prop_assert!(server.echo().info.is_none());
        prop_assert_eq!(server.echo().in_clear.len(), 0);
        prop_assert!(server.echo().refused != server.echo().failed.is_some(), "one of both, not none");
    }
}
