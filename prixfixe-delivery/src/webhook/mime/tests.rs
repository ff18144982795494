use std::time::{Duration, Instant};

use mail_parser::HeaderName;

use super::*;

const MIXED: &str = "From: \"Ann\" <ann@example.com>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\
    Content-Type: multipart/mixed; boundary=\"b 1\"\r\n\r\npreamble\r\n--b 1\r\n\
    Content-Type: multipart/alternative; boundary=b2\r\n\r\n\
    --b2\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\
    Content-Transfer-Encoding: quoted-printable\r\n\r\ncaf=E9 =\r\nau lait\r\n\
    --b2\r\nContent-Type: text/html\r\n\r\n<p>caf\u{e9}</p>\r\n--b2--\r\nepilogue\r\n\
    --b 1\r\nContent-Type: application/pdf; name=a.pdf\r\nContent-ID: <one@x>\r\n\
    Content-Disposition: inline\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERi0x\r\n\
    --b 1\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nhello\r\n--b 1--\r\n";

#[test]
fn texts_and_attachments_are_found_in_a_tree_of_parts() {
    let parsed = Parsed::new(MIXED.as_bytes());
    assert_eq!(parsed.header.subject().unwrap(), "Gr\u{fc}\u{df}e");
    let from = parsed.header.addresses(&HeaderName::From);
    assert_eq!(from[0].name.as_deref(), Some("Ann"));
    assert_eq!(from[0].address.as_deref(), Some("ann@example.com"));
    assert_eq!(parsed.text.as_deref(), Some("caf\u{e9} au lait"));
    assert_eq!(parsed.html.as_deref(), Some("<p>caf\u{e9}</p>"));
    let [pdf, inner] = &parsed.attachments[..] else {
        panic!("{parsed:?}");
    };
    assert_eq!(pdf.filename.as_deref(), Some("a.pdf"));
    assert_eq!(pdf.content_type, "application/pdf");
    assert_eq!(
        (pdf.disposition, pdf.content_id.as_deref()),
        (Some("inline"), Some("one@x"))
    );
    assert_eq!(&*pdf.content(), b"%PDF-1");
    assert_eq!(inner.content_type, "message/rfc822");
    assert_eq!(&*inner.content(), b"Subject: inner\r\n\r\nhello");
    assert!(!parsed.is_truncated);
    assert_eq!(parsed.error, None);
}

#[test]
fn a_message_without_mime_is_a_text() {
    let parsed = Parsed::new(b"Subject: x\r\n\r\n--not a boundary\r\nhello\r\n");
    assert_eq!(
        parsed.text.as_deref(),
        Some("--not a boundary\r\nhello\r\n")
    );
    assert!(parsed.attachments.is_empty());
}

#[test]
fn what_cannot_be_understood_is_said() {
    for (content, error) in [
        ("", "there is no header"),
        ("hello", "there is no header"),
        ("\r\nhello", "there is no header"),
        (
            "Content-Type: multipart/mixed\r\n\r\nx",
            "a multipart has no boundary",
        ),
        (
            "Content-Transfer-Encoding: base64\r\n\r\n!!!",
            "a part is not in the encoding that it claims to be in",
        ),
    ] {
        assert_eq!(
            Parsed::new(content.as_bytes()).error,
            Some(error),
            "{content:?}"
        );
    }
}

#[test]
fn a_multipart_that_is_not_closed_ends_with_the_message() {
    let parsed = Parsed::new(
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n--bb\r\nx",
    );
    assert_eq!(parsed.text.as_deref(), Some("hello\r\n--bb\r\nx"));
    let empty = Parsed::new(b"Content-Type: multipart/mixed; boundary=b\r\n\r\nnothing");
    assert_eq!((empty.text, empty.error), (None, None));
}

#[test]
fn a_text_is_cut_at_a_megabyte_between_characters() {
    let content = format!("Subject: x\r\n\r\n{}", "\u{20ac}".repeat(1 << 20));
    let parsed = Parsed::new(content.as_bytes());
    assert!(parsed.is_truncated);
    assert_eq!(parsed.text.unwrap().len(), ((1 << 20) / 3) * 3);
}

/// Generous: what is quadratic takes minutes.
const SOON: Duration = Duration::from_secs(20);

#[test]
fn bombs_cost_no_more_than_their_size() {
    let nested = |kind: &str| {
        let open = |n: usize| format!("Content-Type: {kind}; boundary=b{n}\r\n\r\n--b{n}\r\n");
        (0..10_000).map(open).collect::<String>()
    };
    let bombs = [
        // A million parts.
        format!(
            "Content-Type: multipart/mixed; boundary=b\r\n\r\n{}",
            "--b\r\n\r\n".repeat(1_000_000)
        ),
        // Depth of 10,000.
        nested("multipart/mixed"),
        nested("message/rfc822"),
        // Many delimiters that are none.
        format!(
            "Content-Type: multipart/mixed; boundary=b\r\n\r\n{}",
            "--bb".repeat(2_000_000)
        ),
        // A header of 10 MB, in one field, in folded lines, in many fields.
        format!("Subject: {}\r\n\r\nx", "a".repeat(10 << 20)),
        format!("Subject: x\r\n{}\r\nx", " folded\r\n".repeat(1 << 20)),
        format!("To: {}\r\n\r\nx", "a,".repeat(5 << 20)),
        format!("{}\r\nx", "X: y\r\n".repeat(1 << 20)),
        // Fields that are dear to parse.
        format!(
            "{}\r\nx",
            format!("Subject: {}\r\n", "=?u?q?".repeat(5_000)).repeat(300)
        ),
        format!(
            "{}\r\nx",
            format!("From: {}\r\n", "(".repeat(30_000)).repeat(300)
        ),
        format!(
            "{}\r\nx",
            format!("Content-Type: a/b; {}\r\n", "a*0=b;".repeat(5_000)).repeat(300)
        ),
        format!(
            "{}\r\nx",
            format!("References: {}\r\n", "<".repeat(30_000)).repeat(300)
        ),
    ];
    for bomb in bombs {
        let begin = Instant::now();
        let mut parsed = None;
        let memory =
            allocation_counter::measure(|| parsed = Some(Parsed::new(bomb.as_bytes()))).bytes_max;
        let parsed = parsed.unwrap();
        let shown = bomb.get(..60).unwrap_or(&bomb);
        eprintln!(
            "{:?}, {memory} of {}: {shown:?}",
            begin.elapsed(),
            bomb.len()
        );
        assert!(begin.elapsed() < SOON, "{shown:?}");
        assert!(memory < bomb.len() as u64, "{memory}: {shown:?}");
        assert!(parsed.attachments.len() <= MAX_PARTS);
        assert!(parsed.header.fields().count() < 64 << 10);
    }
}

#[test]
fn no_bytes_make_it_panic() {
    let pieces = [
        "--b",
        "--",
        "\r\n",
        "\n",
        "\r",
        " ",
        "Content-Type: multipart/mixed; boundary=b",
        "=",
        "=?",
        "\"",
        "(",
        "<",
        ">",
        ",",
        ";",
        "\u{e9}",
        "Date: ",
        "To: ",
        "Content-Transfer-Encoding: base64",
    ];
    proptest::proptest!(|(chosen in proptest::collection::vec(0..pieces.len(), 0..40))| {
        let content: String = chosen.iter().map(|index| pieces[*index]).collect();
        let parsed = Parsed::new(content.as_bytes());
        parsed.attachments.iter().for_each(|each| drop(each.content().into_owned()));
        let _ = parsed.header.date();
        let _ = parsed.header.addresses(&HeaderName::To);
    });
}
