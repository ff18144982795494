//! What shows only between a session and its transport.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use prixfixe_network::{Connection, Service, Session};

use super::*;
use crate::conversation::Application;
use crate::endpoint::Rules;
use crate::log::tests::Events;
use crate::shared::SmtpService;
use crate::{
    Accepted, Command, Data, Handler, IncidentKind, Message, Reply, Sessions, Settings, reply,
};

const MESSAGE: &[u8] = b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\nhello\r\n.\r\n";

async fn accept(_: Message) -> Result<Accepted, Reply> {
    Ok(Accepted::default())
}

fn service(handler: impl Handler) -> SmtpService {
    let application = Arc::new(Application::new(Arc::new(handler), Default::default()));
    SmtpService::new(application, &Settings::default(), vec![Rules::none()])
}

fn connection() -> Connection {
    Connection::new(
        SocketAddr::from(([192, 0, 2, 1], 1024)),
        Some(([192, 0, 2, 2], 25).into()),
        0,
    )
}

/// What a transport sees of a connection that has just come.
fn session(handler: impl Handler) -> impl Session {
    service(handler).session(Instant::now(), &connection())
}

/// A session whose client has said `input`, all at once.
fn session_after(input: &[u8]) -> impl Session {
    let mut session = session(accept);
    assert!(poll(&mut session).is_pending());
    session.receive(Instant::now(), input);
    session
}

fn poll(session: &mut impl Session) -> Poll<()> {
    session.poll(Instant::now(), &mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_client_that_quits_is_done() {
    let mut session = session_after(b"EHLO client.test\r\nQUIT\r\n");
    assert!(poll(&mut session).is_ready());
    assert!(session.peer_is_done());
}

#[test]
fn a_client_that_is_sent_away_or_says_more_is_not_done() {
    let nonsense = b"XYZZY\r\n".repeat(20);
    for input in [&b"QUIT\r\nNOOP\r\n"[..], &nonsense] {
        let mut session = session_after(input);
        assert!(poll(&mut session).is_ready());
        assert!(!session.peer_is_done());
    }
}

#[test]
fn what_is_answered_at_once_is_answered_while_it_is_received() {
    let input = [b"EHLO client.test\r\n", MESSAGE, MESSAGE].concat();
    let mut session = session_after(&input);
    let output = String::from_utf8_lossy(session.output().pending()).into_owned();
    assert_eq!(output.matches("250 2.0.0 OK ").count(), 2, "{output}");
}

/// Answers about so many recipients.
#[derive(Clone)]
struct Answering(Arc<AtomicUsize>);

impl crate::Session for Answering {
    async fn rcpt(&mut self, _: crate::Rcpt<'_>) -> Result<(), Reply> {
        poll_fn(|_| {
            let take = |left: usize| left.checked_sub(1);
            let taken = self
                .0
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
            match taken {
                Ok(_) => Poll::Ready(Ok(())),
                Err(_) => Poll::Pending,
            }
        })
        .await
    }

    async fn message(&mut self, message: Message) -> Result<Accepted, Reply> {
        accept(message).await
    }
}

#[test]
fn replies_to_mail_and_rcpt_leave_together_where_the_client_has_sent_more() {
    let envelope = b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n";
    for (before, behind, is_held) in [
        (&b""[..], &b"DATA\r\n"[..], true),
        // RFC 2920 section 3.2: not when the input is empty, and no reply but those to MAIL and
        // RCPT.
        (b"", b"", false),
        (b"NOOP\r\n", b"DATA\r\n", false),
        (MESSAGE, b"DATA\r\n", false),
    ] {
        let answers = Arc::new(AtomicUsize::new(usize::from(before == MESSAGE)));
        let answering = Answering(Arc::clone(&answers));
        let mut session = session(Sessions::new(move |_: Client| {
            let answering = answering.clone();
            async move { Ok(answering) }
        }));
        assert!(poll(&mut session).is_pending());
        session.receive(Instant::now(), b"EHLO client.test\r\n");
        assert!(poll(&mut session).is_pending());
        session.output().consume(usize::MAX);

        session.receive(Instant::now(), &[before, envelope, behind].concat());
        assert!(poll(&mut session).is_pending());
        assert_eq!(session.output().is_empty(), is_held, "{before:?}");
        answers.store(1, Ordering::Relaxed);
        assert!(poll(&mut session).is_pending());
        let output = String::from_utf8_lossy(session.output().pending()).into_owned();
        let replies = ["250 2.1.0 ", "250 2.1.5 ", "354 "];
        let count = if behind.is_empty() { 2 } else { 3 };
        for reply in replies.iter().take(count) {
            assert!(output.contains(reply), "{output}");
        }
    }
}

#[test]
fn replies_are_held_for_a_second_at_the_most() {
    let left = Arc::new(AtomicUsize::new(0));
    let handler = Answering(Arc::clone(&left));
    let mut session = session(Sessions::new(move |_: Client| {
        let answering = handler.clone();
        async move { Ok(answering) }
    }));
    assert!(poll(&mut session).is_pending());
    session.receive(Instant::now(), b"EHLO client.test\r\n");
    assert!(poll(&mut session).is_pending());
    session.output().consume(usize::MAX);
    let rcpt = b"RCPT TO:<c@d.test>\r\n".repeat(6);
    let input = [b"MAIL FROM:<a@b.test>\r\n", &*rcpt].concat();
    let start = Instant::now();
    session.receive(start, &input);
    let mut shown = Vec::new();
    for after in [0, 0, 400, 1_500] {
        left.store(1, Ordering::Relaxed);
        let now = start + Duration::from_millis(after);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(session.poll(now, &mut cx).is_pending());
        let output = String::from_utf8_lossy(session.output().pending()).into_owned();
        shown.push(output.matches("250 2.1.5").count());
    }
    assert_eq!((shown[1], shown[2]), (0, 0), "{shown:?}");
    assert!(shown[3] >= 2, "{shown:?}");
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_question_asked_while_bytes_are_received_wakes_the_transport_of_the_poll_that_follows() {
    let waiting = Arc::new(Mutex::new(None::<Waker>));
    let seen = Arc::clone(&waiting);
    let mut session = session(move |_: Message| {
        let seen = Arc::clone(&seen);
        poll_fn(move |cx| {
            *seen.lock().unwrap() = Some(cx.waker().clone());
            Poll::<Result<Accepted, Reply>>::Pending
        })
    });
    let [before, after] = [Arc::<Wakes>::default(), Arc::default()];
    let now = Instant::now();
    let _ = session.poll(now, &mut Context::from_waker(&Arc::clone(&before).into()));
    session.receive(now, &[b"EHLO client.test\r\n", MESSAGE].concat());
    assert!(waiting.lock().unwrap().is_some(), "asked at once");
    let _ = session.poll(now, &mut Context::from_waker(&Arc::clone(&after).into()));
    waiting.lock().unwrap().take().unwrap().wake();
    assert_eq!(
        [before, after].map(|it| it.0.load(Ordering::Relaxed)),
        [0, 1]
    );
}

#[test]
fn a_client_that_never_reads_has_the_time_of_one_command() {
    let settings = Settings::default().max_idle_commands(0);
    let application = Arc::new(Application::new(Arc::new(accept), Default::default()));
    let service = SmtpService::new(application, &settings, vec![Rules::none()]);
    let connection = Connection::new(
        SocketAddr::from(([192, 0, 2, 1], 1024)),
        Some(([192, 0, 2, 2], 25).into()),
        0,
    );
    let start = Instant::now();
    let mut session = service.session(start, &connection);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(session.poll(start, &mut cx).is_pending());
    session.receive(start, &b"HELP\r\n".repeat(10_000));
    assert!(session.poll(start, &mut cx).is_pending());
    // The kernel takes a part of it, and then no more: there is room for replies, and commands that
    // wait for it.
    let taken = session.output().len() / 2;
    session.output().consume(taken);
    let deadline = session.deadline().expect("the client is waited for");
    assert!(session.poll(deadline, &mut cx).is_ready());
    let output = String::from_utf8_lossy(session.output().pending()).into_owned();
    assert!(output.ends_with("421 4.4.2 Timed out waiting for the client\r\n"));
}

/// Panics, waits for ever, or sends its client away, and counts how often it is told of an end.
#[derive(Clone, Default)]
struct Moody {
    resets: Arc<AtomicUsize>,
}

impl crate::Session for Moody {
    async fn data(&mut self, data: Data<'_>) -> Result<(), Reply> {
        let first = data.envelope().recipients().first();
        assert!(first.is_none_or(|it| it.path().to_string() != "panic@d.test"));
        Ok(())
    }

    async fn message(&mut self, _: Message) -> Result<Accepted, Reply> {
        std::future::pending().await
    }

    async fn command(&mut self, command: Command<'_>) -> Result<Reply, Reply> {
        match command.verb() {
            "XBYE" => Ok(reply!(250 2.0.0 "So long").and_close()),
            "X421" => Err(reply!(421 4.7.0 "Not now")),
            _ => Err(reply!(554 5.7.1 "Never").and_close()),
        }
    }

    fn reset(&mut self) {
        self.resets.fetch_add(1, Ordering::Relaxed);
    }
}

fn moody(session: &Moody) -> impl Handler + use<> {
    let session = session.clone();
    Sessions::new(move |_: Client| {
        let session = session.clone();
        async { Ok(session) }
    })
}

/// The log of a session whose client says `input` and leaves.
fn log_of(input: &[u8]) -> Vec<String> {
    Events::of(|| {
        let mut session = session(moody(&Moody::default()));
        assert!(poll(&mut session).is_pending());
        session.receive(Instant::now(), input);
        assert!(poll(&mut session).is_ready());
    })
}

fn lines<'e>(events: &'e [String], part: &str) -> Vec<&'e String> {
    events.iter().filter(|it| it.contains(part)).collect()
}

#[test]
fn a_panic_is_told_once() {
    let input = b"EHLO a.test\r\nMAIL FROM:<>\r\nRCPT TO:<panic@d.test>\r\nDATA\r\n";
    let events = log_of(input);
    assert_eq!(lines(&events, "panicked").len(), 1, "{events:?}");
}

#[test]
fn what_is_refused_at_data_is_listed_with_its_addresses() {
    let service = service(moody(&Moody::default()));
    let mut session = service.session(Instant::now(), &connection());
    assert!(poll(&mut session).is_pending());
    let input = b"EHLO a.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<panic@d.test>\r\nDATA\r\n";
    session.receive(Instant::now(), input);
    let [incident] = &*service.counts().incidents() else {
        panic!("there is one");
    };
    assert_eq!(incident.kind, IncidentKind::CommandRefused);
    assert_eq!(incident.sender.as_deref(), Some("a@b.test"));
    assert_eq!(incident.recipient.as_deref(), Some("panic@d.test"));
}

#[test]
fn a_positive_reply_that_closes_is_no_refusal() {
    let events = log_of(b"EHLO a.test\r\nXBYE\r\n");
    let [line] = &*lines(&events, "message=connection") else {
        panic!("{events:?}");
    };
    assert!(line.contains("result=\"closed\""), "{line}");
    assert!(!line.contains("reply="), "{line}");
}

#[test]
fn a_command_refused_by_a_reply_that_closes_is_a_refused_command() {
    for (command, told) in [("X421", "4.7.0 Not now"), ("XNEVER", "5.7.1 Never")] {
        let service = service(moody(&Moody::default()));
        let mut session = service.session(Instant::now(), &connection());
        assert!(poll(&mut session).is_pending());
        let input = format!("EHLO a.test\r\n{command}\r\n");
        session.receive(Instant::now(), input.as_bytes());
        assert!(poll(&mut session).is_ready());
        let incidents = service.counts().incidents();
        let texts: Vec<&str> = incidents.iter().map(|it| it.text.as_str()).collect();
        assert_eq!(texts, [told]);
    }
}

#[test]
fn a_message_that_took_too_long_and_then_breaks_off_is_one_end() {
    let told = Moody::default();
    let mut session = session(moody(&told));
    let now = Instant::now();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(poll(&mut session).is_pending());
    session.receive(
        now,
        b"EHLO a.test\r\nMAIL FROM:<>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n",
    );
    assert!(session.poll(now, &mut cx).is_pending());
    while session.wants_read() {
        session.receive(now, &b"0123456789\r\n".repeat(1000));
        assert!(session.poll(now, &mut cx).is_pending());
    }
    let deadline = session.deadline().expect("the handler is waited for");
    assert!(session.poll(deadline, &mut cx).is_pending());
    assert_eq!(told.resets.load(Ordering::Relaxed), 1);
    session.receive_eof(deadline);
    assert!(session.poll(deadline, &mut cx).is_ready());
    assert_eq!(told.resets.load(Ordering::Relaxed), 1);
}
