//! Invariant: whatever happens in a session, replies are well-formed, events come in their order,
//! no message ends without its end, input that is held is bounded, and cutting the input otherwise
//! changes nothing, nor does putting small pieces of a body together. Scripts of odd length have
//! bare line ends repaired; those in which `LHLO` stands are LMTP.
//!
//! The octets 0xF8 to 0xFF, for which UTF-8 has no use, are operations; all others are sent as they
//! are, so that a dialogue as text is a seed.
#![no_main]

use std::sync::Arc;
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use prixfixe_core::{
    Answer, Auth, BareLineEnds, Config, Connection, Event, MAX_LOGIN_LINE, Mechanism,
    OUTPUT_HIGH_WATER, Protocol, Question, replies,
};
use prixfixe_fuzz::assert_well_formed;

struct Session {
    connection: Connection,
    now: Instant,
    /// Where small pieces of a body are put together.
    room: Vec<u8>,
    held: Vec<u8>,
    output: Vec<u8>,
    /// Events but pieces of a body, which depend on how the input was cut.
    told: Vec<String>,
    content: Option<Vec<u8>>,
    protocol: Protocol,
    /// Of the transaction, as far as they were accepted.
    recipients: usize,
    /// Answers wait for an operation.
    late: bool,
    refuse: bool,
    /// Responses of the login under way.
    responses: usize,
    in_clear: bool,
}

impl Session {
    fn new(now: Instant, repairs: bool, protocol: Protocol, room: usize) -> Self {
        let mut config = Config::default();
        if repairs {
            config.bare_line_ends = BareLineEnds::Repair;
        }
        config.max_message_size = 1000;
        config.max_recipients = 3;
        config.max_errors = 5;
        config.starttls = true;
        let mut auth = Auth::new([Mechanism::PLAIN, Mechanism::LOGIN]);
        auth.in_plaintext = true;
        config.auth = Some(auth);
        let mut connection = Connection::with_protocol(Arc::new(config), protocol, now);
        connection.offer_xclient();
        Self {
            connection,
            protocol,
            recipients: 0,
            now,
            room: vec![0; room],
            held: Vec::new(),
            output: Vec::new(),
            told: Vec::new(),
            content: None,
            late: false,
            refuse: false,
            responses: 0,
            in_clear: false,
        }
    }

    fn send(&mut self, octets: &[u8]) {
        if self.in_clear {
            return;
        }
        self.held.extend_from_slice(octets);
        self.work();
    }

    fn work(&mut self) {
        loop {
            if !self.late {
                self.answer();
            }
            let held = std::mem::take(&mut self.held);
            let mut input = held.as_slice();
            let mut replies = Vec::new();
            let mut room = std::mem::take(&mut self.room);
            let event =
                self.connection
                    .poll_event_with_room(self.now, &mut input, &mut replies, &mut room);
            assert!(replies.len() < OUTPUT_HIGH_WATER + MAX_LOGIN_LINE);
            let go_on = event.is_some() || replies.len() >= OUTPUT_HIGH_WATER;
            self.output.append(&mut replies);
            if let Some(event) = event {
                self.told(event);
            }
            self.held = input.to_vec();
            self.room = room;
            if !go_on {
                break;
            }
        }
        if self.connection.is_closed() {
            self.held.clear();
        } else if self.connection.question().is_none() && !self.in_clear {
            assert!(self.held.len() < self.connection.max_line());
        }
    }

    fn told(&mut self, event: Event<'_>) {
        match &event {
            Event::Data => assert_eq!(self.content, None),
            Event::Body(piece) => {
                assert!(!piece.is_empty());
                let content = self.content.as_mut().expect("a message has started");
                content.extend_from_slice(piece);
                assert!(content.len() <= 1000);
                return;
            }
            Event::MessageEnd { size } => {
                let content = self.content.take().expect("a message has started");
                assert_eq!(content.len() as u64, *size);
                self.told.push(content.escape_ascii().to_string());
            }
            Event::MessageAborted(_) => assert!(self.content.take().is_some()),
            Event::StartTls => self.in_clear = true,
            Event::Mail { .. } => {
                assert_eq!(self.connection.question(), Some(Question::Mail));
                self.recipients = 0;
            }
            Event::Rcpt { .. } => assert_eq!(self.connection.question(), Some(Question::Rcpt)),
            Event::CommandRefused { reply, .. } => assert!(!reply.is_positive()),
            Event::Auth {
                initial_response, ..
            } => self.responses = usize::from(initial_response.is_some()),
            Event::AuthResponse(_) => self.responses += 1,
            Event::AuthAborted(reply) => assert!(!reply.is_positive()),
            Event::Reset => assert_eq!(self.content, None),
            _ => {}
        }
        self.told.push(format!("{event:?}"));
    }

    fn answer(&mut self) {
        let question = self.connection.question();
        let answer = match std::mem::take(&mut self.refuse) && question.is_some() {
            true => Answer::Refuse(replies::LOCAL_ERROR),
            false if question == Some(Question::Message) && self.protocol == Protocol::Lmtp => {
                Answer::Each(vec![replies::MESSAGE_OK; self.recipients])
            }
            // As LOGIN does.
            false if question == Some(Question::Auth) && self.responses < 2 => {
                Answer::Challenge(b"?".to_vec())
            }
            false => Answer::Accept,
        };
        if question == Some(Question::Rcpt) && answer == Answer::Accept {
            self.recipients += 1;
        }
        if question == Some(Question::Data) && answer == Answer::Accept {
            self.content = Some(Vec::new());
        }
        self.connection.answer(self.now, answer, &mut self.output);
    }

    fn operate(&mut self, operation: u8) {
        match operation {
            0xF8 => self.late = !self.late,
            0xF9 => self.answer(),
            0xFA => self.refuse = true,
            0xFB => self.now += Duration::from_secs(100),
            0xFC => self.connection.receive_eof(self.now),
            0xFD => self.connection.shutdown(self.now, &mut self.output),
            0xFE if self.in_clear => {
                self.in_clear = false;
                self.held.clear();
                self.connection.tls_established(self.now);
            }
            0xFE => self.connection.pause(self.now),
            _ => self.connection.resume(self.now),
        }
        self.connection.handle_timeout(self.now, &mut self.output);
        self.work();
        let deadline = self.connection.deadline();
        assert!(deadline.is_none_or(|deadline| deadline > self.now));
    }
}

fn run(script: &[u8], now: Instant, length: usize, room: usize) -> Session {
    let repairs = script.len() % 2 == 1;
    let is_lmtp = script
        .windows(4)
        .any(|four| four.eq_ignore_ascii_case(b"LHLO"));
    let protocol = match is_lmtp {
        true => Protocol::Lmtp,
        false => Protocol::Smtp,
    };
    let mut session = Session::new(now, repairs, protocol, room);
    session.work();
    for part in script.chunk_by(|one, other| *one < 0xF8 && *other < 0xF8) {
        match part {
            [operation @ (0xF8..)] => session.operate(*operation),
            octets => octets.chunks(length).for_each(|piece| session.send(piece)),
        }
    }
    session.late = false;
    session.connection.receive_eof(session.now);
    session.work();
    assert!(session.connection.is_closed());
    assert_eq!(
        session
            .connection
            .poll_event(now, &mut &b"NOOP\r\n"[..], &mut session.output),
        None
    );
    assert_eq!(session.content, None, "a message has an end or is aborted");
    assert_well_formed(&session.output);
    session
}

fuzz_target!(|script: &[u8]| {
    let now = Instant::now();
    let at_once = run(script, now, usize::MAX, 1000);
    // What stands behind STARTTLS depends on whether it came with it.
    let octets: Vec<u8> = script
        .iter()
        .copied()
        .filter(|octet| *octet < 0xF8)
        .collect();
    let mentions_tls = octets
        .windows(8)
        .any(|eight| eight.eq_ignore_ascii_case(b"STARTTLS"));
    if !mentions_tls {
        let bytewise = run(script, now, 1, 0);
        assert_eq!(bytewise.told, at_once.told);
        assert_eq!(
            bytewise.output.escape_ascii().to_string(),
            at_once.output.escape_ascii().to_string()
        );
    }
});
