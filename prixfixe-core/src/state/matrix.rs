//! The matrix in the crate's docs is read here, and every cell of it tried.

use super::*;
use crate::command::CommandError;
use crate::{Answer, Auth, BareLineEnds, Mechanism, Protocol, parser, replies};

const MATRIX: &str = include_str!("../matrix.md");

/// The cells of a row, without the bars.
fn cells(row: &str) -> Vec<&str> {
    row.trim_matches('|').split('|').map(str::trim).collect()
}

/// All states in which commands come, with those of them that a state's content splits.
fn states(name: &str) -> Vec<State> {
    let transaction = |recipients| Transaction {
        recipients,
        ..Transaction::new(&MailParameters::default())
    };
    match name {
        "`Start`" => vec![State::Start],
        "`Ready`" => vec![State::Ready],
        "`Mail`" => vec![State::Mail(transaction(0))],
        "`Rcpt`" => vec![State::Rcpt(transaction(1)), State::Rcpt(transaction(2))],
        "`BetweenChunks`" => vec![
            State::BetweenChunks(ChunkedBody::new(100, false, BareLineEnds::Refuse)),
            State::BetweenChunks(ChunkedBody::new(100, true, BareLineEnds::Refuse)),
        ],
        "`ChunkRefused`" => vec![State::ChunkRefused],
        _ => panic!("{name} is no state in which commands come"),
    }
}

fn lines(name: &str, protocol: Protocol) -> Vec<&'static str> {
    match name {
        "`HELO`, `EHLO`" => match protocol {
            Protocol::Smtp => vec!["HELO c", "EHLO c"],
            Protocol::Lmtp => vec!["LHLO c"],
        },
        "`MAIL`" => vec!["MAIL FROM:<a@b>", "MAIL FROM:<>"],
        "`RCPT`" => vec!["RCPT TO:<a@b>", "RCPT TO:<postmaster>"],
        "`DATA`" => vec!["DATA"],
        "`BDAT`" => vec!["BDAT 0", "BDAT 100"],
        "`BDAT LAST`" => vec!["BDAT 0 LAST", "BDAT 100 LAST"],
        "`RSET`" => vec!["RSET"],
        "`NOOP`, `HELP`" => vec!["NOOP", "HELP", "VRFY x"],
        "`QUIT`" => vec!["QUIT"],
        "`STARTTLS`" => vec!["STARTTLS"],
        "`AUTH`" => vec!["AUTH PLAIN", "auth plain =", "AUTH  PLAIN\tAGEAYg=="],
        _ => panic!("{name} is no command"),
    }
}

/// The outcome as a cell has it.
fn outcome(state: State, line: &'static str, protocol: Protocol) -> String {
    let config = Config {
        starttls: true,
        auth: Some(Auth {
            in_plaintext: true,
            ..Auth::new([Mechanism::PLAIN])
        }),
        ..Config::default()
    };
    let session = Session {
        config: &config,
        extended: true,
        tls: false,
        authenticated: false,
    };
    let command = parser::command(protocol, line.as_bytes()).unwrap();
    let from = state.interrupted(&command).map_or(state, |(next, _)| next);
    let (next, step) = from.command(command, session);
    let code = match step.say {
        Say::Nothing => String::new(),
        Say::Text(Text::Greeting) => "220".to_owned(),
        Say::Text(Text::Hello | Text::ExtendedHello) => "250".to_owned(),
        Say::Text(Text::StartMailInput) => "354".to_owned(),
        Say::Text(Text::Challenge(_)) => "334".to_owned(),
        Say::Reply(reply) | Say::Refusal(reply) | Say::AfterChunk { reply, .. } => {
            reply.code().to_string()
        }
    };
    let name = |state: State| {
        // Over is over; why, only the next calls ask.
        let state = match state {
            State::Quit => State::Closed,
            other => other,
        };
        format!("{state:?}")
            .split(['(', ' '])
            .next()
            .unwrap()
            .to_owned()
    };
    match name(next) != name(state) {
        true => format!("{code} `{}`", name(next)).trim().to_owned(),
        false => code,
    }
}

#[test]
fn every_cell_of_the_matrix_is_as_the_docs_say() {
    every_cell(Protocol::Smtp);
}

/// RFC 2033 section 4.1: LHLO has the place of both.
#[test]
fn every_cell_holds_in_lmtp() {
    every_cell(Protocol::Lmtp);
    for line in ["HELO c", "EHLO c", "EHLO", "ehlo a b"] {
        let command = parser::command(Protocol::Lmtp, line.as_bytes());
        assert_eq!(command, Err(CommandError::Unknown), "{line}");
    }
    for line in ["LHLO c", "LHLO"] {
        let command = parser::command(Protocol::Smtp, line.as_bytes());
        assert_eq!(command, Err(CommandError::Unknown), "{line}");
    }
}

fn every_cell(protocol: Protocol) {
    let mut rows = MATRIX.lines().map(cells);
    let commands = rows.next().unwrap();
    let mut tried = 0;
    for row in rows.skip(1) {
        for (cell, command) in row.iter().zip(&commands).skip(1) {
            for (state, line) in states(row[0]).into_iter().flat_map(|state| {
                lines(command, protocol)
                    .into_iter()
                    .map(move |line| (state, line))
            }) {
                let outcome = outcome(state, line, protocol);
                let as_stated = match *cell {
                    "2xx" => outcome.len() == 3 && outcome.starts_with('2'),
                    cell => outcome == cell,
                };
                assert!(as_stated, "{line} in {state:?}: {outcome}, not {cell}");
                tried += 1;
            }
        }
    }
    assert!(tried > 100);
    let rows = MATRIX.lines().count() - 2;
    assert_eq!(rows, 6, "a row for every state in which commands come");
}

#[test]
fn what_is_not_asked_is_not_answered() {
    for state in states("`Mail`").into_iter().chain([
        State::Start,
        State::Quit,
        State::Closed,
        State::StartTls,
    ]) {
        assert_eq!(state.answered(Answer::Accept, &Config::default()), None);
        assert_eq!(
            state.answered(Answer::Refuse(replies::LOCAL_ERROR), &Config::default()),
            None
        );
    }
}

#[test]
fn an_answer_that_contradicts_itself_is_a_refusal() {
    for answer in [
        Answer::AcceptWith(replies::LOCAL_ERROR),
        Answer::AcceptWith(replies::MAIL_LOOP),
        Answer::Refuse(replies::MESSAGE_OK),
    ] {
        let answered = State::MessageAsked.answered(answer, &Config::default());
        assert_eq!(
            answered,
            Some((State::Ready, Say::Reply(replies::LOCAL_ERROR)))
        );
    }
}
