//! Reads and plays dialogue files. `tests/dialogues/README.md` has the format.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prixfixe_client::{
    BodyType, Config, Connection, Error, Event, Mail, Notify, Piece, Rcpt, Ret, StartTls,
    Unsendable,
};

/// A client, and everything that it has said and learned.
pub(crate) struct Client {
    pub(crate) connection: Connection,
    pub(crate) now: Instant,
    /// What was sent, with what is lent in its place.
    pub(crate) output: Vec<u8>,
    pub(crate) events: VecDeque<String>,
    /// What was lent for the transaction.
    lent: Vec<u8>,
    failed: bool,
}

/// Plays a file against a client that is given what the server says in pieces of at most `length`.
pub(crate) fn run(text: &str, length: usize) -> Result<(), String> {
    let mut lines = text.lines().enumerate().peekable();
    let mut config = Config::smtp("client.example.com").unwrap();
    let mut over_tls = false;
    while let Some((_, line)) = lines.next_if(|(_, line)| !is_step(line)) {
        match line.split_once(' ') {
            Some(("config", setting)) => set(&mut config, &mut over_tls, setting)?,
            _ if line.is_empty() || line.starts_with('#') => {}
            _ => return Err(format!("{line:?} is no setting")),
        }
    }
    let mut client = Client::new(config, over_tls);
    let mut steps = lines.filter(|(_, line)| !line.is_empty()).peekable();
    while let Some((number, line)) = steps.next() {
        let at = |failure: String| format!("line {}: {failure}", number + 1);
        let (kind, rest) = line.split_at_checked(2).ok_or("a line is too short")?;
        let rest = rest.trim_start();
        match kind {
            "S:" => {
                client.expect_nothing().map_err(at)?;
                let mut input = unescaped(rest);
                // Lines that follow each other arrive together.
                while let Some((_, more)) = steps.next_if(|(_, line)| line.starts_with("S: ")) {
                    input.extend_from_slice(&unescaped(&more[3..]));
                }
                client.receive_in_pieces(&input, length);
            }
            "> " => {
                client.expect_no_event().map_err(at)?;
                client.call(rest).map_err(at)?;
            }
            "C:" => client.expect_output(&unescaped(rest)).map_err(at)?,
            "= " => client.expect_event(rest).map_err(at)?,
            _ => return Err(at(format!("{line:?} is no step"))),
        }
    }
    client.expect_nothing()
}

fn is_step(line: &str) -> bool {
    ["S: ", "C: ", "> ", "= "]
        .iter()
        .any(|kind| line.starts_with(kind))
}

fn set(config: &mut Config, over_tls: &mut bool, setting: &str) -> Result<(), String> {
    match setting.split(' ').collect::<Vec<_>>()[..] {
        ["lmtp"] => *config = Config::lmtp("client.example.com").unwrap(),
        ["no-pipelining"] => config.pipelining = false,
        ["window", number] => config.window = number.parse().map_err(|_| "no number")?,
        ["starttls", "required"] => config.start_tls = StartTls::Required,
        ["starttls", "offered"] => config.start_tls = StartTls::WhenOffered,
        ["over-tls"] => *over_tls = true,
        _ => return Err(format!("{setting:?} is no setting")),
    }
    Ok(())
}

impl Client {
    pub(crate) fn new(config: Config, over_tls: bool) -> Self {
        let now = Instant::now();
        let config = Arc::new(config);
        let connection = if over_tls {
            Connection::over_tls(config, now)
        } else {
            Connection::new(config, now)
        };
        Self {
            connection,
            now,
            output: Vec::new(),
            events: VecDeque::new(),
            lent: Vec::new(),
            failed: false,
        }
    }

    /// A client that has said EHLO to a server that offers these.
    pub(crate) fn ready(config: Config, offers: &str) -> Self {
        let mut client = Self::new(config, false);
        client.receive(b"220 mx\r\n");
        client.receive(format!("250-mx\r\n{offers}250 HELP\r\n").as_bytes());
        assert_eq!(client.events.pop_back().as_deref(), Some("ready"));
        client.events.clear();
        client.output.clear();
        client
    }

    /// Sends all that can be sent, then gives these bytes to the connection.
    pub(crate) fn receive(&mut self, input: &[u8]) {
        self.receive_in_pieces(input, usize::MAX);
    }

    pub(crate) fn receive_in_pieces(&mut self, input: &[u8], length: usize) {
        self.transmit(usize::MAX);
        for mut piece in input.chunks(length.min(input.len().max(1))) {
            loop {
                match self.connection.poll_event(self.now, &mut piece) {
                    Ok(Some(event)) => self.events.push_back(told(event)),
                    Ok(None) => break,
                    Err(error) => self.failed(&error),
                }
            }
            assert!(piece.is_empty(), "all of it is taken");
        }
        self.transmit(usize::MAX);
    }

    /// Sends at most so many bytes.
    pub(crate) fn transmit(&mut self, mut most: usize) {
        loop {
            let piece: Vec<u8> = match self.connection.poll_transmit().next() {
                Some(Piece::Bytes(bytes)) => bytes.to_vec(),
                Some(Piece::Lent { offset, length }) => {
                    self.lent[offset as usize..(offset + length) as usize].to_vec()
                }
                None => return,
            };
            let sent = piece.len().min(most);
            assert!(!piece.is_empty(), "no piece is empty");
            if sent == 0 {
                return;
            }
            most -= sent;
            self.output.extend_from_slice(&piece[..sent]);
            self.connection.handle_transmitted(self.now, sent);
        }
    }

    fn failed(&mut self, error: &Error) {
        assert!(!self.failed, "an error is the last thing that is told");
        self.failed = true;
        let doubt = if error.in_doubt() { "; in doubt" } else { "" };
        self.events.push_back(format!("error {error}{doubt}"));
    }

    /// Makes the call, and compares what it gives where that is not `Ok`.
    fn call(&mut self, line: &str) -> Result<(), String> {
        let (call, expected) = line.split_once(" ! ").unwrap_or((line, ""));
        let (verb, rest) = call.split_once(' ').unwrap_or((call, ""));
        let result = self.say(verb, rest)?;
        let got = result.err().map(|why| why.to_string()).unwrap_or_default();
        if got != expected {
            return Err(format!("{expected:?} expected, not {got:?}"));
        }
        self.transmit(usize::MAX);
        while let Ok(Some(event)) = self.connection.poll_event(self.now, &mut &b""[..]) {
            self.events.push_back(told(event));
        }
        Ok(())
    }

    fn say(&mut self, verb: &str, rest: &str) -> Result<Result<(), Unsendable>, String> {
        let (connection, now) = (&mut self.connection, self.now);
        Ok(match verb {
            "mail" => {
                // What was lent before has been sent.
                let result = connection.mail(now, &mail(rest)?);
                self.lent.clear();
                result
            }
            "rcpt" => connection.rcpt(now, &rcpt(rest)?),
            "data" => connection.data(now),
            "bdat" => connection.bdat(now),
            "reset" => connection.reset(now),
            "noop" => connection.noop(now),
            "quit" => connection.quit(now),
            "handshake" => connection.tls_established(now),
            "finish" => connection.finish_content(now),
            "content" => {
                let content = unescaped_in_line(rest);
                connection
                    .send_content(now, &content)
                    .map(|taken| assert_eq!(taken, content.len()))
            }
            "chunk" | "last-chunk" => {
                connection.send_chunk(now, &unescaped_in_line(rest), verb == "last-chunk")
            }
            "lend" | "lend-chunk" | "lend-last-chunk" => {
                let content = unescaped_in_line(rest);
                let length = content.len() as u64;
                let result = match verb {
                    "lend" => connection.lend_content(now, length),
                    _ => connection.lend_chunk(now, length, verb == "lend-last-chunk"),
                };
                if result.is_ok() {
                    self.lent.extend_from_slice(&content);
                }
                result
            }
            "close" => {
                match connection.receive_eof() {
                    Ok(()) => self.events.push_back("closed".to_owned()),
                    Err(error) => self.failed(&error),
                }
                Ok(())
            }
            "wait" => {
                let seconds = rest
                    .strip_suffix('s')
                    .and_then(|number| number.parse().ok());
                self.now += Duration::from_secs(seconds.ok_or("no time")?);
                if let Err(error) = self.connection.handle_timeout(self.now) {
                    self.failed(&error);
                }
                Ok(())
            }
            _ => return Err(format!("{verb:?} cannot be called")),
        })
    }

    fn expect_output(&mut self, expected: &[u8]) -> Result<(), String> {
        match self.output.strip_prefix(expected) {
            Some(rest) => self.output = rest.to_vec(),
            None => {
                let (got, expected) = (self.output.escape_ascii(), expected.escape_ascii());
                return Err(format!("\"{expected}\" expected, not \"{got}\""));
            }
        }
        Ok(())
    }

    fn expect_event(&mut self, expected: &str) -> Result<(), String> {
        match self.events.pop_front() {
            Some(event) if event == expected => Ok(()),
            event => Err(format!("{expected:?} expected, not {event:?}")),
        }
    }

    fn expect_no_event(&mut self) -> Result<(), String> {
        match self.events.pop_front() {
            None => Ok(()),
            Some(event) => Err(format!("{event:?} before it")),
        }
    }

    fn expect_nothing(&mut self) -> Result<(), String> {
        self.expect_no_event()?;
        if self.output.is_empty() {
            return Ok(());
        }
        Err(format!("\"{}\" before it", self.output.escape_ascii()))
    }
}

fn mail(text: &str) -> Result<Mail<'_>, String> {
    let mut words = text.split(' ');
    let path = words.next().unwrap_or_default();
    let mut mail = Mail::new(path.trim_matches(['<', '>'])).map_err(|why| why.to_string())?;
    while let Some(word) = words.next() {
        mail = match word {
            "size" => mail.size(words.next().and_then(|n| n.parse().ok()).ok_or("no size")?),
            "8bit" => mail.body(BodyType::EightBitMime),
            "binary" => mail.body(BodyType::BinaryMime),
            "utf8" => mail.smtp_utf8(),
            "requiretls" => mail.require_tls(),
            "ret-headers" => mail.ret(Ret::Headers),
            _ => return Err(format!("{word:?} is no parameter")),
        };
    }
    Ok(mail)
}

fn rcpt(text: &str) -> Result<Rcpt<'_>, String> {
    let mut words = text.split(' ');
    let rcpt = Rcpt::new(words.next().unwrap_or_default()).map_err(|why| why.to_string())?;
    match words.next() {
        None => Ok(rcpt),
        Some("notify-never") => Ok(rcpt.notify(Notify::NEVER)),
        Some(word) => Err(format!("{word:?} is no parameter")),
    }
}

/// An event as a line of a dialogue file.
pub(crate) fn told(event: Event<'_>) -> String {
    match event {
        Event::Greeted(reply) => format!("greeted {reply}"),
        Event::StartTls => "starttls".to_owned(),
        Event::StartTlsRefused(reply) => format!("starttls-refused {reply}"),
        Event::Ready => "ready".to_owned(),
        Event::Mail(reply) => format!("mail {reply}"),
        Event::Rcpt { recipient, reply } => format!("rcpt {recipient} {reply}"),
        Event::Data(reply) => format!("data {reply}"),
        Event::Content => "content".to_owned(),
        Event::Chunk(reply) => format!("chunk {reply}"),
        Event::Message {
            recipient: None,
            reply,
        } => format!("message {reply}"),
        Event::Message {
            recipient: Some(recipient),
            reply,
        } => format!("message {recipient} {reply}"),
        Event::Done => "done".to_owned(),
        Event::Reset(reply) => format!("reset {reply}"),
        Event::Noop(reply) => format!("noop {reply}"),
        Event::Goodbye(reply) => format!("goodbye {reply}"),
        other => format!("{other:?}"),
    }
}

/// A line with CR LF. `\r`, `\n` and `\\` are escapes; a `\` at the end leaves the line end out.
fn unescaped(line: &str) -> Vec<u8> {
    match line.strip_suffix('\\') {
        Some(line) if !line.ends_with('\\') => unescaped_in_line(line),
        _ => [unescaped_in_line(line).as_slice(), b"\r\n"].concat(),
    }
}

fn unescaped_in_line(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let c = match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('r') => '\r',
                Some('n') => '\n',
                Some('\\') => '\\',
                other => panic!("\\{other:?} is no escape"),
            },
            (c, false) => c,
        };
        bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
    bytes
}
