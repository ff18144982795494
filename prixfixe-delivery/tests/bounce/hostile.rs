//! Whatever a client or a next hop says, the report has the fields that we gave it and no others.

use prixfixe_delivery::bounce::Fate;
use prixfixe_server::{EnhancedCode, MailParameters, Reply, Ret};
use proptest::prelude::*;

use crate::read::{envelope, get, parse, recipient, report, whole};

/// Line ends, controls, what looks like fields and boundaries, long texts, and what reorders.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\r\n".to_owned()),
        Just("\n".to_owned()),
        Just("\r".to_owned()),
        Just("\0".to_owned()),
        Just("\r\n\r\n".to_owned()),
        Just("\r\nAction: delivered\r\n".to_owned()),
        Just("\n\nFinal-Recipient: rfc822; eve@example.com\n".to_owned()),
        Just("--report-1795826727000000000-0".to_owned()),
        Just("\r\n--report-1795826727000000000-0--\r\n".to_owned()),
        Just("\u{202e}\u{2028}\u{85}".to_owned()),
        Just("      ".to_owned()),
        "[a-zA-Z0-9 .;:<>@]{0,40}",
        "\\PC{0,20}",
        Just("x".repeat(1200)),
        Just("ä ".repeat(700)),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_text_of_others_ends_a_field_or_a_part(
        said in hostile(),
        remote in hostile(),
        envid in hostile(),
        content in hostile(),
        ret in prop_oneof![Just(None), Just(Some(Ret::Full)), Just(Some(Ret::Headers))],
        smtputf8: bool,
    ) {
        let reply = Reply::new(550, EnhancedCode(5, 1, 1), said).unwrap();
        let to = [recipient("bob@example.org", "", "rfc822;bob@example.org")];
        let plain = envelope(ret, None, smtputf8, &to);
        // The parser takes no such ENVID, and whoever makes an envelope may.
        let mut parameters = MailParameters::default();
        parameters.ret = ret;
        parameters.smtputf8 = smtputf8;
        parameters.envid = Some(envid.into());
        let mut builder = prixfixe_server::Envelope::builder().from("ann@example.com").unwrap().parameters(parameters);
        for it in plain.recipients() {
            builder = builder.recipient(it.clone());
        }
        let envelope = builder.build();
        let report = prixfixe_delivery::bounce::Report::new("mx.example.net", "17-4128", &envelope, crate::read::then())
            .at(crate::read::then())
            .about(&envelope.recipients()[0], Fate::Failed, Some(&remote), &reply);
        let bounce = report.bounce(whole(content.as_bytes())).unwrap();
        let parsed = parse(&bounce);
        prop_assert_eq!(parsed.parts.len(), 3);
        let groups = parsed.groups();
        let names = |group: &crate::read::Headers| group.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        prop_assert_eq!(groups.len(), 2);
        prop_assert_eq!(names(&groups[0]), ["Reporting-MTA", "Original-Envelope-Id", "Arrival-Date"]);
        let expected =
            ["Original-Recipient", "Final-Recipient", "Action", "Status", "Remote-MTA", "Diagnostic-Code"];
        prop_assert_eq!(names(&groups[1]), expected);
        prop_assert_eq!(get(&groups[1], "Action"), "failed");
        prop_assert_eq!(get(&parsed.headers, "To"), "<ann@example.com>");
        // All of it goes by DATA: whole lines of text, none of them too long.
        let mut lines = bounce.content.split(|byte| *byte == b'\n').peekable();
        while let Some(line) = lines.next() {
            if lines.peek().is_none() {
                prop_assert!(line.is_empty());
                break;
            }
            prop_assert!(line.len() <= 999, "{} bytes", line.len());
            let line = line.strip_suffix(b"\r");
            prop_assert!(line.is_some_and(|line| !line.contains(&b'\r') && !line.contains(&0)));
        }
    }
}

#[test]
fn a_line_that_looks_like_the_end_of_a_part_is_none() {
    let envelope = envelope(None, None, false, &[recipient("bob@example.org", "", "")]);
    let first = report(
        &envelope,
        Fate::Failed,
        &crate::read::GONE,
        whole(b"\r\nHi\r\n"),
    )
    .unwrap();
    let content = String::from_utf8(first.content.to_vec()).unwrap();
    let parsed = parse(
        &report(
            &envelope,
            Fate::Failed,
            &crate::read::GONE,
            whole(content.as_bytes()),
        )
        .unwrap(),
    );
    assert_eq!(parsed.parts.len(), 3);
    assert!(parsed.parts[2].1.ends_with(content.as_bytes()));
}
