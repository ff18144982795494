//! A store that misbehaves.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use prixfixe_test_support::{HttpAnswer, HttpRequest, HttpServer, PATIENCE};

use super::*;

fn status(status: u16) -> HttpAnswer {
    Some((status, String::new(), String::new()))
}

fn error(status: u16, code: &str) -> HttpAnswer {
    let body =
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>Why</Message></Error>");
    Some((status, String::new(), body))
}

/// What was asked, without what differs each time.
fn asked(server: &HttpServer) -> Vec<String> {
    let one = |request: &HttpRequest| {
        let kind = request
            .path()
            .rsplit('.')
            .next()
            .unwrap_or_default()
            .to_owned();
        let condition = request.header("if-none-match").map_or("", |_| " new");
        format!("{} {kind}{condition}", request.method)
    };
    server.requests().iter().map(one).collect()
}

#[tokio::test]
async fn what_a_store_says_no_with_is_452_for_a_quota_and_451_for_all_else() {
    for (status, code, reply) in [
        (503, "SlowDown", "451 4.3.0"),
        (500, "InternalError", "451 4.3.0"),
        (403, "AccessDenied", "451 4.3.0"),
        (301, "PermanentRedirect", "451 4.3.0"),
        (403, "QuotaExceeded", "452 4.3.1"),
        (507, "XMinioStorageFull", "452 4.3.1"),
    ] {
        let server = HttpServer::start(move |_| error(status, code));
        let target = open(&server.url(), |_| {});
        let failure = send_one(&target, content("one")).await.unwrap_err();
        assert!(
            failure.reply().to_string().starts_with(reply),
            "{failure:?}"
        );
        assert!(
            failure
                .to_string()
                .contains(&format!("status {status} {code}: Why")),
            "{failure}"
        );
        assert_eq!(asked(&server), ["PUT json new"], "the message is not sent");
    }
}

#[tokio::test]
async fn every_object_has_its_checksum_and_its_signature() {
    let server = HttpServer::start(|_| status(200));
    send_one(&open(&server.url(), |_| {}), content("one"))
        .await
        .unwrap();
    assert_eq!(asked(&server), ["PUT json new", "PUT eml new"]);
    for request in server.requests() {
        let signed =
            "X-Amz-SignedHeaders=content-type%3Bhost%3Bif-none-match%3Bx-amz-checksum-sha256";
        assert!(request.target.contains(signed), "{}", request.target);
        assert!(
            request
                .header("x-amz-checksum-sha256")
                .is_some_and(|it| it.len() == 44)
        );
    }
}

#[tokio::test]
async fn a_conflict_is_tried_once_more() {
    for conflicts in [1, 2] {
        let count = AtomicUsize::new(0);
        let server = HttpServer::start(move |request| {
            let is_mail = request.path().ends_with(".eml");
            match is_mail && count.fetch_add(1, Ordering::Relaxed) < conflicts {
                true => error(409, "ConditionalRequestConflict"),
                false => status(200),
            }
        });
        let stored = send_one(&open(&server.url(), |_| {}), content("one")).await;
        match conflicts {
            1 => assert!(stored.is_ok(), "{stored:?}"),
            _ => assert_eq!(stored.unwrap_err().reply().code(), 451),
        }
        assert_eq!(
            asked(&server),
            ["PUT json new", "PUT eml new", "PUT eml new"]
        );
    }
}

#[tokio::test]
async fn a_store_without_conditions_is_asked_first() {
    let server = HttpServer::start(|request| match request.header("if-none-match") {
        Some(_) => error(501, "NotImplemented"),
        None if request.method == "HEAD" => status(404),
        None => status(200),
    });
    let target = open(&server.url(), |_| {});
    send_one(&target, content("one")).await.unwrap();
    let expected = [
        "PUT json new",
        "HEAD json",
        "PUT json",
        "HEAD eml",
        "PUT eml",
    ];
    assert_eq!(asked(&server), expected);
    send_one(&target, content("two")).await.unwrap();
    assert_eq!(
        asked(&server)[5..],
        ["HEAD json", "PUT json", "HEAD eml", "PUT eml"]
    );
}

#[tokio::test]
async fn a_complete_pair_is_success_and_the_rest_of_one_is_written_over() {
    for (head, expected) in [
        (200, vec!["PUT json new", "HEAD eml"]),
        (
            404,
            vec!["PUT json new", "HEAD eml", "PUT json", "PUT eml new"],
        ),
        (
            403,
            vec!["PUT json new", "HEAD eml", "PUT eml new", "PUT json"],
        ),
    ] {
        let server = HttpServer::start(move |request| {
            let is_sidecar = request.path().ends_with(".json");
            match (&*request.method, request.header("if-none-match")) {
                ("HEAD", _) => status(head),
                (_, Some(_)) if is_sidecar => error(412, "PreconditionFailed"),
                _ => status(200),
            }
        });
        send_one(&open(&server.url(), |_| {}), content("one"))
            .await
            .unwrap();
        assert_eq!(asked(&server), expected);
    }
}

/// Answers as a store does for parts, but the request that completes.
fn parts(request: &HttpRequest, completed: (u16, &str)) -> HttpAnswer {
    match (&*request.method, request.target.contains("uploadId=")) {
        ("POST", false) => {
            let body = "<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>";
            Some((200, String::new(), body.to_owned()))
        }
        ("POST", true) => Some((completed.0, String::new(), completed.1.to_owned())),
        ("PUT", true) => Some((200, "ETag: \"part\"\r\n".to_owned(), String::new())),
        ("DELETE", _) => status(204),
        _ => status(200),
    }
}

async fn wait_for_abort(server: &HttpServer) {
    let start = std::time::Instant::now();
    let is_abort = |it: &HttpRequest| it.method == "DELETE" && it.target.contains("uploadId=u1");
    while !server.requests().iter().any(is_abort) {
        assert!(
            start.elapsed() < PATIENCE,
            "never aborted: {:?}",
            asked(server)
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn an_upload_whose_200_is_an_error_is_a_failure_and_aborted() {
    for body in [
        "<?xml version=\"1.0\"?>\n<Error><Code>InternalError</Code><Message>Why</Message></Error>",
        "<?xml version=\"1.0\"?>\n<CompleteMultipartUploadResult><Location>",
        "",
    ] {
        let server = HttpServer::start(move |request| parts(request, (200, body)));
        let failure = send_one(&open(&server.url(), |_| {}), large("large"))
            .await
            .unwrap_err();
        assert_eq!(failure.reply().code(), 451, "{failure:?}");
        wait_for_abort(&server).await;
    }
}

#[tokio::test]
async fn an_upload_is_complete_whatever_a_store_calls_the_result() {
    for body in [
        "<CompleteMultipartUploadResult><Key>k</Key></CompleteMultipartUploadResult>",
        "<s:CompleteMultipartUploadResult xmlns:s=\"x\"><s:Key>k</s:Key></s:CompleteMultipartUploadResult>",
        "<CompleteMultipartUploadResponse xmlns=\"x\"><Key>k</Key></CompleteMultipartUploadResponse>",
    ] {
        let server = HttpServer::start(move |request| parts(request, (200, body)));
        send_one(&open(&server.url(), |_| {}), large("large"))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn an_upload_is_in_parts_with_a_checksum_each_and_completed_on_condition() {
    let done = "<CompleteMultipartUploadResult></CompleteMultipartUploadResult>";
    let server = HttpServer::start(move |request| parts(request, (200, done)));
    send_one(&open(&server.url(), |_| {}), large("large"))
        .await
        .unwrap();
    let requests = server.requests();
    let sent: Vec<_> = requests
        .iter()
        .filter(|it| it.target.contains("partNumber="))
        .collect();
    assert_eq!(sent.len(), 4);
    let last = requests.last().unwrap();
    assert_eq!(
        (&*last.method, last.header("if-none-match")),
        ("POST", Some("*"))
    );
    let list = String::from_utf8_lossy(&last.body).into_owned();
    for part in sent {
        assert!(part.body.len() <= 5 << 20);
        let checksum = part.header("x-amz-checksum-sha256").unwrap();
        assert!(
            list.contains(&format!("<ChecksumSHA256>{checksum}<")),
            "{list}"
        );
    }
    assert!(!requests.iter().any(|it| it.method == "DELETE"));
}

#[tokio::test]
async fn a_part_that_fails_and_a_client_that_goes_abort_the_upload() {
    let server = HttpServer::start(|request| match request.target.contains("partNumber=2&") {
        true => error(503, "SlowDown"),
        false => parts(request, (200, "")),
    });
    let failure = send_one(&open(&server.url(), |_| {}), large("large"))
        .await
        .unwrap_err();
    assert_eq!(failure.reply().code(), 451, "{failure:?}");
    wait_for_abort(&server).await;

    let server = HttpServer::start(|request| match request.target.contains("partNumber=2&") {
        true => None,
        false => parts(request, (200, "")),
    });
    let target = open(&server.url(), |_| {});
    let sending = tokio::spawn(async move { send_one(&target, large("large")).await });
    let start = std::time::Instant::now();
    while !server
        .requests()
        .iter()
        .any(|it| it.target.contains("partNumber=2&"))
    {
        assert!(start.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    sending.abort();
    wait_for_abort(&server).await;
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_named() {
    let server = HttpServer::start(|_| {
        let (status, _, body) = error(403, "RequestTimeTooSkewed")?;
        let date = "Date: Sat, 28 Nov 2015 10:00:00 GMT\r\n";
        Some((status, date.to_owned(), body))
    });
    let failure = send_one(&open(&server.url(), |_| {}), content("one"))
        .await
        .unwrap_err();
    assert!(
        failure.to_string().contains("the clock of this host is"),
        "{failure}"
    );
}

#[tokio::test]
async fn silence_is_bounded_and_a_store_that_is_back_is_found_without_mail() {
    static IS_SILENT: AtomicBool = AtomicBool::new(true);
    let server =
        HttpServer::start(
            |request| match (IS_SILENT.load(Ordering::Relaxed), &*request.method) {
                (true, _) => None,
                (false, "HEAD") => status(404),
                (false, _) => status(200),
            },
        );
    let target = open(&server.url(), |options| {
        options.timeout = Duration::from_millis(300);
        options.final_timeout = Duration::from_millis(300);
    });
    let failure = send_one(&target, content("one")).await.unwrap_err();
    assert_eq!(failure.kind(), prixfixe_delivery::FailureKind::Unknown);
    assert!(
        failure.reply().to_string().starts_with("451 4.4.1"),
        "{failure:?}"
    );
    let mut health = target.health();
    assert!(health.fault().is_some());
    IS_SILENT.store(false, Ordering::Relaxed);
    while health.fault().is_some() {
        health.changed().await;
    }
    send_one(&target, content("one")).await.unwrap();
}

#[tokio::test]
async fn a_store_that_is_away_is_451() {
    let port = prixfixe_test_support::unused_port(std::net::Ipv4Addr::LOCALHOST).unwrap();
    let target = open(&format!("http://127.0.0.1:{port}"), |_| {});
    let failure = send_one(&target, content("one")).await.unwrap_err();
    assert!(
        failure.reply().to_string().starts_with("451 4.4.1"),
        "{failure:?}"
    );
    assert_eq!(failure.kind(), prixfixe_delivery::FailureKind::NotNow);
    assert!(failure.to_string().contains("cannot connect"), "{failure}");
}

/// Takes the head of a request, says one thing, and goes on saying another for as long as somebody
/// reads. Where that is nothing, it is silent.
fn rambling(first: &'static str, then: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let clone = stream.try_clone().expect("another handle");
                let mut lines = BufReader::new(clone).lines();
                while lines
                    .next()
                    .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
                {}
                let _ = stream.write_all(first.as_bytes());
                while !then.is_empty() && stream.write_all(then).is_ok() {}
                // Until the other side has given up.
                for _ in lines.map_while(Result::ok) {}
            });
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn what_a_store_says_is_bounded_and_need_not_be_http() {
    let piece: &'static [u8] = &[b'a'; 1 << 16];
    for (first, then, words) in [
        ("220 mx.example.net ESMTP\r\n\r\n", &b""[..], ""),
        ("HTTP/1.1 20", b"", "no answer within"),
        ("HTTP/1.1 200 OK\r\nX: ", piece, ""),
        ("HTTP/1.1 200 OK\r\n", b"X: y\r\n", ""),
        // Bodies without end: what the status says counts.
        ("HTTP/1.1 503 Slow Down\r\n\r\n", piece, "status 503"),
        (
            "HTTP/1.1 403 Forbidden\r\n\r\n<Error><Code>AccessDenied</Code>",
            piece,
            "status 403 AccessDenied",
        ),
    ] {
        let target = open(&rambling(first, then), |options| {
            options.timeout = Duration::from_secs(1);
            options.final_timeout = Duration::from_secs(1);
        });
        let stored = tokio::time::timeout(PATIENCE, send_one(&target, content("one"))).await;
        let failure = stored.expect("in time").unwrap_err();
        assert_eq!(failure.reply().code(), 451, "{first:?}: {failure:?}");
        assert!(failure.to_string().contains(words), "{first:?}: {failure}");
        assert!(target.health().fault().is_some(), "{first:?}");
    }
}

#[tokio::test]
async fn a_name_that_cannot_be_looked_up_is_named() {
    let target = open("https://store.invalid", |_| {});
    let failure = send_one(&target, content("one")).await.unwrap_err();
    assert!(
        failure.reply().to_string().starts_with("451 4.4.1"),
        "{failure:?}"
    );
    assert!(failure.to_string().contains("store.invalid"), "{failure}");
}
