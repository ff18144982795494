//! Every dialogue file, with each send at once and byte by byte.

use prixfixe_dialogue::{Dialogue, Step, folder, line_begins_with, read_all};

use crate::server::Server;

#[test]
fn at_once() {
    run_all(&read_all(&folder()).unwrap(), usize::MAX);
}

#[test]
fn byte_by_byte() {
    let mut dialogues = read_all(&folder()).unwrap();
    dialogues.retain(|dialogue| !dialogue.settings.at_once);
    run_all(&dialogues, 1);
}

fn run_all(dialogues: &[Dialogue], piece: usize) {
    assert!(dialogues.len() > 60);
    let failures = dialogues.iter().filter_map(|dialogue| {
        let failure = run(dialogue, piece).err()?;
        Some(format!("{}: {failure}\n", dialogue.name))
    });
    let failures: String = failures.collect();
    assert!(failures.is_empty(), "\n{failures}");
}

fn run(dialogue: &Dialogue, piece: usize) -> Result<(), String> {
    let mut server = Server::new(&dialogue.settings);
    let mut lines = server.lines().into_iter();
    for step in &dialogue.steps {
        match step {
            Step::Expect(expected) => {
                let line = lines.next().unwrap_or_default();
                check(line_begins_with(&line, expected), || {
                    format!("{expected:?} expected, not {line:?}")
                })?;
                continue;
            }
            Step::ExpectClosed => {
                check(server.connection.is_closed(), || "not closed".to_owned())?;
                continue;
            }
            _ => {}
        }
        let unexpected: Vec<_> = lines.collect();
        check(unexpected.is_empty(), || {
            format!("{unexpected:?} before {step:?}")
        })?;
        check(!server.connection.is_closed(), || {
            format!("closed before {step:?}")
        })?;
        act(&mut server, step, piece);
        lines = server.lines().into_iter();
    }
    let unexpected: Vec<_> = lines.collect();
    check(unexpected.is_empty(), || {
        format!("{unexpected:?} at the end")
    })?;
    let (stated, delivered) = (&dialogue.messages, &server.delivered);
    let same = stated.len() == delivered.len()
        && stated
            .iter()
            .zip(delivered)
            .all(|(stated, delivered)| stated.is(delivered));
    check(same, || format!("{delivered:?} delivered, not {stated:?}"))
}

fn check(holds: bool, failure: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(failure()) }
}

fn act(server: &mut Server, step: &Step, piece: usize) {
    match step {
        Step::Send(octets) => octets.chunks(piece).for_each(|piece| server.receive(piece)),
        Step::HalfClose => {
            server.connection.receive_eof(server.now);
            server.receive(b"");
        }
        Step::Handshake => server.handshake(),
        Step::Wait(time) => {
            server.now += *time;
            server
                .connection
                .handle_timeout(server.now, &mut server.output);
            server.receive(b"");
        }
        Step::Shutdown => server.connection.shutdown(server.now, &mut server.output),
        Step::Expect(_) | Step::ExpectClosed => {}
    }
}
