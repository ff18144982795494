//! rspamd: one that a test speaks for, and Debian's own.

mod real;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prixfixe_policy::{OnFailure, Rspamd, RspamdError};
use prixfixe_server::{Client, Server, Transport};
use prixfixe_test_support::{HttpAnswer, HttpRequest, HttpServer};

use crate::on_both_transports;
use crate::served::Served;

on_both_transports!(
    a_message_is_told_with_all_that_is_known_of_it,
    actions_are_replies_and_fields,
    what_is_no_answer_is_a_failure,
    who_does_not_answer_in_time_has_failed,
    who_is_away_has_failed_until_it_is_back,
);

const MESSAGE: &str = "X-Spam: maybe\r\nSubject: one\r\nX-Old: 1\r\nX-Old: 2\r\n\r\nHello";

fn server(
    answer: impl Fn(&HttpRequest) -> HttpAnswer + Send + Sync + 'static,
) -> (HttpServer, Rspamd) {
    let server = HttpServer::start(answer);
    let check = Rspamd::new(&server.url()).expect("a URL");
    (server, check)
}

fn answering(body: impl Into<String>) -> (HttpServer, Rspamd) {
    let body = body.into();
    server(move |_| Some((200, String::new(), body.clone())))
}

async fn a_message_is_told_with_all_that_is_known_of_it(transport: Transport) {
    let (rspamd, check) = answering(r#"{"action":"no action"}"#);
    let mut served = Served::with(transport, check.name("mx.receiver.test"));
    let content = "\tno header\r\n\r\n..body";
    let kept = served.keeps("ann@sender.test", content).await;
    assert_eq!(kept, "\tno header\r\n\r\n.body\r\n");
    let requests = rspamd.requests();
    let [request] = &*requests else {
        panic!("{requests:?}");
    };
    assert_eq!((&*request.method, &*request.target), ("POST", "/checkv2"));
    for (name, value) in [
        ("from", "<ann@sender.test>"),
        ("rcpt", "<bob@receiver.test>"),
        ("ip", "127.0.0.1"),
        ("helo", "client.test"),
        ("mta-name", "mx.receiver.test"),
    ] {
        assert_eq!(request.header(name), Some(value), "{name}");
    }
    for name in ["hostname", "user", "tls-version", "settings"] {
        assert_eq!(request.header(name), None, "{name}");
    }
    let body = String::from_utf8_lossy(&request.body);
    let id = request.header("queue-id").expect("it has an id");
    let received = format!(
        "Received: from client.test ([127.0.0.1])\r\n\tby receiver.test with ESMTP id {id}\r\n\
         \tfor <bob@receiver.test>;\r\n"
    );
    assert!(body.starts_with(&received), "{body}");
    // Nothing that the client sent goes on with our field.
    let behind = "\r\n\r\n\tno header\r\n\r\n.body\r\n";
    assert!(body.ends_with(behind), "{body}");
}

async fn actions_are_replies_and_fields(transport: Transport) {
    let kept = |fields: &str| format!("250 {fields}\r\n\r\nHello\r\n");
    let as_sent = MESSAGE.split_once("\r\n\r\n").expect("a header").0;
    let without_spam = as_sent.replace("X-Spam: maybe\r\n", "");
    for (answer, expected) in [
        (r#"{"action":"no action"}"#, kept(as_sent)),
        (r#"{"action":"of our own"}"#, kept(as_sent)),
        (
            r#"{"action":"reject"}"#,
            String::from("554 5.7.1 The message was taken for spam"),
        ),
        (
            r#"{"action":"reject","messages":{"smtp_message":"no\r\n250 2.0.0 fine\u001b \u00e9"}}"#,
            String::from("554 5.7.1 no??250 2.0.0 fine? ?"),
        ),
        (
            r#"{"action":"soft reject","messages":{"smtp_message":" "}}"#,
            String::from("451 4.7.1 Try again later"),
        ),
        (
            r#"{"action":"greylist","messages":{"smtp_message":"in 5 min"}}"#,
            String::from("451 4.7.1 in 5 min"),
        ),
        (
            r#"{"action":"add header"}"#,
            kept(&format!("{without_spam}\r\nX-Spam: Yes")),
        ),
        (
            r#"{"action":"quarantine"}"#,
            kept(&format!("{as_sent}\r\nX-Quarantine: rspamd")),
        ),
        (
            r#"{"action":"rewrite subject","subject":"[spam]\r\nX-Evil: 1"}"#,
            kept(&(as_sent.replace("Subject: one\r\n", "") + "\r\nSubject: [spam]\r\n\tX-Evil: 1")),
        ),
        (
            r#"{"action":"no action","milter":{"remove_headers":{"x-old":2,"X-Spam":0,"Received":1},
                "add_headers":{"A":"last","B":{"value":"first","order":0},"C":[{"value":"x","order":-1},"y"],
                "D":{"value":"second","order":2}}}}"#,
            kept("B: first\r\nD: second\r\nSubject: one\r\nX-Old: 1\r\nA: last\r\nC: x\r\nC: y"),
        ),
        (
            r#"{"action":"no action","milter":{"remove_headers":{"X-Old":[-1,-9],"Received":2}}}"#,
            kept(&as_sent.replace("\r\nX-Old: 2", "")),
        ),
    ] {
        let (_rspamd, check) = answering(answer);
        let mut served = Served::with(transport, check);
        let reply = served.gets("ann@sender.test", MESSAGE).await;
        let told = match reply.starts_with("250 ") {
            true => {
                let message = served.accepted().await;
                format!("250 {}", String::from_utf8_lossy(message.content()))
            }
            false => reply,
        };
        assert_eq!(told, expected, "{answer}");
    }
    let (_rspamd, check) = answering(r#"{"action":"discard"}"#);
    let mut served = Served::with(transport, check);
    let reply = served.gets("ann@sender.test", MESSAGE).await;
    assert!(reply.starts_with("250 "), "{reply}");
    assert!(served.is_empty().await);
}

async fn what_is_no_answer_is_a_failure(transport: Transport) {
    let large = format!(
        r#"{{"action":"no action","urls":"{}"}}"#,
        "x".repeat(100 << 20)
    );
    let many = format!(
        r#"{{"action":"no action","milter":{{"remove_headers":{{"A":[-1{}]}}}}}}"#,
        ",-1".repeat(1_000)
    );
    for (status, body) in [
        (200, "{}".to_owned()),
        (200, "no JSON".to_owned()),
        (200, "[".repeat(1 << 20)),
        (200, r#"{"action":"reject"#.to_owned()),
        (200, large),
        (200, many),
        (400, r#"{"error":"invalid command"}"#.to_owned()),
        (302, r#"{"action":"no action"}"#.to_owned()),
        (204, String::new()),
    ] {
        let answer = (status, String::new(), body);
        for on_failure in [OnFailure::Defer, OnFailure::Accept] {
            let answer = answer.clone();
            let (_rspamd, check) = server(move |_| Some(answer.clone()));
            // The largest takes long where the machine is busy.
            let check = check
                .timeout(Duration::from_secs(60))
                .on_failure(on_failure);
            let served = Served::with(transport, check);
            let reply = served.gets("ann@sender.test", MESSAGE).await;
            let expected = match on_failure {
                OnFailure::Accept => "250 ",
                _ => "451 4.7.1 The content filter does not answer",
            };
            assert!(reply.starts_with(expected), "{status}: {reply}");
        }
    }
}

async fn who_does_not_answer_in_time_has_failed(transport: Transport) {
    let (_rspamd, check) = server(|_| None);
    let served = Served::with(transport, check.timeout(Duration::from_millis(300)));
    let reply = served.gets("ann@sender.test", MESSAGE).await;
    assert!(reply.starts_with("451 4.7.1"), "{reply}");
}

async fn who_is_away_has_failed_until_it_is_back(transport: Transport) {
    let is_away = Arc::new(AtomicBool::new(true));
    let away = Arc::clone(&is_away);
    let (_rspamd, check) = server(move |_| match away.load(Ordering::SeqCst) {
        true => Some((503, String::new(), String::new())),
        false => Some((200, String::new(), r#"{"action":"no action"}"#.into())),
    });
    let served = Served::with(transport, check);
    let reply = served.gets("ann@sender.test", MESSAGE).await;
    assert!(reply.starts_with("451 4.7.1"), "{reply}");
    is_away.store(false, Ordering::SeqCst);
    let reply = served.gets("ann@sender.test", MESSAGE).await;
    assert!(reply.starts_with("250 "), "{reply}");
    let nobody = Rspamd::new("http://127.0.0.1:1").expect("a URL");
    let served = Served::with(transport, nobody);
    let reply = served.gets("ann@sender.test", MESSAGE).await;
    assert!(reply.starts_with("451 4.7.1"), "{reply}");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_are_asked_one_after_the_other() {
    let field = |name: &str| {
        format!(r#"{{"action":"no action","milter":{{"add_headers":{{"{name}":"1"}}}}}}"#)
    };
    let (_first, one) = answering(field("X-One"));
    let (_second, two) = answering(field("X-Two"));
    let builder = Server::builder().transport(Transport::Tokio);
    let mut served = Served::of(builder.check(one).check(two));
    let kept = served.keeps("ann@sender.test", "A: b\r\n\r\nc").await;
    assert_eq!(kept, "A: b\r\nX-One: 1\r\nX-Two: 1\r\n\r\nc\r\n");
    let (refusing, one) = answering(r#"{"action":"reject"}"#);
    let (unasked, two) = answering(field("X-Two"));
    let builder = Server::builder().transport(Transport::Tokio);
    let served = Served::of(builder.check(one).check(two));
    let reply = served.gets("ann@sender.test", MESSAGE).await;
    assert!(reply.starts_with("554 5.7.1"), "{reply}");
    assert_eq!(
        (refusing.requests().len(), unasked.requests().len()),
        (1, 0)
    );
}

#[tokio::test]
async fn who_has_logged_in_or_comes_by_a_unix_socket_is_not_asked_about() {
    use prixfixe_server::{Check as _, CheckSession as _, Envelope, Identity, Mail};
    let (_rspamd, check) = answering(r#"{"action":"reject"}"#);
    let check = Arc::new(check);
    let clients = [
        (Client::builder().build(), true),
        (
            Client::builder().identity(Identity::new("ann")).build(),
            false,
        ),
        (Client::builder().unix(None).build(), false),
    ];
    for (client, expected) in clients {
        let envelope = Envelope::builder().build();
        let mut session = check.connect(&client).await.expect("it is wanted");
        let mail = Mail::new(&client, &envelope);
        session.mail(mail).await.expect("it is not refused yet");
        assert_eq!(session.reads_content(), expected, "{client:?}");
        session.reset();
        assert!(!session.reads_content());
    }
}

#[tokio::test]
async fn the_name_and_the_tls_of_a_client_are_told() {
    use prixfixe_server::{
        Check as _, CheckSession as _, Content, Envelope, Gathered, Mail, TlsInfo, TlsVersion,
    };
    let (rspamd, check) = answering(r#"{"action":"no action"}"#);
    let client = Client::builder().host_name("mx.client.test");
    let tls = TlsInfo::new(TlsVersion::Tls13, "TLS_AES_256_GCM_SHA384");
    let client = client.tls(tls).build();
    let mut envelope = Envelope::builder();
    for number in 0..2000 {
        let recipient = format!("{number}@receiver.test");
        envelope = envelope.to(&recipient).expect("an address");
    }
    let envelope = envelope.build();
    let mut session = Arc::new(check)
        .connect(&client)
        .await
        .expect("it is wanted");
    let mail = Mail::new(&client, &envelope);
    session.mail(mail).await.expect("it is not refused yet");
    let gathered = Gathered::new("A: b\r\n\r\nc");
    let content = Content::new(&client, &envelope, &gathered);
    let verdict = session.content(content).await.expect("it passes");
    assert_eq!(verdict.get("rspamd"), Some("no action"));
    let requests = rspamd.requests();
    for (name, value) in [
        ("from", "<>"),
        ("hostname", "mx.client.test"),
        ("tls-version", "TLSv1.3"),
        ("tls-cipher", "TLS_AES_256_GCM_SHA384"),
    ] {
        assert_eq!(requests[0].header(name), Some(value), "{name}");
    }
    // A header has an end: the first recipients are enough.
    let told = requests[0]
        .headers
        .iter()
        .filter(|(name, _)| name == "rcpt");
    assert!((1000..2000).contains(&told.count()));
}

#[test]
fn plaintext_goes_no_further_than_the_neighbourhood() {
    for url in [
        "http://localhost:11333",
        "http://127.0.0.1:11333/checkv2",
        "http://10.0.0.7:11333",
        "http://[fd00::7]:11333",
        "http://[fe80::7]",
    ] {
        assert!(Rspamd::new(url).is_ok(), "{url}");
    }
    for url in [
        "http://rspamd.example.com:11333",
        "http://192.0.2.7:11333",
        "http://[2001:db8::7]",
        "http://[::ffff:192.0.2.7]",
    ] {
        let refused = Rspamd::new(url);
        assert!(matches!(refused, Err(RspamdError::Setup(_))), "{url}");
        assert!(Rspamd::insecure(url).is_ok(), "{url}");
    }
    assert!(matches!(
        Rspamd::new("127.0.0.1:11333"),
        Err(RspamdError::Url(_))
    ));
}
