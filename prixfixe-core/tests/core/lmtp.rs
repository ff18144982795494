//! LMTP against a model of it: how many replies leave, which, and in which order (RFC 2033 section
//! 4.2, RFC 3030 section 2).

use prixfixe_dialogue::{Refusal, Settings, Stage};
use proptest::prelude::*;

use crate::server::Server;

const LIMIT: usize = 40;

/// A recipient, and what becomes of it.
#[derive(Debug, Clone, Copy)]
enum To {
    Bob,
    /// Refused at the end of the data.
    Full,
    /// Refused at RCPT.
    Bad,
}

/// A message, and how it is sent.
#[derive(Debug, Clone)]
struct Message {
    recipients: Vec<To>,
    lines: Vec<&'static str>,
    /// In so many chunks; by DATA without.
    chunks: Option<usize>,
}

impl To {
    const fn name(self) -> &'static str {
        match self {
            Self::Bob => "bob",
            Self::Full => "full",
            Self::Bad => "bad",
        }
    }
}

impl Message {
    fn any() -> impl Strategy<Value = Self> {
        let to = prop_oneof![Just(To::Bob), Just(To::Full), Just(To::Bad)];
        let line = prop_oneof![6 => Just("text\r\n"), 2 => Just("xx\r\n"), 1 => Just("a\nb\r\n")];
        let parts = (
            proptest::collection::vec(to, 0..5),
            proptest::collection::vec(line, 0..10),
            proptest::option::of(1..4_usize),
        );
        parts.prop_map(|(recipients, lines, chunks)| Self {
            recipients,
            lines,
            chunks,
        })
    }

    fn accepted(&self) -> impl Iterator<Item = To> {
        let accepted = |to: &To| !matches!(to, To::Bad);
        self.recipients.clone().into_iter().filter(accepted)
    }

    /// The pieces that chunks have.
    fn pieces(&self, chunks: usize) -> Vec<String> {
        let lines = self.lines.len().div_ceil(chunks).max(1);
        let mut pieces: Vec<String> = self.lines.chunks(lines).map(<[_]>::concat).collect();
        pieces.resize(chunks, String::new());
        pieces
    }

    fn text(&self) -> String {
        let mut text = "MAIL FROM:<>\r\n".to_owned();
        for recipient in &self.recipients {
            text += &format!("RCPT TO:<{}@example.net>\r\n", recipient.name());
        }
        match self.chunks {
            // Nobody sends a content without a 354.
            None if self.accepted().count() == 0 => text += "DATA\r\n",
            None => text += &format!("DATA\r\n{}.\r\n", self.lines.concat()),
            Some(chunks) => {
                for (number, piece) in self.pieces(chunks).iter().enumerate() {
                    let last = if number + 1 == chunks { " LAST" } else { "" };
                    text += &format!("BDAT {}{last}\r\n{piece}", piece.len());
                }
            }
        }
        // A refused chunk may have left a transaction.
        text + "RSET\r\n"
    }

    /// The codes of the replies, as the RFCs have them.
    fn codes(&self) -> Vec<u16> {
        let mut codes = vec![250];
        codes.extend(self.recipients.iter().map(|to| match to {
            To::Bad => 550,
            To::Bob | To::Full => 250,
        }));
        let recipients = self.accepted().count();
        match self.chunks {
            None if recipients == 0 => codes.push(503),
            None => {
                codes.push(354);
                codes.extend(self.end(refusal(&self.lines.concat())));
            }
            Some(chunks) if recipients == 0 => codes.extend(std::iter::repeat_n(503, chunks)),
            Some(chunks) => self.chunk_codes(chunks, &mut codes),
        }
        codes.push(250);
        codes
    }

    fn chunk_codes(&self, chunks: usize, codes: &mut Vec<u16>) {
        let (mut so_far, mut failed) = (String::new(), false);
        for (number, piece) in self.pieces(chunks).iter().enumerate() {
            so_far += piece;
            let refusal = refusal(&so_far);
            match (number + 1 == chunks, refusal) {
                // The first to fail had the reply to the message.
                _ if failed => codes.push(503),
                (true, refusal) => codes.extend(self.end(refusal)),
                (false, Some(code)) => {
                    codes.push(code);
                    failed = true;
                }
                (false, None) => codes.push(250),
            }
        }
    }

    /// One reply for each recipient.
    fn end(&self, refusal: Option<u16>) -> Vec<u16> {
        let of = |to| match to {
            To::Full => 452,
            To::Bob | To::Bad => 250,
        };
        self.accepted()
            .map(|to| refusal.unwrap_or(of(to)))
            .collect()
    }
}

/// Which of several faults is told is the business of other tests: there is one of them here at
/// most.
fn refusal(content: &str) -> Option<u16> {
    match content {
        content if content.contains("a\nb") => Some(550),
        content if content.len() > LIMIT => Some(552),
        _ => None,
    }
}

fn has_one_fault_at_most(message: &Message) -> bool {
    let content = message.lines.concat();
    !content.contains("a\nb") || content.len() <= LIMIT
}

fn settings() -> Settings {
    let refusal = |stage, address: &str, code, enhanced| Refusal {
        stage,
        address: Some(address.to_owned()),
        code,
        enhanced,
        text: "No".to_owned(),
    };
    Settings {
        lmtp: true,
        max_message_size: Some(LIMIT as u64),
        max_errors: Some(1000),
        refusals: vec![
            refusal(Stage::Rcpt, "bad@example.net", 550, (5, 1, 1)),
            refusal(Stage::Message, "full@example.net", 452, (4, 2, 2)),
        ],
        ..Settings::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn each_recipient_has_its_reply(
        messages in proptest::collection::vec(Message::any().prop_filter("one fault", has_one_fault_at_most), 1..4),
        length in 1..60_usize,
    ) {
        let mut server = Server::new(&settings());
        server.receive(b"LHLO c\r\n");
        server.lines();
        let text: String = messages.iter().map(Message::text).collect();
        for piece in text.as_bytes().chunks(length) {
            server.receive(piece);
        }
        let told: Vec<u16> = server.lines().iter().map(|line| line[..3].parse().unwrap()).collect();
        let expected: Vec<u16> = messages.iter().flat_map(Message::codes).collect();
        prop_assert_eq!(told, expected, "{}", text);
    }
}
