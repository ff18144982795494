//! Every dialogue file over sockets, on both transports; the files that begin TLS with a real
//! handshake.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prixfixe_dialogue::{
    Auth, DOMAIN, Delivered, Dialogue, Settings, Stage, Step, USER, folder, line_begins_with,
    read_all,
};
use prixfixe_server::{
    Accepted, AuthMode, BareLineEnds, CertificateSource, Endpoint, EnhancedCode, Identity, Login,
    Mail, Mechanism, Message, Protocol, Rcpt, Reply, Server, Session, TlsConfig, Transport,
};
use prixfixe_test_support::SelfSigned;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

/// A test that waits longer than this for the server has found a hang.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn over_tokio() {
    run_all(Transport::Tokio);
}

#[test]
fn over_raw() {
    run_all(Transport::Raw);
}

fn run_all(transport: Transport) {
    let certificate = Certificate::new();
    let mut dialogues = read_all(&folder()).expect("dialogues");
    // What happens when time goes by is for the core's own run, where the clock is simulated.
    dialogues.retain(|dialogue| !dialogue.waits());
    assert!(dialogues.len() > 60);
    let failures: String = dialogues
        .iter()
        .filter_map(|dialogue| {
            let failure = run(dialogue, transport, &certificate).err()?;
            Some(format!("{}: {failure}\n", dialogue.name))
        })
        .collect();
    assert!(failures.is_empty(), "\n{failures}");
}

fn run(dialogue: &Dialogue, transport: Transport, certificate: &Certificate) -> Result<(), String> {
    let delivered = Arc::new(Mutex::new(Vec::new()));
    let server = start(&dialogue.settings, transport, certificate, &delivered);
    let mut line = Line::connect(&server);
    for step in &dialogue.steps {
        take_step(step, &mut line, &server, certificate)?;
    }
    if dialogue.steps.last() != Some(&Step::ExpectClosed) {
        line.half_close();
        line.expect_closed()?;
    }
    let delivered = delivered.lock().expect("no panic under it");
    let (stated, delivered) = (&dialogue.messages, &*delivered);
    let same = stated.len() == delivered.len()
        && stated
            .iter()
            .zip(delivered)
            .all(|(stated, delivered)| stated.is(delivered));
    if same {
        Ok(())
    } else {
        Err(format!("{delivered:?} delivered, not {stated:?}"))
    }
}

fn take_step(
    step: &Step,
    line: &mut Line,
    server: &Server,
    certificate: &Certificate,
) -> Result<(), String> {
    match step {
        Step::Send(octets) => line.send(octets),
        Step::HalfClose => line.half_close(),
        Step::Expect(expected) => return line.expect(expected),
        Step::ExpectClosed => return line.expect_closed(),
        Step::Handshake => line.handshake(certificate),
        Step::Shutdown => server.shutdown(),
        Step::Wait(_) => return Err("time does not go by here".to_owned()),
    }
    Ok(())
}

fn start(
    settings: &Settings,
    transport: Transport,
    certificate: &Certificate,
    delivered: &Arc<Mutex<Vec<Delivered>>>,
) -> Server {
    let handler = Scripted {
        settings: settings.clone(),
        delivered: Arc::clone(delivered),
    };
    let protocol = match settings.lmtp {
        true => Protocol::Lmtp,
        false => Protocol::Smtp,
    };
    let mut endpoint = Endpoint::new(([127, 0, 0, 1], 0)).protocol(protocol);
    if settings.xclient {
        endpoint = endpoint.xclient_from(["127.0.0.0/8".parse().expect("a network")]);
    }
    let mut builder = Server::builder()
        .domain(DOMAIN)
        .listen(endpoint)
        .threads(NonZeroUsize::MIN)
        .transport(transport)
        .tls_required(settings.tls_required);
    if let Some(octets) = settings.max_message_size {
        builder = builder.max_message_size(octets);
    }
    if let Some(recipients) = settings.max_recipients {
        builder = builder.max_recipients(recipients);
    }
    if let Some(errors) = settings.max_errors {
        builder = builder.max_errors(errors);
    }
    if let Some(commands) = settings.max_idle_commands {
        builder = builder.max_idle_commands(commands);
    }
    if settings.repairs_line_ends {
        builder = builder.bare_line_ends(BareLineEnds::Repair);
    }
    builder = builder.dsn(settings.dsn);
    builder = builder.dsn_for_users(settings.dsn_for_users);
    if let Some(auth) = settings.auth {
        builder = builder.auth_mechanisms([Mechanism::PLAIN, Mechanism::LOGIN]);
        builder = builder.auth(match auth {
            Auth::Offer => AuthMode::Offer,
            Auth::Require => AuthMode::Require,
            Auth::Any => AuthMode::Any,
        });
    }
    if settings.starttls {
        builder = builder.tls(certificate.server.clone());
    }
    builder
        .sessions(move |client| {
            let session = handler.clone();
            let address = client.peer().ip().map(|it| it.to_string());
            async move {
                session.judge(Stage::Connect, &address.unwrap_or_default())?;
                Ok(session)
            }
        })
        .start()
        .expect("the server starts")
}

/// Refuses what the file says, and keeps the rest.
#[derive(Clone)]
struct Scripted {
    settings: Settings,
    delivered: Arc<Mutex<Vec<Delivered>>>,
}

impl Scripted {
    fn judge(&self, stage: Stage, address: &str) -> Result<(), Reply> {
        match self
            .settings
            .refusals
            .iter()
            .find(|refusal| refusal.concerns(stage, address))
        {
            None => Ok(()),
            Some(refusal) => {
                let (class, subject, detail) = refusal.enhanced;
                let enhanced = EnhancedCode(class, subject, detail);
                Err(Reply::new(refusal.code, enhanced, refusal.text.clone()).expect("a reply"))
            }
        }
    }
}

impl Session for Scripted {
    async fn authenticate(&mut self, mut login: Login<'_>) -> Result<Identity, Reply> {
        let given = login.password().await?;
        match (given.user(), given.password()) == USER {
            true => Ok(Identity::new(given.user())),
            false => Err(Reply::BAD_CREDENTIALS),
        }
    }

    async fn mail(&mut self, mail: Mail<'_>) -> Result<(), Reply> {
        self.judge(Stage::Mail, &mail.reverse_path().to_string())
    }

    async fn rcpt(&mut self, rcpt: Rcpt<'_>) -> Result<(), Reply> {
        self.judge(Stage::Rcpt, &rcpt.path().to_string())
    }

    async fn message(&mut self, message: Message) -> Result<Accepted, Reply> {
        let message = message.collect().await?;
        self.judge(Stage::Message, "")?;
        let envelope = message.envelope();
        let recipients = envelope.recipients().iter().map(ToString::to_string);
        let recipients: Vec<String> = recipients.collect();
        let judge = |recipient: &String| self.judge(Stage::Message, recipient);
        let outcomes: Vec<_> = recipients.iter().map(judge).collect();
        let kept = recipients.into_iter().zip(&outcomes);
        let kept = kept.filter_map(|(recipient, outcome)| outcome.is_ok().then_some(recipient));
        let delivered = Delivered {
            from: envelope.reverse_path().to_string(),
            to: kept.collect(),
            size: message.content().len(),
            content: Some(message.content().to_vec()),
        };
        if !delivered.to.is_empty() {
            self.delivered
                .lock()
                .expect("no panic under it")
                .push(delivered);
        }
        Ok(Accepted::each(outcomes))
    }
}

/// The server's certificate, and a client that trusts it.
struct Certificate {
    server: TlsConfig,
    client: Arc<ClientConfig>,
}

impl Certificate {
    fn new() -> Self {
        let made = SelfSigned::new(DOMAIN);
        let source = CertificateSource::memory(
            made.certificate_pem.clone().into_bytes(),
            made.key_pem.clone().into_bytes(),
        );
        let server = TlsConfig::builder().certificate(source).build();
        Self {
            server: server.expect("a pair"),
            client: made.client_config(),
        }
    }
}

/// The client's end, in clear or in TLS.
struct Line {
    socket: Socket,
    received: Vec<u8>,
}

enum Socket {
    Clear(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    Between,
}

impl Line {
    fn connect(server: &Server) -> Self {
        let stream = TcpStream::connect(server.local_address()).expect("the server listens");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a socket option");
        stream.set_nodelay(true).expect("a socket option");
        Self {
            socket: Socket::Clear(stream),
            received: Vec::new(),
        }
    }

    fn send(&mut self, octets: &[u8]) {
        match &mut self.socket {
            Socket::Clear(stream) => stream.write_all(octets).expect("the server reads"),
            Socket::Tls(stream) => stream.write_all(octets).expect("the server reads"),
            Socket::Between => {}
        }
    }

    fn half_close(&mut self) {
        match &mut self.socket {
            Socket::Clear(stream) => stream.shutdown(Shutdown::Write).expect("it is open"),
            Socket::Tls(stream) => {
                stream.conn.send_close_notify();
                stream.flush().expect("the server reads");
            }
            Socket::Between => {}
        }
    }

    fn handshake(&mut self, certificate: &Certificate) {
        if let Socket::Clear(stream) = std::mem::replace(&mut self.socket, Socket::Between) {
            let name = ServerName::try_from(DOMAIN).expect("a name");
            let connection =
                ClientConnection::new(Arc::clone(&certificate.client), name).expect("a client");
            self.socket = Socket::Tls(Box::new(StreamOwned::new(connection, stream)));
        }
    }

    /// Reads some more; false at the end.
    fn fill(&mut self) -> Result<bool, String> {
        let mut buffer = [0; 4096];
        let count = match &mut self.socket {
            Socket::Clear(stream) => stream.read(&mut buffer),
            Socket::Tls(stream) => stream.read(&mut buffer),
            Socket::Between => Ok(0),
        };
        let count = count.map_err(|error| {
            format!(
                "{error}, after {:?}",
                String::from_utf8_lossy(&self.received)
            )
        })?;
        self.received.extend_from_slice(&buffer[..count]);
        Ok(count > 0)
    }

    fn expect(&mut self, expected: &str) -> Result<(), String> {
        let end = loop {
            match self.received.windows(2).position(|pair| pair == b"\r\n") {
                Some(end) => break end,
                None if self.fill()? => {}
                None => return Err(format!("{expected:?} expected, not the end")),
            }
        };
        let line: Vec<u8> = self.received.drain(..end + 2).collect();
        let line = String::from_utf8_lossy(&line[..end]).into_owned();
        if line_begins_with(&line, expected) {
            Ok(())
        } else {
            Err(format!("{expected:?} expected, not {line:?}"))
        }
    }

    fn expect_closed(&mut self) -> Result<(), String> {
        while self.fill()? {}
        match &self.received[..] {
            [] => Ok(()),
            rest => Err(format!(
                "{:?} before the end",
                String::from_utf8_lossy(rest)
            )),
        }
    }
}
