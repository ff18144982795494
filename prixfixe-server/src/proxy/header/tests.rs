#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "a test that panics has failed"
)]

use proptest::prelude::*;

use super::*;

/// What comes of a header that is cut into pieces, and what is left behind it.
fn read(pieces: &[&[u8]]) -> (Result<Option<Source>, String>, Vec<u8>) {
    let mut reader = HeaderReader::new();
    let mut pieces = pieces.iter();
    for piece in pieces.by_ref() {
        let mut input = *piece;
        let result = reader.read(&mut input);
        assert!(reader.kept.len() <= FIXED + MAX_ADDRESSES);
        match result {
            Ok(None) => assert!(input.is_empty(), "it takes all of what it waits for"),
            Ok(Some(source)) => {
                let rest = pieces.fold(input.to_vec(), |rest, piece| [&rest, *piece].concat());
                return (Ok(Some(source)), rest);
            }
            Err(error) => return (Err(error.to_string()), Vec::new()),
        }
    }
    (Ok(None), Vec::new())
}

fn whole(header: &[u8]) -> Result<Option<Source>, String> {
    let (result, rest) = read(&[header]);
    assert!(rest.is_empty(), "{}", rest.escape_ascii());
    result
}

fn source(peer: &str, local: &str) -> Source {
    Source::Client {
        peer: peer.parse().unwrap(),
        local: local.parse().unwrap(),
    }
}

/// A header of version 2.
fn binary(command: u8, family: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap();
    let fixed = [command, family];
    [v2::PROTOCOL_PREFIX, &fixed, &length.to_be_bytes(), content].concat()
}

const TCP4: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 7, 0x30, 0x39, 0, 25];

fn tcp6(peer: &str, local: &str) -> Vec<u8> {
    let octets = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().octets();
    [&octets(peer)[..], &octets(local), &[0x30, 0x39, 0, 25]].concat()
}

#[test]
fn a_line_that_ends_in_lf_alone_is_told_so() {
    for line in [
        "PROXY TCP4 192.0.2.1 198.51.100.7 12345 25\n",
        "PROXY UNKNOWN\n",
        "PROXY UNKNOWN 1\n",
    ] {
        let expected = "bad PROXY header of version 1: it must end in CRLF, not in LF alone";
        assert_eq!(whole(line.as_bytes()), Err(expected.to_owned()), "{line:?}");
    }
}

#[test]
fn lines_of_version_1() {
    let cases = [
        (
            "TCP4 192.0.2.1 198.51.100.7 12345 25",
            source("192.0.2.1:12345", "198.51.100.7:25"),
        ),
        (
            "TCP4 0.0.0.0 255.255.255.255 0 65535",
            source("0.0.0.0:0", "255.255.255.255:65535"),
        ),
        (
            "TCP6 2001:db8::1 ::1 12345 25",
            source("[2001:db8::1]:12345", "[::1]:25"),
        ),
        // From a balancer with a dual-stack socket.
        (
            "TCP6 ::ffff:192.0.2.1 ::ffff:c633:6407 12345 25",
            source("192.0.2.1:12345", "198.51.100.7:25"),
        ),
        (
            "TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535",
            source(
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
            ),
        ),
        ("UNKNOWN", Source::Balancer),
        ("UNKNOWN ", Source::Balancer),
        (
            "UNKNOWN any thing at all, in any number of words",
            Source::Balancer,
        ),
        (
            "UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535",
            Source::Balancer,
        ),
    ];
    for (line, expected) in cases {
        let header = format!("PROXY {line}\r\n");
        assert!(header.len() <= MAX_LINE, "{header}");
        assert_eq!(whole(header.as_bytes()), Ok(Some(expected)), "{line}");
    }
}

#[test]
fn lines_that_are_no_header_of_version_1() {
    for line in [
        "PROXY \r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP5 192.0.2.1 198.51.100.7 12345 25\r\n",
        "PROXY tcp4 192.0.2.1 198.51.100.7 12345 25\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 12345\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 12345 \r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 12345 25 \r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 12345 25 26\r\n",
        "PROXY TCP4  192.0.2.1 198.51.100.7 12345 25\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 12345 65536\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 012345 25\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 +12345 25\r\n",
        "PROXY TCP4 192.0.2.01 198.51.100.7 12345 25\r\n",
        "PROXY TCP4 192.0.2.256 198.51.100.7 12345 25\r\n",
        "PROXY TCP4 2001:db8::1 ::1 12345 25\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.7 12345 25\r\n",
        "PROXY TCP6 fe80::1%eth0 ::1 12345 25\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 12345 25\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 12345 25\r\r\n",
        "PROXY TCP4 192.0.2.1\r198.51.100.7 12345 25\r\n",
        "PROXY UNKNOWN\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY UNKNOW\r\n",
    ] {
        let error = whole(line.as_bytes()).expect_err(line);
        assert!(
            error.starts_with("bad PROXY header of version 1"),
            "{line}: {error}"
        );
    }
}

#[test]
fn a_line_has_107_octets_at_most() {
    let of_length = |length: usize| {
        let mut line = b"PROXY UNKNOWN ".to_vec();
        line.resize(length - 2, b'x');
        line.extend_from_slice(b"\r\n");
        line
    };
    assert_eq!(whole(&of_length(107)), Ok(Some(Source::Balancer)));
    assert_eq!(
        whole(&of_length(108)[..107]),
        Err(HeaderError::TooLong.to_string())
    );
    assert_eq!(whole(&of_length(108)[..106]), Ok(None));
}

#[test]
fn headers_of_version_2() {
    let tcp4 = source("192.0.2.1:12345", "198.51.100.7:25");
    let unix = [b'x'; MAX_ADDRESSES];
    let cases = [
        (binary(0x21, 0x11, TCP4), tcp4),
        (
            binary(0x21, 0x21, &tcp6("2001:db8::1", "::1")),
            source("[2001:db8::1]:12345", "[::1]:25"),
        ),
        (
            binary(0x21, 0x21, &tcp6("::ffff:192.0.2.1", "::ffff:198.51.100.7")),
            tcp4,
        ),
        (binary(0x21, 0x31, &unix), Source::Balancer),
        (binary(0x21, 0x00, b""), Source::Balancer),
        (binary(0x21, 0x00, b"what nobody knows"), Source::Balancer),
        (binary(0x20, 0x00, b""), Source::Balancer),
        (binary(0x20, 0x11, TCP4), Source::Balancer),
        // Section 2.2: the family of LOCAL is ignored.
        (binary(0x20, 0x11, b""), Source::Balancer),
        (binary(0x20, 0x5F, b"x"), Source::Balancer),
    ];
    for (header, expected) in cases {
        assert_eq!(
            whole(&header),
            Ok(Some(expected)),
            "{}",
            header.escape_ascii()
        );
    }
}

#[test]
fn extensions_are_skipped_whatever_they_are() {
    for length in [
        1,
        2,
        3,
        203,
        204,
        205,
        206,
        MAX_EXTENSIONS + MAX_ADDRESSES - 12,
    ] {
        let extensions = vec![0x04; length];
        let header = binary(0x21, 0x11, &[TCP4, &extensions].concat());
        let expected = Ok(Some(source("192.0.2.1:12345", "198.51.100.7:25")));
        assert_eq!(whole(&header), expected, "{length}");
        let (_, last) = header.split_last().unwrap();
        assert_eq!(whole(last), Ok(None), "{length}");
    }
}

#[test]
fn headers_that_are_not_of_version_2() {
    let too_long = vec![0; MAX_EXTENSIONS + MAX_ADDRESSES + 1];
    let cases = [
        (binary(0x11, 0x11, TCP4), "version"),
        (binary(0x31, 0x11, TCP4), "version"),
        (binary(0x22, 0x11, TCP4), "command"),
        (binary(0x21, 0x41, TCP4), "family"),
        (binary(0x21, 0x13, TCP4), "protocol"),
        (binary(0x21, 0x11, &TCP4[..11]), "addresses"),
        (binary(0x21, 0x21, TCP4), "addresses"),
        (binary(0x21, 0x12, TCP4), "datagrams are no TCP"),
        (binary(0x21, 0x10, TCP4), "neither is what nobody knows"),
        (binary(0x21, 0x11, &too_long), "length"),
        (binary(0x20, 0x00, &too_long), "length"),
    ];
    for (header, what) in cases {
        assert!(whole(&header).is_err(), "{what}");
    }
}

#[test]
fn what_is_wrong_is_known_with_the_first_wrong_octet() {
    let missing = Err(HeaderError::Missing.to_string());
    for (text, sure) in [
        (&b"EHLO a\r\n"[..], 1),
        (b"\x16\x03\x01", 1),
        (b"PRETTY\r\n", 3),
        (b"PROXY\r\n", 6),
        (b"\r\n\r\n\0\r\nQUIT\r\n", 12),
        (b"\r\n\n", 3),
    ] {
        assert_eq!(
            whole(&text[..sure - 1]),
            Ok(None),
            "{}",
            text.escape_ascii()
        );
        assert_eq!(whole(&text[..sure]), missing, "{}", text.escape_ascii());
    }
    // The first sixteen octets are judged without those that they announce.
    assert_eq!(whole(&binary(0x21, 0x11, TCP4)[..16]), Ok(None));
    assert!(whole(&binary(0x21, 0x41, TCP4)[..16]).is_err());
    assert!(whole(&binary(0x21, 0x11, &[0; 5000])[..16]).is_err());
}

/// Headers, half right and right.
fn any_header() -> impl Strategy<Value = Vec<u8>> {
    let word = "(TCP4|TCP6|UNKNOWN|[0-9.]{1,8}|192.0.2.1|2001:db8::1|::1|25|[ \r+x])";
    let line = prop::collection::vec(word, 0..7)
        .prop_map(|words| format!("PROXY {}\r\n", words.join(" ")).into_bytes());
    let commands = prop::sample::select(vec![0x20, 0x21, 0x22, 0x11]);
    let families = prop::sample::select(vec![0x00, 0x11, 0x12, 0x21, 0x31, 0x01, 0x51]);
    let content = prop::collection::vec(any::<u8>(), 0..300);
    let binary = (commands, families, content)
        .prop_map(|(command, family, content)| binary(command, family, &content));
    prop_oneof![
        line,
        binary,
        prop::collection::vec(any::<u8>(), 0..20),
        Just(b"PROXY TCP4 192.0.2.1 198.51.100.7 12345 25\r\n".to_vec()),
    ]
}

proptest! {
    #[test]
    fn how_a_header_is_cut_makes_no_difference(
        header in any_header(),
        behind in prop::collection::vec(any::<u8>(), 0..50),
        sizes in prop::collection::vec(1_usize..40, 1..20),
    ) {
        let text = [header, behind].concat();
        let mut rest = text.as_slice();
        let mut pieces = Vec::new();
        for size in sizes.iter().cycle() {
            let (piece, others) = rest.split_at((*size).min(rest.len()));
            pieces.push(piece);
            rest = others;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(read(&pieces), read(&[&text]));
    }
}
