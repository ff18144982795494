//! Starting, draining, stopping.

use std::time::Duration;

use prixfixe_server::{
    Accepted, Message, Reply, Server, SettingsError, StartError, Transport, inbox,
};
use tokio::sync::{mpsc, oneshot};

use crate::client::{Client, builder, start};
use crate::on_both_transports;

on_both_transports![
    an_idle_session_is_told_421_and_the_server_stops,
    a_transaction_under_way_is_finished,
    a_message_in_the_handlers_hands_is_answered,
    a_handle_stops_a_server_that_it_does_not_own,
    a_future_shuts_the_server_down,
    after_abort_the_content_is_broken_not_short,
    a_port_that_is_taken_is_an_error_that_names_it,
    the_end_can_be_waited_for_by_many,
    a_stream_of_the_programs_own_ends_with_the_drain_timeout,
];

async fn an_idle_session_is_told_421_and_the_server_stops(transport: Transport) {
    let (handler, _inbox) = inbox();
    let server = start(transport, handler);
    let mut client = Client::greeted(server.local_address()).await;
    server.shutdown();
    assert!(client.rest().await.starts_with("421 4.3.2"));
    server.stopped().await;
    assert_eq!(server.active_connections(), 0);
}

async fn a_transaction_under_way_is_finished(transport: Transport) {
    let (handler, mut inbox) = inbox();
    let server = start(transport, handler);
    let mut client = Client::greeted(server.local_address()).await;
    client.open_data().await;
    server.shutdown();
    client.send("late but whole\r\n.\r\n").await;
    assert!(client.reply().await.starts_with("250 2.0.0"));
    assert!(client.rest().await.starts_with("421 4.3.2"));
    server.stop().await;
    assert_eq!(
        &inbox.next().await.expect("it was delivered").content()[..],
        b"late but whole\r\n"
    );
}

async fn a_message_in_the_handlers_hands_is_answered(transport: Transport) {
    let (asked, mut questions) = mpsc::unbounded_channel::<oneshot::Sender<()>>();
    let server = start(transport, move |message: Message| {
        let asked = asked.clone();
        async move {
            message.collect().await?;
            let (answer, answered) = oneshot::channel();
            asked
                .send(answer)
                .map_err(|_| Reply::transient("the test is over"))?;
            answered
                .await
                .map_err(|_| Reply::transient("the test is over"))?;
            Ok(Accepted::default())
        }
    });
    let mut client = Client::greeted(server.local_address()).await;
    client.open_data().await;
    client.send("hello\r\n.\r\n").await;
    let answer = questions.recv().await.expect("the handler has it");
    server.shutdown();
    answer.send(()).expect("the handler waits");
    assert!(client.reply().await.starts_with("250 2.0.0"));
    server.stop().await;
}

async fn after_abort_the_content_is_broken_not_short(transport: Transport) {
    let (report, mut reports) = mpsc::unbounded_channel();
    let server = start(transport, move |message: Message| {
        let report = report.clone();
        async move {
            // In a task of its own: the session's future is dropped with the session.
            tokio::spawn(async move { report.send(message.collect().await.map(|_| ())) });
            std::future::pending::<Result<Accepted, Reply>>().await
        }
    });
    let mut client = Client::greeted(server.local_address()).await;
    client.open_data().await;
    client.send("half a mess").await;
    // The reply to this NOOP-less body cannot be waited for; the abort may come before or after the
    // bytes.
    server.abort();
    server.stopped().await;
    assert!(reports.recv().await.is_none_or(|result| result.is_err()));
}

async fn a_port_that_is_taken_is_an_error_that_names_it(transport: Transport) {
    let (handler, _inbox) = inbox();
    let server = start(transport, handler);
    let (handler, _inbox) = prixfixe_server::inbox();
    let error = Server::builder()
        .listen(server.local_address())
        .transport(transport)
        .handler(handler)
        .start()
        .expect_err("the port is taken");
    assert!(matches!(error, StartError::Bind(_)));
    assert!(
        error
            .to_string()
            .contains(&server.local_address().to_string()),
        "{error}"
    );
}

async fn the_end_can_be_waited_for_by_many(transport: Transport) {
    let (handler, _inbox) = inbox();
    let server = start(transport, handler);
    server.shutdown();
    tokio::join!(server.stopped(), server.stopped());
}

#[tokio::test]
async fn a_text_is_an_address_or_an_error_at_the_start() {
    let listening_on = |text: &str| {
        Server::builder()
            .listen(text)
            .handler(prixfixe_server::inbox().0)
            .start()
    };
    let server = listening_on("127.0.0.1:0").expect("it is an address");
    assert!(server.local_address().ip().is_loopback());
    for text in ["", "127.0.0.1", "localhost:0", ":25"] {
        let error = listening_on(text).expect_err("it is none");
        assert!(
            matches!(&error, StartError::Address(it) if it == text),
            "{error}"
        );
    }
}

#[tokio::test]
async fn what_cannot_work_is_refused_at_the_start() {
    let handler = |_: Message| async { Ok(Accepted::default()) };
    let no_listener = Server::builder().handler(handler).start();
    assert!(matches!(no_listener, Err(StartError::NoListener)));
    let no_certificate = builder(Transport::Auto)
        .tls_required(true)
        .handler(handler)
        .start();
    assert!(matches!(
        no_certificate,
        Err(StartError::Settings(SettingsError::NoCertificate))
    ));
    for domain in ["", "two words", "line\r\nbreak"] {
        let bad_domain = builder(Transport::Auto)
            .domain(domain)
            .handler(handler)
            .start();
        assert!(
            matches!(bad_domain, Err(StartError::Settings(SettingsError::Domain(name))) if name == domain)
        );
    }
    for domain in ["", "two words", "*.", "a..b"] {
        let bad_domain = builder(Transport::Auto)
            .accept_domains(["good.example", domain])
            .handler(handler)
            .start();
        assert!(
            matches!(bad_domain, Err(StartError::Settings(SettingsError::AcceptedDomain(name))) if name == domain)
        );
    }
}

async fn a_handle_stops_a_server_that_it_does_not_own(transport: Transport) {
    let (handler, mut inbox) = inbox();
    let server = start(transport, handler);
    let mut client = Client::greeted(server.local_address()).await;
    let handle = server.handle();
    handle
        .reconfigure(|settings| settings.max_message_size(1000))
        .expect("the settings are good");
    assert!(!handle.is_stopping());
    handle.clone().shutdown();
    assert!(client.reply().await.starts_with("421 4.3.2"));
    server.stopped().await;
    handle.stopped().await;
    // It keeps nothing running: the handler is gone with the server, and the inbox ends.
    drop((server, handle));
    assert!(inbox.next().await.is_none());
}

async fn a_future_shuts_the_server_down(transport: Transport) {
    let (handler, _inbox) = inbox();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = builder(transport)
        .handler(handler)
        .shutdown_on(async { drop(stopped.await) })
        .start()
        .expect("it starts");
    let mut client = Client::greeted(server.local_address()).await;
    assert!(!server.is_stopping());
    stop.send(()).expect("the server waits for it");
    assert!(client.reply().await.starts_with("421 4.3.2"));
    server.stopped().await;
}

#[test]
fn a_future_shuts_a_server_down_that_has_no_runtime() {
    let (handler, _inbox) = inbox();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = builder(Transport::Raw)
        .handler(handler)
        .shutdown_on(async { drop(stopped.await) })
        .start()
        .expect("it starts");
    stop.send(()).expect("the server waits for it");
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.build().expect("a runtime");
    runtime.block_on(server.stopped());
}

#[test]
fn a_future_that_never_shuts_the_server_down_goes_with_it() {
    let (handler, _inbox) = inbox();
    let (held, dropped) = std::sync::mpsc::channel::<()>();
    let server = builder(Transport::Raw)
        .handler(handler)
        .shutdown_on(async move {
            let _held = held;
            std::future::pending().await
        })
        .start()
        .expect("it starts");
    drop(server);
    // Its thread ends, and all that it holds is dropped.
    let ended = dropped.recv_timeout(Duration::from_secs(20));
    assert_eq!(ended, Err(std::sync::mpsc::RecvTimeoutError::Disconnected));
}

#[tokio::test]
async fn a_stream_of_the_programs_own_is_served() {
    use prixfixe_server::Peer;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    let (handler, mut inbox) = inbox();
    let server = builder(Transport::Raw)
        .max_connections(1)
        .handler(handler)
        .start()
        .expect("it starts");
    let (mut client, stream) = duplex(64);
    let (mut second, beyond) = duplex(64);
    let dialogue = async {
        let mail = "EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.test>\r\nDATA\r\nhello\r\n.\r\n";
        let mut greeting = [0; 3];
        client.read_exact(&mut greeting).await.expect("a greeting");
        // There is room for one.
        server.serve(beyond).await;
        let mut refused = String::new();
        second.read_to_string(&mut refused).await.expect("text");
        assert!(refused.starts_with("421 4.3.2 "), "{refused}");
        client.write_all(mail.as_bytes()).await.expect("it reads");
        let message = inbox.next().await.expect("it was delivered");
        assert_eq!(message.client().peer(), Peer::Other);
        let trace = String::from_utf8(message.received_header()).expect("text");
        assert!(trace.starts_with("Received: from c (stream)"), "{trace}");
        // Going away, the server tells it too.
        server.shutdown();
        let mut rest = String::new();
        client.read_to_string(&mut rest).await.expect("text");
        assert!(rest.contains("\r\n421 4.3.2 "), "{rest}");
    };
    tokio::join!(server.serve(stream), dialogue);
}

async fn a_stream_of_the_programs_own_ends_with_the_drain_timeout(transport: Transport) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    let (handler, _inbox) = inbox();
    let server = builder(transport)
        .drain_timeout(Duration::from_millis(20))
        .handler(handler)
        .start()
        .expect("it starts");
    let (mut client, stream) = duplex(1024);
    let dialogue = async {
        let begun = "EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.test>\r\nDATA\r\n";
        client.write_all(begun.as_bytes()).await.expect("it reads");
        let mut told = Vec::new();
        while !told.ends_with(b"CR LF . CR LF\r\n") {
            told.push(client.read_u8().await.expect("a reply"));
        }
        server.shutdown();
        // The client is in the middle of its message and says no more.
        client.read_to_end(&mut told).await.expect("an end");
    };
    let served = async { tokio::join!(server.serve(stream), dialogue) };
    let ended = tokio::time::timeout(Duration::from_secs(20), served).await;
    assert!(ended.is_ok(), "it outlives the drain timeout");
}
