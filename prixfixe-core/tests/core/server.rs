//! The smallest server: a connection, what it has not taken yet, and a handler that does as it was
//! told.

use std::sync::Arc;
use std::time::Instant;

use prixfixe_core::{
    Abort, Answer, BareLineEnds, Config, Connection, EnhancedCode, Event, OUTPUT_HIGH_WATER,
    Protocol, Question, Reply, replies,
};
use prixfixe_dialogue::{DOMAIN, Delivered, Settings, Stage};

use crate::login::Login;

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) connection: Connection,
    pub(crate) now: Instant,
    pub(crate) output: Vec<u8>,
    pub(crate) delivered: Vec<Delivered>,
    /// All that was told, pieces of a body put together.
    pub(crate) told: Vec<Told>,
    /// Of each refused command, as it was told.
    pub(crate) refused_lines: Vec<Vec<u8>>,
    settings: Settings,
    /// Where small pieces of a body are put together; empty unless a test wants that.
    pub(crate) room: Vec<u8>,
    held: Vec<u8>,
    message: Delivered,
    login: Option<Login>,
    /// Between STARTTLS and the handshake.
    in_clear: bool,
}

/// An event to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    Hello(String, bool),
    Mail(String),
    Rcpt(String),
    MessageStart,
    MessageEnd(Vec<u8>),
    Aborted(Abort),
    Reset,
    CommandRefused(u16),
    StartTls,
    Command,
    /// The mechanism, and the initial response.
    Auth(String, Option<Vec<u8>>),
    AuthResponse(Vec<u8>),
    AuthAborted(u16),
    Xclient,
}

const NO_MESSAGE: Delivered = Delivered {
    from: String::new(),
    to: Vec::new(),
    size: 0,
    content: None,
};

impl Server {
    pub(crate) fn new(settings: &Settings) -> Self {
        let mut config = Config::new(DOMAIN);
        if settings.repairs_line_ends {
            config.bare_line_ends = BareLineEnds::Repair;
        }
        config.starttls = settings.starttls;
        config.dsn = settings.dsn;
        config.dsn_for_users = settings.dsn_for_users;
        config.tls_required = settings.tls_required;
        config.auth = settings.auth.map(Login::offered);
        config.max_message_size = settings.max_message_size.unwrap_or(config.max_message_size);
        config.max_recipients = settings.max_recipients.unwrap_or(config.max_recipients);
        config.max_errors = settings.max_errors.unwrap_or(config.max_errors);
        let idle_commands = settings.max_idle_commands;
        config.max_idle_commands = idle_commands.unwrap_or(config.max_idle_commands);
        config.idle_timeout = settings.idle_timeout.unwrap_or(config.idle_timeout);
        config.min_data_rate = settings.min_data_rate.unwrap_or(config.min_data_rate);
        let now = Instant::now();
        let protocol = match settings.lmtp {
            true => Protocol::Lmtp,
            false => Protocol::Smtp,
        };
        let mut server = Self {
            connection: Connection::with_protocol(Arc::new(config), protocol, now),
            now,
            output: Vec::new(),
            delivered: Vec::new(),
            told: Vec::new(),
            refused_lines: Vec::new(),
            settings: settings.clone(),
            room: Vec::new(),
            held: Vec::new(),
            message: NO_MESSAGE,
            login: None,
            in_clear: false,
        };
        if settings.xclient {
            server.connection.offer_xclient();
        }
        server.answer(Some(Stage::Connect), "");
        server
    }

    /// Octets arrive.
    pub(crate) fn receive(&mut self, octets: &[u8]) {
        let held = [std::mem::take(&mut self.held), octets.to_vec()].concat();
        let mut input = held.as_slice();
        let mut room = std::mem::take(&mut self.room);
        loop {
            let mut replies = Vec::new();
            let event =
                self.connection
                    .poll_event_with_room(self.now, &mut input, &mut replies, &mut room);
            let flushed = replies.len() >= OUTPUT_HIGH_WATER;
            self.output.append(&mut replies);
            let event = match event {
                Some(event) => event,
                None if flushed => continue,
                None => break,
            };
            let open = self.connection.question();
            let asks = self.take(event);
            assert_eq!(
                asks.is_some(),
                open.is_some(),
                "a question is open when an event says so"
            );
            if let Some((stage, address)) = asks {
                assert_eq!(
                    self.connection
                        .poll_event(self.now, &mut input, &mut self.output),
                    None
                );
                self.answer(stage, &address);
            }
        }
        self.held = input.to_vec();
        self.room = room;
        assert!(self.connection.is_closed() || self.held.len() < self.connection.max_line());
        if self.in_clear && !self.held.is_empty() {
            self.connection
                .clear_text_after_starttls(self.now, &mut self.output);
        }
    }

    /// The TLS handshake takes place.
    pub(crate) fn handshake(&mut self) {
        self.in_clear = false;
        self.connection.tls_established(self.now);
    }

    fn take(&mut self, event: Event<'_>) -> Option<(Option<Stage>, String)> {
        let mut question = None;
        let told = match event {
            Event::Hello { name, extended } => {
                question = Some((None, String::new()));
                Told::Hello(name.to_owned(), extended)
            }
            Event::Mail { reverse_path, .. } => {
                self.message = NO_MESSAGE;
                question = Some((Some(Stage::Mail), reverse_path.to_string()));
                Told::Mail(reverse_path.to_string())
            }
            Event::Rcpt { forward_path, .. } => {
                question = Some((Some(Stage::Rcpt), forward_path.to_string()));
                Told::Rcpt(forward_path.to_string())
            }
            Event::Data => {
                assert_eq!(self.message.content, None);
                question = Some((None, String::new()));
                self.message.content = Some(Vec::new());
                Told::MessageStart
            }
            Event::Command { .. } => {
                question = Some((None, String::new()));
                Told::Command
            }
            Event::Auth {
                mechanism,
                initial_response,
            } => {
                question = Some((None, String::new()));
                let initial_response = initial_response.map(|it| it.to_vec());
                self.login = Some(Login::new(&mechanism, initial_response.clone()));
                Told::Auth(mechanism.to_string(), initial_response)
            }
            Event::AuthResponse(response) => {
                question = Some((None, String::new()));
                let login = self.login.as_mut().expect("a login is under way");
                login.said.push(response.to_vec());
                Told::AuthResponse(response.to_vec())
            }
            Event::AuthAborted(reply) => {
                self.login.take().expect("a login is under way");
                Told::AuthAborted(reply.code())
            }
            Event::Body(piece) => {
                assert!(!piece.is_empty());
                self.message
                    .content
                    .as_mut()
                    .expect("a message has started")
                    .extend_from_slice(piece);
                return None;
            }
            Event::MessageEnd { size } => {
                let content = self.message.content.clone().expect("a message has started");
                assert_eq!(content.len() as u64, size);
                self.message.size = content.len();
                question = Some((Some(Stage::Message), String::new()));
                Told::MessageEnd(content)
            }
            Event::MessageAborted(abort) => {
                self.message.content.take().expect("a message has started");
                self.message = NO_MESSAGE;
                Told::Aborted(abort)
            }
            Event::Reset => Told::Reset,
            Event::CommandRefused { reply, line } => {
                self.refused_lines.push(line.to_vec());
                Told::CommandRefused(reply.code())
            }
            Event::Xclient(told) => {
                let address = told.address.value().map(ToString::to_string);
                question = Some((Some(Stage::Connect), address.unwrap_or_default()));
                Told::Xclient
            }
            Event::StartTls => {
                self.in_clear = true;
                Told::StartTls
            }
            _ => panic!("an event that this test does not know"),
        };
        self.told.push(told);
        question
    }

    fn refusal(&self, stage: Stage, address: &str) -> Option<Reply> {
        let mut refusals = self.settings.refusals.iter();
        let refusal = refusals.find(|refusal| refusal.concerns(stage, address))?;
        let (class, subject, detail) = refusal.enhanced;
        let enhanced = EnhancedCode(class, subject, detail);
        let reply = Reply::new(refusal.code, enhanced, refusal.text.clone());
        Some(reply.expect("the dialogue has a proper reply"))
    }

    /// The message is kept for those recipients for whom it is not refused.
    fn outcomes(&mut self) -> Answer {
        let (mut kept, mut replies) = (Vec::new(), Vec::new());
        for recipient in &self.message.to {
            let refusal = self.refusal(Stage::Message, recipient);
            if refusal.is_none() {
                kept.push(recipient.clone());
            }
            replies.push(refusal.unwrap_or(replies::MESSAGE_OK));
        }
        if kept.len() == replies.len() {
            return Answer::Accept;
        }
        if !kept.is_empty() {
            self.delivered.push(Delivered {
                to: kept,
                ..self.message.clone()
            });
        }
        Answer::Each(replies)
    }

    fn answer(&mut self, stage: Option<Stage>, address: &str) {
        if self.connection.question() == Some(Question::Auth) {
            let login = self.login.as_ref().expect("a login is under way");
            let answer = login.answer(self.settings.auth);
            return self.connection.answer(self.now, answer, &mut self.output);
        }
        let answer = match stage.and_then(|stage| self.refusal(stage, address)) {
            Some(reply) => Answer::Refuse(reply),
            None if stage == Some(Stage::Message) && self.settings.lmtp => self.outcomes(),
            None => Answer::Accept,
        };
        if answer == Answer::Accept {
            match self.connection.question() {
                Some(Question::Mail) => self.message.from = address.to_owned(),
                Some(Question::Rcpt) => self.message.to.push(address.to_owned()),
                Some(Question::Message) => self.delivered.push(self.message.clone()),
                _ => {}
            }
        }
        if stage == Some(Stage::Message) {
            self.message = NO_MESSAGE;
        }
        self.connection.answer(self.now, answer, &mut self.output);
    }

    /// Without the CR LF, since the last time.
    pub(crate) fn lines(&mut self) -> Vec<String> {
        let output =
            String::from_utf8(std::mem::take(&mut self.output)).expect("replies are ASCII");
        assert!(output.is_empty() || output.ends_with("\r\n"), "{output:?}");
        output.split_terminator("\r\n").map(str::to_owned).collect()
    }

    /// The code of the one reply that the octets get.
    pub(crate) fn code(&mut self, octets: &str) -> String {
        self.receive(octets.as_bytes());
        let lines = self.lines();
        let code = |line: &String| line[..3].to_owned();
        assert!(
            lines
                .windows(2)
                .all(|pair| code(&pair[0]) == code(&pair[1])),
            "{octets:?}: {lines:?}"
        );
        lines.last().map(code).unwrap_or_default()
    }
}
