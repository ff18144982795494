//! Whatever a server says, in whatever pieces: the same events, the same output, and bounds that
//! hold.

use prixfixe_client::{Config, Connection, Mail, Rcpt, StartTls};
use proptest::prelude::*;

use crate::script::Client;

/// Something that happens.
#[derive(Debug, Clone)]
enum Step {
    Say(Vec<u8>),
    Mail,
    Rcpt,
    Data,
    Bdat,
    Content,
    Finish,
    Chunk(bool),
    Reset,
    Noop,
    Quit,
    Handshake,
}

fn replies() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        4 => Just("250 ok\r\n"),
        1 => Just("250-first\r\n"),
        2 => Just("354 go\r\n"),
        2 => Just("550 5.1.1 no\r\n"),
        1 => Just("451 later\r\n"),
        1 => Just("220 mx\r\n"),
        1 => Just("250-mx\r\n250-PIPELINING\r\n250-STARTTLS\r\n250 CHUNKING\r\n"),
        1 => Just("221 bye\r\n"),
        1 => Just("334 abc=\r\n"),
        1 => Just("421 gone\r\n"),
        1 => Just("garbage\n"),
    ];
    prop::collection::vec(line, 1..5).prop_map(|lines| lines.concat().into_bytes())
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => replies().prop_map(Step::Say),
        1 => prop::collection::vec(any::<u8>(), 0..20).prop_map(Step::Say),
        3 => Just(Step::Mail),
        4 => Just(Step::Rcpt),
        3 => Just(Step::Data),
        2 => Just(Step::Bdat),
        3 => Just(Step::Content),
        3 => Just(Step::Finish),
        3 => any::<bool>().prop_map(Step::Chunk),
        1 => Just(Step::Reset),
        1 => Just(Step::Noop),
        1 => Just(Step::Quit),
        1 => Just(Step::Handshake),
    ];
    prop::collection::vec(step, 0..40)
}

fn config(kind: u8) -> Config {
    let mut config = match kind % 2 {
        0 => Config::smtp("client.example.com").unwrap(),
        _ => Config::lmtp("client.example.com").unwrap(),
    };
    config.pipelining = kind & 2 == 0;
    config.window = if kind & 4 == 0 { 100 } else { 2 };
    config.start_tls = match kind & 8 {
        0 => StartTls::Never,
        _ => StartTls::WhenOffered,
    };
    config
}

/// What was learned, what was sent, and what could not be said.
fn play(steps: &[Step], config: Config, length: usize) -> (Vec<String>, String, Vec<bool>) {
    let mut client = Client::new(config, false);
    client.receive(b"220 mx\r\n");
    client.receive(b"250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n");
    let mut said = Vec::new();
    for step in steps {
        if let Step::Say(input) = step {
            client.receive_in_pieces(input, length);
        } else {
            said.push(say(&mut client.connection, client.now, step));
        }
        assert_eq!(
            client.connection.is_closed(),
            client.connection.stage() == prixfixe_client::Stage::Closed
        );
        assert!(
            client
                .connection
                .deadline()
                .is_none_or(|at| at >= client.now)
        );
    }
    client.receive(b"");
    let events = client.events.into_iter().collect();
    (events, client.output.escape_ascii().to_string(), said)
}

fn say(connection: &mut Connection, now: std::time::Instant, step: &Step) -> bool {
    let (mail, rcpt) = (Mail::new("a@x").unwrap(), Rcpt::new("b@x").unwrap());
    match step {
        Step::Say(_) => return true,
        Step::Mail => connection.mail(now, &mail),
        Step::Rcpt => connection.rcpt(now, &rcpt),
        Step::Data => connection.data(now),
        Step::Bdat => connection.bdat(now),
        Step::Content => connection.send_content(now, b".hi\r\n").map(|_| ()),
        Step::Finish => connection.finish_content(now),
        Step::Chunk(last) => connection.send_chunk(now, b"hi\r\n", *last),
        Step::Reset => connection.reset(now),
        Step::Noop => connection.noop(now),
        Step::Quit => connection.quit(now),
        Step::Handshake => connection.tls_established(now),
    }
    .is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn cutting_what_the_server_says_changes_nothing(
        steps in steps(), kind in any::<u8>(), length in 1usize..9,
    ) {
        let at_once = play(&steps, config(kind), usize::MAX);
        prop_assert_eq!(play(&steps, config(kind), length), at_once);
    }

    #[test]
    fn a_transaction_ends_once_and_only_with_what_the_server_said(
        steps in steps(), kind in any::<u8>(),
    ) {
        let (events, output, _) = play(&steps, config(kind), usize::MAX);
        let count = |prefix: &str| events.iter().filter(|event| event.starts_with(prefix)).count();
        let mails = output.matches("MAIL FROM").count();
        prop_assert!(count("mail ") <= mails, "{:?}", events);
        prop_assert!(count("rcpt ") <= output.matches("RCPT TO").count(), "{:?}", events);
        // One that was taken back before it was sent ends too.
        let begun = steps.iter().filter(|step| matches!(step, Step::Mail)).count();
        prop_assert!(count("done") <= begun, "{:?}", events);
        // Without pipelining an envelope is not sent behind an unanswered one.
        if kind & 2 != 0 {
            prop_assert!(mails <= count("mail ") + 1, "{:?}", events);
        }
    }
}
